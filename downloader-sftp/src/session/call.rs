//! The requests of one caller, and the handle it holds.
//!
//! Invariant: when it is dropped, no reply is waited for and the handle is closed, at whatever point that is. Must not
//! know: what the requests are for.

use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::End;
use super::dispatch::{Answer, Dispatch};
use crate::protocol::{Reply, Request};

#[derive(Debug)]
pub(crate) struct Call {
    dispatch: Arc<Dispatch>,
    sender: UnboundedSender<Answer>,
    receiver: UnboundedReceiver<Answer>,
    /// Numbers of what is not answered.
    open: Vec<u32>,
    handle: Option<Bytes>,
}

impl Call {
    pub(super) fn of(dispatch: &Arc<Dispatch>) -> Self {
        let (sender, receiver) = unbounded_channel();
        Self { dispatch: Arc::clone(dispatch), sender, receiver, open: Vec::new(), handle: None }
    }

    /// Sends requests in this order; returns the number of the first, the others follow it.
    pub(crate) fn send(&mut self, requests: &[Request<'_>]) -> Result<u32, End> {
        let first = self.dispatch.send(requests, &self.sender)?;
        self.open.extend((0..requests.len() as u32).map(|at| first.wrapping_add(at)));
        Ok(first)
    }

    /// The next answer to any of the requests.
    pub(crate) async fn next(&mut self) -> Result<(u32, Reply), End> {
        std::future::poll_fn(|context| self.poll_next(context)).await
    }

    pub(crate) fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Result<(u32, Reply), End>> {
        // Never `None`: the sender for further requests is beside it.
        let Poll::Ready(Some((id, reply))) = self.receiver.poll_recv(context) else { return Poll::Pending };
        if reply.as_ref().map_or(true, Reply::is_complete)
            && let Some(at) = self.open.iter().position(|open| *open == id)
        {
            self.open.swap_remove(at);
        }
        Poll::Ready(reply.map(|reply| (id, reply)))
    }

    /// The handle to close at the end.
    pub(crate) fn hold(&mut self, handle: Bytes) {
        self.handle = Some(handle);
    }

    pub(crate) fn handle(&self) -> Bytes {
        self.handle.clone().unwrap_or_default()
    }

    /// Waits for none of these any more.
    pub(crate) fn abandon(&mut self, ids: &[u32]) {
        self.dispatch.abandon(ids);
        self.open.retain(|open| !ids.contains(open));
    }

    /// Ends the session for everybody: the server broke the protocol.
    pub(crate) fn end_session(&self, end: End) {
        self.dispatch.end(end);
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        // No answer slips in between the table and the queue.
        self.receiver.close();
        self.dispatch.abandon(&self.open);
        while let Ok((_, answer)) = self.receiver.try_recv() {
            if let Ok(Reply::Handle(handle)) = answer
                && self.handle.is_none()
            {
                self.handle = Some(handle);
            }
        }
        if let Some(handle) = &self.handle {
            self.dispatch.close(handle);
        }
    }
}
