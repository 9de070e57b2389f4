//! Owns the way of submissions into the store: by `POST /download`, one by one or as a batch by `POST /jobs`.
//!
//! Invariant: a job is answered for after the store has it, never before. Must not know what a submission says; it is read elsewhere.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Request, State};
use axum::http::header::{CONTENT_TYPE, LOCATION};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse as _, Response};
use http_body_util::LengthLimitError;
use serde_json::{Value, json};
use tokio::time::timeout;

use super::answer::{Problem, json as json_answer};
use super::shared::Shared;
use crate::job::{JobId, Refusal, Submission};
use crate::store::{MOST_IN_A_BATCH, Receipt, Result};

/// Of 80 bits at random none was ever taken; more tries than this mean that something else is wrong.
const TRIES: usize = 3;

/// What became of one submission.
#[derive(Debug)]
pub(super) enum Outcome {
    Accepted(JobId),
    Known(JobId),
    KeyOfAnother(JobId),
    NoId,
    Full,
}

impl Shared {
    /// Takes jobs in, with names of their own.
    pub(super) async fn take_in(&self, submissions: Vec<Submission>) -> Result<Vec<Outcome>> {
        let mut answers: Vec<_> = submissions.iter().map(|_| Outcome::NoId).collect();
        let mut left: Vec<_> = submissions.into_iter().enumerate().collect();
        for _ in 0..TRIES {
            let batch: Vec<_> =
                left.iter().map(|(_, submission)| (JobId::random(), submission.clone())).collect();
            let ids: Vec<_> = batch.iter().map(|(id, _)| id.clone()).collect();
            let receipts = self.store.submit(batch).await?;
            let mut again = Vec::new();
            for (((at, submission), id), receipt) in left.into_iter().zip(ids).zip(receipts) {
                answers[at] = match receipt {
                    Receipt::Accepted => Outcome::Accepted(id),
                    Receipt::Known(id) => Outcome::Known(id),
                    Receipt::KeyTaken(id) => Outcome::KeyOfAnother(id),
                    Receipt::Full => Outcome::Full,
                    Receipt::IdTaken => {
                        again.push((at, submission));
                        Outcome::NoId
                    }
                };
            }
            left = again;
            if left.is_empty() {
                break;
            }
        }
        let count = |kind: fn(&Outcome) -> bool| answers.iter().filter(|taken| kind(taken)).count();
        self.counts.accepted.add(count(|taken| matches!(taken, Outcome::Accepted(_))));
        self.counts.turned_away.add(count(|taken| matches!(taken, Outcome::Full | Outcome::NoId)));
        Ok(answers)
    }

    /// Is there room for more? `Err` tells what to answer if not.
    pub(super) async fn has_room(&self) -> Result<(), Problem> {
        let sick = self.disks_are_sick().await.map_err(|error| self.store_problem(&error))?;
        if sick {
            self.counts.turned_away.add(1);
            return Err(self.turned_away("the disks of the processors are full"));
        }
        Ok(())
    }

    pub(super) fn turned_away(&self, why: &str) -> Problem {
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, why).later(self.settings.retry_after)
    }

    pub(super) fn store_problem(&self, error: &crate::store::Error) -> Problem {
        Problem::of_store(error, self.settings.retry_after)
    }

    /// The one answer for the one submission, or why there is no job.
    pub(super) fn judged(&self, outcome: Outcome) -> Result<(JobId, bool), Problem> {
        match outcome {
            Outcome::Accepted(id) => Ok((id, true)),
            Outcome::Known(id) => Ok((id, false)),
            Outcome::KeyOfAnother(id) => {
                let detail = "the idempotency key belongs to a job that asked for something else";
                Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, detail).with("id", id.as_str()))
            }
            Outcome::Full => Err(self.turned_away("the store is full")),
            Outcome::NoId => Err(Problem::new(
                StatusCode::INTERNAL_SERVER_ERROR,
                format!("Could not find unique ID after {TRIES} tries"),
            )),
        }
    }
}

/// Reads a body of at most `most` bytes in its time.
pub(super) async fn body(body: Body, most: usize, time: Duration) -> Result<Bytes, Problem> {
    match timeout(time, to_bytes(body, most)).await {
        Ok(Ok(bytes)) => Ok(bytes),
        Ok(Err(error)) => {
            let too_long = std::error::Error::source(&error)
                .is_some_and(<dyn std::error::Error>::is::<LengthLimitError>);
            Err(if too_long {
                Problem::new(StatusCode::PAYLOAD_TOO_LARGE, format!("more than {most} bytes"))
            } else {
                Problem::bad("the connection broke")
            })
        }
        Err(_) => Err(Problem::new(StatusCode::REQUEST_TIMEOUT, format!("not there after {time:?}"))),
    }
}

