//! The bodies of the fuzz targets of this crate (`tests/fuzz`), which are property tests too.
//!
//! Owns what must hold whatever bytes come. Invariant: a body fails by panicking and never otherwise. Must not know: who
//! makes the bytes.

use bytes::Bytes;

use crate::known_hosts::known::{Known, Standing};
use crate::known_hosts::scan;
use crate::protocol::{Attributes, Fields, Frame, Frames, MAX_PACKET, Reply, Version};

/// A stream of packets, cut anywhere: the same packets, none longer than allowed, each read to its end or refused.
pub fn packets(data: &[u8]) {
    let Some((step, stream)) = data.split_first() else { return };
    let read = |step: usize| {
        let (mut frames, mut found, mut data) = (Frames::default(), Vec::new(), Vec::new());
        for piece in stream.chunks(step.max(1)) {
            frames.push(Bytes::copy_from_slice(piece));
            loop {
                match frames.next() {
                    Ok(Some(Frame::Data { id, data: more, left })) => {
                        data.extend_from_slice(&more.joined());
                        assert!(data.len() + left as usize <= MAX_PACKET);
                        if left == 0 {
                            found.push(format!("data {id} {:?}", std::mem::take(&mut data)));
                        }
                    }
                    Ok(Some(Frame::Whole { code, body })) => {
                        assert!(body.len() < MAX_PACKET);
                        found.push(format!("{:?}", Reply::read(Frame::Whole { code, body })));
                    }
                    Ok(None) => break,
                    Err(malformed) => {
                        found.push(format!("{malformed:?}"));
                        return found;
                    }
                }
            }
        }
        found
    };
    assert_eq!(read((*step).into()), read(stream.len()));
    let mut frames = Frames::default();
    frames.push(Bytes::copy_from_slice(stream));
    if let Ok(Some(frame)) = frames.next() {
        // Whatever it says, it says it without a panic.
        let _ = Version::read(frame);
    }
}

/// Attributes: read within their bytes, and a time that a clock can hold.
pub fn attributes(data: &[u8]) {
    let mut fields = Fields::new(data);
    if let Ok(attributes) = Attributes::read(&mut fields) {
        assert_eq!(attributes.time().is_some(), attributes.modified.is_some());
        let _ = attributes.kind();
    }
}

/// A known_hosts file: a key that it does not hold is never known, and what is revoked stays so.
pub fn known_hosts(data: &[u8]) {
    const STRANGER: &[u8] = b"\0\0\0\x0bssh-ed25519\0\0\0\x08str4nger";
    let mut known = Known::default();
    if scan(data, "host.example", 2222, &mut known).is_err() {
        return;
    }
    let holds =
        data.windows(8).any(|window| window == b"c3RyNG5n" || window == b"N0cjRuZ2" || window == b"zdHI0bmd");
    assert!(holds || known.standing(STRANGER) != Standing::Known);
    assert!(holds || !known.is_authority(STRANGER));
    let revoked = [data, b"\n@revoked * ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAACHN0cjRuZ2Vy\n"].concat();
    let mut known = Known::default();
    if scan(&revoked, "host.example", 2222, &mut known).is_ok() {
        assert_eq!(known.standing(STRANGER), Standing::Revoked);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]

        #[test]
        fn any_bytes(data in proptest::collection::vec(any::<u8>(), 0..300)) {
            super::packets(&data);
            super::attributes(&data);
            super::known_hosts(&data);
        }

        #[test]
        fn packets_of_known_types(
            step: u8,
            bodies in proptest::collection::vec((prop::sample::select(vec![2_u8, 101, 102, 103, 104, 105, 201]), proptest::collection::vec(0..6_u8, 0..40)), 0..6),
        ) {
            let mut data = vec![step];
            for (code, body) in bodies {
                data.extend_from_slice(&(body.len() as u32 + 1).to_be_bytes());
                data.push(code);
                data.extend_from_slice(&body);
            }
            super::packets(&data);
        }

        #[test]
        fn lines_of_known_hosts(lines in proptest::collection::vec(
            prop::sample::select(vec![
                "host.example ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAATE=", "[host.example]:2222 ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAATI=",
                "@revoked * ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAATE=", "@cert-authority *.example ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAATE=",
                "|1|AAAA|AAAA ssh-ed25519 AAAA", "# x", "", "@revoked nonsense", "*,!host.example ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAATE=",
            ]),
            0..8,
        )) {
            super::known_hosts(lines.join("\n").as_bytes());
        }
    }
}
