//! Owns what operators ask: is it healthy, who runs, what is there.
//!
//! Invariant: health tells which part is down, never why; that is in the log. Must not know one job from another.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse as _, Response};
use serde_json::{Map, Value, json};
use tokio_util::sync::CancellationToken;

use super::answer::json as json_answer;
use super::shared::{Shared, says_sick};
use super::view;

/// The roles that tell of themselves.
pub(super) const ROLES: [&str; 3] = ["api", "processor", "notifier"];

/// `GET /health`: 503 when the store does not work. Roles of which no instance runs are a warning.
pub(super) async fn health(State(shared): State<Arc<Shared>>) -> Response {
    let store = shared.store.check().await.inspect_err(|error| tracing::error!(%error, "the store failed"));
    let mut checks = Map::new();
    let mut worst = if store.is_ok() { "pass" } else { "fail" };
    checks.insert("store".to_owned(), json!({ "status": worst }));
    for role in ["processor", "notifier"] {
        let told = shared.store.stats(role).await.unwrap_or_default();
        let sick = told.iter().filter(|(_, stats)| says_sick(stats)).count();
        let status = if told.is_empty() || sick > 0 { "warn" } else { "pass" };
        if worst == "pass" {
            worst = status;
        }
        checks.insert(role.to_owned(), json!({ "status": status, "instances": told.len(), "sick": sick }));
    }
    let status = if worst == "fail" { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::OK };
    json_answer(status, &json!({ "status": worst, "checks": checks }))
}

/// `GET /instances`: what each instance of each role tells of itself, and how many jobs there are.
pub(super) async fn instances(State(shared): State<Arc<Shared>>) -> Response {
    let told = async {
        let mut roles = Map::new();
        for role in ROLES {
            let told = shared.store.stats(role).await?;
            let read = |stats: &str| serde_json::from_str(stats).unwrap_or(Value::Null);
            let each: Map<_, _> = told.iter().map(|(name, stats)| (name.clone(), read(stats))).collect();
            roles.insert(role.to_owned(), each.into());
        }
        let jobs = view::counts(&shared.store.counts().await?);
        crate::store::Result::Ok(json!({ "roles": roles, "jobs": jobs }))
    };
    match told.await {
        Ok(document) => json_answer(StatusCode::OK, &document),
        Err(error) => shared.store_problem(&error).into_response(),
    }
}

/// `GET /openapi.json`.
pub(super) async fn openapi() -> Response {
    ([(CONTENT_TYPE, "application/json")], super::OPENAPI).into_response()
}

/// Tells of this instance until it ends.
pub(super) async fn tell(shared: &Shared, ended: CancellationToken) {
    let interval = shared.settings.stats_interval;
    let mut clock = tokio::time::interval(interval.max(std::time::Duration::from_millis(100)));
    clock.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = ended.cancelled() => return,
            _ = clock.tick() => {}
        }
        let counts = &shared.counts;
        let told = json!({
            "alive": 1,
            "requests": counts.requests.read(),
            "accepted": counts.accepted.read(),
            "refused": counts.refused.read(),
            "turnedAway": counts.turned_away.read(),
            "unauthorized": counts.unauthorized.read(),
        });
        let told = told.to_string();
        let put = shared.store.put_stats("api", &shared.settings.instance, &told, interval * 2);
        if let Err(error) = put.await {
            tracing::warn!(%error, "the store takes no stats");
        }
    }
}
