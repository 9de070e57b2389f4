//! Owns a connection as a state: which channels there are, and which messages wait for the broker's word on each.
//!
//! Invariant: without I/O; every message is answered once, and with success only by the broker's confirmation of a message that did not come
//! back. Must not know sockets, nor how a connection begins.
//!
//! Each exchange has a channel of its own: one that is missing, or that we may not write to, makes the broker close the channel and all that
//! waits on it, which are messages for the same exchange then.

use std::collections::BTreeMap;
use std::mem;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;

use super::frame::Heard;
use super::say::Say as _;
use crate::callback::Failure;

/// A message, and who waits for what becomes of it.
#[derive(Debug)]
pub(super) struct Publish {
    pub(super) exchange: String,
    pub(super) key: String,
    pub(super) id: String,
    pub(super) payload: String,
    pub(super) answer: Answer,
}

pub(super) type Answer = oneshot::Sender<Result<(), Failure>>;

/// What the broker allows.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub(super) most_channels: u16,
    pub(super) largest_frame: usize,
    /// How long it may take to open or close a channel.
    pub(super) patience: Duration,
}

/// Channels that are kept although nothing waits on them.
const MOST_IDLE: usize = 64;
/// What is left unsent when no more messages are taken on.
const MOST_UNSENT: usize = 1 << 20;

#[derive(Debug)]
pub(super) struct Session {
    /// What is to be sent.
    pub(super) unsent: Vec<u8>,
    limits: Limits,
    channels: BTreeMap<u16, Channel>,
}

#[derive(Debug)]
struct Channel {
    exchange: String,
    phase: Phase,
    since: Instant,
    /// What is published as soon as it is open.
    queued: Vec<Publish>,
    /// The number of the last message: messages are counted from 1, here and by the broker.
    last: u64,
    waiting: BTreeMap<u64, Waiting>,
    /// Why the message whose header is to follow comes back.
    back: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Opening,
    Open,
    Closing,
}

#[derive(Debug)]
struct Waiting {
    id: String,
    returned: Option<String>,
    answer: Answer,
}

impl Session {
    pub(super) fn new(limits: Limits) -> Self {
        Self { unsent: Vec::new(), limits, channels: BTreeMap::new() }
    }

    pub(super) fn patience(&self) -> Duration {
        self.limits.patience
    }

    pub(super) fn takes_more(&self) -> bool {
        self.unsent.len() < MOST_UNSENT
    }

    /// Takes a message on.
    pub(super) fn publish(&mut self, publish: Publish, now: Instant) {
        let usable =
            |channel: &Channel| channel.exchange == publish.exchange && channel.phase != Phase::Closing;
        let number = self.channels.iter().find(|(_, channel)| usable(channel)).map(|(number, _)| *number);
        let Some(number) = number.or_else(|| self.open(&publish.exchange, now)) else {
            refuse(publish.answer, "every channel of the connection is in use");
            return;
        };
        let Some(channel) = self.channels.get_mut(&number) else { return };
        if channel.phase == Phase::Open {
            channel.send(&mut self.unsent, number, publish, self.limits.largest_frame);
        } else {
            channel.queued.push(publish);
        }
    }

    /// Takes what the broker said.
    ///
    /// # Errors
    /// Why the connection is at its end.
    pub(super) fn take(&mut self, number: u16, heard: Heard, now: Instant) -> Result<(), String> {
        match heard {
            Heard::Close(reason) => {
                self.unsent.close_ok();
                return Err(format!("the broker ended the connection: {reason}"));
            }
            Heard::ChannelClose(reason) => {
                self.unsent.close_channel_ok(number);
                self.drop_channel(number, &reason);
            }
            Heard::ChannelClosed => self.drop_channel(number, "the broker did not confirm the message"),
            heard => {
                if let Some(channel) = self.channels.get_mut(&number) {
                    channel.take(&mut self.unsent, number, heard, self.limits.largest_frame, now);
                }
            }
        }
        Ok(())
    }

    /// Gives up channels on which somebody waited in vain. Called every second or so.
    ///
    /// # Errors
    /// The broker does not answer.
    pub(super) fn look(&mut self, now: Instant) -> Result<(), String> {
        for (number, channel) in &mut self.channels {
            channel.queued.retain(|publish| !publish.answer.is_closed());
            if channel.phase != Phase::Open {
                if now.duration_since(channel.since) > self.limits.patience {
                    return Err("the broker does not answer".to_owned());
                }
            } else if channel.waiting.values().any(|waiting| waiting.answer.is_closed()) {
                channel.close(&mut self.unsent, *number, now);
            }
        }
        Ok(())
    }

    /// Answers whoever still waits.
    pub(super) fn end(&mut self, reason: &str) {
        for number in self.channels.keys().copied().collect::<Vec<_>>() {
            self.drop_channel(number, reason);
        }
    }

