//! The language, by what it accepts, what it refuses and where, and the sequences it stands for. The table of biomaj 2.4 is here whole.

use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::retry::Growth;

fn stop(text: &str) -> Stop {
    text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn wait(text: &str) -> Wait {
    text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
}

/// The first six waits, in seconds; none is random.
fn six(text: &str) -> [u64; 6] {
    let wait = wait(text);
    [1, 2, 3, 4, 5, 6].map(|n| {
        assert_eq!(wait.bounds(n).start(), wait.bounds(n).end(), "{text}");
        wait.sample(n).as_secs()
    })
}

fn bounds(text: &str) -> (f64, f64) {
    let bounds = wait(text).bounds(1);
    (bounds.start().as_secs_f64(), bounds.end().as_secs_f64())
}

/// The first attempt that is the last one, of a thousand, each a second after the other.
fn last(text: &str) -> Option<u32> {
    let stop = stop(text);
    (1..=1000).find(|n| stop.is_met(*n, Duration::from_secs(u64::from(*n)), Duration::ZERO))
}

fn refused<T: FromStr<Err = ExpressionError>>(text: &str) -> String {
    let error = text.parse::<T>().err().unwrap_or_else(|| panic!("{text} is accepted"));
    assert!(text.is_char_boundary(error.position()), "{text}: {error}");
    error.to_string()
}

/// biomaj 53 and 54, and the sequences of biomaj 2.3.
#[test]
fn biomaj_53_54_waits_are_what_their_formulas_say() {
    for (text, expected) in [
        ("wait_exponential(multiplier=1,min=4,max=10)", [4, 4, 4, 8, 10, 10]),
        ("wait_exponential(2, 10, 3, 1)", [2, 6, 10, 10, 10, 10]),
        ("wait_exponential()", [1, 2, 4, 8, 16, 32]),
        ("wait_exponential(max=5, min=7)", [7; 6]),
        ("wait_incrementing(start=1,increment=2,max=6)", [1, 3, 5, 6, 6, 6]),
        ("wait_incrementing()", [0, 100, 200, 300, 400, 500]),
        ("wait_none", [0; 6]),
        ("wait_fixed(3)", [3; 6]),
        ("wait_combine()", [0; 6]),
        ("wait_combine(wait_fixed(1), wait_incrementing(increment=1))", [1, 2, 3, 4, 5, 6]),
        ("wait_chain(wait_fixed(3), wait_fixed(3), wait_fixed(7))", [3, 3, 7, 7, 7, 7]),
    ] {
        assert_eq!(six(text), expected, "{text}");
    }
    for (text, expected) in [
        ("wait_random()", (0.0, 1.0)),
        ("wait_random(5)", (1.0, 5.0)),
        ("wait_random(max=0.25)", (0.0, 0.25)),
        ("wait_fixed(3) + wait_random(0, 2)", (3.0, 5.0)),
        ("wait_combine(wait_fixed(3), wait_random(0, 2))", (3.0, 5.0)),
        ("wait_none + wait_random(1,2)", (1.0, 2.0)),
        ("wait_random_exponential()", (0.0, 1.0)),
        ("wait_random_exponential(8, min=2)", (2.0, 8.0)),
    ] {
        assert_eq!(bounds(text), expected, "{text}");
    }
    let largest = Duration::from_secs(4_611_686_018_427_387_903);
    assert_eq!(wait("wait_exponential()").sample(u32::MAX), largest);
    assert_eq!(wait("wait_incrementing()").sample(u32::MAX).as_secs(), u64::from(u32::MAX - 1) * 100);
    assert_eq!(wait("wait_fixed(1e300)").sample(1), largest);
}

/// biomaj 55: as documented there, where it never worked.
#[test]
fn biomaj_55_a_chain_of_lists() {
    let text = "wait_chain(*([wait_fixed(3) for i in range(3)] + [wait_fixed(7) for i in range(2)] + [wait_fixed(9)]))";
    let chain = wait(text);
    let waits: Vec<_> = (1..=8).map(|n| chain.sample(n).as_secs()).collect();
    assert_eq!(waits, [3, 3, 3, 7, 7, 9, 9, 9]);
    assert_eq!(six("wait_chain(*[wait_fixed(1), wait_fixed(2),], wait_fixed(3),)"), [1, 2, 3, 3, 3, 3]);
    assert_eq!(
        six("wait_chain(wait_none, *[wait_fixed(i_) for i_ in range(0)])".replace("i_)", "2)").as_str()),
        [0; 6]
    );
    assert_eq!(last("stop_any(*[stop_after_attempt(4) for _ in range(2)])"), Some(4));
    assert_eq!(last("stop_all(*[])"), Some(1));
}

/// biomaj 52, and the conditions of biomaj 2.2.
#[test]
fn biomaj_52_conditions_join() {
    for (text, expected) in [
        ("stop_never | stop_after_attempt(5)", Some(5)),
        ("stop_never & stop_after_attempt(5)", None),
        ("stop_never | stop_after_attempt(3) & stop_after_delay(100)", Some(100)),
        ("(stop_never | stop_after_attempt(3)) & stop_after_delay(100)", Some(100)),
        ("(stop_after_delay(100) | stop_after_attempt(3)) & stop_after_attempt(7)", Some(7)),
        ("stop_after_delay(100) | stop_after_attempt(3) & stop_after_attempt(7)", Some(7)),
        ("stop_after_attempt(max_attempt_number = 5)", Some(5)),
        ("stop_after_attempt(2.5)", Some(3)),
        ("stop_after_attempt(0)", Some(1)),
        ("stop_after_attempt(1e99)", None),
        ("stop_after_delay(max_delay=2.5)", Some(3)),
        ("stop_before_delay(4)", Some(4)),
        ("stop_any()", None),
        ("stop_all()", Some(1)),
        (" ( stop_never )\n| stop_any( stop_after_attempt(5) , ) ", Some(5)),
    ] {
        assert_eq!(last(text), expected, "{text}");
    }
}

/// biomaj 2.4: what is refused there, at the same time, with its place.
#[test]
fn what_is_no_expression_is_refused_with_its_place() {
    for (text, message) in [
        ("", "expected a stop condition, a wait, a number or a list at byte 0, found the end"),
        ("  ", "expected a stop condition, a wait, a number or a list at byte 0, found the end"),
        ("3", "expected a wait at byte 0, found the number 3"),
        ("I love python", "expected the name of a stop condition or a wait at byte 0, found `I`"),
        ("wait_fixd(3)", "expected the name of a stop condition or a wait at byte 0, found `wait_fixd`"),
        ("Wait_fixed(3)", "expected the name of a stop condition or a wait at byte 0, found `Wait_fixed`"),
        (
            "wait_exponential_jitter()",
            "expected the name of a stop condition or a wait at byte 0, found `wait_exponential_jitter`",
        ),
        ("wait_none()", "expected no brackets after the constant `wait_none` at byte 9, found `(`"),
        ("wait_fixed", "expected `(` at byte 10, found the end"),
        ("wait_random", "expected `(` at byte 11, found the end"),
        ("wait_fixed(-1)", "expected a stop condition, a wait, a number or a list at byte 11, found `-`"),
        ("wait_fixed(1+1)", "expected a wait at byte 11, found the number 1"),
        ("wait_fixed(2*3)", "expected `)` at byte 12, found `*`"),
        ("wait_fixed(1) | wait_fixed(2)", "expected a stop condition at byte 0, found a wait"),
        ("x = wait_fixed(3)", "expected the name of a stop condition or a wait at byte 0, found `x`"),
        ("wait_fixed(3); wait_fixed(9)", "expected an operator or the end at byte 13, found `;`"),
        ("wait_fixed(3) if True else wait_none", "expected an operator or the end at byte 14, found `if`"),
        ("stop_never", "expected a wait at byte 0, found a stop condition"),
        ("wait_fixed()", "expected a number for `wait` at byte 11, found `)`"),
        ("wait_fixed(1, 2)", "expected no more arguments than `wait` at byte 14, found one more"),
        ("wait_random(1, min=2)", "expected `min` once at byte 15, found a second value"),
        ("wait_random(min=1, 2)", "expected a keyword, as before at byte 19, found a value without one"),
        ("wait_random(least=1)", "expected `min`, `max` at byte 12, found `least`"),
        ("wait_fixed(*[3])", "expected a number at byte 11, found `*`"),
        ("wait_fixed([3])", "expected a number at byte 11, found a list"),
        ("wait_fixed(wait_none)", "expected a number at byte 11, found a wait"),
        ("wait_fixed(True)", "expected the name of a stop condition or a wait at byte 11, found `True`"),
        ("wait_fixed(3", "expected `)` at byte 12, found the end"),
        ("wait_fixed(3))", "expected an operator or the end at byte 13, found `)`"),
        ("wait_chain()", "expected at least one wait at byte 11, found none"),
        ("wait_chain(waits=wait_none)", "expected no keyword at byte 11, found `waits`"),
        ("wait_chain([wait_none])", "expected a wait at byte 11, found a list"),
        ("wait_chain(*wait_none)", "expected a list at byte 12, found a wait"),
        ("wait_chain(*[wait_none] + wait_none)", "expected a list at byte 26, found a wait"),
        (
            "wait_chain(*[wait_fixed(i) for i in range(3)])",
            "expected the name of a stop condition or a wait at byte 24, found `i`",
        ),
        (
            "wait_chain(*[wait_none for i in range(2.5)])",
            "expected a whole number at byte 38, found the number 2.5",
        ),
        ("wait_chain(*[wait_none for i in list(2)])", "expected `range` at byte 32, found `list`"),
        ("wait_fixed(3) + é", "expected a stop condition, a wait, a number or a list at byte 16, found `é`"),
    ] {
        assert_eq!(refused::<Wait>(text), message, "{text}");
    }
    assert_eq!(
        refused::<Stop>("stop_never()"),
        "expected no brackets after the constant `stop_never` at byte 10, found `(`"
    );
    assert_eq!(
        refused::<Stop>("stop_after_attempt(5) and stop_after_attempt(3)"),
        "expected an operator or the end at byte 22, found `and`"
    );
    let minus = "expected a stop condition, a wait, a number or a list at byte 19, found `-`";
    assert_eq!(refused::<Stop>("stop_after_attempt(-1)"), minus);
}

/// biomaj 56: what is accepted there, and fails at the first repeat.
#[test]
fn biomaj_56_what_would_fail_at_the_first_repeat_is_refused_at_once() {
    for (text, message) in [
        ("wait_random(5) + 3", "expected a wait at byte 17, found the number 3"),
        ("wait_combine(3)", "expected a wait at byte 13, found the number 3"),
        ("wait_chain(3)", "expected a wait at byte 11, found the number 3"),
    ] {
        assert_eq!(refused::<Wait>(text), message, "{text}");
    }
    for (text, message) in [
        ("stop_after_attempt(5) & 1", "expected a stop condition at byte 24, found the number 1"),
        (
            "stop_after_attempt('3')",
            "expected a stop condition, a wait, a number or a list at byte 19, found `\\'`",
        ),
        (
            "stop_when_event_set(1)",
            "expected a condition that a text can hold (an event is the program's own) at byte 0, found `stop_when_event_set`",
        ),
    ] {
        assert_eq!(refused::<Stop>(text), message, "{text}");
    }
}

#[test]
fn length_depth_and_size_are_bounded() {
    let deep = |levels: usize| format!("{}stop_never{}", "(".repeat(levels), ")".repeat(levels));
    assert_eq!(stop(&deep(DEEPEST)), Stop::never());
    let message = refused::<Stop>(&deep(DEEPEST + 1));
    assert_eq!(message, "expected no more than 32 levels of brackets at byte 33, found `stop_never`");
    assert!(refused::<Stop>(&"(".repeat(LONGEST_TEXT)).contains("32 levels"));
    assert!(refused::<Wait>(&"wait_chain(*[".repeat(5000)).contains("32 levels"));

    let padded = |blanks: usize| format!("stop_never{}", " ".repeat(blanks));
    assert_eq!(stop(&padded(LONGEST_TEXT - 10)), Stop::never());
    assert!(
        refused::<Stop>(&padded(LONGEST_TEXT)).starts_with("expected no more than 65536 bytes at byte 65536")
    );
    assert!(refused::<Stop>(&"é".repeat(LONGEST_TEXT)).contains("65536 bytes"));

    let chain = |count: &str| format!("wait_chain(*[wait_none for i in range({count})])");
    assert!(chain("998").parse::<Wait>().is_ok());
    for count in ["999", "1000000000", "99999999999999999999999999"] {
        assert!(refused::<Wait>(&chain(count)).contains("no more than 1000 conditions"), "{count}");
    }
    let squared = format!("wait_chain(*[{} for i in range(40)])", chain("40"));
    assert!(refused::<Wait>(&squared).contains("no more than 1000 conditions"));
    assert!(refused::<Stop>(&vec!["stop_never"; 1001].join("|")).contains("no more than 1000"));
}

#[test]
fn a_fault_is_an_error_of_the_input() {
    let error = "wait_fixed(3) + 3".parse::<Wait>().unwrap_err();
    assert_eq!((error.position(), error.expected(), error.found()), (16, "a wait", "the number 3"));
    let error = Error::from(error);
    let source = std::error::Error::source(&error).unwrap().to_string();
    assert_eq!(
        (error.kind(), &*source),
        (ErrorKind::Input, "expected a wait at byte 16, found the number 3")
    );
}

#[test]
fn what_is_printed_is_short() {
    for (text, printed) in [
        ("wait_random(0, 1)", "wait_random()"),
        ("wait_random(0, 2.50)", "wait_random(max=2.5)"),
        ("wait_random(5)", "wait_random(5)"),
        ("wait_exponential(2, 10, 3, 1)", "wait_exponential(2, 10, 3, 1)"),
        ("wait_exponential(min=4, exp_base=1.5)", "wait_exponential(exp_base=1.5, min=4)"),
        ("wait_random_exponential(exp_base=1e300)", "wait_random_exponential(exp_base=1e300)"),
        ("wait_incrementing(1, max=9)", "wait_incrementing(1, max=9)"),
        (
            "wait_combine(wait_none, wait_fixed(.5)) + wait_fixed(1)",
            "wait_none + wait_fixed(0.5) + wait_fixed(1)",
        ),
        ("wait_chain(*[wait_none for i in range(2)])", "wait_chain(wait_none, wait_none)"),
    ] {
        assert_eq!(wait(text).to_string(), printed);
        assert_eq!(wait(printed), wait(text));
    }
    let text = "(stop_never | stop_before_delay(0.000000001)) & stop_after_delay(7) | stop_after_attempt(3)";
    assert_eq!(stop(text).to_string(), text);
    assert_eq!((Stop::all([]) & Stop::never()).to_string(), "stop_never");
    assert_eq!(Stop::when_set(std::sync::Arc::default()).to_string(), "stop_when_event_set(event)");
}

fn time() -> impl Strategy<Value = Duration> + Clone {
    (0u64.., 0u32..1_000_000_000).prop_map(|(seconds, nanoseconds)| Duration::new(seconds, nanoseconds))
}

fn stops() -> impl Strategy<Value = Stop> {
    let simple = prop_oneof![
        Just(Stop::never()),
        any::<u32>().prop_map(Stop::after_attempt),
        time().prop_map(|time| Stop::after_delay(time.min(Duration::from_secs(1 << 60)))),
        time().prop_map(|time| Stop::before_delay(time.min(Duration::from_secs(1 << 60)))),
    ];
    simple.prop_recursive(6, 40, 5, |inner| {
        let many = proptest::collection::vec(inner, 0..5);
        prop_oneof![many.clone().prop_map(Stop::any), many.prop_map(Stop::all)]
    })
}

fn waits() -> impl Strategy<Value = Wait> {
    let growth = || {
        let all = (time(), time(), any::<f64>(), time());
        all.prop_map(|(first, max, base, min)| Growth::new().multiplier(first).max(max).base(base).min(min))
    };
    let simple = prop_oneof![
        Just(Wait::none()),
        time().prop_map(Wait::fixed),
        (time(), time()).prop_map(|(min, max)| Wait::random(min, max)),
        (time(), time(), time())
            .prop_map(|(start, increment, max)| Wait::incrementing(start, increment, max)),
        growth().prop_map(Wait::exponential),
        growth().prop_map(Wait::random_exponential),
    ];
    simple.prop_recursive(6, 40, 5, |inner| {
        let many = proptest::collection::vec(inner.clone(), 0..5);
        prop_oneof![
            many.clone().prop_map(Wait::combine),
            (inner, many).prop_map(|(first, others)| Wait::chain(first, others)),
        ]
    })
}

proptest! {
    #[test]
    fn what_is_printed_is_read_back(stop in stops(), wait in waits()) {
        prop_assert_eq!(stop.to_string().parse::<Stop>(), Ok(stop));
        prop_assert_eq!(wait.to_string().parse::<Wait>(), Ok(wait));
    }

    #[test]
    fn any_text_is_read_or_refused(text in "\\PC{0,60}|(stop_any|wait_none|wait_fixed|[a-z0-9.*+|&=,()\\[\\] -]){0,30}") {
        crate::fuzzing::retry_expression(text.as_bytes());
    }
}
