//! Requests off the wire: heads, and content by length or in chunks.
//!
//! Owns the reading of what clients send. Its invariant: nothing is read beyond the limits, and bytes after a request stay for the next.
//! It must not know how a request is answered.

use std::io;

use bytes::{Buf as _, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::time::Instant;

use super::record::Request;

pub(super) const HEAD_LIMIT: usize = 1 << 20;
const BODY_LIMIT: usize = 16 << 20;

/// The next request; `None` when the peer closed between two.
pub(super) async fn read_request(
    reader: &mut (impl AsyncRead + Unpin),
    unread: &mut BytesMut,
    connection: u64,
    nth: u64,
) -> io::Result<Option<Request>> {
    let end = loop {
        // RFC 9112 2.2: empty lines before a request are skipped.
        while unread.starts_with(b"\r\n") {
            unread.advance(2);
        }
        if let Some(end) = unread.windows(4).position(|four| four == b"\r\n\r\n") {
            break end;
        }
        if unread.len() > HEAD_LIMIT {
            return Err(io::ErrorKind::InvalidData.into());
        }
        if !matches!(reader.read_buf(unread).await, Ok(1..)) {
            return Ok(None);
        }
    };
    let head = unread.split_to(end + 4);
    let mut request = parse_head(&head[..end], connection, nth).ok_or(io::ErrorKind::InvalidData)?;
    let mut content = Content { reader, unread, taken: Vec::new() };
    let whole = if request.header("transfer-encoding").is_some() {
        content.chunked().await?
    } else {
        let len = request.header("content-length").and_then(|len| len.parse().ok()).unwrap_or(0);
        content.take(len).await?
    };
    request.body = content.taken;
    Ok(whole.map(|()| request))
}

/// The content of one request; every step is `None` when the peer left before its end.
struct Content<'a, R> {
    reader: &'a mut R,
    unread: &'a mut BytesMut,
    taken: Vec<u8>,
}

impl<R: AsyncRead + Unpin> Content<'_, R> {
    async fn take(&mut self, len: usize) -> io::Result<Option<()>> {
        if self.taken.len().saturating_add(len) > BODY_LIMIT {
            return Err(io::ErrorKind::InvalidData.into());
        }
        while self.unread.len() < len {
            if !matches!(self.reader.read_buf(self.unread).await, Ok(1..)) {
                return Ok(None);
            }
        }
        self.taken.extend_from_slice(&self.unread.split_to(len));
        Ok(Some(()))
    }

    /// RFC 9112 section 7.1; extensions and trailers are read and forgotten.
    async fn chunked(&mut self) -> io::Result<Option<()>> {
        loop {
            let Some(line) = self.line().await? else { return Ok(None) };
            let size = line.split(';').next().unwrap_or_default().trim();
            let size = usize::from_str_radix(size, 16).map_err(|_| io::ErrorKind::InvalidData)?;
            if size == 0 {
                break;
            }
            if self.take(size).await?.is_none() || self.line().await?.is_none() {
                return Ok(None);
            }
        }
        loop {
            match self.line().await? {
                None => return Ok(None),
                Some(line) if line.is_empty() => return Ok(Some(())),
                Some(_) => {}
            }
        }
    }

    async fn line(&mut self) -> io::Result<Option<String>> {
        loop {
            if let Some(end) = self.unread.windows(2).position(|two| two == b"\r\n") {
                let line = self.unread.split_to(end + 2);
                return Ok(Some(String::from_utf8_lossy(&line[..end]).into_owned()));
            }
            if self.unread.len() > HEAD_LIMIT {
                return Err(io::ErrorKind::InvalidData.into());
            }
            if !matches!(self.reader.read_buf(self.unread).await, Ok(1..)) {
                return Ok(None);
            }
        }
    }
}

fn parse_head(head: &[u8], connection: u64, nth: u64) -> Option<Request> {
    let mut lines = head.split(|byte| *byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    let first = lines.next()?;
    let space = first.iter().position(|byte| *byte == b' ')?;
    let last = first.iter().rposition(|byte| *byte == b' ').filter(|last| *last > space)?;
    let mut headers = Vec::new();
    for line in lines {
        let colon = line.iter().position(|byte| *byte == b':')?;
        headers
            .push((String::from_utf8(line[..colon].to_vec()).ok()?, line[colon + 1..].trim_ascii().to_vec()));
    }
    Some(Request {
        method: String::from_utf8(first[..space].to_vec()).ok()?,
        target: first[space + 1..last].to_vec(),
        headers,
        body: Vec::new(),
        connection,
        nth,
        at: Instant::now(),
        status: None,
        body_sent: 0,
        end: None,
    })
}
