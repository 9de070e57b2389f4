//! Where the answer to a client comes from: the store, a transfer that is under way, or a new one. What is stored and old is
//! asked about, and served all the same if the upstream cannot be asked. Left out: what clients say of freshness.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::{IntoResponse as _, Response};
use downloader_core::{Engine, Error, ErrorKind, Request, Result, SafeUrl, SingleFlight};

use crate::answer::{Answer, entity};
use crate::entry::{Entry, fields, fields_of};
use crate::keep::Keep;
use crate::store::Store;

pub(crate) struct App {
    pub(crate) upstream: SafeUrl,
    pub(crate) engine: Engine,
    pub(crate) flights: SingleFlight,
    pub(crate) store: Arc<Store>,
}

pub(crate) async fn serve(
    State(app): State<Arc<App>>,
    method: Method,
    uri: Uri,
    asked: HeaderMap,
) -> Response {
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    app.respond(&method, path, &asked).await.unwrap_or_else(|error| {
        let status = StatusCode::from_u16(error.suggested_http_status()).unwrap_or(StatusCode::BAD_GATEWAY);
        (status, format!("{error}\n")).into_response()
    })
}

impl App {
    async fn respond(&self, method: &Method, path: &str, asked: &HeaderMap) -> Result<Response> {
        let url = Some(self.upstream.join(&format!(".{path}"))?);
        let url = url.filter(|url| url.path().starts_with(self.upstream.path()));
        let url = url.ok_or_else(|| Error::new(ErrorKind::NotFound, "not below the upstream's folder"))?;
        let entry = self.store.find(path);
        if let Some(entry) = entry.as_ref().filter(|entry| self.store.is_fresh(entry)) {
            return stored(method, asked, entry, "cache; hit");
        }
        let mut request = Request::get(url.expose().as_str())?;
        if let Some(entry) = &entry {
            request = request.unless(entity(&entry.fields, entry.size));
        } else if method == Method::HEAD {
            let head = self.engine.head(request).await?;
            let fields = fields(&head.extras, head.media_type.as_ref().map(AsRef::as_ref));
            let answer = Answer::new(method, asked, &head.entity);
            return Ok(answer.response(fields, "cache; fwd=miss", Body::empty()));
        }
        // What was stored between our look and now is found here.
        let writer = || match self.store.find(path).filter(|entry| self.store.is_fresh(entry)) {
            Some(entry) => Err(Box::new(entry)),
            None => Ok(Keep::new(&self.store, path)),
        };
        let seat = match self.flights.try_join(request, writer) {
            Ok(seat) => seat,
            Err(entry) => return stored(method, asked, &entry, "cache; hit"),
        };
        let how = if seat.leads() { "cache; fwd=miss; stored" } else { "cache; fwd=miss; collapsed" };
        match (seat.head().await, entry) {
            (Ok(Some(head)), _) => {
                let answer = Answer::new(method, asked, &head.provenance.entity);
                let body = match answer.range() {
                    Some(range) => Body::from_stream(seat.reader(range).await?),
                    None => Body::empty(),
                };
                Ok(answer.response(fields_of(&head.description), how, body))
            }
            (Ok(None), Some(entry)) => {
                self.store.confirm(path);
                stored(method, asked, &entry, "cache; hit; fwd=stale; fwd-status=304")
            }
            (Ok(None), None) => Err(Error::new(ErrorKind::Protocol, "the upstream gave no content")),
            (Err(error), Some(entry)) if error.kind() != ErrorKind::NotFound => {
                stored(method, asked, &entry, "cache; hit; fwd=stale").map_err(|_| error)
            }
            (Err(error), _) => Err(error),
        }
    }
}

fn stored(method: &Method, asked: &HeaderMap, entry: &Entry, how: &'static str) -> Result<Response> {
    let answer = Answer::new(method, asked, &entity(&entry.fields, entry.size));
    let body = answer.range().map_or_else(|| Ok(Body::empty()), |range| entry.read(range));
    Ok(answer.response(entry.fields.clone(), how, body?))
}
