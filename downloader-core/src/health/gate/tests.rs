//! The gate by itself, told what time it is.

use proptest::prelude::*;

use super::*;

const THRESHOLD: u32 = 3;

fn seconds(seconds: f64) -> Duration {
    Duration::from_secs_f64(seconds)
}

/// A gate and a clock.
struct Story {
    gate: Gate,
    start: Instant,
    now: Instant,
}

impl Story {
    fn new() -> Self {
        let now = Instant::now();
        Self { gate: Gate::default(), start: now, now }
    }

    fn at(&mut self, time: f64) -> &mut Self {
        self.now = self.start + seconds(time);
        self
    }

    fn ask(&mut self) -> Result<Sent, Shut> {
        self.ask_as(Insistence::Waits)
    }

    fn ask_as(&mut self, insistence: Insistence) -> Result<Sent, Shut> {
        self.gate.admit(insistence, THRESHOLD, self.now)
    }

    fn rest(&mut self, time: f64) -> Option<Duration> {
        self.gate.rest(seconds(time), self.now)
    }

    fn is_avoided(&self) -> bool {
        self.gate.is_avoided(self.now)
    }

    fn fail(&mut self, sent: Sent) -> bool {
        self.gate.failed(sent, ErrorKind::Connect, THRESHOLD, self.now)
    }

    /// Until nobody is let through, as seconds since the start.
    fn until(&mut self) -> Option<f64> {
        let shut = self.ask().expect_err("it is shut");
        shut.until.map(|until| (until - self.start).as_secs_f64())
    }

    /// Opens the circuit: one failure each second.
    fn broken() -> Self {
        let mut story = Self::new();
        for second in 0..THRESHOLD {
            let sent = story.at(f64::from(second)).ask().unwrap();
            assert!(!sent.probe);
            assert_eq!(story.fail(sent), second + 1 == THRESHOLD);
        }
        story
    }
}

#[test]
fn failures_in_a_row_open_the_circuit_and_one_probe_closes_it() {
    let mut story = Story::broken();
    assert_eq!(story.until(), Some(3.0));
    assert!(story.gate.is_shut(THRESHOLD, story.now));
    let probe = story.at(3.0).ask().unwrap();
    assert!(probe.probe);
    for asker in [Insistence::Yields, Insistence::Waits] {
        let shut = story.ask_as(asker).unwrap_err();
        assert_eq!((shut.why, shut.until), (Why::Probed, None), "exactly one");
        assert_eq!(shut.refuses(asker), asker == Insistence::Yields);
    }
    assert!(story.gate.answered(probe, THRESHOLD), "that is news");
    assert!(!story.ask().unwrap().probe);
    assert!(!story.ask().unwrap().probe, "for all");
}

#[test]
fn a_probe_that_fails_doubles_the_cool_off_up_to_a_minute() {
    let mut story = Story::broken();
    let mut cool_offs = Vec::new();
    let mut now = 2.0;
    for _ in 0..8 {
        let until = story.until().unwrap();
        cool_offs.push(until - now);
        now = until;
        let probe = story.at(now).ask().unwrap();
        assert!(!story.fail(probe), "it was open already");
    }
    assert_eq!(cool_offs, [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0]);
}

#[test]
fn a_probe_that_is_dropped_makes_room_for_another() {
    let mut story = Story::broken();
    let probe = story.at(3.0).ask().unwrap();
    story.gate.abandoned(probe);
    assert!(story.ask().unwrap().probe);
}

#[test]
fn any_answer_in_between_begins_the_count_anew() {
    let mut story = Story::new();
    for _ in 0..10 {
        for _ in 1..THRESHOLD {
            let sent = story.ask().unwrap();
            assert!(!story.fail(sent));
        }
        let sent = story.ask().unwrap();
        assert!(!story.gate.answered(sent, THRESHOLD));
    }
}

#[test]
fn requests_that_fail_together_count_once() {
    let mut story = Story::new();
    let together: Vec<_> = (0..50).map(|n| story.at(f64::from(n) * 0.01).ask().unwrap()).collect();
    for (n, sent) in (0..).zip(together) {
        story.at(10.0 + f64::from(n) * 0.01);
        assert!(!story.fail(sent));
    }
    assert!(story.ask().is_ok());
    // Those of the next ten seconds overlap each other, too, but began after the first had failed.
    let sent = story.at(10.2).ask().unwrap();
    story.at(20.0).fail(sent);
    let sent = story.at(20.1).ask().unwrap();
    assert!(story.at(30.0).fail(sent));
}

