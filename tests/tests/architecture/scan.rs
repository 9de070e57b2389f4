//! Reads Rust source just well enough to answer one question: which names stand in public signatures?
//!
//! Owns a small lexer and three passes over its tokens: imports, public signatures, test modules. Invariant: what it cannot
//! follow (a glob import of a watched crate) is reported, never passed over. Must not know which crates are watched, or why.

use std::collections::BTreeSet;

/// A word or a mark, with the line it stands on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Token {
    pub(crate) text: String,
    pub(crate) line: usize,
}

/// One name that a `use` brings into scope.
#[derive(Debug)]
pub(crate) struct Import {
    /// Every segment as written, `["reqwest", "header", "HeaderMap"]`; the last may be `*` or `self`.
    pub(crate) path: Vec<String>,
    /// The name in scope, after `as`.
    pub(crate) name: String,
    pub(crate) line: usize,
}

/// The tokens of `source` without comments, string contents and `#[cfg(test)]` modules.
pub(crate) fn shipped(source: &str) -> Vec<Token> {
    without_tests(&lex(source))
}

/// The tokens of `source` without comments and string contents.
pub(crate) fn lex(source: &str) -> Vec<Token> {
    let text: Vec<char> = source.chars().collect();
    let (mut at, mut line, mut found) = (0, 1, Vec::new());
    while at < text.len() {
        let rest = &text[at..];
        let length = if rest.starts_with(&['/', '/']) {
            rest.iter().position(|&c| c == '\n').unwrap_or(rest.len())
        } else if rest.starts_with(&['/', '*']) {
            block_comment(rest)
        } else if let Some(length) = literal(rest) {
            found.push(Token { text: "\"\"".to_owned(), line });
            length
        } else if is_word(rest[0]) {
            let length = rest.iter().position(|&c| !is_word(c)).unwrap_or(rest.len());
            found.push(Token { text: rest[..length].iter().collect(), line });
            length
        } else if rest[0].is_whitespace() {
            1
        } else {
            let pair: String = rest.iter().take(2).collect();
            let length = if ["::", "->", "=>"].contains(&pair.as_str()) { 2 } else { 1 };
            found.push(Token { text: rest[..length].iter().collect(), line });
            length
        };
        line += rest[..length].iter().filter(|&&c| c == '\n').count();
        at += length;
    }
    found
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

fn block_comment(rest: &[char]) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at < rest.len() {
        match rest.get(at..at + 2) {
            Some(['/', '*']) => (depth, at) = (depth + 1, at + 2),
            Some(['*', '/']) => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            return at;
        }
    }
    rest.len()
}

/// The length of the string, byte string, raw string or character literal that `rest` begins with. A lifetime is none.
fn literal(rest: &[char]) -> Option<usize> {
    let prefix = rest.iter().take_while(|c| "brc".contains(**c)).take(2).count();
    let hashes = rest[prefix..].iter().take_while(|c| **c == '#').count();
    let raw = rest[..prefix].contains(&'r');
    if (raw || hashes == 0) && rest.get(prefix + hashes) == Some(&'"') {
        let mut at = prefix + hashes + 1;
        while at < rest.len() {
            match rest[at] {
                '\\' if !raw => at += 2,
                '"' if rest[at + 1..].iter().take_while(|c| **c == '#').take(hashes).count() == hashes => {
                    return Some(at + 1 + hashes);
                }
                _ => at += 1,
            }
        }
        return Some(rest.len());
    }
    let quote = usize::from(rest[0] == 'b');
    match rest.get(quote..)? {
        ['\'', '\\', tail @ ..] => Some(quote + 3 + tail[1..].iter().position(|c| *c == '\'')? + 1),
        ['\'', _, '\'', ..] => Some(quote + 3),
        _ => None,
    }
}

fn without_tests(all: &[Token]) -> Vec<Token> {
    let (mut kept, mut at) = (Vec::new(), 0);
    while at < all.len() {
        if matches(&all[at..], &["#", "[", "cfg", "(", "test", ")", "]", "mod"]) {
            let open = position(all, at, &["{", ";"]);
            at = if text(all, open) == "{" { closing(all, open) + 1 } else { open + 1 };
        } else {
            kept.push(all[at].clone());
            at += 1;
        }
    }
    kept
}

/// Do the texts of `tokens` begin with `words`?
pub(crate) fn matches(tokens: &[Token], words: &[&str]) -> bool {
    tokens.len() >= words.len() && tokens.iter().zip(words).all(|(token, word)| token.text == *word)
}

fn text(all: &[Token], at: usize) -> &str {
    all.get(at).map_or("", |token| token.text.as_str())
}

/// The first token from `from` on that is one of `words`, brackets in between skipped whole.
fn position(all: &[Token], from: usize, words: &[&str]) -> usize {
    let (mut at, mut angle) = (from, 0_i32);
    while at < all.len() {
        let token = text(all, at);
        if angle <= 0 && words.contains(&token) {
            break;
        }
        match token {
            "<" => angle += 1,
            ">" => angle -= 1,
            "(" | "[" | "{" => at = closing(all, at),
            ")" | "]" | "}" => break, // the end of what encloses us
            _ => {}
        }
        at += 1;
    }
    at.min(all.len())
}

/// Where the bracket at `open` is closed.
fn closing(all: &[Token], open: usize) -> usize {
    let mut depth = 0_usize;
    for (at, token) in all.iter().enumerate().skip(open) {
        match token.text.as_str() {
            "(" | "[" | "{" => depth += 1,
            ")" | "]" | "}" => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return at;
        }
    }
    all.len()
}

