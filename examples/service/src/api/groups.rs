//! Owns what is asked of groups: to be listed, and to go by other settings.
//!
//! Invariant: a change is checked as a whole before any of it holds. Must not know what a limit does.

use std::num::NonZeroU32;
use std::sync::Arc;

use axum::extract::{Path, Request, State};
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse as _, Response};
use downloader_core::net::Proxy;
use serde_json::{Value, json};

use super::answer::{Problem, json as json_answer};
use super::intake::body;
use super::query::Query;
use super::shared::Shared;
use super::view;
use crate::job::{GroupPatch, Patch};

const LONGEST_NAME: usize = 1024;

/// `GET /groups`: those with the most work first.
pub(super) async fn list(State(shared): State<Arc<Shared>>, uri: Uri) -> Response {
    const MOST: usize = 1000;
    let listed = async {
        let most = Query::read(&uri, &["limit"])?.number("limit")?.unwrap_or(MOST);
        let mut groups = shared.store.groups().await.map_err(|error| shared.store_problem(&error))?;
        let total = groups.len();
        groups.sort_by_cached_key(|group| {
            (std::cmp::Reverse((group.running() > 0, group.waiting())), group.name.clone())
        });
        let shown: Vec<_> = groups.iter().take(most).map(view::group).collect();
        Ok(json_answer(StatusCode::OK, &json!({ "groups": shown, "total": total })))
    };
    listed.await.unwrap_or_else(Problem::into_response)
}

/// `PATCH /groups/{name}`: pins a limit or a proxy over what jobs ask for; `null` unpins. What is not named stays (RFC 7396), also when
/// somebody else changes it at the same time.
pub(super) async fn change(
    State(shared): State<Arc<Shared>>,
    Path(name): Path<String>,
    request: Request,
) -> Response {
    shared.change_group(&name, request).await.unwrap_or_else(Problem::into_response)
}

impl Shared {
    async fn change_group(&self, name: &str, request: Request) -> Result<Response, Problem> {
        let bytes = body(request.into_body(), self.settings.body_limit, self.settings.body_timeout).await?;
        if name.is_empty() || name.len() > LONGEST_NAME {
            return Err(Problem::bad(format!("the name of a group has 1 to {LONGEST_NAME} bytes")));
        }
        let patch = read(&bytes)?;
        let group = self.store.configure(name, &patch).await.map_err(|error| self.store_problem(&error))?;
        let unknown =
            || Problem::new(StatusCode::NOT_FOUND, "there is no such group, and no limit to make one with");
        Ok(json_answer(StatusCode::OK, &view::group(&group.ok_or_else(unknown)?)))
    }
}

fn read(text: &[u8]) -> Result<GroupPatch, Problem> {
    let wrong = |field: &str, why: &str| Err(Problem::bad(format!("{field} {why}")).with("field", field));
    let value: Value = serde_json::from_slice(text).map_err(|error| Problem::bad(error.to_string()))?;
    let Value::Object(members) = value else { return Err(Problem::bad("expected a JSON object")) };
    let mut patch = GroupPatch::default();
    for (name, value) in members {
        match (name.as_str(), value) {
            ("limit", Value::Null) => patch.limit = Patch::Unpin,
            ("limit", value) => {
                let limit =
                    value.as_u64().and_then(|limit| u32::try_from(limit).ok()).and_then(NonZeroU32::new);
                let Some(limit) = limit else { return wrong("limit", "must be a whole number from 1 on") };
                patch.limit = Patch::Pin(limit);
            }
            ("proxy", Value::Null) => patch.proxy = Patch::Unpin,
            ("proxy", Value::String(proxy)) => {
                // The engine also takes `host:port`, but then nothing tells a name that was mistaken for a proxy.
                if !proxy.is_empty() && (!proxy.contains("://") || Proxy::parse(&proxy).is_err()) {
                    return wrong(
                        "proxy",
                        "must be empty, or the URL of a proxy: http, https, socks5, socks5h",
                    );
                }
                patch.proxy = Patch::Pin(proxy);
            }
            ("proxy", _) => return wrong("proxy", "must be text or null"),
            (name, _) => return wrong(name, "is not one of limit, proxy"),
        }
    }
    Ok(patch)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn skroutz_60_a_patch_changes_what_it_names() {
        let patch = |text: &str| read(text.as_bytes());
        assert_eq!(patch("{}").expect("fine"), GroupPatch::default());
        let limit = NonZeroU32::new(5).expect("not zero");
        assert_eq!(patch(r#"{"limit":5}"#).expect("fine"), GroupPatch::limit(limit));
        assert_eq!(patch(r#"{"limit":null,"proxy":null}"#).expect("fine"), GroupPatch::unpin());
        assert_eq!(patch(r#"{"proxy":""}"#).expect("fine"), GroupPatch::proxy(""));
        for wrong in [
            "",
            "[]",
            r#"{"limit":0}"#,
            r#"{"limit":1.5}"#,
            r#"{"limit":"2"}"#,
            r#"{"proxy":4}"#,
            r#"{"proxy":"example"}"#,
            r#"{"limits":3}"#,
        ] {
            assert_eq!(patch(wrong).expect_err(wrong).status, StatusCode::BAD_REQUEST, "{wrong}");
        }
    }
}
