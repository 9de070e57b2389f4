//! Owns xz: streams one behind the other, with padding of four zeros between them, each with its checks and its index.
//!
//! Invariant: it ends where liblzma says so. Must not know: what is in it.

use liblzma::stream::{Action, CONCATENATED, Error, Status, Stream};

use super::decoder::{Decoder, Fault, Step};

pub(super) struct Xz {
    /// `None` where this machine had no memory for it.
    stream: Option<Stream>,
    ended: bool,
}

impl Xz {
    pub(super) fn new(memory: u64) -> Self {
        Self { stream: Stream::new_stream_decoder(memory, CONCATENATED).ok(), ended: false }
    }

    fn process(&mut self, input: &[u8], output: &mut [u8], action: Action) -> Result<Step, Fault> {
        let stream = self.stream.as_mut().ok_or(Fault::Local)?;
        let before = (stream.total_in(), stream.total_out());
        let status = stream.process(input, output, action).map_err(|error| match error {
            Error::Mem => Fault::Local,
            Error::MemLimit => Fault::Memory,
            Error::Options | Error::UnsupportedCheck => Fault::Unknown("a filter that is not known"),
            Error::Format => Fault::Corrupt("it begins with something else"),
            _ => Fault::Corrupt("its data or its checksum is wrong"),
        })?;
        self.ended = status == Status::StreamEnd;
        // Both are bounded by the lengths of the buffers.
        let taken = (stream.total_in() - before.0) as usize;
        Ok(Step { taken, made: (stream.total_out() - before.1) as usize })
    }
}

impl Decoder for Xz {
    fn step(&mut self, input: &[u8], output: &mut [u8]) -> Result<Step, Fault> {
        self.process(input, output, Action::Run)
    }

    fn flush(&mut self, output: &mut [u8]) -> Result<Step, Fault> {
        if self.ended { Ok(Step::default()) } else { self.process(&[], output, Action::Finish) }
    }

    fn is_complete(&self) -> bool {
        self.ended
    }
}
