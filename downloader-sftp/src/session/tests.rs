//! Sessions against a peer in memory that says what it is told to.

use std::time::Duration;

use super::*;
use crate::protocol::{Attributes, Frame, Status};

/// What the peer reads and says: packets without their length.
struct Peer {
    requests: mpsc::UnboundedReceiver<Bytes>,
    replies: mpsc::UnboundedSender<Bytes>,
    frames: Frames,
}

struct Reads(mpsc::UnboundedReceiver<Bytes>);
struct Writes(mpsc::UnboundedSender<Bytes>);

impl Incoming for Reads {
    async fn next(&mut self) -> Option<Bytes> {
        self.0.recv().await
    }
}

impl Outgoing for Writes {
    async fn send(&mut self, bytes: Bytes) -> bool {
        self.0.send(bytes).is_ok()
    }

    async fn close(&mut self) {
        // An empty piece, for the peer to see.
        let _ = self.0.send(Bytes::new());
    }
}

impl Peer {
    fn say(&self, code: u8, body: &[u8]) {
        let packet = [&(body.len() as u32 + 1).to_be_bytes()[..], &[code], body].concat();
        // A session that has ended hears nothing.
        let _ = self.replies.send(packet.into());
    }

    fn status(&self, id: u32, code: u32) {
        self.say(101, &[id.to_be_bytes(), code.to_be_bytes()].concat());
    }

    /// The next request: its type and number.
    async fn next(&mut self) -> (u8, u32) {
        loop {
            if let Some(Frame::Whole { code, mut body }) = self.frames.next().unwrap() {
                return (code, body.u32().unwrap());
            }
            self.frames.push(self.requests.recv().await.expect("the session lives"));
        }
    }
}

async fn session(patience: Option<Duration>) -> (Session, Peer) {
    let (to_peer, requests) = mpsc::unbounded_channel();
    let (replies, from_peer) = mpsc::unbounded_channel();
    let mut peer = Peer { requests, replies, frames: Frames::default() };
    let starting = tokio::spawn(Session::start(Reads(from_peer), Writes(to_peer), patience));
    assert_eq!(peer.next().await, (1, 3));
    peer.say(2, b"\0\0\0\x03");
    (starting.await.unwrap().unwrap(), peer)
}

#[tokio::test(start_paused = true)]
async fn replies_reach_their_requests_in_any_order() {
    let (session, mut peer) = session(None).await;
    assert_eq!(session.longest_read(), SAFE_READ);
    let (mut one, mut two) = (session.call(), session.call());
    let first = one.send(&[Request::Stat { path: b"/a" }, Request::Stat { path: b"/b" }]).unwrap();
    let other = two.send(&[Request::Stat { path: b"/c" }]).unwrap();
    for id in [first, first + 1, other] {
        assert_eq!(peer.next().await, (17, id));
    }
    peer.status(other, 2);
    peer.status(first + 1, 3);
    peer.say(105, &[&first.to_be_bytes()[..], &[0; 4]].concat());
    assert!(matches!(two.next().await, Ok((id, Reply::Status(Status { code: 2, .. }))) if id == other));
    assert!(matches!(one.next().await, Ok((id, Reply::Status(_))) if id == first + 1));
    assert!(
        matches!(one.next().await, Ok((id, Reply::Attributes(a))) if id == first && a == Attributes::default())
    );
    assert!(session.is_sound());
}

#[tokio::test(start_paused = true)]
async fn who_leaves_leaves_nothing_open() {
    let (session, mut peer) = session(None).await;
    // Before the handle comes, with it in the queue, and with it in hand.
    for stage in 0..3 {
        let mut call = session.call();
        let id = call.send(&[Request::Open { path: b"/a" }]).unwrap();
        assert_eq!(peer.next().await, (3, id));
        let handle = [&id.to_be_bytes()[..], b"\0\0\0\x01h"].concat();
        match stage {
            0 => {
                drop(call);
                peer.say(102, &handle);
            }
            1 => {
                peer.say(102, &handle);
                tokio::time::sleep(Duration::from_millis(1)).await;
                drop(call);
            }
            _ => {
                peer.say(102, &handle);
                let Ok((_, Reply::Handle(handle))) = call.next().await else { panic!("no handle") };
                call.hold(handle);
                drop(call);
            }
        }
        let (code, closing) = peer.next().await;
        assert_eq!(code, 4, "stage {stage}");
        peer.status(closing, 0);
    }
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert!(session.is_sound());
}

