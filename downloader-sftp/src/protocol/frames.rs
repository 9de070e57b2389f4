//! From pieces of a stream to packets, without copying what a packet carries.
//!
//! Invariant: however the stream is cut, the same packets come out; at most one packet and one piece are held, and of
//! data nothing: it is passed on as it comes. Must not know: what a packet means, but that some are data.

use std::collections::VecDeque;

use bytes::{Buf, Bytes, BytesMut};

use super::{MAX_PACKET, Malformed};

/// A packet, or a part of one.
#[derive(Debug)]
pub(crate) enum Frame {
    /// Its type and all that follows it.
    Whole { code: u8, body: Pieces },
    /// Data that answers a request: some of it, and how much is still to come.
    Data { id: u32, data: Pieces, left: u32 },
}

/// The type of a packet of data, and its length without the data.
const DATA: u8 = 103;
const DATA_HEAD: usize = 13;

/// Bytes in pieces, as they came.
#[derive(Clone, Debug, Default)]
pub(crate) struct Pieces {
    pieces: VecDeque<Bytes>,
    length: usize,
}

/// Makes packets of a stream.
#[derive(Debug, Default)]
pub(crate) struct Frames {
    held: Pieces,
    /// The request whose data come, and how much is still to come.
    data: Option<(u32, usize)>,
}

impl Frames {
    /// The next piece of the stream.
    pub(crate) fn push(&mut self, piece: Bytes) {
        self.held.push(piece);
    }

    /// The next packet, if all of it is there, or data, if any is.
    pub(crate) fn next(&mut self) -> Result<Option<Frame>, Malformed> {
        if self.data.is_some() {
            return Ok(self.more());
        }
        let Some(length) = self.held.peek_u32() else { return Ok(None) };
        let length = length as usize;
        if length == 0 || length > MAX_PACKET {
            return Err(Malformed("a packet is empty, or longer than 257 KiB"));
        }
        if self.held.get(4) == Some(DATA) && length + 4 >= DATA_HEAD {
            if self.held.len() < DATA_HEAD {
                return Ok(None);
            }
            self.held.skip(5);
            let (id, told) = (self.held.u32()?, self.held.u32()? as usize);
            if told + DATA_HEAD != length + 4 {
                return Err(Malformed("data of another length than told"));
            }
            self.data = Some((id, told));
            // An empty one is passed on, too.
            return Ok(if told == 0 { self.end_of_data() } else { self.more() });
        }
        if self.held.len() < 4 + length {
            return Ok(None);
        }
        self.held.skip(4);
        let mut body = self.held.take(length);
        let code = body.get(0).unwrap_or_default();
        body.skip(1);
        Ok(Some(Frame::Whole { code, body }))
    }

    /// What has come of the data.
    fn more(&mut self) -> Option<Frame> {
        let (id, left) = self.data?;
        let here = left.min(self.held.len());
        if here == 0 {
            return None;
        }
        let (data, left) = (self.held.take(here), left - here);
        self.data = (left > 0).then_some((id, left));
        // At most a packet's length.
        Some(Frame::Data { id, data, left: left as u32 })
    }

    fn end_of_data(&mut self) -> Option<Frame> {
        let (id, _) = self.data.take()?;
        Some(Frame::Data { id, data: Pieces::default(), left: 0 })
    }
}

impl Pieces {
    pub(crate) fn len(&self) -> usize {
        self.length
    }

    pub(crate) fn push(&mut self, piece: Bytes) {
        if !piece.is_empty() {
            self.length += piece.len();
            self.pieces.push_back(piece);
        }
    }

    /// Length of the next piece.
    pub(crate) fn first_len(&self) -> Option<usize> {
        self.pieces.front().map(Bytes::len)
    }

    /// These pieces behind the others.
    pub(crate) fn append(&mut self, mut more: Self) {
        self.length += more.length;
        self.pieces.append(&mut more.pieces);
    }

    /// The next piece as it came.
    pub(crate) fn pop(&mut self) -> Option<Bytes> {
        let piece = self.pieces.pop_front()?;
        self.length -= piece.len();
        Some(piece)
    }

