//! Rows pulp K1 to K3: what a client of ours asks for with `Range` and `If-Range`, answered from an upstream, nothing
//! stored.
//!
//! Invariant: an answer is compared with the slice of the content that its own `Content-Range` names. Must not know: how
//! a range is fetched. K2 with saving belongs to the store.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

mod rows;

use std::time::Duration;

use downloader_core::retry::Constant;
use downloader_core::{ByteRange, Engine, Entity, Error, Request};
use downloader_http::{RangePlan, if_range_holds};
use downloader_tests::kit::{Act, Content, Resource, Rng, Server};
use http::header::{IF_RANGE, RANGE};
use http::{HeaderMap, HeaderValue};
use rows::{KIB, engine, read, soon};

/// What the client gets.
#[derive(Debug, PartialEq)]
struct Answer {
    status: u16,
    content_range: Option<String>,
    length: Option<u64>,
    body: Vec<u8>,
}

fn fields(range: Option<&str>, if_range: Option<&str>) -> HeaderMap {
    let mut fields = HeaderMap::new();
    for (name, value) in [(RANGE, range), (IF_RANGE, if_range)] {
        if let Some(value) = value {
            fields.insert(name, HeaderValue::from_str(value).unwrap());
        }
    }
    fields
}

/// A `GET` of a client, answered as an embedder does: planned with what is known, fetched, planned again with what came.
async fn answer(engine: &Engine, url: &str, client: &HeaderMap, known: &Entity) -> Result<Answer, Error> {
    let mut plan = RangePlan::of(client, known);
    for _ in 0..3 {
        let Some(range) = plan.range() else { break };
        let request = Request::get(url)?.range(range);
        let streamer = soon("the head", engine.stream(request)).await?;
        let size = streamer.entity().size;
        let planned = RangePlan::of(client, streamer.entity());
        if planned.range().is_some_and(|range| !is_same(range, streamer.range(), size))
            || planned.range().is_none()
        {
            plan = planned;
            continue;
        }
        let (status, length) = (planned.status().as_u16(), streamer.content_length());
        let (body, error) = read(streamer).await;
        let told = planned.content_range(size).map(|value| value.to_str().unwrap().to_owned());
        return error.map_or(Ok(Answer { status, content_range: told, length, body }), Err);
    }
    let told = plan.content_range(None).map(|value| value.to_str().unwrap().to_owned());
    Ok(Answer { status: plan.status().as_u16(), content_range: told, length: Some(0), body: Vec::new() })
}

fn is_same(planned: ByteRange, streamed: ByteRange, size: Option<u64>) -> bool {
    planned.start == streamed.start && planned.end.or(size) == streamed.end.or(size)
}

/// The client's fields, and the answer they must have: status, `Content-Range`, span.
type Case = (Option<&'static str>, u16, Option<&'static str>, std::ops::Range<u64>);

const CASES: [Case; 19] = [
    (None, 200, None, 0..1000),
    (Some("bytes=0-0"), 206, Some("bytes 0-0/1000"), 0..1),
    (Some("bytes=2-4"), 206, Some("bytes 2-4/1000"), 2..5),
    (Some("bytes=999-999"), 206, Some("bytes 999-999/1000"), 999..1000),
    (Some("bytes=0-"), 206, Some("bytes 0-999/1000"), 0..1000),
    (Some("bytes=990-"), 206, Some("bytes 990-999/1000"), 990..1000),
    (Some("bytes=-3"), 206, Some("bytes 997-999/1000"), 997..1000),
    (Some("bytes=-5000"), 206, Some("bytes 0-999/1000"), 0..1000),
    (Some("bytes=990-5000"), 206, Some("bytes 990-999/1000"), 990..1000),
    (Some("bytes=990-99999999999999999999"), 206, Some("bytes 990-999/1000"), 990..1000),
    (Some("bytes=1000-"), 416, Some("bytes */1000"), 0..0),
    (Some("bytes=5000-6000"), 416, Some("bytes */1000"), 0..0),
    (Some("bytes=99999999999999999999-"), 416, Some("bytes */1000"), 0..0),
    (Some("bytes=-0"), 416, Some("bytes */1000"), 0..0),
    (Some("bytes=0-1,5-6"), 200, None, 0..1000),
    (Some("bytes=4-2"), 200, None, 0..1000),
    (Some("bytes=a-b"), 200, None, 0..1000),
    (Some("bytes="), 200, None, 0..1000),
    (Some("items=0-5"), 200, None, 0..1000),
];