#[test]
fn who_insists_goes_through_an_open_circuit() {
    let mut story = Story::broken();
    let shut = story.ask().unwrap_err();
    assert!(shut.refuses(Insistence::Waits) && !shut.refuses(Insistence::Insists) && shut.has_exceptions());
    let insists = story.at(2.5).ask_as(Insistence::Insists).unwrap();
    assert!(!insists.probe);
    assert!(story.ask_as(Insistence::Insists).is_ok(), "nobody answers for him");
    story.fail(insists);
    assert_eq!(story.until(), Some(4.5));
    let probe = story.at(4.5).ask().unwrap();
    let insists = story.ask_as(Insistence::Insists).unwrap();
    assert!(story.gate.answered(insists, THRESHOLD), "his answer counts, too");
    assert!(story.ask().is_err(), "while the probe is out");
    story.gate.abandoned(probe);
    assert!(!story.ask().unwrap().probe);
    story.rest(9.0);
    assert_eq!(story.ask_as(Insistence::Insists).unwrap_err().why, Why::Rests, "a wish is a wish");
}

#[test]
fn a_rest_is_kept_and_ends_with_one_request() {
    let mut story = Story::new();
    let under_way = story.ask().unwrap();
    let sent = story.ask().unwrap();
    story.at(1.0).fail(sent);
    assert_eq!(story.rest(20.0), Some(seconds(20.0)));
    let until = story.until().unwrap();
    assert!((21.0..=23.0).contains(&until), "above the floor, by a tenth: {until}");
    assert_eq!(story.at(2.0).rest(10.0), None, "it rests longer already");
    // An answer to what was sent before says nothing of the rest.
    story.gate.answered(under_way, THRESHOLD);
    assert_eq!(story.until(), Some(until));
    let shut = story.ask().unwrap_err();
    assert!(shut.refuses(Insistence::Yields) && !shut.refuses(Insistence::Waits));
    let probe = story.at(until).ask().unwrap();
    assert!(probe.probe && story.ask().is_err());
    // It is told to wait again.
    story.fail(probe);
    story.rest(5.0);
    let again = story.until().unwrap();
    assert!((until + 5.0..=until + 5.5).contains(&again), "{again}");
    let probe = story.at(again).ask().unwrap();
    story.gate.answered(probe, THRESHOLD);
    assert!((0..9).all(|_| !story.ask().unwrap().probe));
}

#[test]
fn a_host_that_only_ever_asks_for_rests_is_an_open_circuit_in_the_end() {
    let mut story = Story::new();
    let mut now = 0.0;
    for round in 1..=THRESHOLD {
        let sent = story.at(now).ask().unwrap();
        assert_eq!(story.fail(sent), round == THRESHOLD);
        story.rest(10.0);
        now = story.until().unwrap();
    }
    let shut = story.ask().unwrap_err();
    assert!(shut.refuses(Insistence::Waits), "nobody waits for ever");
    assert!(shut.until.unwrap() >= story.now + seconds(10.0), "and the rest is kept");
}

#[test]
fn what_is_left_of_a_quota_is_spread_only_if_it_is_too_little() {
    let told = |remaining, reset| Allowance { remaining, reset: seconds(reset) };
    let longest = seconds(300.0);
    let mut story = Story::new();
    let sent = story.ask().unwrap();
    assert_eq!(story.gate.allowed(sent, told(100, 50.0), 100, longest, story.now), None);
    assert!((0..9).all(|_| story.ask().is_ok()), "enough for all who wait");
    story.gate.allowed(sent, told(10, 50.0), 11, longest, story.now);
    let mut times = Vec::new();
    while story.now < story.start + seconds(49.0) {
        let until = story.until().unwrap();
        story.at(until).ask().unwrap();
        times.push(until);
    }
    assert_eq!(times, [5.0, 10.0, 15.0, 20.0, 25.0, 30.0, 35.0, 40.0, 45.0, 50.0]);
    assert!((0..9).all(|_| story.at(50.0).ask().is_ok()), "the quota is renewed");
    // None left: a rest.
    assert_eq!(story.gate.allowed(sent, told(0, 30.0), 0, longest, story.now), Some(seconds(30.0)));
    assert!(story.until().unwrap() >= 80.0);
    let mut story = Story::new();
    assert_eq!(
        story.gate.allowed(sent, told(0, 1e6), 5, longest, story.now),
        Some(longest),
        "but not for ever"
    );
    assert_eq!(story.gate.allowed(sent, told(0, 0.0), 5, longest, story.now), None);
    story.gate.allowed(sent, told(1, 1e9), 5, longest, story.now);
    assert!(story.until().unwrap() <= 330.0);
}

#[test]
fn zero_is_no_rest() {
    let mut story = Story::new();
    assert_eq!(story.rest(0.0), None);
    assert!(!story.ask().unwrap().probe);
}

#[test]
fn no_time_is_too_long() {
    let mut story = Story::new();
    let sent = story.ask().unwrap();
    let told = Allowance { remaining: 1, reset: Duration::MAX };
    story.gate.allowed(sent, told, 2, Duration::MAX, story.now);
    assert!(story.until().is_some());
    story.gate.rest(Duration::MAX, story.now);
    assert!(story.until().is_some());
}