/// The key of `Idempotency-Key`, with or without the quotes of the draft. Where the body has one too, that counts.
pub(super) fn keyed(mut submission: Submission, fields: &HeaderMap) -> Result<Submission, Problem> {
    const LONGEST: usize = 255;
    let Some(value) = fields.get("idempotency-key") else { return Ok(submission) };
    let key = value.to_str().unwrap_or_default().trim().trim_matches('"');
    if key.is_empty() || key.len() > LONGEST {
        return Err(Problem::bad(format!("Idempotency-Key must have 1 to {LONGEST} ASCII characters")));
    }
    submission.spec.idempotency_key.get_or_insert_with(|| key.to_owned());
    Ok(submission)
}

/// `POST /jobs`: an object is one job; an array, or lines of `application/x-ndjson`, are a batch.
pub(super) async fn submit(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    match taken(&shared, request).await {
        Ok(response) => response,
        Err(problem) => problem.into_response(),
    }
}

async fn taken(shared: &Shared, request: Request) -> Result<Response, Problem> {
    let settings = &shared.settings;
    let (head, content) = request.into_parts();
    let bytes = body(content, settings.batch_limit, settings.body_timeout).await?;
    shared.has_room().await?;
    let kind = head.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let lines = ["application/x-ndjson", "application/jsonl"].iter().any(|known| kind.starts_with(known));
    if lines {
        let lines = bytes.split(|byte| *byte == b'\n').filter(|line| !line.trim_ascii().is_empty());
        return batch(shared, lines.map(<[u8]>::to_vec).collect()).await;
    }
    if bytes.trim_ascii_start().first() == Some(&b'[') {
        let values: Vec<Value> =
            serde_json::from_slice(&bytes).map_err(|error| Problem::bad(error.to_string()))?;
        return batch(shared, values.iter().map(|value| value.to_string().into_bytes()).collect()).await;
    }
    if bytes.len() > settings.body_limit {
        let detail = format!("more than {} bytes", settings.body_limit);
        return Err(Problem::new(StatusCode::PAYLOAD_TOO_LARGE, detail));
    }
    let submission =
        Submission::parse(&bytes, &settings.rules).map_err(|refusal| refused(shared, &refusal))?;
    let submission = keyed(submission, &head.headers)?;
    let taken = shared.take_in(vec![submission]).await.map_err(|error| shared.store_problem(&error))?;
    let Some(taken) = taken.into_iter().next() else { return Err(Problem::bad("nothing was sent")) };
    let (id, new) = shared.judged(taken)?;
    let status = if new { StatusCode::CREATED } else { StatusCode::OK };
    let mut response = json_answer(status, &json!({ "id": id }));
    if let Ok(place) = HeaderValue::from_str(&format!("/jobs/{id}")) {
        response.headers_mut().insert(LOCATION, place);
    }
    Ok(response)
}

/// Each is taken in or refused by itself; answers are in order.
async fn batch(shared: &Shared, texts: Vec<Vec<u8>>) -> Result<Response, Problem> {
    if texts.len() > MOST_IN_A_BATCH {
        let detail = format!("a batch of {} jobs, more than {MOST_IN_A_BATCH}", texts.len());
        return Err(Problem::new(StatusCode::PAYLOAD_TOO_LARGE, detail));
    }
    let mut submissions = Vec::new();
    let mut refusals = Vec::new();
    for text in &texts {
        let read = if text.len() > shared.settings.body_limit {
            Err(Problem::new(
                StatusCode::PAYLOAD_TOO_LARGE,
                format!("more than {} bytes", shared.settings.body_limit),
            ))
        } else {
            Submission::parse(text, &shared.settings.rules).map_err(|refusal| refused(shared, &refusal))
        };
        refusals.push(read.map(|submission| submissions.push(submission)).err());
    }
    let taken = shared.take_in(submissions).await.map_err(|error| shared.store_problem(&error))?;
    let mut taken = taken.into_iter();
    let mut accepted = 0;
    let results: Vec<_> = refusals
        .into_iter()
        .map(|refusal| {
            let judged = match (refusal, &mut taken) {
                (Some(problem), _) => Err(problem),
                (None, taken) => shared.judged(taken.next().unwrap_or(Outcome::NoId)),
            };
            judged.map_or_else(Problem::document, |(id, new)| {
                accepted += 1;
                json!({ "status": if new { 201 } else { 200 }, "id": id })
            })
        })
        .collect();
    let refused = results.len() - accepted;
    Ok(json_answer(StatusCode::OK, &json!({ "accepted": accepted, "refused": refused, "results": results })))
}

fn refused(shared: &Shared, refusal: &Refusal) -> Problem {
    shared.counts.refused.add(1);
    let problem = Problem::bad(refusal.to_string());
    match refusal.field {
        Some(field) => problem.with("field", field),
        None => problem,
    }
}
