//! The endpoints of the original: `/download`, `/retry/`, `/hb`, `/stats/`, `/dashboard/aggregations`.
//!
//! Owns its words: what clients of the original match on is the same byte for byte, but where a caller's secrets were in it. Invariant: no
//! answer holds what another caller sent. Must not know more of a job than its callback's state.

use std::io::ErrorKind;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::header::{ALLOW, LOCATION};
use axum::http::{HeaderValue, Method, StatusCode, Uri};
use axum::response::{IntoResponse as _, Response};
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::answer::{Problem, json as json_answer, line, open_json, text};
use super::intake::{body, keyed};
use super::shared::Shared;
use crate::job::{CallbackState, JobId, Submission};
use crate::store::Replay;

/// `POST /download`.
pub(super) async fn download(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    if request.method() != Method::POST {
        return not_post();
    }
    let settings = &shared.settings;
    let (head, content) = request.into_parts();
    let bytes = match body(content, settings.body_limit, settings.body_timeout).await {
        Ok(bytes) => bytes,
        Err(problem) => return problem.line("Error reading request body: "),
    };
    let submission = match Submission::parse(&bytes, &settings.rules) {
        Ok(submission) => submission,
        Err(refusal) => {
            shared.counts.refused.add(1);
            return line(StatusCode::BAD_REQUEST, refusal.sentence(&String::from_utf8_lossy(&bytes)));
        }
    };
    match taken(&shared, submission, &head.headers).await {
        Ok(id) => json_answer(StatusCode::CREATED, &json!({ "id": id })),
        Err(problem) => problem.line("Error queueing job: "),
    }
}

async fn taken(
    shared: &Shared,
    submission: Submission,
    fields: &axum::http::HeaderMap,
) -> Result<JobId, Problem> {
    let submission = keyed(submission, fields)?;
    shared.has_room().await?;
    let taken = shared.take_in(vec![submission]).await.map_err(|error| shared.store_problem(&error))?;
    match taken.into_iter().next() {
        Some(taken) => shared.judged(taken).map(|(id, _)| id),
        None => Err(Problem::bad("nothing was sent")),
    }
}

/// `POST /retry/{id}`: the callback of a dead letter goes out again.
pub(super) async fn retry(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    if request.method() != Method::POST {
        return not_post();
    }
    let name = last_segment(request.uri().path());
    let unknown = || line(StatusCode::BAD_REQUEST, format!("Error fetching {name} from Redis: Not Found"));
    let Ok(id) = name.parse::<JobId>() else { return unknown() };
    let failed = |error| {
        let prefix = format!("Error rescheduling callback for job with id '{id}': ");
        shared.store_problem(&error).line(&prefix)
    };
    match shared.store.replay(&id).await {
        Ok(Replay::Queued) => StatusCode::NO_CONTENT.into_response(),
        Ok(Replay::Unknown) => unknown(),
        Ok(Replay::NotDead) => match shared.store.job(&id).await {
            Ok(Some(job)) => {
                let state = match job.status.callback {
                    // The original forgets a job when it is delivered.
                    CallbackState::Delivered => return unknown(),
                    CallbackState::None => "",
                    CallbackState::Pending => "Pending",
                    CallbackState::Delivering => "InProgress",
                    CallbackState::Dead => "Failed",
                };
                line(StatusCode::BAD_REQUEST, format!("Error with callback state of the job {id}: {state}"))
            }
            Ok(None) => unknown(),
            Err(error) => failed(error),
        },
        Err(error) => failed(error),
    }
}

/// `GET /hb`.
pub(super) async fn heartbeat(State(shared): State<Arc<Shared>>) -> Response {
    let Some(path) = shared.settings.heartbeat_path.clone() else { return text("OK") };
    let shown = path.display().to_string();
    let looked = tokio::task::spawn_blocking(move || path.metadata().map(drop)).await;
    match looked {
        Ok(Err(error)) if error.kind() == ErrorKind::NotFound => text("OK"),
        _ => line(StatusCode::SERVICE_UNAVAILABLE, format!("Service disabled, '{shown}' exists!")),
    }
}