    /// `None` when there may be no more.
    fn open(&mut self, exchange: &str, now: Instant) -> Option<u16> {
        if self.channels.len() >= MOST_IDLE {
            let idle = |channel: &Channel| channel.phase == Phase::Open && channel.waiting.is_empty();
            for (number, channel) in self.channels.iter_mut().filter(|(_, channel)| idle(channel)) {
                channel.close(&mut self.unsent, *number, now);
            }
        }
        let number = (1..=self.limits.most_channels).find(|number| !self.channels.contains_key(number))?;
        self.unsent.open_channel(number);
        let channel = Channel {
            exchange: exchange.to_owned(),
            phase: Phase::Opening,
            since: now,
            queued: Vec::new(),
            last: 0,
            waiting: BTreeMap::new(),
            back: None,
        };
        self.channels.insert(number, channel);
        Some(number)
    }

    fn drop_channel(&mut self, number: u16, reason: &str) {
        let Some(channel) = self.channels.remove(&number) else { return };
        let waiting = channel.waiting.into_values().map(|waiting| waiting.answer);
        for answer in waiting.chain(channel.queued.into_iter().map(|publish| publish.answer)) {
            refuse(answer, reason);
        }
    }
}

impl Channel {
    fn take(&mut self, unsent: &mut Vec<u8>, number: u16, heard: Heard, largest: usize, now: Instant) {
        match heard {
            Heard::ChannelOpened => unsent.confirm(number),
            Heard::Confirms if self.phase == Phase::Opening => {
                (self.phase, self.since) = (Phase::Open, now);
                for publish in mem::take(&mut self.queued) {
                    self.send(unsent, number, publish, largest);
                }
            }
            Heard::Ack { tag, multiple } => self.confirmed(tag, multiple, None),
            Heard::Nack { tag, multiple } => {
                self.confirmed(tag, multiple, Some("the broker could not keep the message"));
            }
            Heard::Return(reason) => self.back = Some(reason),
            Heard::Returned { message } => {
                if let Some(reason) = self.back.take() {
                    self.returned(message.as_deref(), &reason);
                }
            }
            _ => {}
        }
    }

    fn send(&mut self, unsent: &mut Vec<u8>, number: u16, publish: Publish, largest: usize) {
        let Publish { exchange, key, id, payload, answer } = publish;
        if answer.is_closed() {
            return;
        }
        unsent.publish(number, &exchange, &key, &id, payload.as_bytes(), largest);
        self.last += 1;
        self.waiting.insert(self.last, Waiting { id, returned: None, answer });
    }

    /// A message comes back before it is confirmed, as one that was dealt with.
    fn returned(&mut self, message: Option<&str>, reason: &str) {
        let is_it =
            |waiting: &Waiting| message.is_some_and(|id| id == waiting.id) && waiting.returned.is_none();
        if let Some(waiting) = self.waiting.values_mut().find(|waiting| is_it(waiting)) {
            waiting.returned = Some(reason.to_owned());
        } else {
            // It may be any of them.
            for waiting in self.waiting.values_mut() {
                waiting.returned.get_or_insert_with(|| reason.to_owned());
            }
        }
    }

    fn confirmed(&mut self, tag: u64, multiple: bool, refused: Option<&str>) {
        // Zero is all there are.
        let later = if tag == 0 { BTreeMap::new() } else { self.waiting.split_off(&tag.saturating_add(1)) };
        let (this, earlier) = match multiple {
            true => (mem::take(&mut self.waiting), BTreeMap::new()),
            false => {
                let this = self.waiting.remove(&tag).map(|waiting| (tag, waiting));
                (this.into_iter().collect(), mem::take(&mut self.waiting))
            }
        };
        self.waiting = earlier;
        self.waiting.extend(later);
        for waiting in this.into_values() {
            match (refused, waiting.returned) {
                (Some(refused), _) => refuse(waiting.answer, refused),
                (None, Some(returned)) => {
                    refuse(waiting.answer, &format!("no queue takes the message: {returned}"));
                }
                (None, None) => {
                    // Who gave up waiting has said so already.
                    let _ = waiting.answer.send(Ok(()));
                }
            }
        }
    }

    fn close(&mut self, unsent: &mut Vec<u8>, number: u16, now: Instant) {
        unsent.close_channel(number);
        (self.phase, self.since) = (Phase::Closing, now);
    }
}

fn refuse(answer: Answer, reason: &str) {
    // Who gave up waiting has said so already.
    let _ = answer.send(Err(Failure::new(reason)));
}

#[cfg(test)]
mod tests {
    use super::*;

    type Answered = oneshot::Receiver<Result<(), Failure>>;

    const LIMITS: Limits = Limits { most_channels: 3, largest_frame: 4096, patience: Duration::from_secs(5) };

    struct Scene {
        session: Session,
        now: Instant,
    }

