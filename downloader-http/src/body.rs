//! The bytes of a body, counted against the range it announced.
//!
//! Invariant: exactly the bytes of the range come out, or an error with the offset reached; after the end or an
//! error the connection is let go at once. Must not know: statuses, fields, who reads.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use downloader_core::{ByteRange, Error, ErrorKind, Result, SafeUrl};
use futures_util::Stream;
use futures_util::stream::BoxStream;

/// The stream of a body that announced `range`. Errors name this URL.
pub(crate) fn counted<S>(stream: S, range: ByteRange, url: SafeUrl) -> BoxStream<'static, Result<Bytes>>
where
    S: Stream<Item = Result<Bytes>> + Send + Unpin + 'static,
{
    Box::pin(Counted { stream: Some(stream), at: range.start, end: range.end, url })
}

struct Counted<S> {
    stream: Option<S>,
    at: u64,
    end: Option<u64>,
    url: SafeUrl,
}

impl<S: Stream<Item = Result<Bytes>> + Unpin> Stream for Counted<S> {
    type Item = Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes>>> {
        let this = &mut *self;
        let Some(stream) = &mut this.stream else { return Poll::Ready(None) };
        let error = match ready!(Pin::new(stream).poll_next(cx)) {
            Some(Ok(chunk)) => {
                let behind = this.at + chunk.len() as u64;
                if this.end.is_none_or(|end| behind <= end) {
                    this.at = behind;
                    return Poll::Ready(Some(Ok(chunk)));
                }
                Error::new(ErrorKind::Protocol, "more bytes than announced")
            }
            Some(Err(error)) => error,
            // The client library checks `Content-Length`; a chunked part ends wherever it likes.
            None if this.end.is_some_and(|end| this.at < end) => {
                Error::new(ErrorKind::Truncated, "body ended before its time")
            }
            None => {
                this.stream = None;
                return Poll::Ready(None);
            }
        };
        this.stream = None;
        Poll::Ready(Some(Err(error.with_url(&this.url).with_offset(this.at))))
    }
}

#[cfg(test)]
mod tests {
    use futures_util::{FutureExt, StreamExt, stream};

    use super::*;

    fn read(range: ByteRange, chunks: Vec<Result<Bytes>>) -> Vec<Result<usize, String>> {
        let body = counted(stream::iter(chunks), range, "http://h/f?k=secret".parse().unwrap());
        let items = body.map(|item| item.map(|chunk| chunk.len()).map_err(|error| error.to_string()));
        items.collect().now_or_never().unwrap()
    }

    fn chunk(len: usize) -> Result<Bytes> {
        Ok(Bytes::from(vec![0; len]))
    }

    #[test]
    fn a_body_of_its_range_ends_well() {
        assert_eq!(read(ByteRange::new(5, 10), vec![chunk(3), chunk(0), chunk(2)]), [Ok(3), Ok(0), Ok(2)]);
        assert_eq!(read(ByteRange::starting_at(5), vec![chunk(3)]), [Ok(3)]);
        assert_eq!(read(ByteRange::new(0, 0), vec![]), []);
    }

    #[test]
    fn a_short_body_says_where_it_ended() {
        let cut = "truncated: body ended before its time: http://h/f?k=*** at byte 8".to_owned();
        assert_eq!(read(ByteRange::new(5, 10), vec![chunk(3)]), [Ok(3), Err(cut)]);
    }

    #[test]
    fn bytes_behind_the_end_do_not_get_out() {
        let more = "protocol: more bytes than announced: http://h/f?k=*** at byte 8".to_owned();
        assert_eq!(read(ByteRange::new(5, 10), vec![chunk(3), chunk(3), chunk(1)]), [Ok(3), Err(more)]);
    }

    #[test]
    fn an_error_ends_the_body() {
        let broken = Err(Error::new(ErrorKind::Truncated, "cut"));
        let cut = "truncated: cut: http://h/f?k=*** at byte 7".to_owned();
        assert_eq!(read(ByteRange::starting_at(5), vec![chunk(2), broken, chunk(1)]), [Ok(2), Err(cut)]);
    }
}
