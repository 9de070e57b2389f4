//! The bytes of an open file: many reads under way, handed on in order.
//!
//! Invariant: a byte is handed on at its own offset or not at all, and the last piece only when the file is still the one
//! it was. Must not know: who reads, or how the file was opened.

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use downloader_core::{ByteRange, Error, ErrorKind, Result, SafeUrl};
use futures_util::Stream;
use tokio::time::Instant;

use crate::error::{Stage, classify};
use crate::open::First;
use crate::protocol::{Attributes, Pieces, Reply, Request, Status};
use crate::session::window::Window;
use crate::session::{Call, End};
use crate::transport::Lease;

/// What all bodies of one session may ask for ahead together, in bytes; each may ask for one read in any case.
const SESSION: u64 = 32 << 20;

/// Shortest read that a server which gives less than is asked for is asked for.
const SHORTEST_READ: u32 = 1024;

/// An open file. Dropped, its handle is closed before its session is let go.
#[derive(Debug)]
pub(crate) struct Source {
    pub(crate) call: Call,
    pub(crate) lease: Lease,
    pub(crate) handle: Bytes,
    pub(crate) url: SafeUrl,
}

/// The bytes of a range.
#[derive(Debug)]
pub(crate) struct Reading {
    /// `None` at the end.
    source: Option<Source>,
    /// Offset of the next byte that is handed on.
    at: u64,
    /// `None`: until the server says so.
    end: Option<u64>,
    /// Offset of the next byte that is asked for.
    next: u64,
    longest_read: u32,
    /// Reads under way, in the order of their bytes.
    order: VecDeque<Part>,
    /// Bytes asked for and not come.
    asked: u64,
    /// Answers that came before their turn.
    early: Vec<(u32, Reply)>,
    ready: Pieces,
    told: Attributes,
    check: Check,
    window: Window,
}

#[derive(Debug)]
struct Part {
    id: u32,
    offset: u64,
    /// Bytes that have come.
    came: u32,
    /// Bytes wanted of it.
    length: u32,
    /// Bytes that the server was asked for: more, if the end was not known.
    asked: u32,
}

/// Is the file still the one it was?
#[derive(Debug, PartialEq, Eq)]
enum Check {
    /// To be asked behind the last read.
    Due,
    Asked(u32),
    Passed,
}

impl Reading {
    pub(crate) fn new(source: Source, told: Attributes, range: ByteRange, first: Option<First>) -> Self {
        let longest_read = source.lease.session().longest_read();
        let window = Window::new(source.lease.session().round_trip(), Instant::now());
        // A server that tells nothing has nothing to be asked for again.
        let check = if told == Attributes::default() { Check::Passed } else { Check::Due };
        let mut reading = Self {
            source: Some(source),
            at: range.start,
            end: range.end,
            next: range.start,
            longest_read,
            order: VecDeque::new(),
            asked: 0,
            early: Vec::new(),
            ready: Pieces::default(),
            told,
            check,
            window,
        };
        if let Some(first) = first {
            reading.adopt(first);
        }
        reading
    }

    /// Takes over the read that was asked for ahead of all.
    fn adopt(&mut self, first: First) {
        let left = self.end.map_or(u64::MAX, |end| end - self.next);
        let length = left.min(first.length.into()) as u32;
        self.order.push_back(Part {
            id: first.read,
            offset: self.next,
            came: 0,
            length,
            asked: first.length,
        });
        self.asked += u64::from(length);
        self.next += u64::from(length);
        if self.end == Some(self.next) && self.check == Check::Due {
            self.check = Check::Asked(first.check);
        }
        self.early = first.early;
    }