    impl Scene {
        fn new() -> Self {
            Self { session: Session::new(LIMITS), now: Instant::now() }
        }

        fn publish(&mut self, exchange: &str, id: &str) -> Answered {
            let (answer, answered) = oneshot::channel();
            let (exchange, key, id) = (exchange.to_owned(), "k".to_owned(), id.to_owned());
            self.session.publish(Publish { exchange, key, id, payload: "{}".to_owned(), answer }, self.now);
            answered
        }

        fn hears(&mut self, number: u16, heard: Heard) {
            self.session.take(number, heard, self.now).expect("goes on");
        }

        /// A channel that is open, with messages of these names that wait.
        fn open(&mut self, ids: &[&str]) -> Vec<Answered> {
            let answered = ids.iter().map(|id| self.publish("e", id)).collect();
            self.hears(1, Heard::ChannelOpened);
            self.hears(1, Heard::Confirms);
            answered
        }
    }

    fn ack(tag: u64, multiple: bool) -> Heard {
        Heard::Ack { tag, multiple }
    }

    fn reason(answered: &mut Answered) -> String {
        answered.try_recv().expect("answered").expect_err("refused").reason
    }

    #[tokio::test]
    async fn only_what_is_confirmed_is_delivered() {
        let mut scene = Scene::new();
        let mut answered = scene.open(&["a", "b", "c", "d"]);
        scene.hears(1, ack(2, false));
        assert_eq!(answered[1].try_recv(), Ok(Ok(())));
        scene.hears(1, ack(1, true));
        assert_eq!(answered[0].try_recv(), Ok(Ok(())));
        scene.hears(1, Heard::Nack { tag: 3, multiple: false });
        assert!(reason(&mut answered[2]).contains("could not keep"));
        answered[3].try_recv().expect_err("still waits");
        scene.hears(1, ack(0, true));
        assert_eq!(answered[3].try_recv(), Ok(Ok(())), "zero is all");
        scene.hears(1, ack(9, false));
        scene.hears(7, ack(1, false));
    }

    #[tokio::test]
    async fn what_comes_back_is_not_delivered() {
        let mut scene = Scene::new();
        let mut answered = scene.open(&["a", "b", "c", "b"]);
        scene.hears(1, Heard::Return("312 NO_ROUTE".to_owned()));
        scene.hears(1, Heard::Returned { message: Some("b".to_owned()) });
        scene.hears(1, ack(3, true));
        assert_eq!((answered[0].try_recv(), answered[2].try_recv()), (Ok(Ok(())), Ok(Ok(()))));
        assert_eq!(reason(&mut answered[1]), "no queue takes the message: 312 NO_ROUTE");
        scene.hears(1, Heard::Return("312 NO_ROUTE".to_owned()));
        scene.hears(1, Heard::Returned { message: None });
        scene.hears(1, ack(4, false));
        assert!(reason(&mut answered[3]).contains("NO_ROUTE"), "which it is was not told");
    }

    #[tokio::test]
    async fn a_closed_channel_takes_nothing_of_another_exchange_along() {
        let mut scene = Scene::new();
        let mut first = scene.open(&["a"]).remove(0);
        let mut second = scene.publish("missing", "b");
        scene.hears(2, Heard::ChannelClose("404 NOT_FOUND".to_owned()));
        assert_eq!(reason(&mut second), "404 NOT_FOUND");
        first.try_recv().expect_err("still waits");
        scene.hears(1, ack(1, false));
        assert_eq!(first.try_recv(), Ok(Ok(())));
        let mut third = scene.publish("missing", "c");
        scene.session.end("over");
        assert_eq!(reason(&mut third), "over");
    }

    #[tokio::test]
    async fn whoever_gave_up_has_the_channel_closed() {
        let mut scene = Scene::new();
        let mut answered = scene.open(&["a", "b"]);
        drop(answered.remove(0));
        scene.session.look(scene.now).expect("goes on");
        let next = scene.publish("e", "c");
        assert_eq!(scene.session.channels.len(), 2, "the next has a new channel");
        scene.hears(1, ack(2, false));
        assert_eq!(answered[0].try_recv(), Ok(Ok(())), "what is still confirmed counts");
        scene.hears(1, Heard::ChannelClosed);
        assert_eq!(scene.session.channels.len(), 1);
        drop(next);
        scene.now += LIMITS.patience + Duration::from_millis(1);
        scene.session.look(scene.now).expect_err("the second was never opened");
    }

    #[tokio::test]
    async fn there_are_only_so_many_channels() {
        let mut scene = Scene::new();
        let _waiting: Vec<_> = ["a", "b", "c"].iter().map(|exchange| scene.publish(exchange, "1")).collect();
        assert!(reason(&mut scene.publish("d", "1")).contains("in use"));
        scene.session.take(0, Heard::Close("320 stop".to_owned()), scene.now).expect_err("the end");
    }
}