    /// The first four bytes, which stay.
    pub(crate) fn peek_u32(&self) -> Option<u32> {
        let mut number = [0; 4];
        let mut bytes = self.pieces.iter().flatten();
        for byte in &mut number {
            *byte = *bytes.next()?;
        }
        Some(u32::from_be_bytes(number))
    }

    pub(crate) fn u32(&mut self) -> Result<u32, Malformed> {
        let number = self.peek_u32().ok_or(Malformed("a number is cut"))?;
        self.skip(4);
        Ok(number)
    }

    /// All of it in one piece; copied only if it is in several.
    pub(crate) fn joined(mut self) -> Bytes {
        if self.pieces.len() <= 1 {
            return self.pop().unwrap_or_default();
        }
        let mut joined = BytesMut::with_capacity(self.length);
        self.pieces.iter().for_each(|piece| joined.extend_from_slice(piece));
        joined.freeze()
    }

    fn get(&self, at: usize) -> Option<u8> {
        self.pieces.iter().flatten().nth(at).copied()
    }

    fn skip(&mut self, mut count: usize) {
        while count > 0 {
            let Some(front) = self.pieces.front_mut() else { return };
            let here = count.min(front.len());
            front.advance(here);
            let spent = front.is_empty();
            (count, self.length) = (count - here, self.length - here);
            if spent {
                self.pieces.pop_front();
            }
        }
    }

    /// The first `count` bytes, which must be there.
    fn take(&mut self, count: usize) -> Self {
        let mut taken = Self::default();
        while taken.length < count {
            let missing = count - taken.length;
            let Some(front) = self.pieces.front_mut() else { break };
            if front.len() > missing {
                taken.push(front.split_to(missing));
                self.length -= missing;
            } else if let Some(piece) = self.pop() {
                taken.push(piece);
            }
        }
        taken
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn packet(code: u8, body: &[u8]) -> Vec<u8> {
        [&(body.len() as u32 + 1).to_be_bytes()[..], &[code], body].concat()
    }

    #[test]
    fn what_cannot_be_a_packet() {
        for stream in [&[0, 0, 0, 0][..], &[0, 4, 4, 1], &[255; 4]] {
            let mut frames = Frames::default();
            frames.push(Bytes::copy_from_slice(stream));
            assert!(frames.next().is_err(), "{stream:?}");
        }
        let mut frames = Frames::default();
        frames.push(Bytes::from_static(&[0, 0, 0]));
        assert!(frames.next().unwrap().is_none());
    }

    proptest! {
        #[test]
        fn however_a_stream_is_cut_the_packets_are_the_same(
            packets in proptest::collection::vec((100..106_u8, proptest::collection::vec(any::<u8>(), 0..40)), 0..8),
            cuts in proptest::collection::vec(1..20_usize, 1..60),
        ) {
            let packets: Vec<_> = packets.into_iter().map(|(code, mut body)| {
                if code == DATA {
                    let head = [[0, 0, 0, 9], (body.len() as u32).to_be_bytes()].concat();
                    body.splice(0..0, head);
                }
                (code, body)
            }).collect();
            let mut stream: Bytes = packets.iter().flat_map(|(code, body)| packet(*code, body)).collect::<Vec<_>>().into();
            let (mut frames, mut found, mut cuts) = (Frames::default(), Vec::new(), cuts.into_iter().cycle());
            let mut data: Vec<u8> = Vec::new();
            loop {
                while let Some(frame) = frames.next().unwrap() {
                    match frame {
                        Frame::Whole { code, body } => found.push((code, body.joined().to_vec())),
                        Frame::Data { id, data: more, left } => {
                            prop_assert_eq!(id, 9);
                            data.extend_from_slice(&more.joined());
                            if left == 0 {
                                let head = [[0, 0, 0, 9], (data.len() as u32).to_be_bytes()].concat();
                                found.push((DATA, [head, std::mem::take(&mut data)].concat()));
                            }
                        }
                    }
                }
                if stream.is_empty() {
                    break;
                }
                let cut = cuts.next().unwrap_or(1).min(stream.len());
                frames.push(stream.split_to(cut));
            }
            prop_assert_eq!(found, packets);
        }
    }
}