#[tokio::test(start_paused = true)]
async fn an_end_is_told_once_to_each_and_at_once_to_others() {
    for (spoil, expected) in [
        (
            &(|peer: &mut Peer| peer.status(77, 0)) as &dyn Fn(&mut Peer),
            End::Malformed("a reply to what was not asked"),
        ),
        (&|peer: &mut Peer| peer.say(55, b"\0\0\0\0"), End::Malformed("a packet of an unknown type")),
        (
            &|peer: &mut Peer| drop(peer.replies.send(Bytes::from_static(&[255; 8]))),
            End::Malformed("a packet is empty, or longer than 257 KiB"),
        ),
        (&|peer: &mut Peer| peer.replies = mpsc::unbounded_channel().0, End::Broken),
    ] {
        let (session, mut peer) = session(None).await;
        let (mut one, mut two, mut idle) = (session.call(), session.call(), session.call());
        one.send(&[Request::Stat { path: b"/a" }]).unwrap();
        two.send(&[Request::Stat { path: b"/b" }]).unwrap();
        spoil(&mut peer);
        assert_eq!(one.next().await.unwrap_err(), expected);
        assert_eq!(two.next().await.unwrap_err(), expected);
        assert_eq!(idle.send(&[Request::Stat { path: b"/c" }]), Err(expected));
        assert!(session.is_over() && !session.is_sound());
    }
}

#[tokio::test(start_paused = true)]
async fn silence_ends_a_session_only_while_something_is_asked() {
    let (session, mut peer) = session(Some(Duration::from_secs(60))).await;
    tokio::time::sleep(Duration::from_secs(600)).await;
    assert!(session.is_sound());
    let begin = Instant::now();
    let mut call = session.call();
    call.send(&[Request::Stat { path: b"/a" }]).unwrap();
    peer.next().await;
    assert_eq!(call.next().await.unwrap_err(), End::Silent(Duration::from_secs(60)));
    assert!(begin.elapsed() < Duration::from_secs(90), "{:?}", begin.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_session_somebody_gave_up_waiting_for_is_not_given_to_others_until_it_is_heard_from() {
    let (session, mut peer) = session(None).await;
    let mut call = session.call();
    let id = call.send(&[Request::Stat { path: b"/a" }]).unwrap();
    peer.next().await;
    tokio::time::sleep(Duration::from_millis(20)).await;
    // Whoever leaves soon had another reason.
    let mut other = session.call();
    other.send(&[Request::Stat { path: b"/b" }]).unwrap();
    drop(other);
    assert!(session.is_sound());
    tokio::time::sleep(Duration::from_secs(1)).await;
    drop(call);
    assert!(!session.is_sound() && !session.is_over());
    peer.status(id, 2);
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert!(session.is_sound());
}

#[tokio::test(start_paused = true)]
async fn another_protocol_is_found_out() {
    for (code, body, expected) in [
        (2, &b"\0\0\0\x02"[..], End::Version(2)),
        (101, b"\0\0\0\x03", End::Malformed("the first packet is no version")),
    ] {
        let (to_peer, requests) = mpsc::unbounded_channel();
        let (replies, from_peer) = mpsc::unbounded_channel();
        let peer = Peer { requests, replies, frames: Frames::default() };
        peer.say(code, body);
        let end = Session::start(Reads(from_peer), Writes(to_peer), None).await.unwrap_err();
        assert_eq!(end, expected);
    }
}

#[tokio::test(start_paused = true)]
async fn the_server_is_told_that_a_session_is_over() {
    let (session, mut peer) = session(None).await;
    let mut call = session.call();
    call.send(&[Request::Stat { path: b"/a" }]).unwrap();
    assert_eq!(peer.next().await.0, 17);
    drop(session);
    assert_eq!(peer.requests.recv().await, Some(Bytes::new()));
    assert_eq!(peer.requests.recv().await, None);
    assert_eq!(call.next().await.unwrap_err(), End::Broken);
}
