//! Files in buckets, against moto's S3: the service's bucket and those of callers.
//!
//! Owns the scenarios. Invariant: what is in a bucket is asked of it by requests of the test's own. Must not know how an upload goes.

use bytes::Bytes;
use downloader_core::write::Writer;
use downloader_core::{Entity, Error, ErrorKind, Provenance, SourceId};
use downloader_service::job::{Bucket, JobId};
use downloader_service::storage::{FileName, Place, S3Options, Settings, Storages};
use downloader_tests::kit::moto::Moto;
use downloader_tests::kit::{Act, Resource, Server};

const SECRET: &str = "s3cret-access-key";

/// With the service's bucket in the first region.
fn storages(endpoint: &str, bucket: &str) -> Storages {
    let mut settings = Settings::new(Place::Bucket(of("us-east-1", bucket)));
    let options = [
        ("endpoint", endpoint),
        ("allow_http", "true"),
        ("access_key_id", "me"),
        ("secret_access_key", SECRET),
        ("aws_region", "us-west-9"),
    ];
    settings.s3 = S3Options(options.map(|(name, value)| (name.to_owned(), value.to_owned())).into());
    Storages::open(&settings).expect("options that make a store")
}

fn of(region: &str, name: &str) -> Bucket {
    Bucket { name: name.to_owned(), region: region.to_owned() }
}

/// What a download does with its writer.
async fn write(writer: &mut Box<dyn Writer>, content: &[u8]) -> Result<(), Error> {
    let entity = Entity { size: Some(content.len() as u64), ..Entity::default() };
    writer.begin(&Provenance { entity, source: SourceId::Name("origin".into()) }).await?;
    writer.write(0, Bytes::copy_from_slice(content)).await
}

async fn stored(writer: Result<Box<dyn Writer>, Error>, content: &[u8]) -> Result<(), Error> {
    let mut writer = writer?;
    write(&mut writer, content).await?;
    writer.commit().await
}

fn file(folder: &str, id: &str) -> FileName {
    FileName::new(folder, id.parse::<JobId>().expect("14 letters"))
}

#[tokio::test]
async fn a_file_of_the_service_is_visible_when_it_is_whole_and_is_deleted() {
    let moto = Moto::start("service").await.expect("moto, which tests/python installs");
    let own = storages(&moto.endpoint(), "service").own;
    let name = file("a/b", "32a9M0C-QxziDA");
    let mut writer = own.writer(&name).expect("a writer");
    write(&mut writer, b"content").await.expect("written");
    assert!(moto.keys("service").await.expect("a bucket").is_empty(), "not yet");
    writer.commit().await.expect("stored");
    assert_eq!(moto.keys("service").await.expect("a bucket"), ["a/b/32a/32a9M0C-QxziDA"]);
    let object = moto.ask("GET", "/service/a/b/32a/32a9M0C-QxziDA").await.expect("answered");
    assert_eq!(object.body, b"content");
    stored(own.writer(&name), b"once more").await.expect("in place of the first");

    own.remove(&name.path()).await.expect("deleted");
    assert!(moto.keys("service").await.expect("a bucket").is_empty());
    own.remove(&name.path()).await.expect("not there is fine");
    own.remove("../a").await.expect_err("leads out");
    assert_eq!((own.site(), own.disk()), ("s3://service", None));
    own.forget(&name).await.expect("nothing is left");
}

#[tokio::test]
async fn an_object_of_a_caller_has_what_extra_says() {
    let moto = Moto::start("callers").await.expect("moto, which tests/python installs");
    let storages = storages(&moto.endpoint(), "service");
    let bucket = of("us-east-1", "callers");
    let name = file("", "32a9M0C-QxziDA");
    let extra = r#"{"Origin":"here","n":2.9,"flag":true,"list":[1],"city":"Zürich"}"#;
    stored(storages.writer_for(&bucket, &name, extra), b"content").await.expect("stored");
    let object = moto.ask("GET", "/callers/32a/32a9M0C-QxziDA").await.expect("answered");
    assert_eq!(object.body, b"content");
    let told = |name: &str| object.field(&format!("x-amz-meta-{name}"));
    assert_eq!(
        (told("origin"), told("n"), told("flag"), told("list")),
        (Some("here"), Some("2"), None, None)
    );
    assert_eq!(told("city"), Some("=?UTF-8?B?WsO8cmljaA==?="));
    for bad in ["text", r#"{"a b":"c"}"#] {
        let Err(error) = storages.writer_for(&bucket, &name, bad) else { panic!("{bad}") };
        assert!(error.kind() == ErrorKind::Input && error.what().starts_with("extra:"), "{error}");
    }
    stored(storages.writer_for(&bucket, &name, ""), b"plain").await.expect("stored");
}

/// Each bucket is asked for in its own region, whatever the settings say.
#[tokio::test]
async fn a_bucket_is_in_the_region_that_the_caller_names() {
    let server = Server::start().await;
    let storages = storages(server.url("/").trim_end_matches('/'), "service");
    for region in ["eu-west-1", "ap-south-1"] {
        let path = "/callers/32a/32a9M0C-QxziDA";
        server.put(path, Resource::act(Act::new().status(200).header("etag", "\"a\"")));
        let name = file("", "32a9M0C-QxziDA");
        stored(storages.writer_for(&of(region, "callers"), &name, ""), b"content").await.expect("stored");
        let request = server.requests_for(path).pop().expect("a request");
        let scope = format!("/{region}/s3/aws4_request");
        assert!(request.header("authorization").is_some_and(|signed| signed.contains(&scope)), "{region}");
    }
}

#[tokio::test]
async fn a_missing_bucket_is_called_so() {
    let moto = Moto::start("service").await.expect("moto, which tests/python installs");
    let storages = storages(&moto.endpoint(), "gone");
    let name = file("", "32a9M0C-QxziDA");
    let missing = of("eu-west-1", "missing");
    for (writer, bucket) in
        [(storages.own.writer(&name), "gone"), (storages.writer_for(&missing, &name, ""), "missing")]
    {
        let error = stored(writer, b"content").await.expect_err("no bucket");
        let place = format!("s3://{bucket}/32a/32a9M0C-QxziDA");
        assert!(error.kind() == ErrorKind::Local && error.what().contains(&place), "{error}");
        assert!(error.what().contains("no such bucket"), "{error}");
        assert!(!format!("{error:?}").contains(SECRET));
    }
    for elsewhere in [of("eu-west-1", "no/bucket"), of("x@host.example/", "callers")] {
        let Err(error) = storages.writer_for(&elsewhere, &name, "") else { panic!("{elsewhere:?}") };
        assert_eq!(error.kind(), ErrorKind::Input);
    }
}
