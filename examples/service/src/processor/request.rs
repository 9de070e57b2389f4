//! Owns the way from a job to a request of the engine. Pure, but for the look-up of a proxy.
//!
//! Invariant: whatever a job asks for is either in the request, or it is an error. Must not know stores or leases.

use std::collections::BTreeMap;
use std::time::Duration;

use downloader_checks::{ImageSize, MediaType};
use downloader_core::net::{Proxies, Proxy, ProxyProtocol};
use downloader_core::validate::{Algorithm, Digest};
use downloader_core::{Error, ErrorKind, Guard, Rate, Request, Result};
use downloader_http::{ContentCoding, DecodeLimits, RequestHeaders};
use url::Url;

use super::Settings;
use crate::job::Spec;

/// Fields that the original takes and that change nothing: they are of a connection, or of how a request is framed.
const WITHOUT_EFFECT: [&str; 10] = [
    "connection",
    "content-length",
    "expect",
    "host",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// The request of a job.
///
/// # Errors
/// Kind `Input` for what cannot be asked for, with the reason.
pub(super) fn of(spec: &Spec, settings: &Settings, proxies: Option<Proxies>) -> Result<Request> {
    let sources = [&spec.url].into_iter().chain(&spec.mirrors).map(String::as_str);
    let mut request = Request::mirrors(sources)?.priority(spec.priority.into());
    let (headers, coding) = headers(&settings.request_headers, &spec.request_headers)?;
    request = request.option(headers).option(coding);
    request = request.check(MediaType::parse(&spec.mime_type)?);
    if spec.extract_image_size {
        request = request.check(ImageSize::new());
    }
    for digest in &spec.digests {
        request = request.check(Digest::parse(digest)?);
    }
    if settings.record_sha256 && !spec.digests.iter().any(|digest| digest.starts_with("sha-256=")) {
        request = request.check(Digest::record(Algorithm::Sha256));
    }
    if let Some(size) = spec.size {
        request = request.size(size);
    }
    if let Some(largest) = settings.largest {
        request = request.max_size(largest);
    }
    if let Some(seconds) = spec.download_timeout {
        request = request.deadline(Duration::from_secs(seconds.into()));
    }
    if let Some(rate) = spec.bytes_per_second {
        request = request.rate(Rate::per_second(rate));
    }
    if let Some(proxies) = proxies {
        request = request.option(proxies);
    }
    Ok(request)
}

/// The fields of the service with those of the job over them, by name, whatever its case (`skroutz 58`); and what is to be done with
/// encodings: who says which he accepts gets them as they come, everybody else gets the content (`skroutz 57`).
fn headers(
    service: &BTreeMap<String, String>,
    job: &BTreeMap<String, String>,
) -> Result<(RequestHeaders, ContentCoding)> {
    let mut fields = BTreeMap::new();
    for (name, value) in service.iter().chain(job) {
        fields.insert(name.to_ascii_lowercase(), value.as_str());
    }
    let coding = match fields.remove("accept-encoding") {
        Some(accepted) => ContentCoding::Accept(accepted.parse()?),
        None => ContentCoding::Decode(DecodeLimits::default()),
    };
    fields.retain(|name, _| !WITHOUT_EFFECT.contains(&name.as_str()));
    let lines: Vec<_> = fields.iter().map(|(name, value)| format!("{name}: {value}")).collect();
    Ok((RequestHeaders::parse(lines.iter().map(String::as_str))?, coding))
}

/// The proxy of a group, which a caller named: it is held against the guard like any other address, and then asked by the address that
/// passed, so that a second look-up cannot lead elsewhere. One over TLS is asked by its name, which its certificate has to have.
///
/// # Errors
/// Kind `Refused` when the guard forbids it, `Proxy` when it has no address, `Input` when it is no proxy.
pub(super) async fn proxies(text: &str, guard: Option<&Guard>) -> Result<Proxies> {
    let proxy = Proxy::parse(text)?;
    let Some(guard) = guard else { return Ok(Proxies::new([proxy])) };
    let (host, port) = (proxy.host(), proxy.port());
    let found = tokio::net::lookup_host((host, port)).await;
    let found = found.map_err(|error| {
        Error::new(ErrorKind::Proxy, format!("the name {host} of the proxy has no address"))
            .with_source(error)
    })?;
    let allowed = guard.filter(host, found.map(|address| address.ip()), port);
    let allowed = allowed.map_err(|error| Error::new(error.kind(), format!("proxy: {}", error.what())))?;
    if proxy.protocol() == ProxyProtocol::Https {
        return Ok(Proxies::new([proxy]));
    }
    let by_address = |address: &std::net::SocketAddr| {
        let url = if text.contains("://") {
            Url::parse(text.trim())
        } else {
            Url::parse(&format!("http://{}", text.trim()))
        };
        let mut url = url.map_err(|error| Error::input(format!("proxy: {error}")))?;
        url.set_ip_host(address.ip()).map_err(|()| Error::input("proxy: expected a URL with a host"))?;
        Proxy::parse(url.as_str())
    };
    Ok(Proxies::new(allowed.iter().map(by_address).collect::<Result<Vec<_>>>()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(fields: &[(&str, &str)]) -> BTreeMap<String, String> {
        fields.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect()
    }

    #[test]
    fn skroutz_58_of_two_fields_of_one_name_the_jobs_counts() {
        let service = map(&[("User-Agent", "service"), ("X-A", "1")]);
        let (headers, _) =
            headers(&service, &map(&[("user-agent", "job"), ("Host", "h"), ("Connection", "close")]))
                .expect("fields");
        assert_eq!(format!("{headers:?}"), r#"RequestHeaders["user-agent", "x-a"]"#);
    }

    #[test]
    fn skroutz_57_who_names_encodings_gets_them() {
        let coding = |fields: &[(&str, &str)]| headers(&map(&[]), &map(fields)).expect("fields").1;
        assert!(matches!(coding(&[]), ContentCoding::Decode(_)));
        assert!(matches!(coding(&[("Accept-encoding", "gzip")]), ContentCoding::Accept(_)));
    }

    #[test]
    fn what_would_change_which_bytes_come_is_refused() {
        let error = headers(&map(&[]), &map(&[("Range", "bytes=0-1")])).expect_err("refused");
        assert!(error.what().contains("range"), "{error}");
    }

    #[tokio::test]
    async fn a_proxy_of_a_group_is_held_against_the_guard() {
        let guard = Guard::public();
        for inside in ["http://127.0.0.1:3128", "127.0.0.1:1", "socks5://[::1]:1080", "http://localhost:1"] {
            let error = proxies(inside, Some(&guard)).await.expect_err(inside);
            assert_eq!(error.kind(), ErrorKind::Refused, "{error}");
            assert!(proxies(inside, None).await.is_ok());
        }
        let allowed = Guard::public().allow_network("127.0.0.1").expect("an address");
        for proxy in ["http://u:p@localhost:3128", "socks5://u:p@localhost:1080", "socks5h://localhost"] {
            let found = format!("{:?}", proxies(proxy, Some(&allowed)).await.expect(proxy));
            assert!(found.contains("127.0.0.1") && !found.contains("localhost"), "{found}");
        }
    }
}
