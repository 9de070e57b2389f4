//! Owns the forms of answers: JSON, a line of text, problem details (RFC 9457).
//!
//! Invariant: every answer names its media type, and forbids guessing another. Must not know what is answered.

use std::time::Duration;

use axum::http::header::{
    ACCESS_CONTROL_ALLOW_ORIGIN, CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE,
    X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::store;

const NOSNIFF: (axum::http::HeaderName, &str) = (X_CONTENT_TYPE_OPTIONS, "nosniff");

/// A line of text, as the original answers errors.
pub(super) fn line(status: StatusCode, text: impl AsRef<str>) -> Response {
    let kind = (CONTENT_TYPE, "text/plain; charset=utf-8");
    (status, [kind, NOSNIFF], format!("{}\n", text.as_ref())).into_response()
}

/// Text that is no error, as it is.
pub(super) fn text(text: &'static str) -> Response {
    (StatusCode::OK, [(CONTENT_TYPE, "text/plain; charset=utf-8"), NOSNIFF], text).into_response()
}

/// Jobs and figures change: nobody keeps them.
pub(super) fn json(status: StatusCode, value: &impl Serialize) -> Response {
    let kind = (CONTENT_TYPE, "application/json");
    (status, [kind, NOSNIFF, (CACHE_CONTROL, "no-store")], written(value)).into_response()
}

/// JSON as the original writes it: any page may read it, and in texts `<`, `>` and `&` are escaped.
pub(super) fn open_json(value: &impl Serialize) -> Response {
    let escaped = written(value).replace('<', "\\u003c").replace('>', "\\u003e").replace('&', "\\u0026");
    let head = [(CONTENT_TYPE, "application/json"), (ACCESS_CONTROL_ALLOW_ORIGIN, "*")];
    (StatusCode::OK, head, escaped).into_response()
}

fn written(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("text, numbers and maps with text as keys have a form in JSON")
}

/// Says when to come back.
fn later(mut response: Response, after: Option<Duration>) -> Response {
    if let Some(after) = after {
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(after.as_secs().max(1)));
    }
    response
}

/// Why something was not done (RFC 9457).
#[derive(Debug)]
pub(super) struct Problem {
    pub(super) status: StatusCode,
    pub(super) detail: String,
    members: Map<String, Value>,
    after: Option<Duration>,
}

impl Problem {
    pub(super) fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        Self { status, detail: detail.into(), members: Map::new(), after: None }
    }

    pub(super) fn bad(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, detail)
    }

    /// Says more.
    pub(super) fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.members.insert(name.to_owned(), value.into());
        self
    }

    pub(super) fn later(mut self, after: Duration) -> Self {
        self.after = Some(after);
        self
    }

    /// The members of the document.
    pub(super) fn document(self) -> Value {
        let title = self.status.canonical_reason().unwrap_or_default();
        let mut members = json!({ "title": title, "status": self.status.as_u16(), "detail": self.detail });
        if let Some(object) = members.as_object_mut() {
            object.extend(self.members);
        }
        members
    }

    /// What a failure of the store means to a caller. What lies behind it is told in the log only.
    pub(super) fn of_store(error: &store::Error, after: Duration) -> Self {
        match error.kind() {
            store::ErrorKind::Input => Self::bad(error.to_string()),
            store::ErrorKind::Unavailable => {
                log(error);
                let detail = "the store does not answer; what was asked for may have happened";
                Self::new(StatusCode::SERVICE_UNAVAILABLE, detail).later(after)
            }
            store::ErrorKind::Broken => {
                log(error);
                Self::new(StatusCode::INTERNAL_SERVER_ERROR, "the store holds what makes no sense")
            }
        }
    }

    /// The same as a line of text.
    pub(super) fn line(self, prefix: &str) -> Response {
        later(line(self.status, format!("{prefix}{}", self.detail)), self.after)
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let (status, after) = (self.status, self.after);
        let kind = (CONTENT_TYPE, "application/problem+json");
        let mut response = (status, [kind, NOSNIFF], self.document().to_string()).into_response();
        if status == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        later(response, after)
    }
}

fn log(error: &store::Error) {
    let source = std::error::Error::source(error).map(ToString::to_string);
    tracing::error!(%error, source, "the store failed");
}
