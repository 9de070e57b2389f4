//! Replies: what a server says to a request.
//!
//! Invariant: a reply is read to its last byte or refused. Must not know: what was asked.

use bytes::Bytes;

use super::attributes::Attributes;
use super::{Fields, Frame, MAX_HANDLE, Malformed, Pieces};

/// Longest message of a status that is kept, in bytes.
const LONGEST_MESSAGE: usize = 256;

/// Extensions of a server that are looked at.
const MOST_EXTENSIONS: usize = 64;

/// A reply, with the number of its request beside it.
#[derive(Debug)]
pub(crate) enum Reply {
    Status(Status),
    Handle(Bytes),
    /// Some of the data, and how much is still to come: an answer in several parts.
    Data {
        data: Pieces,
        left: u32,
    },
    Names(Vec<Name>),
    Attributes(Attributes),
    Extended(Bytes),
}

/// A code (draft §7), and the server's words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Status {
    pub(crate) code: u32,
    pub(crate) message: Box<str>,
}

impl Status {
    pub(crate) const EOF: u32 = 1;
}

/// One name of a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Name {
    pub(crate) name: Bytes,
    pub(crate) attributes: Attributes,
}

/// The first packet of a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Version {
    pub(crate) number: u32,
    /// It tells how much it serves at once.
    pub(crate) limits: bool,
}

impl Version {
    pub(crate) fn read(frame: Frame) -> Result<Self, Malformed> {
        let Frame::Whole { code: 2, body } = frame else {
            return Err(Malformed("the first packet is no version"));
        };
        let body = body.joined();
        let mut fields = Fields::new(&body);
        let mut read = Self { number: fields.u32()?, limits: false };
        for _ in 0..MOST_EXTENSIONS {
            if fields.is_empty() {
                break;
            }
            let (name, data) = (fields.string()?, fields.string()?);
            read.limits |= name == b"limits@openssh.com" && data == b"1";
        }
        Ok(read)
    }
}

impl Reply {
    /// The number of the request, and the reply.
    pub(crate) fn read(frame: Frame) -> Result<(u32, Self), Malformed> {
        let (code, mut body) = match frame {
            Frame::Data { id, data, left } => return Ok((id, Self::Data { data, left })),
            Frame::Whole { code, body } => (code, body),
        };
        let id = body.u32()?;
        let body = body.joined();
        let mut fields = Fields::new(&body);
        let reply = match code {
            101 => Self::Status(status(&mut fields)?),
            102 => {
                let handle = fields.string()?;
                if handle.len() > MAX_HANDLE {
                    return Err(Malformed("a handle of more than 256 bytes"));
                }
                Self::Handle(body.slice_ref(handle))
            }
            104 => Self::Names(names(&body, &mut fields)?),
            105 => Self::Attributes(Attributes::read(&mut fields)?),
            201 => return Ok((id, Self::Extended(body))),
            _ => return Err(Malformed("a packet of an unknown type")),
        };
        if !fields.is_empty() {
            return Err(Malformed("a packet goes on behind its end"));
        }
        Ok((id, reply))
    }

    /// False if more of it is to come.
    pub(crate) fn is_complete(&self) -> bool {
        !matches!(self, Self::Data { left: 1.., .. })
    }

    pub(crate) fn word(&self) -> &'static str {
        match self {
            Self::Status(_) => "a status",
            Self::Handle(_) => "a handle",
            Self::Data { .. } => "data",
            Self::Names(_) => "names",
            Self::Attributes(_) => "attributes",
            Self::Extended(_) => "an extended reply",
        }
    }
}

/// Old servers leave out message and language.
fn status(fields: &mut Fields<'_>) -> Result<Status, Malformed> {
    let code = fields.u32()?;
    let message = if fields.is_empty() { &[] } else { fields.string()? };
    if !fields.is_empty() {
        fields.string()?;
    }
    let message = &message[..message.len().min(LONGEST_MESSAGE)];
    let message = String::from_utf8_lossy(message).chars().filter(|c| !c.is_control()).collect::<String>();
    Ok(Status { code, message: message.into() })
}

