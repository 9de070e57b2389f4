//! A streamer: an axum server that serves the files below an upstream URL, healed and in order, nothing stored.
//!
//! `streamer UPSTREAM`, a URL that ends with a slash. A client that goes away drops the body, which ends the download.
//! Left out: digests (the last block is then held back until they agree), conditions, storing (see `cache`), `HEAD` without `GET`.

#![allow(clippy::print_stdout, reason = "it is a program")]

use axum::body::Body;
use axum::extract::State;
use axum::http::header::{CONTENT_LENGTH, CONTENT_RANGE, RANGE};
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::{Router, routing};
use downloader_core::{Engine, Entity, Error, ErrorKind, Request, Result, SafeUrl};
use downloader_http::{Http, RangePlan, ResponseHead, forwardable};

type App = (Engine, SafeUrl);

async fn serve(State((engine, upstream)): State<App>, uri: Uri, fields: HeaderMap) -> Response {
    answer(&engine, &upstream, uri.path(), &fields).await.unwrap_or_else(|error| {
        let status = StatusCode::from_u16(error.suggested_http_status()).unwrap_or(StatusCode::BAD_GATEWAY);
        (status, format!("{error}\n")).into_response()
    })
}

async fn answer(engine: &Engine, upstream: &SafeUrl, path: &str, fields: &HeaderMap) -> Result<Response> {
    let url = Some(upstream.join(&format!(".{path}"))?).filter(|url| url.path().starts_with(upstream.path()));
    let url = url.ok_or_else(|| Error::new(ErrorKind::NotFound, "not below the upstream's folder"))?;
    let request = Request::get(url.expose().as_str())?;
    let wanted = fields.contains_key(RANGE); // what it means depends on the size: the head first
    let entity = if wanted { engine.head(request.clone()).await?.entity } else { Entity::default() };
    let plan = RangePlan::of(fields, &entity);
    let Some(range) = plan.range() else {
        let range = plan.content_range(entity.size).map(|value| [(CONTENT_RANGE, value)]);
        return Ok((plan.status(), range, "").into_response());
    };
    // It returns with the head: until here an error is a status, later it cuts the body.
    let streamer = engine.stream(request.range(range)).await?;
    let head = streamer.extras().get::<ResponseHead>();
    let mut headers = head.map(|head| forwardable(&head.headers)).unwrap_or_default();
    let length = streamer.content_length().map(HeaderValue::from);
    let part = (plan != RangePlan::Whole).then(|| RangePlan::Part(streamer.range()));
    let part = part.and_then(|part| part.content_range(streamer.entity().size));
    for (name, value) in [(CONTENT_LENGTH, length), (CONTENT_RANGE, part)] {
        headers.remove(&name);
        headers.extend(value.map(|value| (name, value)));
    }
    Ok((plan.status(), headers, Body::from_stream(streamer)).into_response())
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let upstream = std::env::args().nth(1).ok_or_else(|| Error::input("expected UPSTREAM"))?;
    let engine = Engine::builder().backend(Http::builder().build()?).build();
    let app = Router::new().route("/{*path}", routing::get(serve));
    let local = |error| Error::local("listen", error);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.map_err(local)?;
    println!("http://{}/", listener.local_addr().map_err(local)?);
    axum::serve(listener, app.with_state((engine, SafeUrl::parse(&upstream)?))).await.map_err(local)
}
