//! One TLS session between two buffers of the wire: rustls decrypts in place where the bytes came in.
//!
//! Invariant: no buffer is longer than its limit, an idle session has none, and the first failure is the last word.
//! Must not know: sockets.
//!
//! rustls's own buffering, for all its ease, reads a record in pieces of 4 KiB and copies it once more, which a
//! download notices: a sixth of the CPU time of a large one. rustls 0.24 replaces the interface used here; no other
//! file knows it.

use std::sync::Arc;

use bytes::{Buf as _, BytesMut};
use rustls::client::UnbufferedClientConnection;
use rustls::pki_types::ServerName;
use rustls::unbuffered::{
    ConnectionState, EncodeError, EncryptError, InsufficientSizeError, UnbufferedStatus,
};
use rustls::{ClientConfig, CommonState, Error, InvalidMessage};
use tokio::io::ReadBuf;

/// Room for bytes of the wire, in bytes: three full records and more, at one read.
const AHEAD: usize = 64 << 10;

/// The most it may grow to, for a handshake in many small records; its messages have 64 KiB at most.
const MOST_AHEAD: usize = 128 << 10;

/// The longest record (RFC 5246 §6.2.3).
const RECORD: usize = 5 + 2048 + FRAGMENT;

/// The most plaintext of a record (RFC 8446 §5.1).
pub(super) const FRAGMENT: usize = 16 << 10;

/// A session, and what waits to be processed, read or sent.
pub(super) struct Session {
    /// Large, and a stream is moved a lot on its way into a pool.
    connection: Box<UnbufferedClientConnection>,
    /// From the wire, not yet processed.
    incoming: BytesMut,
    /// For the wire.
    outgoing: BytesMut,
    /// Plaintext that found no room with the reader.
    rest: BytesMut,
    ended: bool,
    failed: Option<Error>,
}

/// What is to be done once all that came is processed.
#[derive(Clone, Copy)]
enum Wish<'a> {
    Nothing,
    Send(&'a [u8]),
    SayGoodbye,
}

impl Session {
    pub(super) fn new(
        config: Arc<ClientConfig>,
        name: ServerName<'static>,
        protocols: Vec<Vec<u8>>,
    ) -> Result<Self, Error> {
        let connection = UnbufferedClientConnection::new_with_alpn(config, name, protocols)?;
        Ok(Self {
            connection: Box::new(connection),
            incoming: BytesMut::new(),
            outgoing: BytesMut::new(),
            rest: BytesMut::new(),
            ended: false,
            failed: None,
        })
    }

    /// What was agreed on.
    pub(super) fn state(&self) -> &CommonState {
        &self.connection
    }

    /// Where bytes of the wire are to be put, behind those that wait.
    ///
    /// # Errors
    /// When the far side sends a message that does not end.
    pub(super) fn incoming(&mut self) -> Result<&mut BytesMut, Error> {
        if self.incoming.len() > MOST_AHEAD - RECORD {
            return Err(self.fail(InvalidMessage::HandshakePayloadTooLarge.into()));
        }
        let room = if self.incoming.is_empty() { AHEAD } else { RECORD };
        self.incoming.reserve(room);
        Ok(&mut self.incoming)
    }

    /// Bytes for the wire, to be taken off at the front.
    pub(super) fn outgoing(&mut self) -> &mut BytesMut {
        &mut self.outgoing
    }

    /// A session that waits, perhaps for long and in a pool, needs no memory for it.
    pub(super) fn go_idle(&mut self) {
        for buffer in [&mut self.incoming, &mut self.outgoing] {
            if buffer.is_empty() {
                *buffer = BytesMut::new();
            }
        }
    }

    /// Bytes of memory that its buffers hold.
    #[cfg(test)]
    pub(super) fn memory(&self) -> usize {
        self.incoming.capacity() + self.outgoing.capacity() + self.rest.capacity()
    }

    /// True if plaintext waits to be read.
    pub(super) fn has_rest(&self) -> bool {
        !self.rest.is_empty()
    }

    /// True if the far side said that no more will come.
    pub(super) fn has_ended(&self) -> bool {
        self.ended
    }

    /// Processes what came; true once the handshake is over.
    pub(super) fn advance(&mut self) -> Result<bool, Error> {
        self.process(&mut ReadBuf::new(&mut []), Wish::Nothing)
    }

    /// Decrypts what came, as far as there is room for it.
    pub(super) fn read(&mut self, out: &mut ReadBuf<'_>) -> Result<(), Error> {
        let count = out.remaining().min(self.rest.len());
        out.put_slice(&self.rest.split_to(count));
        if self.rest.is_empty() {
            self.rest = BytesMut::new();
        }
        if out.remaining() > 0 { self.process(out, Wish::Nothing).map(drop) } else { Ok(()) }
    }

