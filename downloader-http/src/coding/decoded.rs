//! The bytes of a body with its codings undone, within limits.
//!
//! Invariant: no more is decoded ahead of the reader than one piece; what exceeds a limit is never given out; after
//! the end or an error the connection is let go at once. Must not know: what the bytes are, or where they go.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Buf as _, Bytes};
use downloader_core::{Error, ErrorKind, Result};
use futures_util::Stream;
use futures_util::stream::{BoxStream, StreamExt as _};

use super::DecodeLimits;
use super::decoder::{Decoder, Fault, decoder};
use super::listed::{Coding, Decode};

/// Bytes decoded at a time.
const PIECE: usize = 64 << 10;
/// Bytes taken and made until others get their turn: about a millisecond.
const TURN: usize = 256 << 10;
/// What a step costs besides its bytes, in bytes.
const STEP: usize = 256;
/// The ratio of what was decoded to what came is not looked at before this many bytes.
const FLOOR: u64 = 1 << 20;

impl Decode {
    /// The decoded bytes of `wire`.
    ///
    /// # Errors
    /// Kind `Local` when there is no memory for a decoder.
    pub(crate) fn undo(
        &self,
        wire: BoxStream<'static, Result<Bytes>>,
    ) -> Result<BoxStream<'static, Result<Bytes>>> {
        let mut layers = Vec::with_capacity(self.codings.len());
        for coding in &self.codings {
            layers.push(Layer {
                coding: *coding,
                decoder: decoder(*coding, self.limits)?,
                input: Bytes::new(),
                made: 0,
                may_hold_more: false,
            });
        }
        let decoded = Decoded {
            wire: Some(wire),
            arrived: Bytes::new(),
            came: 0,
            layers,
            limits: self.limits,
            piece: vec![0; PIECE].into(),
            work: 0,
            over: false,
        };
        Ok(decoded.boxed())
    }
}

struct Decoded {
    /// `None` once it has ended.
    wire: Option<BoxStream<'static, Result<Bytes>>>,
    /// What came, and no layer has taken yet.
    arrived: Bytes,
    came: u64,
    /// In the order in which they are undone.
    layers: Vec<Layer>,
    limits: DecodeLimits,
    piece: Box<[u8]>,
    /// Since others had their turn.
    work: usize,
    over: bool,
}

struct Layer {
    coding: Coding,
    decoder: Box<dyn Decoder>,
    input: Bytes,
    made: u64,
    /// The last piece was full: there may be more without further input.
    may_hold_more: bool,
}

enum Pulled {
    Bytes(Bytes),
    /// More must come from the wire first.
    Hungry,
    /// It is the turn of others.
    Tired,
    Ended,
}

impl Decoded {
    /// The next bytes behind this many layers.
    fn pull(&mut self, layers: usize) -> Result<Pulled> {
        let Some(index) = layers.checked_sub(1) else {
            return Ok(match (self.arrived.is_empty(), &self.wire) {
                (false, _) => Pulled::Bytes(std::mem::take(&mut self.arrived)),
                (true, Some(_)) => Pulled::Hungry,
                (true, None) => Pulled::Ended,
            });
        };
        loop {
            if self.work >= TURN {
                return Ok(Pulled::Tired);
            }
            if self.layers[index].input.is_empty() && !self.layers[index].may_hold_more {
                match self.pull(index)? {
                    Pulled::Bytes(bytes) => self.layers[index].input = bytes,
                    Pulled::Ended if !self.layers[index].decoder.is_complete() => {
                        let coding = self.layers[index].coding.as_str();
                        let what = format!("content coding {coding}: ended before its time");
                        return Err(Error::new(ErrorKind::Truncated, what));
                    }
                    other => return Ok(other),
                }
            }
            let made = self.step(index)?;
            if made > 0 {
                return Ok(Pulled::Bytes(Bytes::copy_from_slice(&self.piece[..made])));
            }
        }
    }

    /// One step of a layer; says how many bytes of the piece are new.
    fn step(&mut self, index: usize) -> Result<usize> {
        let layer = &mut self.layers[index];
        let step = layer.decoder.step(&layer.input, &mut self.piece);
        let step = step.map_err(|fault| fault.into_error(layer.coding, self.limits))?;
        if step.taken == 0 && step.made == 0 && !layer.input.is_empty() {
            // No decoder does this; one that did would do it for ever.
            return Err(Fault::Corrupt.into_error(layer.coding, self.limits));
        }
        layer.input.advance(step.taken);
        layer.may_hold_more = step.made == self.piece.len();
        layer.made += step.made as u64;
        self.work += step.taken + step.made + STEP;
        self.limits.allow(layer.made, self.came)?;
        Ok(step.made)
    }
}

impl Stream for Decoded {
    type Item = Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        while !this.over {
            let item = match this.pull(this.layers.len()) {
                Ok(Pulled::Bytes(bytes)) => return Poll::Ready(Some(Ok(bytes))),
                Ok(Pulled::Tired) => {
                    this.work = 0;
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
                Ok(Pulled::Hungry) => match this.wire.as_mut().map(|wire| wire.poll_next_unpin(cx)) {
                    Some(Poll::Pending) => {
                        this.work = 0;
                        return Poll::Pending;
                    }
                    Some(Poll::Ready(Some(Ok(bytes)))) => {
                        this.came += bytes.len() as u64;
                        this.arrived = bytes;
                        continue;
                    }
                    Some(Poll::Ready(Some(Err(error)))) => Some(Err(error)),
                    Some(Poll::Ready(None)) | None => {
                        this.wire = None;
                        continue;
                    }
                },
                Ok(Pulled::Ended) => None,
                Err(error) => Some(Err(error)),
            };
            this.over = true;
            this.wire = None;
            this.layers.clear();
            return Poll::Ready(item);
        }
        Poll::Ready(None)
    }
}

impl DecodeLimits {
    fn allow(&self, made: u64, came: u64) -> Result<()> {
        let refused = |what: String| Err(Error::new(ErrorKind::Refused, what));
        if let Some(size) = self.size.filter(|size| made > *size) {
            return refused(format!("decoded content: more than {size} bytes (limit: size)"));
        }
        match self.ratio {
            Some(ratio) if made > FLOOR && made > came.saturating_mul(ratio) => refused(format!(
                "decoded content: more than {ratio} bytes for each one on the wire (limit: ratio)"
            )),
            _ => Ok(()),
        }
    }
}

impl Fault {
    fn into_error(self, coding: Coding, limits: DecodeLimits) -> Error {
        let coding = coding.as_str();
        match self {
            Self::Corrupt => {
                Error::new(ErrorKind::Integrity, format!("content coding {coding}: malformed or damaged"))
            }
            Self::Window => {
                let most = 1_u64 << limits.window_log();
                let what =
                    format!("content coding {coding}: a window of more than {most} bytes (limit: window)");
                Error::new(ErrorKind::Refused, what)
            }
        }
    }
}

#[cfg(test)]
#[path = "decoded_tests.rs"]
mod tests;
