//! Opening a file: the handle, what the server tells of the content, and the first bytes with it.
//!
//! Invariant: what is told of a body comes from the handle that its bytes are read through. Must not know: connections.
//!
//! Two round trips to the first bytes, and none behind the last: with the handle in hand, the attributes, a read and the
//! attributes again are asked for at once, and nobody waits for the handle to be closed.

use std::time::{Duration, SystemTime};

use downloader_core::{Body, ByteRange, Entity, Error, Fetch, Result, Splice};
use futures_util::stream::{self, StreamExt as _};
use tokio::time::Instant;

use crate::body::{Reading, Source};
use crate::error::{Stage, classify};
use crate::protocol::{Attributes, Kind, Reply, Request, Status};
use crate::session::Call;
use crate::transport::{Lease, wire};

/// A file changed less long ago, by the clock of this machine, may change again without its time showing it: that has
/// whole seconds, and the clocks of two machines differ.
const SETTLED: Duration = Duration::from_secs(60);

/// The first read, asked for before anything was known of the file.
#[derive(Debug)]
pub(crate) struct First {
    /// Its number.
    pub(crate) read: u32,
    /// Bytes asked for.
    pub(crate) length: u32,
    /// The number of the question for the attributes behind it.
    pub(crate) check: u32,
    /// What came before the attributes.
    pub(crate) early: Vec<(u32, Reply)>,
}

/// Opens the file behind a path.
pub(crate) async fn open(lease: Lease, fetch: &Fetch, path: &[u8]) -> Result<Body> {
    let begin = Instant::now();
    let mut call = lease.session().call();
    ask(&mut call, &[Request::Open { path }])?;
    let handle = match answer(&mut call).await?.1 {
        Reply::Handle(handle) => handle,
        other => return Err(classify(other, Stage::Head)),
    };
    lease.session().saw_round_trip(begin.elapsed());
    call.hold(handle.clone());

    // Bytes that may not be wanted are not asked for.
    let wants_bytes = fetch.body && fetch.unless.is_none() && !fetch.range.is_empty();
    let length = first_length(&fetch.range, lease.session().longest_read());
    let attributes = Request::Fstat { handle: &handle };
    let read = Request::Read { handle: &handle, offset: fetch.range.start, length };
    let all = [attributes, read, attributes];
    let id = ask(&mut call, if wants_bytes { &all } else { &all[..1] })?;
    let (told, early) = attributes_of(&mut call, id).await?;
    require_file(&told)?;
    let mut first =
        wants_bytes.then(|| First { read: id.wrapping_add(1), length, check: id.wrapping_add(2), early });
    let mut entity = entity_of(&told);
    if let Some(first) = &mut first
        && told.size.is_none_or(|size| size == 0)
    {
        // Files that are made while they are read have no size, and yet bytes.
        entity.size = size_by_reading(&mut call, first, told.size).await?;
    }

    let (connection, reused) = (lease.connection().clone(), lease.reused);
    let is_current = fetch.unless.as_ref().is_some_and(|held| held.splice(&entity, true) == Splice::Proven);
    let mut body = if is_current {
        Body::not_modified(entity)
    } else {
        let range = within(&fetch.range, entity.size, fetch.body);
        let told = Attributes { size: entity.size, ..told };
        let source = Source { call, lease, handle, url: fetch.url.clone() };
        let stream = if range.is_empty() {
            stream::empty().boxed()
        } else {
            Reading::new(source, told, range, first).boxed()
        };
        Body::new(entity, range, stream)
    };
    body.seekable = true;
    body.wire = wire(connection, reused, begin);
    Ok(body)
}

fn ask(call: &mut Call, requests: &[Request<'_>]) -> Result<u32> {
    call.send(requests).map_err(|end| classify(end, Stage::Head))
}

async fn answer(call: &mut Call) -> Result<(u32, Reply)> {
    call.next().await.map_err(|end| classify(end, Stage::Head))
}

/// The answer to this question, and what came before it.
async fn attributes_of(call: &mut Call, id: u32) -> Result<(Attributes, Vec<(u32, Reply)>)> {
    let mut early = Vec::new();
    loop {
        match answer(call).await? {
            (answered, Reply::Attributes(attributes)) if answered == id => return Ok((attributes, early)),
            // It can do without: then nothing is known of the file.
            (answered, Reply::Status(Status { code: 8, .. })) if answered == id => {
                return Ok((Attributes::default(), early));
            }
            (answered, other) if answered == id => return Err(classify(other, Stage::Head)),
            other => early.push(other),
        }
    }
}

/// Zero if there is nothing to read; else unknown until the end.
async fn size_by_reading(call: &mut Call, first: &mut First, told: Option<u64>) -> Result<Option<u64>> {
    loop {
        if let Some((_, reply)) = first.early.iter().find(|(id, _)| *id == first.read) {
            let is_at_end = matches!(reply, Reply::Status(Status { code: Status::EOF, .. }));
            return Ok(told.filter(|_| is_at_end));
        }
        first.early.push(answer(call).await?);
    }
}

fn first_length(range: &ByteRange, longest: u32) -> u32 {
    let wanted = range.len().unwrap_or(u64::MAX);
    // No longer than `longest`, which is 32 bits wide.
    wanted.min(longest.into()) as u32
}

pub(crate) fn require_file(told: &Attributes) -> Result<()> {
    match told.kind() {
        None | Some(Kind::File) => Ok(()),
        Some(Kind::Directory) => Err(Error::unsupported("is a directory")),
        Some(Kind::Link | Kind::Other) => Err(Error::unsupported("is not a regular file")),
    }
}

pub(crate) fn entity_of(told: &Attributes) -> Entity {
    let modified = told.time();
    let age = modified.and_then(|modified| SystemTime::now().duration_since(modified).ok());
    Entity { size: told.size, tag: None, modified, settled: age.is_some_and(|age| age >= SETTLED) }
}

/// What of a content is sent; of an unknown size it is all to the end.
pub(crate) fn within(range: &ByteRange, size: Option<u64>, body: bool) -> ByteRange {
    match (size, body) {
        (_, false) => ByteRange::new(range.start.min(size.unwrap_or(range.start)), 0),
        (Some(size), true) => {
            let start = range.start.min(size);
            ByteRange::new(start, range.end.unwrap_or(size).clamp(start, size))
        }
        (None, true) => ByteRange::starting_at(range.start),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sent_of_a_content() {
        for (range, size, expected) in [
            (ByteRange::ALL, Some(10), ByteRange::new(0, 10)),
            (ByteRange::new(2, 5), Some(10), ByteRange::new(2, 5)),
            (ByteRange::new(2, 50), Some(10), ByteRange::new(2, 10)),
            (ByteRange::new(20, 50), Some(10), ByteRange::new(10, 10)),
            (ByteRange::new(2, 5), None, ByteRange::starting_at(2)),
        ] {
            assert_eq!(within(&range, size, true), expected, "{range} of {size:?}");
            assert!(within(&range, size, false).is_empty());
        }
        assert_eq!(first_length(&ByteRange::ALL, 1000), 1000);
        assert_eq!(first_length(&ByteRange::new(5, 7), 1000), 2);
    }

    #[test]
    fn a_time_proves_something_only_once_it_is_old() {
        let told = |modified| entity_of(&Attributes { size: Some(1), modified, ..Attributes::default() });
        assert!(told(Some(1_700_000_000)).settled && !told(None).settled);
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs() as u32;
        assert!(!told(Some(now - 5)).settled && !told(Some(now + 900)).settled);
    }
}
