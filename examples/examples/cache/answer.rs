//! What a client is answered: the whole, a part, that its copy is current (RFC 9110 §13), or that its range is none. The same for
//! what is stored and for what is still on its way. Left out: several ranges in one answer, which RFC 9110 permits.

use axum::body::Body;
use axum::http::header::{
    ACCEPT_RANGES, CONTENT_LENGTH, CONTENT_RANGE, ETAG, IF_MODIFIED_SINCE, IF_NONE_MATCH, LAST_MODIFIED,
};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use axum::response::{IntoResponse as _, Response};
use downloader_core::{ByteRange, Entity};
use downloader_http::RangePlan;

pub(crate) struct Answer {
    /// `None`: the client's copy is current.
    plan: Option<RangePlan>,
    body: bool,
    size: Option<u64>,
}

impl Answer {
    pub(crate) fn new(method: &Method, asked: &HeaderMap, entity: &Entity) -> Self {
        // Of a size nobody knows a part cannot be described; and only GET has ranges.
        let ranges = method == Method::GET && entity.size.is_some();
        let plan = if ranges { RangePlan::of(asked, entity) } else { RangePlan::Whole };
        let plan = Some(plan).filter(|_| !is_current(asked, entity));
        Self { plan, body: method == Method::GET, size: entity.size }
    }

    /// The bytes that are sent.
    pub(crate) fn range(&self) -> Option<ByteRange> {
        self.plan.filter(|_| self.body).and_then(|plan| plan.range())
    }

    pub(crate) fn response(self, mut fields: HeaderMap, how: &'static str, body: Body) -> Response {
        fields.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
        fields.insert(HeaderName::from_static("cache-status"), HeaderValue::from_static(how));
        let Some(plan) = self.plan else {
            return (StatusCode::NOT_MODIFIED, fields).into_response();
        };
        let length = match plan {
            RangePlan::Whole => self.size,
            RangePlan::Part(range) => range.len(),
            RangePlan::Unsatisfiable { .. } => Some(0),
        };
        fields.extend(plan.content_range(self.size).map(|value| (CONTENT_RANGE, value)));
        fields.extend(length.map(|length| (CONTENT_LENGTH, HeaderValue::from(length))));
        (plan.status(), fields, body).into_response()
    }
}

/// Is the copy that the client has the current content? Tags are compared weakly, and go before dates.
fn is_current(asked: &HeaderMap, entity: &Entity) -> bool {
    let opaque = |tag: &str| tag.trim().trim_start_matches("W/").to_owned();
    if asked.contains_key(IF_NONE_MATCH) {
        let own = entity.tag.as_ref().map(|tag| opaque(tag.as_str()));
        let lists = asked.get_all(IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
        return lists
            .flat_map(|list| list.split(','))
            .any(|tag| tag.trim() == "*" || Some(opaque(tag)) == own);
    }
    let since =
        asked.get(IF_MODIFIED_SINCE).and_then(|value| httpdate::parse_http_date(value.to_str().ok()?).ok());
    matches!((entity.modified, since), (Some(modified), Some(since)) if modified <= since)
}

/// The entity that the fields of a stored answer describe.
pub(crate) fn entity(fields: &HeaderMap, size: u64) -> Entity {
    let text = |name| fields.get(name).and_then(|value| value.to_str().ok());
    let mut entity = Entity::sized(size);
    entity.tag = text(ETAG).and_then(|tag| tag.parse().ok());
    entity.modified = text(LAST_MODIFIED).and_then(|date| httpdate::parse_http_date(date).ok());
    entity
}
