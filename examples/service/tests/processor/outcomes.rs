//! What is told of a download, by what the origin did.
//!
//! Owns rows 26 to 47, 57, 58 and 79. Invariant: fetches are counted at the origin. Must not know how a verdict is found.

use std::time::Duration;

use downloader_service::job::{Ending, Spec};
use downloader_service::processor::AttemptResult;
use downloader_tests::kit::http::{Act, Resource, Server};

use crate::service::{Service, spec};

/// What became of a job on this resource, and how many fetches it took.
async fn told(service: &Service, origin: &Server, resource: Resource) -> (Ending, usize) {
    told_of(service, origin, resource, |_| ()).await
}

async fn told_of(
    service: &Service,
    origin: &Server,
    resource: Resource,
    change: impl FnOnce(&mut Spec),
) -> (Ending, usize) {
    let path = format!("/{}", origin.requests().len());
    origin.put(&path, resource);
    let mut job = spec(origin.url(&path));
    change(&mut job);
    let ending = service.run(job).await;
    (ending, origin.requests_for(&path).len())
}

fn status(status: u16) -> Resource {
    Resource::act(Act::new().status(status))
}

#[tokio::test]
async fn skroutz_26_a_file_is_stored_and_told_of() {
    let (service, origin) = (Service::start(), Server::start().await);
    origin.put("/f", Resource::new("abc"));
    let mut job = spec(origin.url("/f"));
    job.subpath = "a/b".to_owned();
    let id = service.submit(job).await;
    let ending = service.ending(&id).await;
    assert!(ending.success && ending.error.is_empty(), "{ending:?}");
    assert_eq!((ending.response_code, ending.size), (200, Some(3)));
    let path = format!("a/b/{}/{id}", &id.as_str()[..3]);
    assert_eq!(ending.download_url, format!("http://files.example/base/{path}"));
    assert_eq!(ending.location.as_ref().expect("stored").path, path);
    assert_eq!(service.stored(&ending), b"abc");
    assert_eq!(ending.digests["sha-256"], "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    assert_eq!(service.parts(), [""; 0], "nothing is left");
    assert_eq!(service.count(AttemptResult::Done), 1);
    service.stop().await;
}

#[tokio::test]
async fn skroutz_28_refusals_are_final() {
    let (service, origin) = (Service::start(), Server::start().await);
    for (code, text) in [
        (400, "400 Bad Request"),
        (401, "401 Unauthorized"),
        (403, "403 Forbidden"),
        (404, "404 Not Found"),
        (410, "410 Gone"),
        (451, "451 Unavailable For Legal Reasons"),
    ] {
        let (ending, fetches) = told(&service, &origin, status(code)).await;
        assert_eq!((ending.success, ending.response_code, fetches), (false, code, 1), "{}", ending.error);
        assert!(ending.error.contains(text) && ending.download_url.is_empty(), "{}", ending.error);
    }
    service.stop().await;
}

#[tokio::test]
async fn skroutz_29_who_asks_for_time_gets_it() {
    let (service, origin) = (Service::start(), Server::start().await);
    for code in [408, 425, 429] {
        let resource = Resource::new("abc").first(Act::new().status(code));
        let (ending, fetches) = told(&service, &origin, resource).await;
        assert_eq!((ending.success, fetches), (true, 2), "{code}: {}", ending.error);
    }
    let (ending, fetches) = told(&service, &origin, status(429)).await;
    assert_eq!((ending.success, ending.response_code, fetches), (false, 429, 3));
    let resource = Resource::new("abc").first(Act::new().status(429).header("Retry-After", "2"));
    let (ending, _) = told(&service, &origin, resource).await;
    assert!(ending.success);
    let requests = origin.requests();
    let [.., first, second] = &requests[..] else { panic!("two requests") };
    assert!(second.at - first.at >= Duration::from_secs(2), "{:?}", second.at - first.at);
    service.stop().await;
}

#[tokio::test]
async fn skroutz_30_faults_of_the_origin_are_tried_three_times() {
    let (service, origin) = (Service::start(), Server::start().await);
    for code in [500, 502, 503, 504, 599] {
        let (ending, fetches) = told(&service, &origin, status(code)).await;
        assert_eq!((ending.success, ending.response_code, fetches), (false, code, 3), "{}", ending.error);
        assert!(ending.error.contains(&format!("Received status code {code}")), "{}", ending.error);
    }
    service.stop().await;
}

#[tokio::test]
async fn skroutz_31_32_33_attempts_are_counted() {
    let (service, origin) = (Service::start(), Server::start().await);
    let fails_first = |codes: &[u16]| {
        codes.iter().fold(Resource::new("abc"), |resource, code| resource.then(Act::new().status(*code)))
    };
    let (ending, fetches) = told(&service, &origin, fails_first(&[500, 503])).await;
    assert_eq!((ending.success, ending.error.as_str(), fetches), (true, "", 3));
    for retries in [0, 1] {
        let (ending, fetches) =
            told_of(&service, &origin, status(500), |job| job.max_retries = Some(retries)).await;
        assert_eq!((ending.success, ending.response_code, fetches), (false, 500, retries as usize + 1));
    }
    let (ending, fetches) =
        told_of(&service, &origin, fails_first(&[503, 503, 503]), |job| job.max_retries = Some(5)).await;
    assert_eq!((ending.success, fetches), (true, 4));
    service.stop().await;
}

#[tokio::test]
async fn skroutz_34_42_empty_files() {
    let (service, origin) = (Service::start(), Server::start().await);
    for (resource, code) in [(status(204), 204), (Resource::new(""), 200)] {
        let (ending, _) = told(&service, &origin, resource).await;
        assert_eq!(
            (ending.success, ending.response_code, ending.size),
            (true, code, Some(0)),
            "{}",
            ending.error
        );
        assert_eq!(service.stored(&ending), b"");
    }
    service.stop().await;
}

#[tokio::test]
async fn skroutz_35_what_is_no_whole_content_fails_at_once() {
    let (service, origin) = (Service::start(), Server::start().await);
    let part = Resource::act(Act::new().status(206).body("abc").header("Content-Range", "bytes 0-2/9"));
    for (resource, code) in [(part, 206), (status(304), 304), (status(300), 300), (status(301), 301)] {
        let (ending, fetches) = told(&service, &origin, resource).await;
        assert_eq!((ending.success, fetches), (false, 1), "{code}: {}", ending.error);
        assert!(ending.response_code == code && ending.error.contains(&code.to_string()), "{ending:?}");
    }
    service.stop().await;
}

/// A chain of so many redirects; the first URL of it.
fn chain(origin: &Server, redirects: usize, last: Resource) -> String {
    for step in 0..redirects {
        origin.put(&format!("/hop{step}"), Resource::act(Act::new().redirect(format!("/hop{}", step + 1))));
    }
    origin.put(&format!("/hop{redirects}"), last);
    origin.url("/hop0")
}

#[tokio::test]
async fn skroutz_36_37_38_39_redirects() {
    let (service, origin) = (Service::start(), Server::start().await);
    let nine = service.run(spec(chain(&origin, 9, Resource::new("abc")))).await;
    assert_eq!((nine.success, nine.response_code), (true, 200), "{}", nine.error);
    let missing = service.run(spec(chain(&origin, 1, status(404)))).await;
    assert_eq!((missing.success, missing.response_code), (false, 404), "{}", missing.error);
    for target in ["file:///etc/passwd", "ftp://127.0.0.1/f"] {
        let (ending, fetches) = told(&service, &origin, Resource::act(Act::new().redirect(target))).await;
        assert_eq!((ending.success, fetches), (false, 1), "{}", ending.error);
    }
    let ten = chain(&origin, 10, Resource::new("abc"));
    origin.put("/loop", Resource::act(Act::new().redirect("/loop")));
    for url in [ten, origin.url("/loop")] {
        let before = origin.requests().len();
        let ending = service.run(spec(url)).await;
        assert!(!ending.success && ending.error.contains("stopped after 10 redirects"), "{}", ending.error);
        assert!(origin.requests().len() - before <= 10, "one try");
    }
    service.stop().await;
}

#[tokio::test]
async fn skroutz_40_41_bodies_that_end_early() {
    let (service, origin) = (Service::start(), Server::start().await);
    let short = || Resource::new("abcdefghij").always(Act::new().cut_at(4));
    let broken = || Resource::new("abcdefghij").always(Act::new().chunked_unfinished());
    let garbled =
        || Resource::act(Act::new().raw("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n"));
    for resource in [short(), broken(), garbled()] {
        let (ending, fetches) = told(&service, &origin, resource).await;
        assert_eq!((ending.success, ending.response_code, fetches), (false, 200, 3), "{}", ending.error);
        assert!(ending.error.contains("unexpected EOF"), "{}", ending.error);
    }
    let (ending, _) = told_of(&service, &origin, short(), |job| job.mime_type = "image/png".to_owned()).await;
    assert!(ending.error.contains("unexpected EOF") && !ending.error.contains("mime"), "{}", ending.error);
    service.stop().await;
}

#[tokio::test]
async fn skroutz_44_nobody_there() {
    let service = Service::start();
    let port =
        std::net::TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address").port();
    let refused = service.run(spec(format!("http://127.0.0.1:{port}/f"))).await;
    assert!(refused.error.contains("connection refused") && refused.response_code == 0, "{}", refused.error);
    assert_eq!(service.count(AttemptResult::Again), 2, "retried");
    let unknown = service.run(spec("http://no-such-host.invalid/f")).await;
    assert!(unknown.error.contains("no such host") && unknown.response_code == 0, "{}", unknown.error);
    assert_eq!(service.count(AttemptResult::Again), 4, "retried");
    service.stop().await;
}

#[tokio::test]
async fn skroutz_45_46_certificates_and_what_only_looks_like_them() {
    let (service, origin) = (Service::start(), Server::start_tls().await);
    origin.put("/f", Resource::new("abc"));
    let ending = service.run(spec(origin.url("/f"))).await;
    assert!(ending.error.contains("TLS Error") && ending.error.contains("x509"), "{}", ending.error);
    assert_eq!((ending.response_code, service.count(AttemptResult::Again)), (0, 0), "one try");
    let port =
        std::net::TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address").port();
    let refused = service.run(spec(format!("http://127.0.0.1:{port}/atlsb/x509"))).await;
    assert!(!refused.error.contains("TLS Error"), "{}", refused.error);
    assert_eq!(service.count(AttemptResult::Again), 2, "retried");
    service.stop().await;
}

#[tokio::test]
async fn skroutz_47_the_time_of_an_attempt() {
    let (service, origin) = (Service::start(), Server::start().await);
    let in_a_second = |job: &mut Spec| (job.download_timeout, job.max_retries) = (Some(1), Some(0));
    for (act, code) in [(Act::new().never_answer(), 0), (Act::new().stall_at(3), 200)] {
        let resource = Resource::new("abcdefghij").always(act);
        let (ending, _) = told_of(&service, &origin, resource, in_a_second).await;
        assert!(ending.error.contains("deadline exceeded"), "{}", ending.error);
        assert_eq!((ending.success, ending.response_code), (false, code), "{}", ending.error);
    }
    service.stop().await;
}

#[tokio::test]
async fn skroutz_58_headers_of_the_service_and_of_the_job() {
    let service = Service::with(|settings| {
        let fields = [("User-Agent", "service"), ("X-Service", "1")];
        settings.request_headers = fields.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    });
    let origin = Server::start().await;
    let (ending, _) = told_of(&service, &origin, Resource::new("abc"), |job| {
        let fields = [("user-agent", "job"), ("Host", "elsewhere"), ("X-Job", "2")];
        job.request_headers = fields.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    })
    .await;
    assert!(ending.success, "{}", ending.error);
    let request = &origin.requests()[0];
    let [agent, ours, job] = ["user-agent", "x-service", "x-job"].map(|name| request.header(name));
    assert_eq!((agent, ours, job), (Some("job"), Some("1"), Some("2")));
    assert_ne!(request.header("host"), Some("elsewhere"), "it has no effect");
    service.stop().await;
}

#[tokio::test]
async fn skroutz_79_addresses_within_are_not_reached() {
    let service = Service::with(|settings| settings.guard = Some(downloader_core::Guard::public()));
    let origin = Server::start().await;
    origin.put("/f", Resource::new("abc"));
    for url in [
        origin.url("/f"),
        origin.url_at("localhost", "/f"),
        "http://10.0.0.1/".to_owned(),
        "http://[::1]/".to_owned(),
        "http://169.254.169.254/".to_owned(),
    ] {
        let ending = service.run(spec(url)).await;
        assert!(!ending.success && ending.error.contains("the address guard forbids"), "{}", ending.error);
    }
    assert_eq!((service.count(AttemptResult::Again), origin.requests().len()), (0, 0));
    service.stop().await;
}

#[tokio::test]
async fn skroutz_79_nor_by_a_redirect() {
    let (service, origin) = (Service::start(), Server::start().await);
    let (ending, fetches) =
        told(&service, &origin, Resource::act(Act::new().redirect("http://127.0.0.2/"))).await;
    assert!(!ending.success && ending.error.contains("the address guard forbids"), "{}", ending.error);
    assert_eq!(fetches, 1);
    service.stop().await;
}

#[tokio::test]
async fn mirrors_serve_where_the_first_place_does_not() {
    let (service, origin) = (Service::start(), Server::start().await);
    origin.put("/mirror", Resource::new("abc"));
    let (ending, fetches) =
        told_of(&service, &origin, status(500), |job| job.mirrors = vec![origin.url("/mirror")]).await;
    assert_eq!((ending.success, fetches), (true, 1), "{}", ending.error);
    service.stop().await;
}
