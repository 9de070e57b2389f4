//! Listing a directory: its names with what the server tells of each, and where links lead.
//!
//! Invariant: the listing ends only when the server says so; names of the directory itself and its parent are left out.
//! Must not know: patterns, trees, what is done with an entry.

use std::collections::VecDeque;

use downloader_core::listing::{
    Entries, Entry, EntryDecoder, EntryEncoder, EntryKind, Line, Modified, NoName, Precision,
};
use downloader_core::{Body, Error, ErrorKind, Fetch, Result, SafeUrl};
use futures_util::stream::{self, StreamExt as _};
use tokio::time::Instant;

use crate::error::{Stage, classify};
use crate::protocol::{Kind, Name, Reply, Request, Status};
use crate::session::Call;
use crate::transport::{Lease, wire};

/// Links whose targets are asked for at a time.
const LINKS: usize = 64;

/// Opens the directory behind a path.
pub(crate) async fn list(lease: Lease, fetch: &Fetch, path: &[u8]) -> Result<Body> {
    let begin = Instant::now();
    let mut call = lease.session().call();
    call.send(&[Request::OpenDir { path }]).map_err(|end| classify(end, Stage::Head))?;
    let handle = match call.next().await.map_err(|end| classify(end, Stage::Head))?.1 {
        Reply::Handle(handle) => handle,
        // OpenSSH has no word for a file in place of a directory.
        other => return Err(not_a_directory(&mut call, path, other).await),
    };
    lease.session().saw_round_trip(begin.elapsed());
    call.hold(handle);
    let (connection, reused) = (lease.connection().clone(), lease.reused);
    let folder = [path, if path.ends_with(b"/") { b"" } else { b"/" }].concat();
    let url = fetch.url.clone();
    let listing = Listing { call, _lease: lease, folder, encoder: EntryEncoder::new(), url, ahead: false };
    let stream = stream::try_unfold(Some(listing), |listing| async move {
        let Some(mut listing) = listing else { return Ok(None) };
        let more = listing.read().await.map_err(|error| error.with_url(&listing.url))?;
        let bytes = listing.encoder.take();
        Ok::<_, Error>(Some((bytes, more.then_some(listing))))
    });
    // A piece may be empty: a directory with nothing but itself and its parent.
    let stream = stream.filter(|piece| std::future::ready(!matches!(piece, Ok(bytes) if bytes.is_empty())));
    let mut body = Body::listing(Entries::new(fetch.url.clone(), EntryDecoder::new()), stream.boxed());
    body.wire = wire(connection, reused, begin);
    Ok(body)
}

/// An open directory. Dropped, its handle is closed before its session is let go.
struct Listing {
    call: Call,
    _lease: Lease,
    /// Its path, with a slash at the end.
    folder: Vec<u8>,
    encoder: EntryEncoder,
    url: SafeUrl,
    /// The next names are asked for already.
    ahead: bool,
}

impl Listing {
    /// Some names more; false at the end. One answer is under way while the one before is used.
    async fn read(&mut self) -> Result<bool> {
        if !self.ahead {
            self.ask()?;
        }
        let names = match self.answer().await? {
            (_, Reply::Names(names)) => names,
            (_, Reply::Status(Status { code: Status::EOF, .. })) => {
                self.encoder.end();
                return Ok(false);
            }
            (_, other) => return Err(classify(other, Stage::Body)),
        };
        if names.is_empty() {
            return Err(Error::new(ErrorKind::Protocol, "the server sent an answer without a name"));
        }
        let mut targets = self.targets(&names).await?;
        // Behind the questions about links: answers are not mixed up then.
        self.ask()?;
        for name in &names {
            let target = if is_link(name) { targets.pop_front().flatten() } else { None };
            describe(name, target, &mut self.encoder);
        }
        Ok(true)
    }

    fn ask(&mut self) -> Result<()> {
        let handle = self.call.handle();
        self.call.send(&[Request::ReadDir { handle: &handle }]).map_err(|end| classify(end, Stage::Body))?;
        self.ahead = true;
        Ok(())
    }

    async fn answer(&mut self) -> Result<(u32, Reply)> {
        self.call.next().await.map_err(|end| classify(end, Stage::Body))
    }

    /// Where the links among these names lead, in their order; `None` where the server does not tell.
    async fn targets(&mut self, names: &[Name]) -> Result<VecDeque<Option<Vec<u8>>>> {
        let links: Vec<Vec<u8>> = names
            .iter()
            .filter(|name| is_link(name))
            .map(|name| [&self.folder[..], &name.name].concat())
            .collect();
        let mut targets = VecDeque::with_capacity(links.len());
        for some in links.chunks(LINKS) {
            let requests: Vec<_> = some.iter().map(|path| Request::ReadLink { path }).collect();
            let first = self.call.send(&requests).map_err(|end| classify(end, Stage::Body))?;
            let mut found = vec![None; some.len()];
            for _ in some {
                let (id, reply) = self.answer().await?;
                if let Reply::Names(mut names) = reply
                    && let Some(name) = names.pop()
                    && let Some(place) = found.get_mut(id.wrapping_sub(first) as usize)
                {
                    *place = Some(name.name.to_vec());
                }
            }
            targets.extend(found);
        }
        Ok(targets)
    }
}

/// Why a directory could not be opened; a file is none.
async fn not_a_directory(call: &mut Call, path: &[u8], refusal: Reply) -> Error {
    if matches!(refusal, Reply::Status(Status { code: 4, .. }))
        && call.send(&[Request::Stat { path }]).is_ok()
        && let Ok((_, Reply::Attributes(told))) = call.next().await
        && told.kind().is_some_and(|kind| kind != Kind::Directory)
    {
        return Error::new(ErrorKind::NotFound, "is not a directory");
    }
    classify(refusal, Stage::Head)
}

fn is_link(name: &Name) -> bool {
    name.attributes.kind() == Some(Kind::Link)
}

pub(crate) fn describe(name: &Name, target: Option<Vec<u8>>, encoder: &mut EntryEncoder) {
    let told = &name.attributes;
    let kind = match told.kind() {
        None | Some(Kind::File) => EntryKind::File,
        Some(Kind::Directory) => EntryKind::Directory,
        Some(Kind::Link) => EntryKind::Link,
        Some(Kind::Other) => EntryKind::Other,
    };
    let (user, group) = told.owner.map(|(user, group)| (user.to_string(), group.to_string())).unzip();
    match Entry::new(&*name.name, kind) {
        Ok(entry) => encoder.entry(
            &entry
                .with_size(told.size.filter(|_| kind == EntryKind::File))
                .with_modified(told.time().map(|time| Modified::exactly(time, Precision::Second)))
                .with_mode(told.permissions)
                .with_owner(user.as_deref(), group.as_deref())
                .with_target(target),
        ),
        Err(NoName::Itself) => {}
        Err(NoName::Unusable) => encoder.line(&Line::unreadable(&name.name)),
    }
}
