//! Owns the waiting for work.
//!
//! Invariant: a wake that comes after the last look at the queue is never missed, and costs one look too many at worst. Must not know who
//! wakes: this process, or another one through Redis.

use std::time::Duration;

use tokio::sync::{broadcast, watch};
use tokio::time::timeout;

use super::ledger::News;
use crate::job::{JobId, Queue};

/// Should a message be lost in spite of all, work starts after this long.
const LONGEST: Duration = Duration::from_secs(30);

/// Waits for work of one queue. Take it before the first claim; then claim, and wait when less came than was asked for.
#[derive(Debug)]
pub struct Wakes {
    receiver: watch::Receiver<u64>,
    longest: Duration,
}

impl Wakes {
    /// Returns when there may be work that was not there at the last claim, or `next` of that claim is no more what it was: when a lane gets
    /// something that may run, when a job is put off that is due before all others, when `next` is over, or after the time of a lease (at
    /// most 30 s), for a lease that was given since does not end before.
    pub async fn wait(&mut self, next: Option<Duration>) {
        let longest = next.map_or(self.longest, |next| next.min(self.longest));
        // Over, or woken, or the store is gone: the next claim says which.
        let _ = timeout(longest, self.receiver.changed()).await;
    }
}

/// The other end.
#[derive(Debug)]
pub(super) struct Waker {
    senders: [watch::Sender<u64>; 3],
    cancellations: broadcast::Sender<JobId>,
    longest: Duration,
}

/// Whoever is further behind than this hears of a cancellation when it renews.
const BEHIND: usize = 256;

impl Waker {
    pub(super) fn new(lease: Duration) -> Self {
        Self {
            senders: [0, 0, 0].map(|start| watch::channel(start).0),
            cancellations: broadcast::channel(BEHIND).0,
            longest: lease.min(LONGEST),
        }
    }

    pub(super) fn wake(&self, queue: Queue) {
        self.senders[queue as usize].send_modify(|count| *count = count.wrapping_add(1));
    }

    pub(super) fn cancelled(&self, id: JobId) {
        // Nobody listens: then nothing runs here.
        let _ = self.cancellations.send(id);
    }

    pub(super) fn tell(&self, news: Vec<News>) {
        for news in news {
            match news {
                News::Work(queue) => self.wake(queue),
                News::Due => Queue::ALL.into_iter().for_each(|queue| self.wake(queue)),
                News::Cancelled(id) => self.cancelled(id),
            }
        }
    }

    pub(super) fn cancellations(&self) -> broadcast::Receiver<JobId> {
        self.cancellations.subscribe()
    }

    pub(super) fn wakes(&self, queue: Queue) -> Wakes {
        Wakes { receiver: self.senders[queue as usize].subscribe(), longest: self.longest }
    }
}