fn names(body: &Bytes, fields: &mut Fields<'_>) -> Result<Vec<Name>, Malformed> {
    let count = fields.u32()?;
    // Each takes twelve bytes at least: a lie about the count reserves nothing.
    let mut names = Vec::new();
    for _ in 0..count {
        let name = body.slice_ref(fields.string()?);
        // The long name is for people.
        fields.string()?;
        names.push(Name { name, attributes: Attributes::read(fields)? });
    }
    Ok(names)
}

/// What `limits@openssh.com` tells of the longest read.
pub(crate) fn longest_read(extended: &[u8]) -> Result<u64, Malformed> {
    let mut fields = Fields::new(extended);
    fields.u64()?;
    fields.u64()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::Frames;

    fn frame(code: u8, body: &[u8]) -> Frame {
        let mut frames = Frames::default();
        let stream = [&(body.len() as u32 + 1).to_be_bytes()[..], &[code], body].concat();
        frames.push(stream.into());
        frames.next().unwrap().unwrap()
    }

    #[test]
    fn data_of_another_length_than_told() {
        for body in [&b"\0\0\0\x01\0\0\0\x05abcd"[..], b"\0\0\0\x01\0\0\0\x03abcd"] {
            let mut frames = Frames::default();
            frames.push([&(body.len() as u32 + 1).to_be_bytes()[..], &[103], body].concat().into());
            assert!(frames.next().is_err(), "{body:?}");
        }
    }

    #[test]
    fn statuses_of_old_servers_and_rude_ones() {
        let read = |body: &[u8]| match Reply::read(frame(101, body)).unwrap() {
            (9, Reply::Status(status)) => (status.code, status.message.to_string()),
            other => panic!("{other:?}"),
        };
        assert_eq!(read(b"\0\0\0\x09\0\0\0\x02"), (2, String::new()));
        assert_eq!(read(b"\0\0\0\x09\0\0\0\x04\0\0\0\x06no\x1b[1m"), (4, "no[1m".to_owned()));
        assert_eq!(read(b"\0\0\0\x09\0\0\0\x01\0\0\0\x01x\0\0\0\x02en"), (1, "x".to_owned()));
        let long = [b"\0\0\0\x09\0\0\0\x01\0\0\x10\0".to_vec(), vec![b'x'; 4096]].concat();
        assert_eq!(read(&long).1.len(), LONGEST_MESSAGE);
    }

    #[test]
    fn a_lie_about_a_length_is_found() {
        for (code, body) in [
            (103, &b"\0\0\0\x01"[..]),
            (102, b"\0\0\0\x01\0\0\0\x01ab"),
            (104, b"\0\0\0\x01\xff\xff\xff\xff"),
            (105, b"\0\0\0\x01\0\0\0\x01\0"),
            (99, b"\0\0\0\x01"),
            (101, b"\0\0"),
        ] {
            assert!(Reply::read(frame(code, body)).is_err(), "{code}");
        }
    }

    #[test]
    fn names_and_versions() {
        let body = b"\0\0\0\x01\0\0\0\x01\0\0\0\x02\xffa\0\0\0\x01l\0\0\0\x01\0\0\0\0\0\0\0\x07";
        let Ok((1, Reply::Names(names))) = Reply::read(frame(104, body)) else { panic!() };
        assert_eq!((&names[0].name[..], names[0].attributes.size), (&b"\xffa"[..], Some(7)));
        let version = |body: &[u8]| Version::read(frame(2, body));
        assert_eq!(version(b"\0\0\0\x03"), Ok(Version { number: 3, limits: false }));
        let limits = b"\0\0\0\x03\0\0\0\x12limits@openssh.com\0\0\0\x011";
        assert_eq!(version(limits), Ok(Version { number: 3, limits: true }));
        assert!(version(&limits[..20]).is_err());
    }
}
