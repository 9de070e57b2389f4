//! What a subscriber of `tracing` is told of a request: one span each, from the request to the head of its reply.
//!
//! Level `DEBUG`, target `downloader_http`. The fields are those of OpenTelemetry's semantic conventions for HTTP client
//! spans (stable since 1.23), so that tools which know them need no mapping; `otel.*` are for a bridge to OpenTelemetry.
//! Three things are our own: `http.connection.reused`; `***` in place of `REDACTED`, and of all query values;
//! `error.type` is a status code, or the words of an [`ErrorKind`](downloader_core::ErrorKind). A redirect, a challenge
//! and a server without `HEAD` lead to further requests of one fetch, which count themselves
//! (`http.request.resend_count`); a retry of the engine is a fetch of its own. The span ends with the head, because
//! nobody can say how far a body will be read.
//!
//! Invariant: no secret is among them; a span that nobody listens to costs next to nothing. Must not know: who listens.

use std::time::Duration;

use downloader_core::{Error, Result, SafeUrl};
use tracing::Span;
use tracing::field::{Empty, display};

use crate::exchange::{Ask, Reply};

/// The span of one request on the wire; `resent` requests of the same fetch came before it.
pub(crate) fn span(ask: &Ask, resent: u32) -> Span {
    let Ask { method, url, .. } = ask;
    tracing::debug_span!(
        target: "downloader_http",
        "request",
        otel.kind = "client",
        otel.name = method.as_str(),
        otel.status_code = Empty,
        http.request.method = method.as_str(),
        http.request.resend_count = (resent > 0).then_some(resent),
        url.full = %url,
        server.address = server_address(url),
        server.port = url.expose().port_or_known_default(),
        http.response.status_code = Empty,
        network.protocol.name = "http",
        network.protocol.version = Empty,
        network.peer.address = Empty,
        network.peer.port = Empty,
        tls.protocol.version = Empty,
        http.connection.reused = Empty,
        error.type = Empty,
    )
}

/// What came of it.
pub(crate) fn record(span: &Span, outcome: &Result<Reply>) {
    if span.is_disabled() {
        return;
    }
    match outcome {
        Ok(reply) => replied(span, reply),
        Err(error) => failed(span, error),
    }
}

fn replied(span: &Span, reply: &Reply) {
    let wire = &reply.wire;
    span.record("http.response.status_code", reply.status.as_u16());
    if let Some(version) = wire.protocol.and_then(|protocol| protocol.strip_prefix("HTTP/")) {
        span.record("network.protocol.version", version);
    }
    if let Some(address) = wire.address {
        span.record("network.peer.address", display(address.ip()));
        span.record("network.peer.port", address.port());
    }
    if reply.status.is_client_error() || reply.status.is_server_error() {
        fault(span, reply.status.as_str());
    }
    let Some(connection) = &wire.connection else { return };
    span.record("http.connection.reused", wire.reused);
    if let Some(version) = connection.tls.and_then(|tls| tls.strip_prefix("TLS ")) {
        span.record("tls.protocol.version", version);
    }
    let _entered = span.enter();
    let seconds = |time: Option<Duration>| time.map(|time| time.as_secs_f64());
    // What an earlier request waited for is not this one's time.
    let made = |time| seconds(time).filter(|_| !wire.reused);
    tracing::debug!(
        target: "downloader_http",
        resolve = made(connection.resolve),
        connect = made(connection.connect),
        handshake = made(connection.handshake),
        first_byte = seconds(wire.first_byte),
        "reply"
    );
}

fn failed(span: &Span, error: &Error) {
    fault(span, error.kind().as_str());
    if let Some(status) = error.status() {
        span.record("http.response.status_code", status);
    }
    if let Some(address) = error.address() {
        span.record("network.peer.address", display(address.ip()));
        span.record("network.peer.port", address.port());
    }
    let _entered = span.enter();
    tracing::debug!(target: "downloader_http", %error, "no reply");
}

fn fault(span: &Span, what: &str) {
    span.record("error.type", what);
    span.record("otel.status_code", "ERROR");
}

/// The host, an IPv6 address without brackets.
fn server_address(url: &SafeUrl) -> Option<&str> {
    url.host().map(|host| host.trim_start_matches('[').trim_end_matches(']'))
}
