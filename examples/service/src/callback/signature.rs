//! Owns the signatures of callbacks: HMAC-SHA256 by the Standard Webhooks (<https://www.standardwebhooks.com>).
//!
//! Invariant: what is signed names the message and its time, so that neither can be put on another. Must not know how it travels.
//!
//! | field | value |
//! | --- | --- |
//! | `webhook-id` | the name of the job: the same at each attempt, by which a receiver knows what it had already |
//! | `webhook-timestamp` | when this attempt began, in seconds since 1970; receivers refuse what is older than a few minutes |
//! | `webhook-signature` | `v1,` and base64 of the HMAC-SHA256 of `{id}.{timestamp}.{body}`; one for each secret, separated by spaces |

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

use super::Secret;

/// The names of the fields, in the order of the table above.
pub const SIGNATURE_FIELDS: [&str; 3] = ["webhook-id", "webhook-timestamp", "webhook-signature"];

/// The values of [`SIGNATURE_FIELDS`].
pub(super) fn sign(secrets: &[Secret], id: &str, timestamp: u64, body: &str) -> [String; 3] {
    let signatures = secrets.iter().map(|secret| {
        let code = code(secret, id, timestamp, body).finalize().into_bytes();
        format!("v1,{}", BASE64_STANDARD.encode(code))
    });
    let signatures: Vec<_> = signatures.collect();
    [id.to_owned(), timestamp.to_string(), signatures.join(" ")]
}

/// Is one of these signatures made with this secret? For receivers, and in constant time; how old a message may be is theirs to say.
#[must_use]
pub fn verify(secret: &Secret, id: &str, timestamp: u64, body: &str, signatures: &str) -> bool {
    signatures.split(' ').filter_map(|signature| signature.strip_prefix("v1,")).any(|signature| {
        let bytes = BASE64_STANDARD.decode(signature).unwrap_or_default();
        code(secret, id, timestamp, body).verify_slice(&bytes).is_ok()
    })
}

fn code(secret: &Secret, id: &str, timestamp: u64, body: &str) -> Hmac<Sha256> {
    let mut code = Hmac::<Sha256>::new_from_slice(secret.expose()).expect("HMAC takes keys of any length");
    code.update(format!("{id}.{timestamp}.").as_bytes());
    code.update(body.as_bytes());
    code
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the Standard Webhooks' own libraries.
    #[test]
    fn the_published_example() {
        let secret = Secret::new("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");
        let body = r#"{"test": 2432232314}"#;
        let id = "msg_p5jXN8AQM9LWM0D4loKWxJek";
        let signed = sign(std::slice::from_ref(&secret), id, 1_614_265_330, body);
        assert_eq!(signed[2], "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
        let two = sign(&[Secret::new("other"), secret.clone()], id, 1_614_265_330, body);
        assert!(verify(&secret, id, 1_614_265_330, body, &two[2]));
        for (id, timestamp, body) in [("x", 1_614_265_330, body), (id, 1, body), (id, 1_614_265_330, "{}")] {
            assert!(!verify(&secret, id, timestamp, body, &two[2]));
        }
        assert!(!verify(&secret, id, 1_614_265_330, body, "v1, v2,x"));
    }
}
