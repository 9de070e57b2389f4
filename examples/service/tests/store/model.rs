//! Random operations on the store in memory, which follows the rules as they are written, and on another store: both answer the same.
//!
//! Owns the operations. Invariant: an operation is chosen by what both stores answered so far, so that leases are real, lost, or forged.
//! Must not know how a store keeps its rows.

use std::collections::BTreeSet;
use std::num::NonZeroU32;
use std::time::Duration;

use downloader_service::job::{
    CallbackState, DownloadState, Ending, GroupPatch, JobId, Location, Patch, Queue, Status, Submission,
};
use downloader_service::store::{Claim, Filter, Lease, Policy, Progress, Renewal, Settlement};
use fastrand::Rng;

use super::fixture::{self, Fixture, job};

const GROUPS: [&str; 4] = ["a", "b", "long name with spaces: {and} \"more\"", "d"];
const WORKERS: [&str; 3] = ["p1", "p2", "p3"];
const DAY: u64 = 86_400;

#[tokio::test]
async fn sqlite_answers_as_memory_does() {
    let mut story = String::new();
    for seed in 0..12 {
        story += &compare(fixture::sqlite(policy(seed)).await, seed).await;
    }
    came_to_all(&story);
}

#[tokio::test]
async fn redis_answers_as_memory_does() {
    let mut story = String::new();
    for seed in 100..112 {
        story += &compare(fixture::redis(policy(seed)).await, seed).await;
    }
    came_to_all(&story);
}

fn policy(seed: u64) -> Policy {
    let mut policy = Policy::default();
    policy.deletion = [None, Some(Duration::from_secs(3600))][usize::from(!seed.is_multiple_of(3))];
    (policy.callbacks_per_group, policy.removals_per_site) = (2, 1);
    (policy.most_losses, policy.most_jobs) = (2, 60);
    policy.keep_waiting = Duration::from_secs(2 * DAY);
    policy
}

/// Both stores, and what is known of them.
struct Pair {
    model: Fixture,
    other: Fixture,
    random: Rng,
    ids: Vec<JobId>,
    leases: Vec<Lease>,
    story: Vec<String>,
}

/// What happened.
async fn compare(other: Fixture, seed: u64) -> String {
    let model = fixture::memory(policy(seed)).await;
    let mut pair = Pair {
        model,
        other,
        random: Rng::with_seed(seed),
        ids: Vec::new(),
        leases: Vec::new(),
        story: Vec::new(),
    };
    for number in 0..400 {
        pair.operate().await;
        if number % 10 == 0 {
            pair.look().await;
        }
    }
    pair.look().await;
    pair.story.concat()
}

/// Everything that can become of a job became of one, and every answer was given.
fn came_to_all(story: &str) {
    let answers = ["Accepted", "Known(", "KeyTaken(", "IdTaken", "Full", "Held", "Lost", "[true", "[false"];
    let wishes = ["Cancelled\n", "Requested", "TooLate", "Unknown", "Queued\n", "NotDead", "recover p1: 1"];
    let places = ["Delayed(", "Removals", "Settled(", "the worker was lost 3 times", "not downloaded within"];
    for what in answers.iter().chain(&wishes).chain(&places) {
        assert!(story.contains(what), "it never came to {what:?}");
    }
    for status in Status::ALL {
        assert!(story.contains(&format!("{status:?}")), "no job was ever {status:?}");
    }
}

/// Asks both the same, and holds the answers against each other.
macro_rules! both {
    ($pair:ident, $what:expr, $store:ident => $ask:expr) => {{
        let expected = {
            let $store = &$pair.model.store;
            $ask.await.expect("memory does not fail")
        };
        let found = {
            let $store = &$pair.other.store;
            $ask.await.expect("the other store works")
        };
        $pair.story.push(format!("{}: {expected:?}\n", $what));
        $pair.same(&expected, &found);
        expected
    }};
}

impl Pair {
    #[track_caller]
    fn same<T: PartialEq + std::fmt::Debug>(&self, expected: &T, found: &T) {
        let last = self.story.len().saturating_sub(25);
        assert!(
            expected == found,
            "{}\nexpected {expected:#?}\nfound {found:#?}",
            self.story[last..].concat()
        );
    }

