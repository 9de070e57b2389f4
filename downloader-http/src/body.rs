//! The bytes of a body, counted against the range it announced, and held against what was told of them.
//!
//! Invariant: exactly the bytes of the range come out, or an error with the offset reached; the last of them only
//! if they are what was told. After the end or an error the connection is let go at once. Must not know: statuses,
//! fields, who reads.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use downloader_core::{ByteRange, Check, Error, ErrorKind, Result, SafeUrl};
use futures_util::Stream;
use futures_util::stream::BoxStream;

/// The stream of a body that announced `range`; all its bytes must pass `check`. Errors name this URL.
pub(crate) fn counted<S>(
    stream: S,
    range: ByteRange,
    check: Option<Box<dyn Check>>,
    url: SafeUrl,
) -> BoxStream<'static, Result<Bytes>>
where
    S: Stream<Item = Result<Bytes>> + Send + Unpin + 'static,
{
    Box::pin(Counted {
        stream: Some(stream),
        start: range.start,
        at: range.start,
        end: range.end,
        check,
        url,
    })
}

struct Counted<S> {
    stream: Option<S>,
    start: u64,
    at: u64,
    end: Option<u64>,
    /// Until the last byte came.
    check: Option<Box<dyn Check>>,
    url: SafeUrl,
}

impl<S> Counted<S> {
    /// More bytes came, and the range ends at the last of them if `last`.
    fn check(&mut self, chunk: &[u8], last: bool) -> Result<()> {
        let Some(mut check) = self.check.take() else { return Ok(()) };
        check.update(chunk)?;
        if last {
            check.finish()?;
        } else {
            self.check = Some(check);
        }
        Ok(())
    }
}

impl<S: Stream<Item = Result<Bytes>> + Unpin> Stream for Counted<S> {
    type Item = Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes>>> {
        let this = &mut *self;
        let Some(stream) = &mut this.stream else { return Poll::Ready(None) };
        let error = match ready!(Pin::new(stream).poll_next(cx)) {
            Some(Ok(chunk)) => {
                let behind = this.at + chunk.len() as u64;
                if this.end.is_some_and(|end| behind > end) {
                    Error::new(ErrorKind::Protocol, "more bytes than announced")
                } else if let Err(error) = this.check(&chunk, this.end == Some(behind)) {
                    let what = format!(
                        "bytes {} to {behind} are not what was told of them: {}",
                        this.start,
                        error.what()
                    );
                    Error::new(error.kind(), what)
                } else {
                    this.at = behind;
                    return Poll::Ready(Some(Ok(chunk)));
                }
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
    use downloader_core::Validator;
    use downloader_core::validate::Digest;
    use futures_util::{FutureExt, StreamExt, stream};

    use super::*;

    fn read(range: ByteRange, chunks: Vec<Result<Bytes>>) -> Vec<Result<usize, String>> {
        checked(range, chunks, None)
    }

    fn checked(
        range: ByteRange,
        chunks: Vec<Result<Bytes>>,
        digest: Option<&str>,
    ) -> Vec<Result<usize, String>> {
        let check = digest.map(|digest| digest.parse::<Digest>().unwrap().start());
        let body = counted(stream::iter(chunks), range, check, "http://h/f?k=secret".parse().unwrap());
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

    /// The last bytes do not get out before all were found right: whoever counts them never has a complete wrong part.
    #[test]
    fn a_part_is_held_against_what_was_told_of_it() {
        let zeros = Some("md5=ca9c491ac66b2c62500882e93f3719a8"); // of five
        let range = ByteRange::new(5, 10);
        assert_eq!(checked(range, vec![chunk(3), chunk(0), chunk(2)], zeros), [Ok(3), Ok(0), Ok(2)]);
        let items = checked(range, vec![chunk(3), Ok(Bytes::from_static(b"\0\x01"))], zeros);
        let [Ok(3), Err(error)] = &items[..] else { panic!("{items:?}") };
        assert!(
            error.starts_with("integrity: bytes 5 to 10 are not what was told of them: md5 is "),
            "{error}"
        );
        assert!(
            error.ends_with("expected ca9c491ac66b2c62500882e93f3719a8: http://h/f?k=*** at byte 8"),
            "{error}"
        );
        // A cut is a cut: what came may yet be right.
        let cut = checked(range, vec![chunk(3)], zeros);
        assert!(matches!(&cut[..], [Ok(3), Err(error)] if error.starts_with("truncated")), "{cut:?}");
    }
}
