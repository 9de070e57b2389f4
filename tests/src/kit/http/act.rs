//! One answer, and everything that can be wrong with it.
//!
//! Owns the vocabulary of misbehaviour. Its invariant: an [`Act::new`] with nothing added is a correct server, and each method changes
//! one thing. It must not know sockets or resources.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;

/// How one request is answered: correctly, but for what was ordered.
///
/// Offsets of cuts, stalls and pauses count the body bytes *of this answer*; [`Act::corrupt_at`] counts bytes of the resource.
#[derive(Clone, Debug, Default)]
pub struct Act {
    pub(super) status: Option<u16>,
    pub(super) body: Option<Bytes>,
    pub(super) raw: Option<Bytes>,
    pub(super) endless: Option<Bytes>,
    pub(super) informational: Vec<(u16, String)>,
    pub(super) headers: Vec<(Vec<u8>, Vec<u8>)>,
    pub(super) without: Vec<String>,
    pub(super) ignore_range: bool,
    pub(super) range_lie: Option<RangeLie>,
    pub(super) if_range: IfRange,
    pub(super) ignore_conditions: bool,
    pub(super) refuse_head: bool,
    pub(super) length: LengthLie,
    pub(super) framing: Framing,
    pub(super) cut: Option<Cut>,
    pub(super) rate: Option<u64>,
    pub(super) stall_at: Option<u64>,
    pub(super) pauses: Vec<(u64, Duration)>,
    pub(super) delay: Option<Duration>,
    pub(super) trickle: Option<Duration>,
    pub(super) never: bool,
    pub(super) corrupt_at: Vec<u64>,
    pub(super) close: Option<Closing>,
    pub(super) tunnel: Option<SocketAddr>,
}