    fn pick<T: Clone>(&mut self, of: &[T]) -> T {
        of[self.random.usize(..of.len())].clone()
    }

    fn some_id(&mut self) -> JobId {
        let ids = self.ids.clone();
        if ids.is_empty() || self.random.u8(..) < 10 { JobId::random() } else { self.pick(&ids) }
    }

    /// Mostly one that was given; at times one that nobody holds.
    fn some_lease(&mut self) -> Option<Lease> {
        if self.leases.is_empty() {
            return None;
        }
        let at = self.random.usize(..self.leases.len());
        let mut lease = self.leases[at].clone();
        match self.random.u8(..) {
            0..10 => lease.token += 1,
            10..20 => lease.queue = Queue::ALL[self.random.usize(..3)],
            20..180 => _ = self.leases.swap_remove(at),
            180.. => {}
        }
        Some(lease)
    }

    async fn operate(&mut self) {
        match self.random.u8(..100) {
            0..14 => self.submit().await,
            14..40 => self.claim().await,
            40..66 => self.settle().await,
            66..74 => self.renew().await,
            74..77 => {
                let id = self.some_id();
                both!(self, format!("cancel {id}"), store => store.cancel(&id));
            }
            77..80 => {
                let id = self.some_id();
                both!(self, format!("replay {id}"), store => store.replay(&id));
            }
            80..82 => {
                let worker = self.pick(&WORKERS);
                both!(self, format!("recover {worker}"), store => store.recover(worker));
            }
            82..85 => self.configure().await,
            85..88 => {
                both!(self, "sweep", store => store.sweep());
            }
            88..90 => self.stats().await,
            _ => self.wait(),
        }
    }

    fn wait(&mut self) {
        let seconds =
            [1, 5, 10, 15, 60, 1800, DAY, 8 * DAY][self.random.usize(..8).min(self.random.usize(..8))];
        let by = Duration::from_secs(seconds);
        self.model.clock.advance(by);
        self.other.clock.advance(by);
        self.story.push(format!("{seconds} s pass\n"));
    }

    async fn submit(&mut self) {
        let mut batch: Vec<(JobId, Submission)> = Vec::new();
        for _ in 0..self.random.usize(1..6) {
            let group = self.pick(&GROUPS);
            let (mut id, mut submission) = job(group, self.random.u32(1..4));
            submission.spec.priority = self.pick(&[0, 0, 0, 100, -100, 7]);
            if self.random.u8(..) < 60 {
                submission.spec.callback = None;
            }
            if self.random.u8(..) < 60 {
                submission.spec.idempotency_key = Some(format!("key {}", self.random.u8(..6)));
                submission.spec.extra = self.pick(&["", "x"]).to_owned();
                (submission.spec.priority, submission.spec.group) = (0, GROUPS[0].to_owned());
            }
            if self.random.u8(..) < 20 {
                submission.settings.proxy = Some("http://proxy:1".to_owned());
            }
            if self.random.u8(..) < 20 {
                id = self.some_id();
            }
            if self.random.u8(..) < 10
                && let Some(earlier) = batch.first()
            {
                (id, submission) = earlier.clone();
            }
            batch.push((id, submission));
        }
        self.ids.extend(batch.iter().map(|(id, _)| id.clone()));
        both!(self, format!("submit {batch:?}"), store => store.submit(batch.clone()));
    }

    async fn claim(&mut self) {
        let (queue, worker) = (self.pick(&[0, 0, 0, 1, 1, 2]), self.pick(&WORKERS));
        let mut claim = Claim::new(Queue::ALL[queue], worker, self.random.usize(1..5));
        if self.random.u8(..) < 40 {
            claim.lane = Some(self.pick(&[GROUPS[0], GROUPS[2], "site 1"]).to_owned());
        }
        let expected = both!(self, format!("{claim:?}"), store => store.claim(&claim));
        self.leases.extend(expected.work.into_iter().map(|work| work.lease));
    }

