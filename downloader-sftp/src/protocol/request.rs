//! Requests, as bytes.
//!
//! Invariant: what is encoded is one whole packet. Must not know: replies.

use bytes::BufMut;

/// The version spoken.
const VERSION: u32 = 3;
/// `SSH_FXF_READ`.
const READ: u32 = 1;

/// What is asked of a server. Nothing in here changes anything on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Request<'a> {
    Open { path: &'a [u8] },
    Close { handle: &'a [u8] },
    Read { handle: &'a [u8], offset: u64, length: u32 },
    Fstat { handle: &'a [u8] },
    Stat { path: &'a [u8] },
    OpenDir { path: &'a [u8] },
    ReadDir { handle: &'a [u8] },
    ReadLink { path: &'a [u8] },
    Limits,
}

/// The first packet of all: it has no number.
pub(crate) fn init() -> [u8; 9] {
    let [a, b, c, d] = VERSION.to_be_bytes();
    [0, 0, 0, 5, 1, a, b, c, d]
}

impl Request<'_> {
    /// Appends the packet.
    pub(crate) fn encode(&self, id: u32, out: &mut Vec<u8>) {
        let start = out.len();
        out.put_u32(0);
        out.put_u8(self.code());
        out.put_u32(id);
        match *self {
            Self::Open { path } => {
                put_string(out, path);
                out.put_u32(READ);
                // No attributes.
                out.put_u32(0);
            }
            Self::Close { handle } | Self::Fstat { handle } | Self::ReadDir { handle } => {
                put_string(out, handle);
            }
            Self::Read { handle, offset, length } => {
                put_string(out, handle);
                out.put_u64(offset);
                out.put_u32(length);
            }
            Self::Stat { path } | Self::OpenDir { path } | Self::ReadLink { path } => {
                put_string(out, path);
            }
            Self::Limits => put_string(out, b"limits@openssh.com"),
        }
        // A path is part of a URL, which has at most 64 KiB; a handle has 256 bytes.
        let length = (out.len() - start - 4) as u32;
        out[start..start + 4].copy_from_slice(&length.to_be_bytes());
    }

    fn code(&self) -> u8 {
        match self {
            Self::Open { .. } => 3,
            Self::Close { .. } => 4,
            Self::Read { .. } => 5,
            Self::Fstat { .. } => 8,
            Self::OpenDir { .. } => 11,
            Self::ReadDir { .. } => 12,
            Self::Stat { .. } => 17,
            Self::ReadLink { .. } => 19,
            Self::Limits => 200,
        }
    }
}

fn put_string(out: &mut Vec<u8>, string: &[u8]) {
    out.put_u32(string.len() as u32);
    out.put_slice(string);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_are_those_of_the_draft() {
        let encoded = |request: Request<'_>| {
            let mut out = vec![0xee];
            request.encode(7, &mut out);
            out.split_off(1)
        };
        assert_eq!(
            encoded(Request::Open { path: b"/a" }),
            *b"\0\0\0\x13\x03\0\0\0\x07\0\0\0\x02/a\0\0\0\x01\0\0\0\0"
        );
        assert_eq!(
            encoded(Request::Read { handle: b"h", offset: 1 << 32, length: 5 }),
            *b"\0\0\0\x16\x05\0\0\0\x07\0\0\0\x01h\0\0\0\x01\0\0\0\0\0\0\0\x05"
        );
        assert_eq!(encoded(Request::Close { handle: b"h" }), *b"\0\0\0\x0a\x04\0\0\0\x07\0\0\0\x01h");
        assert_eq!(encoded(Request::Fstat { handle: b"" }), *b"\0\0\0\x09\x08\0\0\0\x07\0\0\0\0");
        assert_eq!(encoded(Request::Limits)[4], 200);
        assert_eq!(init(), *b"\0\0\0\x05\x01\0\0\0\x03");
    }
}