/// Every `use`, its groups taken apart.
pub(crate) fn imports(all: &[Token]) -> Vec<Import> {
    let mut found = Vec::new();
    for at in 0..all.len() {
        if text(all, at) == "use" && text(all, at + 1) != "<" {
            branch(&all[at + 1..position(all, at, &[";"])], &mut Vec::new(), &mut found);
        }
    }
    found
}

fn branch(tree: &[Token], prefix: &mut Vec<String>, found: &mut Vec<Import>) {
    let depth = prefix.len();
    let mut at = 0;
    while at < tree.len() && !["{", ",", "as"].contains(&text(tree, at)) {
        if text(tree, at) != "::" {
            prefix.push(tree[at].text.clone());
        }
        at += 1;
    }
    if text(tree, at) == "{" {
        for part in split_commas(&tree[at + 1..closing(tree, at)]) {
            branch(part, prefix, found);
        }
    } else if let (Some(last), Some(first)) = (prefix.last(), tree.first()) {
        let own =
            if last == "self" { prefix.len().checked_sub(2).map_or(last, |i| &prefix[i]) } else { last };
        let name = if text(tree, at) == "as" { text(tree, at + 1).to_owned() } else { own.clone() };
        found.push(Import { path: prefix.clone(), name, line: first.line });
    }
    prefix.truncate(depth);
}

fn split_commas(list: &[Token]) -> Vec<&[Token]> {
    let (mut parts, mut start) = (Vec::new(), 0);
    while start < list.len() {
        let end = position(list, start, &[","]);
        parts.push(&list[start..end]);
        start = end + 1;
    }
    parts.retain(|part| !part.is_empty());
    parts
}

/// The names of the types that `all` declares `pub` (not `pub(crate)`).
pub(crate) fn public_types(all: &[Token]) -> BTreeSet<String> {
    let declares = |at: usize| {
        text(all, at) == "pub" && ["struct", "enum", "union", "type"].contains(&text(all, at + 1))
    };
    (0..all.len()).filter(|at| declares(*at)).map(|at| text(all, at + 2).to_owned()).collect()
}

/// Every stretch of tokens that a user of the crate can see: signatures, public fields, enum and trait bodies without default
/// bodies, re-exports, and what traits say about one of `public`.
pub(crate) fn signatures<'a>(all: &'a [Token], public: &BTreeSet<String>) -> Vec<&'a [Token]> {
    let mut found = Vec::new();
    for at in 0..all.len() {
        match text(all, at) {
            "pub" if text(all, at + 1) != "(" => public_item(all, at, &mut found),
            "impl" if at == 0 || ["}", ";", "]", "{", "unsafe"].contains(&text(all, at - 1)) => {
                trait_impl(all, at, public, &mut found);
            }
            _ => {}
        }
    }
    found
}

fn public_item<'a>(all: &'a [Token], at: usize, found: &mut Vec<&'a [Token]>) {
    let mut kind = at + 1;
    while ["async", "unsafe", "extern", "\"\""].contains(&text(all, kind))
        || (text(all, kind) == "const" && text(all, kind + 1) == "fn")
    {
        kind += 1;
    }
    let end = match text(all, kind) {
        "fn" | "struct" | "union" => position(all, kind, &["{", ";"]).min(tuple_fields(all, kind)),
        "enum" => closing(all, position(all, kind, &["{"])),
        "trait" => {
            let open = position(all, kind, &["{", ";"]);
            found.push(&all[at..open]);
            return associated(all, open, &["fn", "type", "const"], found);
        }
        "type" | "use" => {
            all.iter().skip(at).position(|token| token.text == ";").map_or(all.len(), |n| at + n)
        }
        "const" | "static" => position(all, kind, &["="]),
        "mod" => return,
        _ => position(all, kind, &[",", ";"]),
    };
    found.push(&all[at..end.min(all.len())]);
}

/// Where the fields of a tuple struct begin: each public one is an item of its own.
fn tuple_fields(all: &[Token], kind: usize) -> usize {
    if text(all, kind) == "struct" { position(all, kind, &["(", "{", ";"]) } else { usize::MAX }
}

/// The items of the body that opens at `open`, each without its own body.
fn associated<'a>(all: &'a [Token], open: usize, kinds: &[&str], found: &mut Vec<&'a [Token]>) {
    let (mut at, end) = (open + 1, closing(all, open));
    while at < end {
        if kinds.contains(&text(all, at)) {
            let stop = position(all, at, &["{", ";"]);
            found.push(&all[at..stop]);
            at = stop;
        }
        at = if ["{", "(", "["].contains(&text(all, at)) { closing(all, at) + 1 } else { at + 1 };
    }
}

fn trait_impl<'a>(all: &'a [Token], at: usize, public: &BTreeSet<String>, found: &mut Vec<&'a [Token]>) {
    let mut header = at + 1;
    if text(all, header) == "<" {
        header = position(all, header + 1, &[">"]) + 1;
    }
    let open = position(all, header, &["{", ";"]);
    let split = position(&all[..open], header, &["for", "where"]);
    if text(all, split) != "for" {
        return; // inherent: its public functions are items of their own
    }
    let subject = all[split + 1..open].iter().take_while(|token| token.text != "<" && token.text != "where");
    if subject.last().is_some_and(|token| public.contains(&token.text)) {
        found.push(&all[at..open]);
        associated(all, open, &["type"], found);
    }
}