    async fn settle(&mut self) {
        let mut settlements = Vec::new();
        for _ in 0..self.random.usize(1..4) {
            let Some(lease) = self.some_lease() else { break };
            let settlement = self.settlement(lease.queue);
            settlements.push((lease, settlement));
        }
        both!(self, format!("settle {settlements:?}"), store => store.settle(settlements.clone()));
    }

    fn settlement(&mut self, queue: Queue) -> Settlement {
        let reason = self.pick(&["", "503", "a reason with \"quotes\" and ü"]).to_owned();
        match (self.random.u8(..10), queue) {
            (0, _) => Settlement::Released,
            (1..4, _) => {
                let delay = Duration::from_millis(self.pick(&[0, 1, 1500, 60_000]));
                Settlement::Again { delay, reason, counted: self.random.bool() }
            }
            (4..6, Queue::Downloads) => {
                Settlement::Downloaded(Box::new(Ending::failed(reason, self.pick(&[0, 404]))))
            }
            (_, Queue::Downloads) => {
                let place = |site: &str| Location { site: site.to_owned(), path: "p/q".to_owned() };
                let location = self.pick(&[None, Some("site 1"), Some("site 2")]).map(place);
                Settlement::Downloaded(Box::new(Ending { success: true, location, ..Ending::default() }))
            }
            (4..6, Queue::Callbacks) => Settlement::Undeliverable { reason },
            (_, Queue::Callbacks) => Settlement::Delivered,
            (_, Queue::Removals) => Settlement::Removed,
        }
    }

    async fn renew(&mut self) {
        let mut renewals = Vec::new();
        for _ in 0..self.random.usize(1..4) {
            let Some(lease) = self.some_lease() else { break };
            let progress =
                Progress { done: self.random.u64(..1 << 50), total: self.pick(&[None, Some(1 << 50)]) };
            let progress = self.random.bool().then_some(progress);
            renewals.push(Renewal { lease: lease.clone(), progress });
            self.leases.push(lease);
        }
        both!(self, format!("renew {renewals:?}"), store => store.renew(renewals.clone()));
    }

    async fn configure(&mut self) {
        let group = self.pick(&[GROUPS[0], GROUPS[1], "new"]);
        let pin = |limit| NonZeroU32::new(limit).map_or(Patch::Keep, Patch::Pin);
        let limit = self.pick(&[Patch::Keep, Patch::Unpin, pin(1), pin(5)]);
        let proxies = ["", "http://pinned:1"].map(|proxy| Patch::Pin(proxy.to_owned()));
        let proxy = self.pick(&[&[Patch::Keep, Patch::Unpin][..], &proxies].concat());
        let patch = GroupPatch { limit, proxy };
        both!(self, format!("configure {group} {patch:?}"), store => store.configure(group, &patch));
    }

    async fn stats(&mut self) {
        let (entity, instance) = (self.pick(&["processor", "notifier"]), self.pick(&WORKERS));
        let (json, keep) = (format!("{{\"n\":{}}}", self.random.u8(..)), Duration::from_secs(20));
        both!(self, "put stats", store => store.put_stats(entity, instance, &json, keep));
        both!(self, "stats", store => store.stats("processor"));
    }

    /// Everything that can be seen is the same.
    async fn look(&mut self) {
        both!(self, "counts", store => store.counts());
        both!(self, "groups", store => store.groups());
        both!(self, "oldest", store => store.oldest());
        let mut filters = vec![Filter::default()];
        filters.extend(GROUPS.map(|group| Filter { group: Some(group.to_owned()), ..Filter::default() }));
        for download in [DownloadState::Running, DownloadState::Done] {
            filters.push(Filter { download: Some(download), ..Filter::default() });
        }
        filters.push(Filter { callback: Some(CallbackState::Dead), ..Filter::default() });
        let most = self.random.usize(1..80);
        for filter in filters {
            let (mut before, mut seen) = (None, BTreeSet::new());
            loop {
                let page =
                    both!(self, format!("list {filter:?}"), store => store.list(&filter, before, most));
                assert!(page.jobs.iter().all(|view| seen.insert(view.id.clone())), "a job came twice");
                before = page.before;
                if before.is_none() {
                    break;
                }
            }
        }
        let id = self.some_id();
        both!(self, format!("job {id}"), store => store.job(&id));
    }
}
