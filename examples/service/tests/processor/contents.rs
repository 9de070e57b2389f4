//! What is told of contents: types, sizes of images, encodings, digests.
//!
//! Owns rows 41, 43, 48 to 57. Invariant: what the server announces is false on purpose. Must not know how a type is found.

use downloader_service::job::{Ending, Spec};
use downloader_service::processor::AttemptResult;
use downloader_tests::kit::http::{Act, Resource, Server};

use crate::service::{Service, spec};

const PNG: &[u8] =
    b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x0a\0\0\0\x0a\x08\x06\0\0\0\x8d\x32\xcf\xbd\0\0\0\0IEND\xaeB`\x82";
/// Application data, then a frame of 420×315.
const JPEG: &[u8] = b"\xff\xd8\xff\xe0\0\x10JFIF\0\x01\x01\0\0\x01\0\x01\0\0\xff\xc0\0\x11\x08\x01\x3b\x01\xa4\x03\x01\x22\0\x02\x11\x01\x03\x11\x01\xff\xd9";
const BMP: &[u8] = b"BM\x3a\0\0\0\0\0\0\0\x36\0\0\0\x28\0\0\0\x01\0\0\0\x01\0\0\0\x01\0\x18\0\0\0\0\0\x04\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\xff\xff\xff\0";
const PDF: &[u8] = b"%PDF-1.4\n1 0 obj\n<< /Type /Catalog >>\nendobj\n%%EOF\n";

async fn told(service: &Service, content: &'static [u8], change: impl FnOnce(&mut Spec)) -> Ending {
    let origin = Server::start().await;
    origin.put("/f", Resource::new(content).content_type("text/plain"));
    let mut job = spec(origin.url("/f"));
    change(&mut job);
    service.run(job).await
}

#[tokio::test]
async fn skroutz_48_50_52_53_types_that_are_accepted() {
    let service = Service::start();
    for patterns in [
        "image/png",
        "image/*",
        "!image/jpeg",
        "image/[pj]*",
        "image/???",
        "*/*",
        "!image/vnd.adobe.photoshop,image/*",
        " image/png , !image/gif ",
    ] {
        let ending = told(&service, PNG, |job| job.mime_type = patterns.to_owned()).await;
        assert!(ending.success, "{patterns}: {}", ending.error);
        assert_eq!(ending.media_type.as_deref(), Some("image/png"));
    }
    service.stop().await;
}

#[tokio::test]
async fn skroutz_43_49_51_52_types_that_are_not() {
    let service = Service::start();
    for (content, patterns, told_so) in [
        (PNG, "image/jpeg", "Expected mime-type to be (image/jpeg), found (image/png)"),
        (PNG, "*", "Expected mime-type to be (*), found (image/png)"),
        (PNG, "IMAGE/PNG", "Expected mime-type to be (IMAGE/PNG), found (image/png)"),
        (PNG, "!image/png", "Expected mime-type not to be (image/png) found - (image/png)"),
        (PNG, "image/png,image/jpeg", "Expected mime-type to be (image/jpeg), found (image/png)"),
        (PNG, "image/png,", "Expected mime-type to be (), found (image/png)"),
        (b"", "image/*", "Expected mime-type to be (image/*), found (application/x-empty)"),
    ] {
        let ending = told(&service, content, |job| job.mime_type = patterns.to_owned()).await;
        assert!(!ending.success && ending.error.contains(told_so), "{patterns}: {}", ending.error);
        assert_eq!(ending.response_code, 200);
    }
    assert_eq!(service.count(AttemptResult::Again), 0, "each was final");
    service.stop().await;
}

#[tokio::test]
async fn skroutz_54_55_56_sizes_of_images() {
    let service = Service::start();
    for (content, size) in [(PNG, "10x10"), (JPEG, "420x315"), (BMP, ""), (PDF, "")] {
        let ending = told(&service, content, |job| job.extract_image_size = true).await;
        assert_eq!((ending.success, ending.image_size.as_str()), (true, size), "{}", ending.error);
    }
    let cut = told(&service, &PNG[..18], |job| job.extract_image_size = true).await;
    assert!(!cut.success && cut.error.contains("extracting image-size"), "{}", cut.error);
    assert_eq!(service.count(AttemptResult::Again), 0, "one try");
    service.stop().await;
}

#[tokio::test]
async fn skroutz_57_encodings() {
    // "hello" by gzip.
    const ENCODED: &[u8] =
        b"\x1f\x8b\x08\0\0\0\0\0\0\x03\xcb\x48\xcd\xc9\xc9\x07\0\x86\xa6\x10\x36\x05\0\0\0";
    let (service, origin) = (Service::start(), Server::start().await);
    origin.put("/f", Resource::act(Act::new().body(ENCODED).header("Content-Encoding", "gzip")));
    let decoded = service.run(spec(origin.url("/f"))).await;
    assert_eq!(service.stored(&decoded), b"hello", "{}", decoded.error);
    let mut job = spec(origin.url("/f"));
    job.request_headers.insert("Accept-Encoding".to_owned(), "gzip".to_owned());
    let encoded = service.run(job).await;
    assert_eq!(service.stored(&encoded), ENCODED, "{}", encoded.error);
    assert_eq!(origin.requests()[1].header("accept-encoding"), Some("gzip"));
    service.stop().await;
}

#[tokio::test]
async fn digests_and_sizes_are_held_against_the_content() {
    let service = Service::start();
    let sha256 = "sha-256=ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    let right = told(&service, b"abc", |job| {
        (job.digests, job.size) =
            (vec![sha256.to_owned(), "md5=900150983cd24fb0d6963f7d28e17f72".to_owned()], Some(3));
    })
    .await;
    assert!(right.success, "{}", right.error);
    assert_eq!(right.digests.keys().collect::<Vec<_>>(), ["md5", "sha-256"]);
    let wrong = told(&service, b"abd", |job| job.digests = vec![sha256.to_owned()]).await;
    assert!(
        !wrong.success && wrong.error.contains("verifying file") && wrong.location.is_none(),
        "{}",
        wrong.error
    );
    let long = told(&service, b"abcd", |job| job.size = Some(3)).await;
    assert!(!long.success, "{}", long.error);
    let files = std::fs::read_dir(service.files()).expect("a folder").count();
    assert_eq!(files, 2, "the shard of the right one, and the folder of files that come in");
    service.stop().await;
}
