//! Owns what is asked of jobs that are in: to be shown, listed, cancelled, and called back again.
//!
//! Invariant: lists are bounded, and go on where the last one ended. Must not know how a job is worked on.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse as _, Response};
use serde_json::{Value, json};

use super::answer::{Problem, json as json_answer};
use super::query::Query;
use super::shared::Shared;
use super::view;
use crate::job::{CallbackState, JobId};
use crate::store::{Cancellation, Filter, MOST_ON_A_PAGE, Page, Replay};

const ON_A_PAGE: usize = 100;
/// How many dead letters one request replays.
const MOST_REPLAYED: usize = 1000;

type Answer = Result<Response, Problem>;

fn answer(answer: Answer) -> Response {
    answer.unwrap_or_else(Problem::into_response)
}

/// `GET /jobs/{id}`.
pub(super) async fn show(State(shared): State<Arc<Shared>>, Path(id): Path<String>) -> Response {
    answer(shared.show(&id).await)
}

/// `GET /jobs`: the newest first.
pub(super) async fn list(State(shared): State<Arc<Shared>>, uri: Uri) -> Response {
    answer(shared.list(&uri, &["group", "download", "callback", "before", "limit"], None).await)
}

/// `GET /dead-letters`: callbacks that were given up.
pub(super) async fn dead_letters(State(shared): State<Arc<Shared>>, uri: Uri) -> Response {
    answer(shared.list(&uri, &["group", "before", "limit"], Some(CallbackState::Dead)).await)
}

/// `DELETE /jobs/{id}`, `POST /jobs/{id}/cancel`.
pub(super) async fn cancel(State(shared): State<Arc<Shared>>, Path(id): Path<String>) -> Response {
    answer(shared.cancel(&id).await)
}

/// `POST /dead-letters/{id}/replay`.
pub(super) async fn replay(State(shared): State<Arc<Shared>>, Path(id): Path<String>) -> Response {
    answer(shared.replay(&id).await)
}

/// `POST /dead-letters/replay`: all of them, or those of a group.
pub(super) async fn replay_all(State(shared): State<Arc<Shared>>, uri: Uri) -> Response {
    answer(shared.replay_all(&uri).await)
}

fn parse(id: &str) -> Result<JobId, Problem> {
    id.parse().map_err(|_| unknown())
}

fn unknown() -> Problem {
    Problem::new(StatusCode::NOT_FOUND, "there is no such job")
}

impl Shared {
    async fn show(&self, id: &str) -> Answer {
        let job = self.store.job(&parse(id)?).await.map_err(|error| self.store_problem(&error))?;
        Ok(json_answer(StatusCode::OK, &view::job(&job.ok_or_else(unknown)?, self.settings.files.as_ref())))
    }

    async fn list(&self, uri: &Uri, known: &[&str], callback: Option<CallbackState>) -> Answer {
        let query = Query::read(uri, known)?;
        let filter = Filter {
            group: query.text("group").map(str::to_owned),
            download: query.word("download")?,
            callback: callback.or(query.word("callback")?),
        };
        let most = query.number("limit")?.unwrap_or(ON_A_PAGE);
        if !(1..=MOST_ON_A_PAGE).contains(&most) {
            return Err(Problem::bad(format!("limit must be from 1 to {MOST_ON_A_PAGE}")));
        }
        let page = self.page(&filter, query.number("before")?, most).await?;
        let jobs: Vec<_> = page.jobs.iter().map(|job| view::job(job, self.settings.files.as_ref())).collect();
        Ok(json_answer(StatusCode::OK, &json!({ "jobs": jobs, "before": page.before })))
    }

    async fn page(&self, filter: &Filter, before: Option<u64>, most: usize) -> Result<Page, Problem> {
        self.store.list(filter, before, most).await.map_err(|error| self.store_problem(&error))
    }

    async fn cancel(&self, id: &str) -> Answer {
        let id = parse(id)?;
        let answer = self.store.cancel(&id).await.map_err(|error| self.store_problem(&error))?;
        let said = |status, state: &str| Ok(json_answer(status, &json!({ "id": id, "cancellation": state })));
        match answer {
            Cancellation::Cancelled => said(StatusCode::OK, "done"),
            Cancellation::Requested => said(StatusCode::ACCEPTED, "requested"),
            Cancellation::TooLate => Err(Problem::new(StatusCode::CONFLICT, "its download has ended")),
            Cancellation::Unknown => Err(unknown()),
        }
    }

    async fn replay(&self, id: &str) -> Answer {
        let id = parse(id)?;
        match self.store.replay(&id).await.map_err(|error| self.store_problem(&error))? {
            Replay::Queued => Ok(json_answer(StatusCode::ACCEPTED, &json!({ "id": id, "replayed": 1 }))),
            Replay::NotDead => Err(Problem::new(StatusCode::CONFLICT, "its callback was not given up")),
            Replay::Unknown => Err(unknown()),
        }
    }

    /// One that another request replays meanwhile is not counted here.
    async fn replay_all(&self, uri: &Uri) -> Answer {
        let query = Query::read(uri, &["group"])?;
        let group = query.text("group").map(str::to_owned);
        let filter = Filter { group, callback: Some(CallbackState::Dead), ..Filter::default() };
        let (mut replayed, mut before) = (0, None);
        loop {
            let page = self.page(&filter, before, MOST_REPLAYED - replayed).await?;
            for job in &page.jobs {
                let answer = self.store.replay(&job.id).await.map_err(|error| self.store_problem(&error))?;
                replayed += usize::from(answer == Replay::Queued);
            }
            before = page.before;
            if before.is_none() || replayed >= MOST_REPLAYED {
                break;
            }
        }
        let more: Value = before.is_some().into();
        Ok(json_answer(StatusCode::ACCEPTED, &json!({ "replayed": replayed, "more": more })))
    }
}
