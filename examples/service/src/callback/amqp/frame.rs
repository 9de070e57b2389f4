//! Owns the frames of AMQP 0-9-1 that brokers send to a publisher.
//!
//! Invariant: pure, and nothing that a broker sends makes it panic or take more than the limit it was given. Must not know what follows from
//! a frame.

/// Kinds of frames.
pub(super) const METHOD: u8 = 1;
pub(super) const HEADER: u8 = 2;
pub(super) const BODY: u8 = 3;
pub(super) const HEARTBEAT: u8 = 8;
/// Kind, channel and size.
pub(super) const HEAD: usize = 7;
pub(super) const END: u8 = 0xCE;
/// The class of messages.
pub(super) const BASIC: u16 = 60;

/// What a broker said.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Heard {
    Start {
        mechanisms: String,
    },
    Tune {
        most_channels: u16,
        largest_frame: u32,
        heartbeat: u16,
    },
    Opened,
    /// Of the connection, or of a channel. Code and text.
    Close(String),
    Closed,
    ChannelOpened,
    ChannelClose(String),
    ChannelClosed,
    /// The channel confirms from here on.
    Confirms,
    Ack {
        tag: u64,
        multiple: bool,
    },
    Nack {
        tag: u64,
        multiple: bool,
    },
    /// A message comes back, for this reason; its header follows.
    Return(String),
    /// The header of what comes back.
    Returned {
        message: Option<String>,
    },
    /// Something that does not matter here.
    Other,
}

