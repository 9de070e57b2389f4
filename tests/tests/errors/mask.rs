//! Takes out of a text what differs from run to run: ports, numbers of tasks, times.
//!
//! Invariant: what is no such number stays as it is. Must not know which error the text is of.

/// The text with words in place of those numbers.
pub(super) fn masked(text: &str) -> String {
    let text = masked_until(text, "(now ", ")", "TIME");
    let text = masked_until(&text, "verification time ", " (UNIX)", "TIME");
    let text = masked_until(&text, "978307200 (", " seconds ago", "N");
    let text = masked_until(&text, "64060588800 (", " seconds in future", "N");
    let text = masked_numbers(&text, "127.0.0.1:", "PORT");
    let text = masked_numbers(&text, "[127.0.0.1]:", "PORT");
    masked_times(&masked_numbers(&text, "task ", "N"))
}

/// `before` and a number is `before` and `name`.
fn masked_numbers(text: &str, before: &str, name: &str) -> String {
    let mut pieces = text.split(before);
    let mut out = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        out.push_str(before);
        out.push_str(name);
        out.push_str(piece.trim_start_matches(|c: char| c.is_ascii_digit()));
    }
    out
}

/// What stands between `before` and `after` is `name`.
fn masked_until(text: &str, before: &str, after: &str, name: &str) -> String {
    let mut pieces = text.split(before);
    let mut out = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        out.push_str(before);
        match piece.split_once(after) {
            Some((_, rest)) => out.extend([name, after, rest]),
            None => out.push_str(piece),
        }
    }
    out
}

/// `, 0.4 s` is `, T s` where it was measured: in attempts, and in the sum behind them.
fn masked_times(text: &str) -> String {
    let mut pieces = text.split(", ");
    let mut out = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        out.push_str(", ");
        let rest = piece.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.');
        let measured = rest.len() < piece.len() && rest.starts_with(" s");
        out.push_str(if measured { "T" } else { "" });
        out.push_str(if measured { rest } else { piece });
    }
    out
}