#[test]
fn failures_tell_who_is_to_be_asked_last() {
    let mut story = Story::new();
    let sent = story.ask().unwrap();
    story.fail(sent);
    assert!(!story.is_avoided(), "one failure is no verdict");
    story.fail(sent);
    assert!(story.is_avoided() && story.gate.is_doubtful());
    assert!(!story.at(15.0).is_avoided());
    story.fail(sent);
    assert!(story.at(44.0).is_avoided() && !story.at(45.0).is_avoided());
    story.gate.answered(sent, THRESHOLD);
    for _ in 1..THRESHOLD {
        story.gate.failed(sent, ErrorKind::Busy, THRESHOLD, story.now);
    }
    assert!(!story.is_avoided(), "busy is not away");
}

#[test]
fn who_is_sent_away_is_told_why() {
    let mut story = Story::broken();
    let told = |shut: Shut, now| {
        let error = shut.error("http://h:80", now);
        (error.kind(), error.what().to_owned(), error.retry_after(), error.is_unasked())
    };
    let what = "the circuit of http://h:80 is open: 3 failures in a row, the last one: connection; next probe in 1.0 s";
    let shut = story.ask().unwrap_err();
    assert_eq!(told(shut, story.now), (ErrorKind::Connect, what.to_owned(), Some(seconds(1.0)), true));
    let mut story = Story::new();
    story.rest(1e-9);
    let shut = story.ask().unwrap_err();
    let (kind, what, ..) = told(shut, story.now);
    assert_eq!((kind, &*what), (ErrorKind::Busy, "http://h:80 asked to be left alone for another 0.0 s"));
}

#[test]
fn what_a_failure_says_of_the_host() {
    for kind in [ErrorKind::Connect, ErrorKind::Dns, ErrorKind::Busy, ErrorKind::Timeout(Phase::Head)] {
        assert_eq!(Sign::of(kind), Sign::Silence);
    }
    for kind in [ErrorKind::NotFound, ErrorKind::Denied, ErrorKind::Truncated, ErrorKind::Protocol] {
        assert_eq!(Sign::of(kind), Sign::Life);
    }
    for kind in [ErrorKind::Local, ErrorKind::Cancelled, ErrorKind::Refused, ErrorKind::Timeout(Phase::Idle)]
    {
        assert_eq!(Sign::of(kind), Sign::Unknown);
    }
}

#[derive(Clone, Debug)]
enum Act {
    Ask(u8),
    End(usize, u8),
    Rest(u16),
    Allow(u8, u16),
    Pass(u16),
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let act = prop_oneof![
        5 => (0u8..3).prop_map(Act::Ask),
        5 => (any::<usize>(), 0u8..4).prop_map(|(at, how)| Act::End(at, how)),
        1 => (0u16..30_000).prop_map(Act::Rest),
        1 => (0u8..6, 0u16..30_000).prop_map(|(left, reset)| Act::Allow(left, reset)),
        4 => (0u16..5000).prop_map(Act::Pass),
    ];
    proptest::collection::vec(act, 0..200)
}

proptest! {
    /// Whatever happens: one probe at a time, no shut gate without a way out, and none that is shut for ever.
    #[test]
    fn a_shut_gate_always_opens(acts in acts()) {
        let mut story = Story::new();
        let mut under_way: Vec<Sent> = Vec::new();
        for act in acts {
            match act {
                Act::Ask(how) => {
                    let how = [Insistence::Yields, Insistence::Waits, Insistence::Insists][usize::from(how)];
                    let is_probed = under_way.iter().any(|sent| sent.probe);
                    match story.ask_as(how) {
                        Ok(sent) => {
                            prop_assert!(!is_probed || how == Insistence::Insists, "a probe is out");
                            under_way.push(sent);
                        }
                        Err(shut) => {
                            prop_assert!(shut.until.is_some() || is_probed);
                            prop_assert!(shut.until.is_none_or(|until| until > story.now));
                            prop_assert!(story.gate.is_shut(THRESHOLD, story.now));
                        }
                    }
                }
                Act::End(at, how) if !under_way.is_empty() => {
                    let sent = under_way.swap_remove(at % under_way.len());
                    match how {
                        0 => drop(story.gate.answered(sent, THRESHOLD)),
                        1 => story.gate.abandoned(sent),
                        _ => drop(story.fail(sent)),
                    }
                }
                Act::End(..) => {}
                Act::Rest(ms) => drop(story.gate.rest(Duration::from_millis(ms.into()), story.now)),
                Act::Allow(remaining, ms) => {
                    let told = Allowance { remaining: remaining.into(), reset: Duration::from_millis(ms.into()) };
                    story.gate.allowed(Sent { at: story.now, probe: false }, told, 4, seconds(20.0), story.now);
                }
                Act::Pass(ms) => story.now += Duration::from_millis(ms.into()),
            }
        }
        for sent in under_way {
            story.gate.abandoned(sent);
        }
        for _ in 0..4 {
            let Err(shut) = story.ask() else { return Ok(()) };
            story.now = shut.until.unwrap();
        }
        prop_assert!(false, "still shut");
    }
}