/// Not AMQP, or not within the limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the broker does not speak AMQP 0-9-1: {0}")]
pub(super) struct Malformed(&'static str);

/// The first frame of what came: how long it is, its channel, and what it says. `None` when it is not all there.
pub(super) fn parse(came: &[u8], limit: usize) -> Result<Option<(usize, u16, Heard)>, Malformed> {
    let mut head = Fields(came);
    let Ok(kind) = head.octet() else { return Ok(None) };
    if !matches!(kind, METHOD | HEADER | BODY | HEARTBEAT) {
        return Err(Malformed("a frame of no kind"));
    }
    let (Ok(channel), Ok(size)) = (head.short(), head.long()) else { return Ok(None) };
    let size =
        usize::try_from(size).ok().filter(|size| *size <= limit).ok_or(Malformed("a frame too long"))?;
    let Some((content, rest)) = head.0.split_at_checked(size) else { return Ok(None) };
    let heard = match rest.first() {
        None => return Ok(None),
        Some(&END) if kind == METHOD => method(Fields(content))?,
        Some(&END) if kind == HEADER => Heard::Returned { message: message_id(Fields(content)).ok() },
        Some(&END) => Heard::Other,
        Some(_) => return Err(Malformed("a frame without its end")),
    };
    Ok(Some((HEAD + size + 1, channel, heard)))
}

fn method(mut fields: Fields<'_>) -> Result<Heard, Malformed> {
    Ok(match (fields.short()?, fields.short()?) {
        (10, 10) => {
            fields.skip(2)?;
            fields.long_text()?;
            Heard::Start { mechanisms: lossy(fields.long_text()?) }
        }
        (10, 30) => Heard::Tune {
            most_channels: fields.short()?,
            largest_frame: fields.long()?,
            heartbeat: fields.short()?,
        },
        (10, 41) => Heard::Opened,
        (10, 50) => Heard::Close(fields.reason()?),
        (10, 51) => Heard::Closed,
        (20, 11) => Heard::ChannelOpened,
        (20, 40) => Heard::ChannelClose(fields.reason()?),
        (20, 41) => Heard::ChannelClosed,
        (85, 11) => Heard::Confirms,
        (BASIC, 50) => Heard::Return(fields.reason()?),
        (BASIC, 80) => Heard::Ack { tag: fields.long_long()?, multiple: fields.octet()? & 1 == 1 },
        (BASIC, 120) => Heard::Nack { tag: fields.long_long()?, multiple: fields.octet()? & 1 == 1 },
        _ => Heard::Other,
    })
}

/// Of the header of a message, whose properties come in the order of their flags.
fn message_id(mut fields: Fields<'_>) -> Result<String, Malformed> {
    fields.skip(2 + 2 + 8)?;
    let flags = fields.short()?;
    let has = |bit: u16| flags & 1 << bit != 0;
    for text in [15, 14] {
        if has(text) {
            fields.text()?;
        }
    }
    if has(13) {
        fields.long_text()?;
    }
    fields.skip(usize::from(has(12)) + usize::from(has(11)))?;
    for text in [10, 9, 8] {
        if has(text) {
            fields.text()?;
        }
    }
    if has(7) { Ok(lossy(fields.text()?)) } else { Err(Malformed("a message without a name")) }
}

/// Bytes that are read from the front.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], Malformed> {
        let (taken, left) = self.0.split_at_checked(count).ok_or(Malformed("a frame that is cut"))?;
        self.0 = left;
        Ok(taken)
    }

    fn skip(&mut self, count: usize) -> Result<(), Malformed> {
        self.take(count).map(drop)
    }

    /// Big-endian, as all numbers are.
    fn number(&mut self, bytes: usize) -> Result<u64, Malformed> {
        Ok(self.take(bytes)?.iter().fold(0, |number, byte| number << 8 | u64::from(*byte)))
    }

    fn octet(&mut self) -> Result<u8, Malformed> {
        self.take(1).map(|byte| byte[0])
    }

    #[expect(clippy::cast_possible_truncation, reason = "a number of two bytes")]
    fn short(&mut self) -> Result<u16, Malformed> {
        self.number(2).map(|number| number as u16)
    }

    #[expect(clippy::cast_possible_truncation, reason = "a number of four bytes")]
    fn long(&mut self) -> Result<u32, Malformed> {
        self.number(4).map(|number| number as u32)
    }

    fn long_long(&mut self) -> Result<u64, Malformed> {
        self.number(8)
    }

    fn text(&mut self) -> Result<&'a [u8], Malformed> {
        let length = self.octet()?;
        self.take(length.into())
    }

    /// Tables have the same form.
    fn long_text(&mut self) -> Result<&'a [u8], Malformed> {
        let length = self.long()?;
        self.take(usize::try_from(length).map_err(|_| Malformed("a text too long"))?)
    }

    /// A code and its text.
    fn reason(&mut self) -> Result<String, Malformed> {
        let code = self.short()?;
        Ok(format!("{code} {}", lossy(self.text()?)))
    }
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::say::{Say as _, frame, method_of};
    use super::*;

    /// What a broker says, as bytes.
    fn said(channel: u16, class: u16, method: u16, arguments: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        frame(&mut out, METHOD, channel, |out| {
            method_of(out, class, method);
            out.extend(arguments);
        });
        out
    }

    fn all(came: &[u8]) -> Heard {
        let (length, _, heard) = parse(came, 4096).expect("a frame").expect("all of it");
        assert_eq!(length, came.len());
        heard
    }

    #[test]
    fn what_brokers_say() {
        let start = b"\0\x09\0\0\0\x02\x01x\0\0\0\x0ePLAIN AMQPLAIN\0\0\0\x05en_US";
        assert_eq!(all(&said(0, 10, 10, start)), Heard::Start { mechanisms: "PLAIN AMQPLAIN".to_owned() });
        let tune = Heard::Tune { most_channels: 2047, largest_frame: 131_072, heartbeat: 60 };
        assert_eq!(all(&said(0, 10, 30, &[7, 255, 0, 2, 0, 0, 0, 60])), tune);
        assert_eq!(
            all(&said(3, 20, 40, b"\x01\x94\x04GONE\0\0\0\0")),
            Heard::ChannelClose("404 GONE".to_owned())
        );
        let ack = Heard::Ack { tag: 258, multiple: true };
        assert_eq!(all(&said(3, 60, 80, &[0, 0, 0, 0, 0, 0, 1, 2, 1])), ack);
        let nack = Heard::Nack { tag: 1, multiple: false };
        assert_eq!(all(&said(3, 60, 120, &[0, 0, 0, 0, 0, 0, 0, 1, 2])), nack);
        assert_eq!(all(&said(0, 10, 60, b"\x03low")), Heard::Other);
    }

    #[test]
    fn a_message_that_comes_back_has_its_name() {
        let mut out = Vec::new();
        out.publish(1, "e", "k", "the name", &[7; 10], 12);
        let mut heard = Vec::new();
        let mut rest = &out[..];
        while let Some((length, channel, what)) = parse(rest, 4096).expect("frames") {
            assert_eq!(channel, 1);
            heard.push(what);
            rest = &rest[length..];
        }
        assert!(rest.is_empty());
        assert_eq!(heard[1], Heard::Returned { message: Some("the name".to_owned()) });
        assert_eq!(heard.len(), 2 + 3, "ten bytes, four in each frame");
        // With all that can be before the name.
        let mut other = Vec::new();
        frame(&mut other, HEADER, 1, |out| {
            out.extend([0; 12]);
            out.extend(0xFF80_u16.to_be_bytes());
            out.extend(b"\x01a\x01b\0\0\0\x02\x01t\x02\x09\x01c\x01d\x01e\x04name");
        });
        assert_eq!(all(&other), Heard::Returned { message: Some("name".to_owned()) });
    }

    #[test]
    fn what_is_no_frame_is_refused() {
        for bad in
            [&b"HTTP/1.1 400"[..], b"AMQP\0\0\x09\x01", &[1, 0, 0, 255, 0, 0, 0], &[8, 0, 0, 0, 0, 0, 0, 1]]
        {
            parse(bad, 4096).expect_err("no frame");
        }
        parse(&said(0, 10, 30, &[7]), 4096).expect_err("cut arguments");
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(came in proptest::collection::vec(any::<u8>(), 0..64), kind in 1..=3_u8, class in 0..100_u16) {
            let _ = parse(&came, 4096);
            let mut framed = Vec::new();
            frame(&mut framed, kind, 1, |out| {
                out.extend(class.to_be_bytes());
                out.extend(&came);
            });
            if let Ok(Some((length, ..))) = parse(&framed, 4096) {
                prop_assert_eq!(length, framed.len());
            }
            prop_assert_eq!(parse(&framed[..framed.len() - 1], 4096), Ok(None));
        }
    }
}