#[tokio::test]
async fn pulp_k1_every_form_of_a_range_has_its_answer() {
    let server = Server::start().await;
    let content = Content::new(1, 1000);
    server.put("/tagged", Resource::of(content.clone()).etag("\"a\""));
    server.put("/bare", Resource::of(content.clone()));
    server.put("/no-ranges", Resource::of(content.clone()).always(Act::new().no_ranges()));
    let engine = engine().build();
    for path in ["/tagged", "/bare", "/no-ranges"] {
        let url = server.url(path);
        let head = soon("the head", engine.head(Request::get(url.as_str()).unwrap())).await.unwrap();
        // With what is known of the content beforehand, and with nothing.
        for known in [head.entity, Entity::default()] {
            for (range, status, content_range, span) in CASES {
                let case = format!("{path}, {range:?}, known: {}", known.size.is_some());
                let got = soon(&case, answer(&engine, &url, &fields(range, None), &known)).await;
                let got = got.unwrap_or_else(|error| panic!("{case}: {error:?}"));
                let expected = Answer {
                    status,
                    content_range: content_range.map(str::to_owned),
                    length: Some(span.end - span.start),
                    body: content.slice(span).to_vec(),
                };
                assert_eq!(got, expected, "{case}");
            }
        }
    }
}

#[tokio::test]
async fn pulp_k1_of_an_empty_content() {
    let server = Server::start().await;
    server.put("/f", Resource::new(Vec::new()).etag("\"a\""));
    let engine = engine().build();
    let url = server.url("/f");
    let whole = Answer { status: 200, content_range: None, length: Some(0), body: Vec::new() };
    let nothing = Answer {
        status: 416,
        content_range: Some("bytes */0".to_owned()),
        length: Some(0),
        body: Vec::new(),
    };
    for known in [Entity::sized(0), Entity::default()] {
        for (range, expected) in [(None, &whole), (Some("bytes=0-0"), &nothing), (Some("bytes=5-"), &nothing)]
        {
            let got = soon("an answer", answer(&engine, &url, &fields(range, None), &known)).await.unwrap();
            assert_eq!(&got, expected, "{range:?}, {known:?}");
        }
        let got =
            soon("an answer", answer(&engine, &url, &fields(Some("bytes=-5"), None), &known)).await.unwrap();
        assert!(got.body.is_empty() && got.status != 206, "{got:?}");
    }
}

#[tokio::test]
async fn pulp_k1_if_range_decides_between_the_part_and_the_whole() {
    let server = Server::start().await;
    let content = Content::new(1, 1000);
    server.put("/f", Resource::of(content.clone()).etag("\"a\""));
    let engine = engine().build();
    let url = server.url("/f");
    let entity = soon("the head", engine.head(Request::get(url.as_str()).unwrap())).await.unwrap().entity;
    for (if_range, part) in [("\"a\"", true), ("\"b\"", false), ("W/\"a\"", false), ("nonsense", false)] {
        let client = fields(Some("bytes=10-19"), Some(if_range));
        assert_eq!(if_range_holds(&client, &entity), part, "{if_range}");
        for known in [&entity, &Entity::default()] {
            let got = soon("an answer", answer(&engine, &url, &client, known)).await.unwrap();
            assert_eq!(got.status, if part { 206 } else { 200 }, "{if_range}");
            let span = if part { 10..20 } else { 0..1000 };
            assert_eq!(got.body, content.slice(span), "{if_range}");
        }
    }
}

