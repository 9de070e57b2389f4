//! `Digest`: proof of a password without sending it (RFC 7616; RFC 2069 where the server offers no `qop`).
//!
//! Invariant: a count is used once with its nonce, and every proof is over the method and target of the request it
//! goes with. Must not know: which server is asked, how often.

use std::cmp::Reverse;
use std::sync::Arc;

use digest::Digest;
use downloader_core::{Error, ErrorKind, Result, SafeUrl};
use http::{HeaderValue, Method};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_encode};
use rustls::crypto::aws_lc_rs;
use url::Position;

use super::basic::sensitive;
use super::challenge::{Challenge, parameter_of};

/// What stands in an extended value as it is (RFC 8187 §3.2.1).
const EXTENDED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'!')
    .remove(b'#')
    .remove(b'$')
    .remove(b'&')
    .remove(b'+')
    .remove(b'-')
    .remove(b'.')
    .remove(b'^')
    .remove(b'_')
    .remove(b'`')
    .remove(b'|')
    .remove(b'~');

/// The algorithms, the weakest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Algorithm {
    Md5,
    Sha256,
    /// SHA-512/256 of FIPS 180-4, as erratum 4897 of RFC 7616 has it; not SHA-512 cut short.
    Sha512Slash256,
}

/// A challenge that can be answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Offer {
    algorithm: Algorithm,
    /// The algorithm as it was offered; an answer repeats it.
    name: Option<&'static str>,
    /// Is the password hashed with the first nonce (`-sess`)?
    per_session: bool,
    realm: Box<[u8]>,
    nonce: Box<[u8]>,
    opaque: Option<Box<[u8]>>,
    /// Does it offer `qop=auth`? If it offers no `qop` at all, the answer has the older form.
    counted: bool,
    hides_user: bool,
    utf8: bool,
    /// The nonce was too old; the credentials were right.
    pub(super) stale: bool,
}

impl Offer {
    /// The strongest of all challenges that can be answered, and which it is.
    pub(super) fn strongest(challenges: &[Challenge]) -> Option<(&Challenge, Self)> {
        let offers = challenges.iter().filter_map(|challenge| Some((challenge, Self::of(challenge)?)));
        // The first of several, for a server names first what it prefers (RFC 7616 §3.7).
        offers.min_by_key(|(_, offer)| Reverse(offer.algorithm))
    }

    fn of(challenge: &Challenge) -> Option<Self> {
        if !challenge.is("Digest") {
            return None;
        }
        let says = |name: &str, value: &[u8]| {
            challenge.bytes(name).is_some_and(|found| found.eq_ignore_ascii_case(value))
        };
        let (algorithm, name) = match challenge.bytes("algorithm") {
            None => (Algorithm::Md5, None),
            Some(offered) => NAMES
                .iter()
                .find(|(name, _)| name.as_bytes().eq_ignore_ascii_case(offered))
                .map(|(name, algorithm)| (*algorithm, Some(*name)))?,
        };
        let qualities = challenge.bytes("qop").map(|list| {
            let mut all = list.split(|byte| b", \t".contains(byte)).filter(|quality| !quality.is_empty());
            (list.trim_ascii().is_empty(), all.any(|quality| quality.eq_ignore_ascii_case(b"auth")))
        });
        let counted = match qualities {
            None | Some((true, _)) => false,
            Some((_, true)) => true,
            // `auth-int` alone: a proof over bodies, which nothing here could check.
            Some((_, false)) => return None,
        };
        Some(Self {
            algorithm,
            name,
            per_session: name.is_some_and(|name| name.ends_with("-sess")),
            realm: challenge.bytes("realm").unwrap_or_default().into(),
            nonce: challenge.bytes("nonce")?.into(),
            opaque: challenge.bytes("opaque").map(Into::into),
            counted,
            hides_user: says("userhash", b"true"),
            utf8: says("charset", b"utf-8"),
            stale: says("stale", b"true"),
        })
    }
}

const NAMES: [(&str, Algorithm); 6] = [
    ("MD5", Algorithm::Md5),
    ("MD5-sess", Algorithm::Md5),
    ("SHA-256", Algorithm::Sha256),
    ("SHA-256-sess", Algorithm::Sha256),
    ("SHA-512-256", Algorithm::Sha512Slash256),
    ("SHA-512-256-sess", Algorithm::Sha512Slash256),
];

/// A nonce in use.
#[derive(Debug)]
pub(super) struct Session {
    offer: Arc<Offer>,
    cnonce: Arc<str>,
    count: u32,
}

/// One use of a nonce.
#[derive(Clone, Debug)]
pub(super) struct Turn {
    offer: Arc<Offer>,
    cnonce: Arc<str>,
    count: u32,
}

impl Session {
    /// Begins with a nonce of the server and one of ours.
    ///
    /// # Errors
    /// Kind `Local` when the system has no random numbers.
    pub(super) fn new(offer: Offer) -> Result<Self> {
        Ok(Self { offer: Arc::new(offer), cnonce: cnonce()?.into(), count: 0 })
    }

    /// Takes up a new challenge; goes on counting if it brings the nonce in use.
    ///
    /// # Errors
    /// As [`Session::new`].
    pub(super) fn renew(&mut self, offer: Offer) -> Result<()> {
        let is_same = self.offer.nonce == offer.nonce && self.offer.name == offer.name;
        if !is_same {
            *self = Self::new(offer)?;
        }
        Ok(())
    }