/// What a server can say wrongly about the range it serves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RangeLie {
    /// `Content-Range` claims a start and end moved by this much; the body is the span that was asked for.
    HeaderMoved(i64),
    /// The body is taken from this much further on; `Content-Range` claims the span that was asked for.
    BodyMoved(i64),
    /// An honest 206, of a span moved by this much.
    Moved(i64),
    /// An honest 206, begun `before` bytes earlier and ended `after` bytes later than asked.
    Wider {
        /// Bytes too many at the front.
        before: u64,
        /// Bytes too many at the back.
        after: u64,
    },
    /// An honest 206 of only the first bytes of what was asked: allowed, but seldom seen.
    Narrower(u64),
    /// `Content-Range` with this total.
    Total(u64),
    /// `Content-Range` with `*` for the total: allowed.
    TotalUnknown,
    /// 206 without any `Content-Range`.
    NoContentRange,
    /// `Content-Range` with exactly this text.
    Text(String),
    /// 206 for the whole although no range was asked; asked ranges are served honestly.
    Unasked,
    /// 206 as `multipart/byteranges` with one part.
    Multipart,
    /// 416 with a true total for every range.
    Refused,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum IfRange {
    #[default]
    Proper,
    Ignored,
    Always200,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum LengthLie {
    #[default]
    True,
    Exactly(u64),
    Off(i64),
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum Framing {
    #[default]
    Length,
    Chunked {
        finished: bool,
        trailers: Vec<(String, String)>,
    },
    UntilClose,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cut {
    pub(super) place: Place,
    pub(super) reset: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Head(u64),
    Body(u64),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Closing {
    Said,
    Unsaid,
}

impl Act {
    /// A correct answer.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    // What is answered.

    /// This status with an empty body (or [`Act::body`]), whatever the request asked.
    #[must_use]
    pub fn status(mut self, status: u16) -> Self {
        self.status = Some(status);
        self
    }

    /// This body instead of the resource's; ranges and conditions are not looked at. Status 200 unless given.
    #[must_use]
    pub fn body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = Some(body.into());
        self
    }

    /// 302 with `Location` set to these very bytes.
    #[must_use]
    pub fn redirect(self, location: impl AsRef<[u8]>) -> Self {
        self.redirect_with(302, location)
    }

    /// A redirect with another status: 301, 303, 307, 308, 300.
    #[must_use]
    pub fn redirect_with(self, status: u16, location: impl AsRef<[u8]>) -> Self {
        self.status(status).header("Location", location)
    }

    /// These bytes as the whole answer, head and all; then the connection is closed.
    #[must_use]
    pub fn raw(mut self, answer: impl Into<Bytes>) -> Self {
        self.raw = Some(answer.into());
        self
    }

    /// These bytes, and then `again` for ever: a head, a field, a chunk size or a trailer section without an end.
    #[must_use]
    pub fn endless(self, answer: impl Into<Bytes>, again: impl Into<Bytes>) -> Self {
        Self { endless: Some(again.into()), ..self.raw(answer) }
    }

    /// A 1xx head before the answer. May be given several times.
    #[must_use]
    pub fn informational(self, status: u16) -> Self {
        self.informational_with(status, &[])
    }

    /// A 1xx head with these fields before the answer, such as 103 with `Link`.
    #[must_use]
    pub fn informational_with(mut self, status: u16, fields: &[(&str, &str)]) -> Self {
        let fields = fields.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        self.informational.push((status, fields));
        self
    }

    /// 200, and from then on the connection is a tunnel to `addr`: what a proxy does on `CONNECT`.
    #[must_use]
    pub fn tunnel_to(mut self, addr: SocketAddr) -> Self {
        self.tunnel = Some(addr);
        self
    }

    /// One more header, after the usual ones; the value goes out byte for byte.
    #[must_use]
    pub fn header(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.headers.push((name.as_bytes().to_vec(), value.as_ref().to_vec()));
        self
    }

    /// One header `X-Huge` with a value of `len` bytes.
    #[must_use]
    pub fn huge_header(self, len: usize) -> Self {
        self.header("X-Huge", vec![b'h'; len])
    }

    /// So many headers: `X-Many-0`, `X-Many-1` and on, each with the value `m`.
    #[must_use]
    pub fn many_headers(self, count: usize) -> Self {
        (0..count).fold(self, |act, number| act.header(&format!("X-Many-{number}"), "m"))
    }

    /// Drops one of the usual headers: `ETag`, `Last-Modified`, `Accept-Ranges`, `Content-Type`, `Content-Length`, `Content-Range`.
    #[must_use]
    pub fn without(mut self, name: &str) -> Self {
        self.without.push(name.to_ascii_lowercase());
        self
    }

    /// Claims that the body, sent as it is, was gzipped.
    #[must_use]
    pub fn claim_gzip(self) -> Self {
        self.header("Content-Encoding", "gzip")
    }

    /// HEAD is answered 405.
    #[must_use]
    pub fn refuse_head(mut self) -> Self {
        self.refuse_head = true;
        self
    }

    // Ranges and conditions.

    /// `Range` is ignored: 200, no `Accept-Ranges`.
    #[must_use]
    pub fn no_ranges(mut self) -> Self {
        self.ignore_range = true;
        self
    }

    /// Ranges work, but no header says so.
    #[must_use]
    pub fn no_accept_ranges(self) -> Self {
        self.without("accept-ranges")
    }

    /// Answers ranges with a lie.
    #[must_use]
    pub fn lie_about_range(mut self, lie: RangeLie) -> Self {
        self.range_lie = Some(lie);
        self
    }

    /// `If-Range` is not looked at: the range is served of whatever is there now.
    #[must_use]
    pub fn ignore_if_range(mut self) -> Self {
        self.if_range = IfRange::Ignored;
        self
    }

    /// A request with `If-Range` gets 200, even if it matches.
    #[must_use]
    pub fn always_200_on_if_range(mut self) -> Self {
        self.if_range = IfRange::Always200;
        self
    }

    /// `If-None-Match`, `If-Modified-Since` and `If-Match` are not looked at.
    #[must_use]
    pub fn ignore_conditions(mut self) -> Self {
        self.ignore_conditions = true;
        self
    }

    // Framing.

    /// `Content-Length` says `len`, the body stays as it is. The connection is closed after the body if the two differ.
    #[must_use]
    pub fn content_length(mut self, len: u64) -> Self {
        self.length = LengthLie::Exactly(len);
        self
    }

    /// `Content-Length` is off by this much. The connection is closed after the body.
    #[must_use]
    pub fn length_off_by(mut self, by: i64) -> Self {
        self.length = LengthLie::Off(by);
        self
    }

    /// Chunked, without a length.
    #[must_use]
    pub fn chunked(self) -> Self {
        self.chunked_with(&[])
    }

    /// Chunked, with these trailers, announced by a `Trailer` header.
    #[must_use]
    pub fn chunked_with(mut self, trailers: &[(&str, &str)]) -> Self {
        let trailers =
            trailers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        self.framing = Framing::Chunked { finished: true, trailers };
        self
    }

    /// Chunked, with every byte but without the last chunk: the connection is closed instead.
    #[must_use]
    pub fn chunked_unfinished(mut self) -> Self {
        self.framing = Framing::Chunked { finished: false, trailers: Vec::new() };
        self
    }

    /// No length at all: the body ends when the connection does.
    #[must_use]
    pub fn until_close(mut self) -> Self {
        self.framing = Framing::UntilClose;
        self
    }

    // Cuts.

    /// Closes after `n` body bytes, if there are more.
    #[must_use]
    pub fn cut_at(mut self, n: u64) -> Self {
        self.cut = Some(Cut { place: Place::Body(n), reset: false });
        self
    }

    /// Sends a RST after `n` body bytes, if there are more; a slow reader may get fewer.
    #[must_use]
    pub fn reset_at(mut self, n: u64) -> Self {
        self.cut = Some(Cut { place: Place::Body(n), reset: true });
        self
    }

    /// Closes after `n` bytes of the head; 0 is a close without an answer.
    #[must_use]
    pub fn cut_head_at(mut self, n: u64) -> Self {
        self.cut = Some(Cut { place: Place::Head(n), reset: false });
        self
    }

    /// Sends a RST after `n` bytes of the head; 0 is a reset without an answer.
    #[must_use]
    pub fn reset_head_at(mut self, n: u64) -> Self {
        self.cut = Some(Cut { place: Place::Head(n), reset: true });
        self
    }

    /// Says `Connection: close` and closes after the answer.
    #[must_use]
    pub fn close(mut self) -> Self {
        self.close = Some(Closing::Said);
        self
    }

    /// Closes after the answer without having said so: what a pool finds dead later.
    #[must_use]
    pub fn close_unsaid(mut self) -> Self {
        self.close = Some(Closing::Unsaid);
        self
    }

    // Time.

    /// At most this many body bytes per second.
    #[must_use]
    pub fn rate(mut self, bytes_per_second: u64) -> Self {
        self.rate = Some(bytes_per_second);
        self
    }

    /// After `n` body bytes, nothing more, for ever, with the connection open.
    #[must_use]
    pub fn stall_at(mut self, n: u64) -> Self {
        self.stall_at = Some(n);
        self
    }

    /// After `n` body bytes, silence for a while. May be given several times.
    #[must_use]
    pub fn pause_at(mut self, n: u64, pause: Duration) -> Self {
        self.pauses.push((n, pause));
        self
    }

    /// Silence before the head.
    #[must_use]
    pub fn delay(mut self, delay: Duration) -> Self {
        self.delay = Some(delay);
        self
    }

    /// The head comes byte by byte, this far apart.
    #[must_use]
    pub fn trickle_head(mut self, per_byte: Duration) -> Self {
        self.trickle = Some(per_byte);
        self
    }

    /// No head ever comes; the connection stays open.
    #[must_use]
    pub fn never_answer(mut self) -> Self {
        self.never = true;
        self
    }

    // Content.

    /// The byte at this offset of the resource is flipped; tag and length stay. May be given several times.
    #[must_use]
    pub fn corrupt_at(mut self, offset: u64) -> Self {
        self.corrupt_at.push(offset);
        self
    }
}