#[tokio::test]
async fn pulp_k2_only_the_needed_span_is_asked_of_upstream() {
    let server = Server::start().await;
    let content = Content::new(2, 8 * 1024 * KIB);
    server.put("/f", Resource::of(content.clone()).etag("\"a\""));
    let engine = engine().build();
    let url = server.url("/f");
    let known = soon("the head", engine.head(Request::get(url.as_str()).unwrap())).await.unwrap().entity;
    let spans = [
        ("bytes=5000000-5009999", 5_000_000..5_010_000),
        ("bytes=-1000", content.len() - 1000..content.len()),
    ];
    for (range, span) in spans {
        let (sent, asked) = (server.body_sent(), server.requests().len());
        let got = soon(range, answer(&engine, &url, &fields(Some(range), None), &known)).await.unwrap();
        assert_eq!((got.status, &got.body[..]), (206, &content.slice(span.clone())[..]));
        let requests = server.requests().split_off(asked);
        assert_eq!(requests.len(), 1);
        assert!(requests[0].range().unwrap().starts_with(&format!("bytes={}-", span.start)), "{requests:?}");
        assert_eq!(server.body_sent() - sent, span.end - span.start, "not a byte more");
    }
}

#[tokio::test]
async fn pulp_k3_a_range_survives_drops_upstream() {
    let server = Server::start().await;
    let content = Content::new(3, 400 * KIB);
    let reference = content.bytes();
    let engine = engine().retry(Constant::new(Duration::from_millis(1), 5)).build();
    let mut rng = Rng::new(11);
    for round in 0..60 {
        let start = rng.below(content.len() - 1);
        let end = start + 1 + rng.below(content.len() - start);
        let length = end - start;
        let cuts = [rng.below(length + 1), rng.below(length + 1)];
        let resource =
            Resource::of(content.clone()).first(Act::new().cut_at(cuts[0])).then(Act::new().cut_at(cuts[1]));
        // Proof of identity, or none; ranges, or the whole from zero again.
        let resource = if round % 2 == 0 { resource.etag("\"a\"") } else { resource };
        let resource = if round % 3 == 0 { resource.always(Act::new().no_ranges()) } else { resource };
        let path = format!("/{round}");
        server.put(&path, resource);
        let text = format!("bytes={start}-{}", end - 1);
        let known = Entity::sized(content.len());
        let got = soon(&text, answer(&engine, &server.url(&path), &fields(Some(&text), None), &known)).await;
        let got = got.unwrap_or_else(|error| panic!("round {round}, {text}, cut at {cuts:?}: {error:?}"));
        assert_eq!(got.status, 206);
        assert_eq!(got.content_range.unwrap(), format!("bytes {start}-{}/{}", end - 1, content.len()));
        assert!(
            got.body == reference[start as usize..end as usize],
            "round {round}, {text}, cut at {cuts:?}"
        );
    }
}

#[tokio::test]
async fn pulp_k3_a_range_of_a_content_that_changes_ends_in_an_error() {
    let server = Server::start().await;
    let (content, other) = (Content::new(4, 400 * KIB), Content::new(5, 400 * KIB));
    let engine = engine().retry(Constant::new(Duration::from_millis(1), 5)).build();
    for tags in [Some(("\"a\"", "\"b\"")), None] {
        let resource = |content: &Content, tag: Option<&str>| {
            tag.into_iter().fold(Resource::of(content.clone()), Resource::etag)
        };
        let changed = resource(&other, tags.map(|tags| tags.1));
        let script = resource(&content, tags.map(|tags| tags.0)).first(Act::new().cut_at(50_000));
        server.put("/f", script.change_after(1, changed));
        let request = Request::get(server.url("/f")).unwrap().range(ByteRange::new(100_000, 300_000));
        let (body, error) = read(soon("the head", engine.stream(request)).await.unwrap()).await;
        assert_eq!(error.unwrap().kind(), downloader_core::ErrorKind::Changed);
        assert!(content.slice(100_000..300_000).starts_with(&body) && body.len() <= 50_000);
    }
}