/// `GET /stats/{entity}`: what all instances of a role tell, as one.
pub(super) async fn stats(State(shared): State<Arc<Shared>>, uri: Uri) -> Response {
    let whole = uri.path_and_query().map_or("/", |path| path.as_str());
    let entity = last_segment(whole);
    match shared.store.stats(entity).await {
        Err(error) => shared.store_problem(&error).line(""),
        Ok(told) if told.is_empty() => {
            line(StatusCode::NOT_FOUND, format!("Could not find stats for entity {entity}"))
        }
        Ok(told) => open_json(&summed(told.iter().map(|(_, stats)| stats.as_str()))),
    }
}

/// One object of many: figures are added, but for `alive`; flags hold if one holds; objects are summed likewise; of texts the first counts.
fn summed<'a>(told: impl Iterator<Item = &'a str>) -> Map<String, Value> {
    fn join(own: &mut Value, other: Value) {
        match (own, other) {
            (Value::Object(own), Value::Object(other)) => add(own, other),
            (Value::Bool(own), Value::Bool(other)) => *own |= other,
            (own @ Value::Number(_), other @ Value::Number(_)) => {
                *own = match (own.as_i64(), other.as_i64()) {
                    (Some(own), Some(other)) => own.saturating_add(other).into(),
                    _ => json!(own.as_f64().unwrap_or(0.0) + other.as_f64().unwrap_or(0.0)),
                };
            }
            _ => {}
        }
    }
    fn add(sum: &mut Map<String, Value>, other: Map<String, Value>) {
        for (name, value) in other {
            match sum.get_mut(&name) {
                Some(_) if name == "alive" => {}
                Some(own) => join(own, value),
                None => drop(sum.insert(name, value)),
            }
        }
    }
    let mut sum = Map::new();
    for stats in told {
        if let Ok(Value::Object(members)) = serde_json::from_str(stats) {
            add(&mut sum, members);
        }
    }
    sum
}

/// `GET /dashboard/aggregations`: groups with jobs that wait.
pub(super) async fn aggregations(State(shared): State<Arc<Shared>>) -> Response {
    #[derive(Serialize)]
    struct Aggregation {
        name: String,
        size: u64,
    }
    match shared.store.groups().await {
        Err(error) => shared.store_problem(&error).line("Error scanning for aggregation keys: "),
        Ok(groups) => {
            let shown = groups.iter().filter(|group| group.waiting() > 0);
            let each = shown
                .map(|group| Aggregation { name: format!("jobs:{}", group.name), size: group.waiting() });
            open_json(&each.collect::<Vec<_>>())
        }
    }
}

/// `/stats` and `/retry` are found below themselves.
pub(super) async fn with_slash(uri: Uri) -> Response {
    let query = uri.query().map(|query| format!("?{query}")).unwrap_or_default();
    let place = HeaderValue::from_str(&format!("{}/{query}", uri.path()));
    place.map_or_else(
        |_| StatusCode::NOT_FOUND.into_response(),
        |place| (StatusCode::MOVED_PERMANENTLY, [(LOCATION, place)]).into_response(),
    )
}

pub(super) async fn nothing_here() -> Response {
    line(StatusCode::NOT_FOUND, "404 page not found")
}

fn not_post() -> Response {
    let mut response = line(StatusCode::METHOD_NOT_ALLOWED, "Invalid request method");
    response.headers_mut().insert(ALLOW, HeaderValue::from_static("POST"));
    response
}

/// What stands behind the last slash; of `/retry/` itself `retry`.
fn last_segment(path: &str) -> &str {
    let path = path.trim_end_matches('/');
    path.rsplit('/').next().unwrap_or(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn skroutz_71_instances_are_summed() {
        let told = [
            r#"{"alive":1,"workers":2,"sick":false,"load":0.5,"name":"a","inner":{"x":1}}"#,
            r#"{"alive":1,"workers":3,"sick":true,"load":1,"name":"b","inner":{"x":2,"y":3}}"#,
            "broken",
        ];
        let expected = json!({
            "alive": 1, "workers": 5, "sick": true, "load": 1.5, "name": "a", "inner": { "x": 3, "y": 3 },
        });
        assert_eq!(Value::Object(summed(told.into_iter())), expected);
    }

    #[test]
    fn the_last_segment_names_the_job() {
        let cases =
            [("/retry/x", "x"), ("/retry/a/b/x", "x"), ("/retry/", "retry"), ("/stats/p?x=1", "p?x=1")];
        for (path, segment) in cases {
            assert_eq!(last_segment(path), segment, "{path}");
        }
    }
}
