//! Owns which path leads where, and what every request passes before it gets there.
//!
//! Invariant: `openapi.json` names the same paths and methods, which a test holds. Must not know what an endpoint does.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{Method, StatusCode};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{any, get, patch, post};

use super::answer::{Problem, line};
use super::shared::Shared;
use super::{compatible, files, groups, intake, jobs, metrics, operations};
use crate::page;

/// Paths that show nothing of a job: whoever asks about the service's own state needs no token. Nor does whoever knows where a file is.
const OPEN: [&str; 4] = ["/", "/hb", "/health", "/openapi.json"];
/// Paths whose errors are lines of text.
const PLAIN: [&str; 5] = ["/download", "/retry", "/hb", "/stats", "/dashboard"];

pub(super) fn router(shared: &Arc<Shared>) -> Router {
    Router::new()
        .route("/", get(page::page))
        .route("/download", any(compatible::download))
        .route("/retry", any(compatible::with_slash))
        .route("/retry/", any(compatible::retry))
        .route("/retry/{*id}", any(compatible::retry))
        .route("/hb", any(compatible::heartbeat))
        .route("/stats", any(compatible::with_slash))
        .route("/stats/", any(compatible::stats))
        .route("/stats/{*entity}", any(compatible::stats))
        .route("/dashboard/aggregations", any(compatible::aggregations))
        .route("/jobs", get(jobs::list).post(intake::submit))
        .route("/jobs/{id}", get(jobs::show).delete(jobs::cancel))
        .route("/jobs/{id}/cancel", post(jobs::cancel))
        .route("/dead-letters", get(jobs::dead_letters))
        .route("/dead-letters/replay", post(jobs::replay_all))
        .route("/dead-letters/{id}/replay", post(jobs::replay))
        .route("/groups", get(groups::list))
        .route("/groups/{name}", patch(groups::change))
        .route("/files/{*path}", get(files::serve))
        .route("/instances", get(operations::instances))
        .route("/health", get(operations::health))
        .route("/metrics", get(metrics::metrics))
        .route("/openapi.json", get(operations::openapi))
        .fallback(compatible::nothing_here)
        .with_state(shared.clone())
        .layer(from_fn_with_state(shared.clone(), admit))
}

/// Asks for the token, and refuses what a page of somebody else's makes a browser send.
async fn admit(State(shared): State<Arc<Shared>>, request: Request, next: Next) -> Response {
    shared.counts.requests.add(1);
    let path = request.uri().path();
    let admitted = shared.settings.token.as_ref().is_none_or(|token| token.admits(request.headers()));
    if !admitted && !OPEN.contains(&path) && !path.starts_with("/files/") {
        shared.counts.unauthorized.add(1);
        return refuse(path, StatusCode::UNAUTHORIZED, "a bearer token is needed");
    }
    let from = request.headers().get("sec-fetch-site").map(axum::http::HeaderValue::as_bytes);
    let reads = matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS);
    if !reads && matches!(from, Some(b"cross-site" | b"same-site")) {
        return refuse(path, StatusCode::FORBIDDEN, "sent by a page of another origin");
    }
    next.run(request).await
}

fn refuse(path: &str, status: StatusCode, why: &str) -> Response {
    let problem = Problem::new(status, why).into_response();
    let plain = PLAIN.iter().any(|start| path.starts_with(start));
    if !plain {
        return problem;
    }
    let mut response = line(status, why);
    let challenge = problem.headers().get(axum::http::header::WWW_AUTHENTICATE).cloned();
    if let Some(challenge) = challenge {
        response.headers_mut().insert(axum::http::header::WWW_AUTHENTICATE, challenge);
    }
    response
}
