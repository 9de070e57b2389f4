//! What a status code means to a download.
//!
//! Invariant: every code has exactly one class, and the table in the tests names all from 100 to 599.
//! Must not know: fields, bodies, what was asked.

use downloader_core::ErrorKind;
use http::StatusCode;

/// What kind of reply a status announces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Class {
    /// The content as a whole (200, 203).
    Whole,
    /// A part of it (206).
    Part,
    /// Success without content (204, 205).
    Nothing,
    /// A redirect to follow.
    Redirect,
    /// The caller's condition holds: the content is still what it was (304).
    NotModified,
    /// The range lies behind the end (416).
    Unsatisfied,
    /// No content, for a reason.
    Failure(ErrorKind),
}

/// The class of a status.
pub(crate) fn class(status: StatusCode) -> Class {
    match status.as_u16() {
        // 203 is a 200 that a proxy has changed: whether the bytes are right is for the checks to say.
        200 | 203 => Class::Whole,
        204 | 205 => Class::Nothing,
        206 => Class::Part,
        301 | 302 | 303 | 307 | 308 => Class::Redirect,
        304 => Class::NotModified,
        401 | 407 => Class::Failure(ErrorKind::Unauthorized),
        403 | 451 => Class::Failure(ErrorKind::Denied),
        404 | 410 => Class::Failure(ErrorKind::NotFound),
        416 => Class::Unsatisfied,
        // Not implemented, version not supported, network authentication required: waiting helps none of them.
        501 | 505 | 511 => Class::Failure(ErrorKind::Protocol),
        408 | 425 | 429 | 500..=599 => Class::Failure(ErrorKind::Busy),
        _ => Class::Failure(ErrorKind::Protocol),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_status_has_its_class() {
        use ErrorKind::{Busy, Denied, NotFound, Protocol, Unauthorized};
        let table = [
            (100..=199, Class::Failure(Protocol)),
            (200..=200, Class::Whole),
            (201..=202, Class::Failure(Protocol)),
            (203..=203, Class::Whole),
            (204..=205, Class::Nothing),
            (206..=206, Class::Part),
            (207..=300, Class::Failure(Protocol)),
            (301..=303, Class::Redirect),
            (304..=304, Class::NotModified),
            (305..=306, Class::Failure(Protocol)),
            (307..=308, Class::Redirect),
            (309..=400, Class::Failure(Protocol)),
            (401..=401, Class::Failure(Unauthorized)),
            (402..=402, Class::Failure(Protocol)),
            (403..=403, Class::Failure(Denied)),
            (404..=404, Class::Failure(NotFound)),
            (405..=406, Class::Failure(Protocol)),
            (407..=407, Class::Failure(Unauthorized)),
            (408..=408, Class::Failure(Busy)),
            (409..=409, Class::Failure(Protocol)),
            (410..=410, Class::Failure(NotFound)),
            (411..=415, Class::Failure(Protocol)),
            (416..=416, Class::Unsatisfied),
            (417..=424, Class::Failure(Protocol)),
            (425..=425, Class::Failure(Busy)),
            (426..=428, Class::Failure(Protocol)),
            (429..=429, Class::Failure(Busy)),
            (430..=450, Class::Failure(Protocol)),
            (451..=451, Class::Failure(Denied)),
            (452..=499, Class::Failure(Protocol)),
            (500..=500, Class::Failure(Busy)),
            (501..=501, Class::Failure(Protocol)),
            (502..=504, Class::Failure(Busy)),
            (505..=505, Class::Failure(Protocol)),
            (506..=510, Class::Failure(Busy)),
            (511..=511, Class::Failure(Protocol)),
            (512..=599, Class::Failure(Busy)),
            (600..=999, Class::Failure(Protocol)),
        ];
        let mut next = 100;
        for (codes, expected) in table {
            assert_eq!(*codes.start(), next, "the table has no gap");
            next = codes.end() + 1;
            for code in codes {
                assert_eq!(class(StatusCode::from_u16(code).unwrap()), expected, "{code}");
            }
        }
    }
}
