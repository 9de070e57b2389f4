//! What a subscriber of `tracing` is told of a request: one span each, from the request to the head of its reply.
//!
//! The fields have the names of OpenTelemetry's semantic conventions for HTTP client spans (1.23 and later), so that
//! tools which know those need no mapping. Level `DEBUG`, target `downloader_http`. Invariant: no secret is among them;
//! a span that nobody listens to costs next to nothing. Must not know: who listens.

use downloader_core::{Error, Result, SafeUrl};
use http::Method;
use tracing::Span;
use tracing::field::Empty;

use crate::exchange::Reply;

/// The span of one request on the wire.
pub(crate) fn span(method: &Method, url: &SafeUrl) -> Span {
    tracing::debug_span!(
        target: "downloader_http",
        "request",
        otel.kind = "client",
        otel.name = %method,
        http.request.method = %method,
        url.full = %url,
        server.address = url.host(),
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
    span.record("http.connection.reused", wire.reused);
    if let Some(version) = wire.protocol.and_then(|protocol| protocol.strip_prefix("HTTP/")) {
        span.record("network.protocol.version", version);
    }
    if let Some(address) = wire.address {
        span.record("network.peer.address", tracing::field::display(address.ip()));
        span.record("network.peer.port", address.port());
    }
    let tls = wire.connection.as_ref().and_then(|connection| connection.tls);
    if let Some(version) = tls.and_then(|tls| tls.strip_prefix("TLS ")) {
        span.record("tls.protocol.version", version);
    }
    if reply.status.is_client_error() || reply.status.is_server_error() {
        span.record("error.type", reply.status.as_str());
    }
    let _entered = span.enter();
    tracing::debug!(target: "downloader_http", first_byte = ?wire.first_byte, "reply");
}

fn failed(span: &Span, error: &Error) {
    span.record("error.type", error.kind().as_str());
    if let Some(address) = error.address() {
        span.record("network.peer.address", tracing::field::display(address.ip()));
        span.record("network.peer.port", address.port());
    }
    let _entered = span.enter();
    tracing::debug!(target: "downloader_http", %error, "no reply");
}