    /// Encrypts the first of these bytes, and says how many.
    pub(super) fn write(&mut self, bytes: &[u8]) -> Result<usize, Error> {
        let fragment = &bytes[..bytes.len().min(FRAGMENT)];
        self.process(&mut ReadBuf::new(&mut []), Wish::Send(fragment))?;
        Ok(fragment.len())
    }

    /// Tells the far side that no more will come.
    pub(super) fn say_goodbye(&mut self) -> Result<(), Error> {
        self.process(&mut ReadBuf::new(&mut []), Wish::SayGoodbye).map(drop)
    }

    /// True once the handshake is over. Stops early when the next record might not find room with a reader who has
    /// something already.
    fn process(&mut self, out: &mut ReadBuf<'_>, wish: Wish<'_>) -> Result<bool, Error> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        let Self { connection, incoming, outgoing, rest, .. } = self;
        let before = out.filled().len();
        loop {
            if out.filled().len() > before && out.remaining() < FRAGMENT {
                return Ok(true);
            }
            let UnbufferedStatus { discard, state } = connection.process_tls_records(incoming);
            let over = match state {
                Ok(ConnectionState::ReadTraffic(mut traffic)) => loop {
                    match traffic.next_record() {
                        None => break Ok(None),
                        Some(Err(error)) => break Err(error),
                        Some(Ok(record)) => {
                            let (now, later) =
                                record.payload.split_at(out.remaining().min(record.payload.len()));
                            out.put_slice(now);
                            rest.extend_from_slice(later);
                        }
                    }
                },
                Ok(ConnectionState::EncodeTlsData(mut data)) => {
                    append(outgoing, |space| data.encode(space)).map(|()| None)
                }
                // It is in `outgoing`, and nothing overtakes it there.
                Ok(ConnectionState::TransmitTlsData(transmit)) => {
                    transmit.done();
                    Ok(None)
                }
                Ok(ConnectionState::PeerClosed) => {
                    self.ended = true;
                    Ok(None)
                }
                Ok(ConnectionState::BlockedHandshake) => Ok(Some(false)),
                Ok(ConnectionState::WriteTraffic(mut traffic)) => match wish {
                    Wish::Nothing => Ok(()),
                    Wish::Send(bytes) => append(outgoing, |space| traffic.encrypt(bytes, space)),
                    Wish::SayGoodbye => append(outgoing, |space| traffic.queue_close_notify(space)),
                }
                .map(|()| Some(true)),
                Ok(ConnectionState::Closed) => Ok(Some(true)),
                Ok(_) => Err(Error::General("an unknown state of a client".to_owned())),
                Err(error) => Err(error),
            };
            incoming.advance(discard);
            match over {
                Ok(None) => {}
                Ok(Some(over)) => return Ok(over),
                Err(error) => return Err(self.fail(error)),
            }
        }
    }

    /// Keeps a failure, and what is to be told of it to the far side.
    fn fail(&mut self, error: Error) -> Error {
        while self.connection.wants_write() {
            let state = self.connection.process_tls_records(&mut self.incoming).state;
            let Ok(ConnectionState::EncodeTlsData(mut data)) = state else { break };
            if append(&mut self.outgoing, |space| data.encode(space)).is_err() {
                break;
            }
        }
        self.failed.get_or_insert(error).clone()
    }
}

/// Appends what `encode` writes: it tells how much room it needs.
fn append<E>(to: &mut BytesMut, mut encode: impl FnMut(&mut [u8]) -> Result<usize, E>) -> Result<(), Error>
where
    E: Into<Shortage>,
{
    let start = to.len();
    let written = match encode(&mut []).map_err(Into::into) {
        Ok(_) => return Ok(()),
        Err(Shortage::Of(required)) => {
            to.resize(start + required, 0);
            encode(&mut to[start..]).map_err(Into::into)
        }
        Err(Shortage::Failure) => Err(Shortage::Failure),
    };
    match written {
        Ok(written) => {
            to.truncate(start + written);
            Ok(())
        }
        Err(_) => {
            to.truncate(start);
            Err(Error::EncryptError)
        }
    }
}

/// Why nothing was encoded.
enum Shortage {
    Of(usize),
    Failure,
}

impl From<EncodeError> for Shortage {
    fn from(error: EncodeError) -> Self {
        match error {
            EncodeError::InsufficientSize(InsufficientSizeError { required_size }) => Self::Of(required_size),
            EncodeError::AlreadyEncoded => Self::Failure,
        }
    }
}

impl From<EncryptError> for Shortage {
    fn from(error: EncryptError) -> Self {
        match error {
            EncryptError::InsufficientSize(InsufficientSizeError { required_size }) => {
                Self::Of(required_size)
            }
            EncryptError::EncryptExhausted => Self::Failure,
        }
    }
}
