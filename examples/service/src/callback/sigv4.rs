//! Owns the signing of requests to AWS, Signature Version 4, as far as a `POST` to `/` needs it.
//!
//! Invariant: fields come sorted, and every one that is signed is sent. Must not know what is asked.

use std::fmt::Write as _;
use std::time::{SystemTime, UNIX_EPOCH};

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::{Digest as _, Sha256};

use super::Secret;

/// What a signature holds for.
pub(super) struct Scope<'a> {
    pub(super) region: &'a str,
    pub(super) service: &'a str,
    /// As `20150830T123600Z`.
    pub(super) timestamp: &'a str,
}

/// The value of `Authorization`. `fields` are those that are signed, by lower-case names in their order.
pub(super) fn authorization(
    access_key_id: &str,
    secret: &Secret,
    scope: &Scope<'_>,
    fields: &[(&str, &str)],
    body: &str,
) -> String {
    let signed: Vec<_> = fields.iter().map(|(name, _)| *name).collect();
    let signed = signed.join(";");
    let mut request = "POST\n/\n\n".to_owned();
    for (name, value) in fields {
        let _ = writeln!(request, "{name}:{}", value.trim()); // a text takes everything
    }
    let _ = write!(request, "\n{signed}\n{}", hex(&Sha256::digest(body.as_bytes())));
    let date = scope.timestamp.get(..8).unwrap_or_default();
    let place = format!("{date}/{}/{}/aws4_request", scope.region, scope.service);
    let digest = hex(&Sha256::digest(request.as_bytes()));
    let text = format!("AWS4-HMAC-SHA256\n{}\n{place}\n{digest}", scope.timestamp);
    let start = [b"AWS4".as_slice(), secret.expose()].concat();
    let key =
        [date, scope.region, scope.service, "aws4_request"].iter().fold(start, |key, part| code(&key, part));
    let signature = hex(&code(&key, &text));
    format!(
        "AWS4-HMAC-SHA256 Credential={access_key_id}/{place}, SignedHeaders={signed}, Signature={signature}"
    )
}

/// A time as `20150830T123600Z`.
pub(super) fn timestamp(time: SystemTime) -> String {
    let seconds = time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    // Days of the civil calendar, counted in eras of 400 years that begin in March (H. Hinnant, "chrono-compatible low-level date algorithms").
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!("{year:04}{month:02}{day:02}T{hour:02}{minute:02}{second:02}Z")
}

fn code(key: &[u8], text: &str) -> Vec<u8> {
    let mut code = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length");
    code.update(text.as_bytes());
    code.finalize().into_bytes().to_vec()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}"); // a text takes everything
        text
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// `post-vanilla` and `post-x-www-form-urlencoded` of the test suite that AWS publishes.
    #[test]
    fn the_published_examples() {
        let secret = Secret::new("wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY");
        let scope = Scope { region: "us-east-1", service: "service", timestamp: "20150830T123600Z" };
        let vanilla = [("host", "example.amazonaws.com"), ("x-amz-date", "20150830T123600Z")];
        let signed = authorization("AKIDEXAMPLE", &secret, &scope, &vanilla, "");
        let expected = "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, SignedHeaders=host;x-amz-date, \
                        Signature=5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b";
        assert_eq!(signed, expected);
        let form = [[("content-type", "application/x-www-form-urlencoded")].as_slice(), &vanilla].concat();
        let signed = authorization("AKIDEXAMPLE", &secret, &scope, &form, "Param1=value1");
        assert!(
            signed.ends_with("ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a"),
            "{signed}"
        );
    }

    #[test]
    fn times_are_those_of_the_calendar() {
        let at = |seconds| timestamp(UNIX_EPOCH + Duration::from_secs(seconds));
        assert_eq!(at(0), "19700101T000000Z");
        assert_eq!(at(1_440_938_160), "20150830T123600Z");
        assert_eq!(at(951_782_399), "20000228T235959Z");
        assert_eq!(at(951_782_400), "20000229T000000Z");
        assert_eq!(at(4_107_542_400), "21000301T000000Z");
    }
}
