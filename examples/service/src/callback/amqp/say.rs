//! Owns the bytes that a publisher says in AMQP 0-9-1.
//!
//! Invariant: pure; every frame says how long it is, and no part of a message makes one longer than the broker takes. Must not know what was
//! said before.

use super::frame::{BASIC, BODY, END, HEAD, HEADER, HEARTBEAT, METHOD};

/// What a connection begins with.
pub(super) const GREETING: &[u8; 8] = b"AMQP\0\0\x09\x01";
/// The longest text of most fields, in bytes.
pub(super) const SHORT: usize = 255;

/// The end of a connection or channel that nothing is wrong with.
const SUCCESS: u16 = 200;

/// Properties that messages have: content-type, delivery-mode, message-id, app-id.
const PROPERTIES: u16 = 0x8000 | 0x1000 | 0x0080 | 0x0008;
const PERSISTENT: u8 = 2;

/// What is said to a broker, behind what is there already.
pub(super) trait Say {
    /// Who we are, by the mechanism PLAIN.
    fn start_ok(&mut self, user: &str, password: &str);
    fn tune_ok(&mut self, most_channels: u16, largest_frame: u32, heartbeat: u16);
    /// Texts are of at most [`SHORT`] bytes, here and below; more is cut.
    fn open(&mut self, virtual_host: &str);
    fn close(&mut self);
    fn close_ok(&mut self);
    fn heartbeat(&mut self);
    fn open_channel(&mut self, channel: u16);
    fn close_channel(&mut self, channel: u16);
    fn close_channel_ok(&mut self, channel: u16);
    fn confirm(&mut self, channel: u16);
    /// A message that comes back when no queue takes it, and is kept on disk where its queue is. In frames of at most this length.
    fn publish(
        &mut self,
        channel: u16,
        exchange: &str,
        key: &str,
        id: &str,
        payload: &[u8],
        largest_frame: usize,
    );
}

impl Say for Vec<u8> {
    fn start_ok(&mut self, user: &str, password: &str) {
        frame(self, METHOD, 0, |out| {
            method_of(out, 10, 11);
            sized(out, |out| {
                for (name, value) in [
                    ("product", "downloader-service"),
                    ("version", env!("CARGO_PKG_VERSION")),
                    ("connection_name", "downloader-service"),
                ] {
                    text(out, name);
                    out.push(b'S');
                    sized(out, |out| out.extend(value.as_bytes()));
                }
                text(out, "capabilities");
                out.push(b'F');
                sized(out, |out| {
                    // With the second a broker says that it refuses us, and does not just hang up.
                    for name in ["publisher_confirms", "authentication_failure_close"] {
                        text(out, name);
                        out.extend(b"t\x01");
                    }
                });
            });
            text(out, "PLAIN");
            sized(out, |out| {
                for part in [user, password] {
                    out.push(0);
                    out.extend(part.as_bytes());
                }
            });
            text(out, "en_US");
        });
    }

    fn tune_ok(&mut self, most_channels: u16, largest_frame: u32, heartbeat: u16) {
        frame(self, METHOD, 0, |out| {
            method_of(out, 10, 31);
            out.extend(most_channels.to_be_bytes());
            out.extend(largest_frame.to_be_bytes());
            out.extend(heartbeat.to_be_bytes());
        });
    }

    fn open(&mut self, virtual_host: &str) {
        frame(self, METHOD, 0, |out| {
            method_of(out, 10, 40);
            text(out, virtual_host);
            out.extend([0, 0]);
        });
    }

    fn close(&mut self) {
        frame(self, METHOD, 0, |out| closing(out, 10, 50));
    }

    fn close_ok(&mut self) {
        frame(self, METHOD, 0, |out| method_of(out, 10, 51));
    }

    fn heartbeat(&mut self) {
        frame(self, HEARTBEAT, 0, |_| ());
    }

    fn open_channel(&mut self, channel: u16) {
        frame(self, METHOD, channel, |out| {
            method_of(out, 20, 10);
            text(out, "");
        });
    }

    fn close_channel(&mut self, channel: u16) {
        frame(self, METHOD, channel, |out| closing(out, 20, 40));
    }

    fn close_channel_ok(&mut self, channel: u16) {
        frame(self, METHOD, channel, |out| method_of(out, 20, 41));
    }

    fn confirm(&mut self, channel: u16) {
        frame(self, METHOD, channel, |out| {
            method_of(out, 85, 10);
            out.push(0);
        });
    }

    fn publish(
        &mut self,
        channel: u16,
        exchange: &str,
        key: &str,
        id: &str,
        payload: &[u8],
        largest_frame: usize,
    ) {
        frame(self, METHOD, channel, |out| {
            method_of(out, BASIC, 40);
            out.extend([0, 0]);
            text(out, exchange);
            text(out, key);
            out.push(1);
        });
        frame(self, HEADER, channel, |out| {
            method_of(out, BASIC, 0);
            out.extend((payload.len() as u64).to_be_bytes());
            out.extend(PROPERTIES.to_be_bytes());
            text(out, "application/json");
            out.push(PERSISTENT);
            text(out, id);
            text(out, "downloader-service");
        });
        for part in payload.chunks(largest_frame.saturating_sub(HEAD + 1).max(1)) {
            frame(self, BODY, channel, |out| out.extend(part));
        }
    }
}

pub(super) fn frame(out: &mut Vec<u8>, kind: u8, channel: u16, content: impl FnOnce(&mut Vec<u8>)) {
    out.push(kind);
    out.extend(channel.to_be_bytes());
    sized(out, content);
    out.push(END);
}

/// Behind its length.
fn sized(out: &mut Vec<u8>, content: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend([0; 4]);
    content(out);
    let length = u32::try_from(out.len() - start - 4)
        .expect("frames are cut to what the broker takes, settings are short");
    out[start..start + 4].copy_from_slice(&length.to_be_bytes());
}

pub(super) fn method_of(out: &mut Vec<u8>, class: u16, method: u16) {
    out.extend(class.to_be_bytes());
    out.extend(method.to_be_bytes());
}

fn closing(out: &mut Vec<u8>, class: u16, method: u16) {
    method_of(out, class, method);
    out.extend(SUCCESS.to_be_bytes());
    text(out, "");
    out.extend([0; 4]);
}

fn text(out: &mut Vec<u8>, text: &str) {
    let bytes = &text.as_bytes()[..text.len().min(SHORT)];
    out.push(u8::try_from(bytes.len()).unwrap_or(u8::MAX));
    out.extend(bytes);
}
