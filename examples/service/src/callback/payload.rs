//! Owns what a caller is told of a job.
//!
//! Invariant: made of the job's record alone, so that every attempt says the same (skroutz 63). Must not know how it travels.

use serde::Serialize;

use crate::job::{Ending, JobId, Spec};

/// What is told of a job whose download ended: a JSON object with these ten members, all of them, in this order.
///
/// | member | meaning |
/// | --- | --- |
/// | `success` | is the file stored? |
/// | `error` | why not, or `""` |
/// | `extra` | as it was given |
/// | `image_size` | `WIDTHxHEIGHT`, or `""` |
/// | `resource_url` | the URL of the job, as it was given |
/// | `download_url` | where the file is found, or `""` |
/// | `job_id` | the name of the job |
/// | `response_code` | the last status of the download, 0 if there was none |
/// | `delivered` | `true`: who reads this has got it. The original keeps the word for itself, and sends it along |
/// | `delivery_error` | `""`, for the same reason |
///
/// Whether a callback was delivered is said by the job's record (`GET /jobs/{id}`, member `callback`): `delivered` when the receiver said
/// that it has the payload. It may have come more than once; `job_id` tells which it was.
#[must_use]
pub fn payload(id: &JobId, spec: &Spec, ending: &Ending) -> String {
    #[derive(Serialize)]
    struct Payload<'a> {
        success: bool,
        error: &'a str,
        extra: &'a str,
        image_size: &'a str,
        resource_url: &'a str,
        download_url: &'a str,
        job_id: &'a JobId,
        response_code: u16,
        delivered: bool,
        delivery_error: &'a str,
    }
    let payload = Payload {
        success: ending.success,
        error: &ending.error,
        extra: &spec.extra,
        image_size: &ending.image_size,
        resource_url: &spec.url,
        download_url: &ending.download_url,
        job_id: id,
        response_code: ending.response_code,
        delivered: true,
        delivery_error: "",
    };
    serde_json::to_string(&payload).expect("texts, flags and numbers have a form in JSON")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn skroutz_27_ten_members_in_their_order() {
        let id = JobId::from_bytes([0; 10]);
        let mut spec = Spec::new("http://user:pass@origin/a?b=c", "g");
        spec.extra = "\"é<>&".to_owned();
        let ending = Ending {
            success: true,
            response_code: 200,
            image_size: "10x10".to_owned(),
            download_url: "http://files/AAA/AAAAAAAAAAAAAA".to_owned(),
            ..Ending::default()
        };
        let expected = r#"{"success":true,"error":"","extra":"\"é<>&","image_size":"10x10","resource_url":"http://user:pass@origin/a?b=c","download_url":"http://files/AAA/AAAAAAAAAAAAAA","job_id":"AAAAAAAAAAAAAA","response_code":200,"delivered":true,"delivery_error":""}"#;
        assert_eq!(payload(&id, &spec, &ending), expected);
        let failed = payload(&id, &Spec::new("http://o/", "g"), &Ending::failed("404 Not Found", 404));
        let expected = r#"{"success":false,"error":"404 Not Found","extra":"","image_size":"","resource_url":"http://o/","download_url":"","job_id":"AAAAAAAAAAAAAA","response_code":404,"delivered":true,"delivery_error":""}"#;
        assert_eq!(failed, expected);
    }
}
