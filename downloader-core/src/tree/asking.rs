//! Owns the questions that a listing leaves open: is a file the same, here or in an earlier copy? And the job that follows.
//!
//! Invariant: one head is asked for a file at most; a file whose sameness nobody vouches for is fetched. Must not know: how
//! entries are listed, how jobs are run.

use std::sync::Arc;

use ::url::Url;

use super::mirror::Mirror;
use super::path::TreePath;
use super::plan::{Verdict, by_head, by_listing};
use super::planner::{Candidate, Plan};
use super::rules::Compare;
use super::steps::{Change, Notice, Planned, Step};
use crate::engine::Engine;
use crate::entity::Entity;
use crate::error::Result;
use crate::file::LocalFile;
use crate::job::Job;
use crate::listing::Entry;
use crate::sources::{Fixed, Source};
use crate::url::SafeUrl;
use crate::validate::Digest;
use crate::write::FileWriter;
use crate::write::directory::{Directory, Found, Stat};

/// Asks.
pub(super) struct Asking {
    mirror: Arc<Mirror>,
    engine: Engine,
    earlier: Option<Arc<Directory>>,
}

/// What the head of a file says, once it was asked for.
#[derive(Default)]
struct Head(Option<(Entity, Option<Digest>)>);

impl Asking {
    pub(super) fn new(mirror: Arc<Mirror>, engine: Engine, earlier: Option<Arc<Directory>>) -> Self {
        Self { mirror, engine, earlier }
    }

    /// What is to be done.
    pub(super) async fn settle(self: Arc<Self>, plan: Plan) -> Step {
        let candidate = match plan {
            Plan::Told(notice) => return Step::Told(notice),
            Plan::File(candidate) => *candidate,
        };
        let Candidate { place, found, directory, here, .. } = &candidate;
        let mut head = Head::default();
        if let (Some((stat, verdict)), Some(directory)) = (here, directory) {
            let open = || directory.read(place.split().unwrap_or_default().1);
            if self.is_same((&found.entry, &found.url), (*stat, *verdict), open, &mut head).await {
                let (place, url) = (candidate.place, Some(candidate.found.url));
                return Step::Told(Notice { place, url, change: Change::Kept });
            }
        }
        let earlier = self.earlier(&candidate, &mut head).await;
        self.step(candidate, head, earlier)
    }

    /// Is a file that is here what the far side describes?
    async fn is_same(
        &self,
        (entry, url): (&Entry, &SafeUrl),
        (stat, verdict): (Stat, Verdict),
        open: impl FnOnce() -> Result<LocalFile>,
        head: &mut Head,
    ) -> bool {
        match verdict {
            Verdict::Same => return true,
            Verdict::Differs => return false,
            Verdict::Ask => {}
        }
        if head.0.is_none() {
            // One that cannot be asked is fetched, and then told why it cannot.
            let asked = self.engine.head(self.mirror.request.at(url.clone())).await;
            head.0 = Some(asked.map_or_else(
                |_| (Entity::default(), None),
                |told| (told.entity, Digest::strongest(&told.digests).cloned()),
            ));
        }
        let Some((entity, digest)) = &head.0 else { return false };
        match (self.mirror.compare, digest) {
            (Compare::Digest, Some(digest)) if entity.size.is_none_or(|size| size == stat.size) => {
                let (digest, file) = (digest.clone(), open());
                let read = move || file.is_ok_and(|file| file.check(&digest).is_ok());
                tokio::task::spawn_blocking(read).await.unwrap_or(false)
            }
            (Compare::Digest, _) => false,
            (compare, _) => by_head(entity, entry, stat, compare),
        }
    }

    /// The same file in the earlier copy, as a source.
    async fn earlier(&self, candidate: &Candidate, head: &mut Head) -> Option<SafeUrl> {
        let (above, name) = candidate.place.split()?;
        let mut directory = Arc::clone(self.earlier.as_ref()?);
        for name in above.names() {
            directory = directory.child(name).ok()?;
        }
        let Ok(Found::File(stat)) = directory.look(name) else { return None };
        let (entry, url) = (&candidate.found.entry, &candidate.found.url);
        let verdict = by_listing(entry, stat, self.mirror.compare);
        if !self.is_same((entry, url), (stat, verdict), || directory.read(name), head).await {
            return None;
        }
        let path = self.mirror.reuse.as_ref()?.join(candidate.place.as_path());
        Url::from_file_path(std::path::absolute(path).ok()?).ok().map(SafeUrl::from)
    }

    fn step(&self, candidate: Candidate, head: Head, earlier: Option<SafeUrl>) -> Step {
        let Candidate { place, found, directory, replaces, .. } = candidate;
        let change = if replaces { Change::Changed } else { Change::New };
        let url = found.url;
        let Some(directory) = directory.filter(|_| !self.mirror.dry_run) else {
            return Step::Told(Notice { place, url: Some(url), change });
        };
        let mut request = self.mirror.request.at(url.clone());
        if let Some(earlier) = &earlier {
            // First that; whatever is wrong with it, the far side is there.
            let sources = vec![Source::new(earlier.clone()), Source::new(url.clone()).priority(1)];
            request.locate = Arc::new(Fixed::new(sources));
        }
        if let Some((_, Some(digest))) = head.0 {
            request = request.check(digest);
        }
        let writer = self.writer(directory, &place, &found.entry);
        let size = found.entry.size.filter(|_| !found.entry.size_is_rounded);
        let planned = Planned { place, url, size, change, earlier };
        Step::Fetch(Box::new(Job::new(request, writer).tag(planned)))
    }

    fn writer(&self, directory: Arc<Directory>, place: &TreePath, entry: &Entry) -> FileWriter {
        let (_, name) = place.split().unwrap_or_default();
        let mut writer = FileWriter::in_opened(directory, name);
        if let Some(told) = entry.modified {
            writer = writer.modified(told.time);
        }
        writer = writer.modified_from_source(true).keep_partial(true).link(self.mirror.link);
        match &self.mirror.writers {
            Some(set) => set(writer),
            None => writer,
        }
    }
}