    fn step(&mut self, context: &mut Context<'_>) -> Poll<Result<Option<Bytes>>> {
        // Answers may have come with the attributes already.
        self.settle()?;
        loop {
            if let Some(length) = self.ready.first_len() {
                let is_last = self.end == Some(self.at + length as u64);
                if !is_last || self.check == Check::Passed {
                    return Poll::Ready(Ok(self.ready.pop()));
                }
            } else if self.end == Some(self.at) && self.check == Check::Passed {
                return Poll::Ready(Ok(None));
            }
            // Of a session that has ended, what came before is still used.
            if let Err(error) = self.ask_ahead()
                && self.order.is_empty()
            {
                return Poll::Ready(Err(error));
            }
            let Some(source) = &mut self.source else { return Poll::Ready(Ok(None)) };
            match source.call.poll_next(context) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Err(end)) => return Poll::Ready(Err(classify(end, Stage::Body))),
                Poll::Ready(Ok(answer)) => self.early.push(answer),
            }
            self.settle()?;
        }
    }

    /// Sends as many reads as fit, and behind the last one the question whether the file is still the same.
    fn ask_ahead(&mut self) -> Result<()> {
        let Some(source) = &mut self.source else { return Ok(()) };
        let share = SESSION / source.lease.sharers() as u64;
        let most = self.window.size().min(share);
        let mut requests = Vec::new();
        let mut parts = Vec::new();
        while self.end.is_none_or(|end| self.next < end) {
            let under_way = self.asked + self.ready.len() as u64;
            if under_way > 0 && under_way + u64::from(self.longest_read) > most {
                break;
            }
            let left = self.end.map_or(u64::MAX, |end| end - self.next);
            let length = left.min(self.longest_read.into()) as u32;
            requests.push(Request::Read { handle: &source.handle, offset: self.next, length });
            parts.push((self.next, length));
            self.next += u64::from(length);
            self.asked += u64::from(length);
        }
        let asks_check = self.check == Check::Due && self.end.is_some_and(|end| self.next >= end);
        if asks_check {
            requests.push(Request::Fstat { handle: &source.handle });
        }
        if requests.is_empty() {
            return Ok(());
        }
        let first = source.call.send(&requests).map_err(|end| classify(end, Stage::Body))?;
        if asks_check {
            self.check = Check::Asked(first.wrapping_add(parts.len() as u32));
        }
        for (at, (offset, length)) in (0..).zip(parts) {
            let id = first.wrapping_add(at);
            self.order.push_back(Part { id, offset, came: 0, length, asked: length });
        }
        Ok(())
    }

    /// Uses all answers whose turn it is.
    fn settle(&mut self) -> Result<()> {
        while let Some(at) = self.early.iter().position(|(id, _)| self.is_due(*id)) {
            // In their order: data come in several answers.
            let (id, reply) = self.early.remove(at);
            if self.check == Check::Asked(id) {
                self.verify(reply)?;
            } else if let Some(part) = self.order.pop_front() {
                self.take(part, reply)?;
            }
        }
        Ok(())
    }

    fn is_due(&self, id: u32) -> bool {
        self.check == Check::Asked(id) || self.order.front().is_some_and(|part| part.id == id)
    }

    fn take(&mut self, mut part: Part, reply: Reply) -> Result<()> {
        let (data, left) = match reply {
            Reply::Data { data, left } => (data, left),
            Reply::Status(Status { code: Status::EOF, .. }) => return self.ended(&part),
            other => return Err(classify(other, Stage::Body)),
        };
        // A packet has less than 32 bits of them.
        let length = data.len() as u32;
        let all = u64::from(part.came) + u64::from(length) + u64::from(left);
        if all == 0 || all > part.asked.into() {
            return Err(self.malformed("data of another length than was asked for"));
        }
        if all > part.length.into() {
            return Err(changed());
        }
        self.asked -= u64::from(length);
        self.ready.append(data);
        part.came += length;
        if left > 0 {
            self.order.push_front(part);
            return Ok(());
        }
        let missing = part.length - part.came;
        if missing > 0 {
            // Less than asked for is no fault, but tells how much the server gives at once.
            self.longest_read = self.longest_read.min(part.came).max(SHORTEST_READ);
            self.asked -= u64::from(missing);
            self.ask_again(part.offset + u64::from(part.came), missing)?;
        }
        Ok(())
    }

    /// The rest of a read, before all others.
    fn ask_again(&mut self, offset: u64, length: u32) -> Result<()> {
        let Some(source) = &mut self.source else { return Ok(()) };
        let read = Request::Read { handle: &source.handle, offset, length };
        let id = source.call.send(&[read]).map_err(|end| classify(end, Stage::Body))?;
        self.order.push_front(Part { id, offset, came: 0, length, asked: length });
        self.asked += u64::from(length);
        // What was told of the file was told before this read.
        if matches!(self.check, Check::Asked(_)) || self.told != Attributes::default() {
            self.check = Check::Due;
        }
        Ok(())
    }

    /// The server says that the file ends where this part begins.
    fn ended(&mut self, part: &Part) -> Result<()> {
        if self.end.is_some() {
            return Err(Error::new(ErrorKind::Truncated, "the file became shorter while it was read"));
        }
        self.end = Some(part.offset);
        self.next = part.offset;
        let ids: Vec<u32> = self.order.drain(..).map(|part| part.id).collect();
        self.early.retain(|(id, _)| !ids.contains(id));
        self.asked = 0;
        if let Some(source) = &mut self.source {
            source.call.abandon(&ids);
        }
        Ok(())
    }

    fn verify(&mut self, reply: Reply) -> Result<()> {
        match reply {
            Reply::Attributes(now)
                if now.modified == self.told.modified
                    && (self.told.size.is_none() || now.size == self.told.size) =>
            {
                self.check = Check::Passed;
                Ok(())
            }
            Reply::Attributes(_) => Err(changed()),
            other => Err(classify(other, Stage::Body)),
        }
    }

    /// Nobody trusts the session any more.
    fn malformed(&self, what: &'static str) -> Error {
        let end = End::Malformed(what);
        if let Some(source) = &self.source {
            source.call.end_session(end);
        }
        classify(end, Stage::Body)
    }
}

fn changed() -> Error {
    Error::new(ErrorKind::Changed, "the file was written to while it was read")
}

impl Stream for Reading {
    type Item = Result<Bytes>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        let Some(source) = &this.source else { return Poll::Ready(None) };
        let url = source.url.clone();
        let item = match this.step(context) {
            Poll::Pending => return Poll::Pending,
            Poll::Ready(Ok(Some(piece))) => {
                this.at += piece.len() as u64;
                this.window.took(piece.len() as u64, Instant::now());
                return Poll::Ready(Some(Ok(piece)));
            }
            Poll::Ready(Ok(None)) => None,
            Poll::Ready(Err(error)) => Some(Err(error.with_url(&url).with_offset(this.at))),
        };
        this.source = None;
        Poll::Ready(item)
    }
}