    /// The next use of the nonce.
    ///
    /// # Errors
    /// As [`Session::new`].
    pub(super) fn next(&mut self) -> Result<Turn> {
        self.count = match self.count.checked_add(1) {
            Some(count) => count,
            // The count has eight digits: with another nonce of ours it begins anew.
            None => {
                self.cnonce = cnonce()?.into();
                1
            }
        };
        Ok(Turn { offer: Arc::clone(&self.offer), cnonce: Arc::clone(&self.cnonce), count: self.count })
    }

    /// Takes the nonce that the server wants to see next, if the reply to `turn` names one (RFC 7616 §3.5).
    ///
    /// # Errors
    /// As [`Session::new`].
    pub(super) fn informed(&mut self, turn: &Turn, information: &[u8]) -> Result<()> {
        // Of several replies under way only those to the nonce in use have a say.
        if self.offer.nonce == turn.offer.nonce
            && let Some(nonce) = parameter_of(information, "nextnonce").filter(|nonce| !nonce.is_empty())
        {
            self.renew(Offer { nonce: nonce.into(), stale: false, ..Offer::clone(&self.offer) })?;
        }
        Ok(())
    }
}

impl Turn {
    /// The `Authorization` of a request.
    ///
    /// # Errors
    /// Kind `Input` for control characters, which neither challenges nor credentials have.
    pub(super) fn authorization(
        &self,
        (user, password): (&[u8], &[u8]),
        method: &Method,
        url: &SafeUrl,
    ) -> Result<HeaderValue> {
        let Self { offer, cnonce, count } = self;
        let hash = |parts: &[&[u8]]| offer.algorithm.hash(parts);
        // As on the request line; the authority of a request to a proxy is no part of it.
        let target = &url.expose()[Position::BeforePath..Position::AfterQuery];
        let count = format!("{count:08x}");
        let mut secret = hash(&[user, &offer.realm, password]);
        if offer.per_session {
            secret = hash(&[secret.as_bytes(), &offer.nonce, cnonce.as_bytes()]);
        }
        let request = hash(&[method.as_str().as_bytes(), target.as_bytes()]);
        let (secret, request) = (secret.as_bytes(), request.as_bytes());
        let response = if offer.counted {
            hash(&[secret, &offer.nonce, count.as_bytes(), cnonce.as_bytes(), b"auth", request])
        } else {
            hash(&[secret, &offer.nonce, request])
        };

        let mut text = Text(b"Digest ".to_vec());
        if offer.hides_user {
            text.quoted("username", hash(&[user, &offer.realm]).as_bytes());
        } else if offer.utf8 && !user.is_ascii() {
            text.plain("username*", &format!("UTF-8''{}", percent_encode(user, EXTENDED)));
        } else {
            text.quoted("username", user);
        }
        text.quoted("realm", &offer.realm);
        text.quoted("uri", target.as_bytes());
        if let Some(name) = offer.name {
            text.plain("algorithm", name);
        }
        text.quoted("nonce", &offer.nonce);
        if offer.counted {
            text.plain("nc", &count);
        }
        if offer.counted || offer.per_session {
            text.quoted("cnonce", cnonce.as_bytes());
        }
        if offer.counted {
            text.plain("qop", "auth");
        }
        text.quoted("response", response.as_bytes());
        if let Some(opaque) = &offer.opaque {
            text.quoted("opaque", opaque);
        }
        if offer.hides_user {
            text.plain("userhash", "true");
        }
        sensitive(text.0)
    }
}

/// A field under construction.
struct Text(Vec<u8>);

impl Text {
    fn plain(&mut self, name: &str, value: &str) {
        self.name(name);
        self.0.extend(value.as_bytes());
    }

    fn quoted(&mut self, name: &str, value: &[u8]) {
        self.name(name);
        self.0.push(b'"');
        for byte in value {
            if matches!(byte, b'"' | b'\\') {
                self.0.push(b'\\');
            }
            self.0.push(*byte);
        }
        self.0.push(b'"');
    }

    fn name(&mut self, name: &str) {
        if !self.0.ends_with(b" ") {
            self.0.extend(b", ");
        }
        self.0.extend([name.as_bytes(), b"="].concat());
    }
}

impl Algorithm {
    /// The hash of the parts with colons between them, in lower-case hexadecimal.
    fn hash(self, parts: &[&[u8]]) -> String {
        let joined = parts.join(&b':');
        match self {
            Self::Md5 => hexadecimal(&md5::Md5::digest(joined)),
            Self::Sha256 => hexadecimal(&sha2::Sha256::digest(joined)),
            Self::Sha512Slash256 => hexadecimal(&sha2::Sha512_256::digest(joined)),
        }
    }
}

/// A nonce of ours: 128 random bits.
fn cnonce() -> Result<String> {
    let mut bytes = [0; 16];
    let random = aws_lc_rs::default_provider().secure_random;
    random.fill(&mut bytes).map_err(|_| Error::new(ErrorKind::Local, "no random numbers for a nonce"))?;
    Ok(hexadecimal(&bytes))
}

fn hexadecimal(bytes: &[u8]) -> String {
    let digit = |value: u8| char::from_digit(u32::from(value), 16).unwrap_or_default();
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

#[cfg(test)]
#[path = "digest_tests.rs"]
mod tests;
