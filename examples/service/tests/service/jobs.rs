//! A job from its submission to its callback, through the program: on SQLite in one process, and on Redis with the roles apart.
//!
//! Owns rows 1, 2, 26 to 28, 31, 32, 49, 54, 62 to 64 and 70 to 72 as a client meets them, other protocols, checks that do not agree, and
//! cancellation. Invariant: both places pass the same scenario. Must not know how a role works.

use downloader_tests::kit::ftpd::{Ftpd, Known};
use downloader_tests::kit::http::{Act, Resource};
use downloader_tests::kit::sftp::Lie;
use downloader_tests::kit::{Content, ScriptedSftp, sha256_hex};
use serde_json::{Value, json};

use crate::program::{FILES, Keys, ask, try_ask, until};
use crate::world::{Place, World};

const PNG: &[u8] =
    b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x0a\0\0\0\x0a\x08\x06\0\0\0\x8d\x32\xcf\xbd\0\0\0\0IEND\xaeB`\x82";

#[tokio::test]
async fn skroutz_26_to_64_every_job_is_told_of_and_every_file_is_there_on_sqlite_in_one_process() {
    every_job(Place::Sqlite).await;
}

#[tokio::test]
async fn skroutz_26_to_64_every_job_is_told_of_and_every_file_is_there_on_redis_with_roles_apart() {
    every_job(Place::Redis).await;
}

async fn every_job(place: Place) {
    let world = World::start(place, Keys::new()).await;
    tokio::join!(
        a_file(&world),
        refusals(&world),
        repeats(&world),
        contents(&world),
        checks(&world),
        receivers(&world),
        cancelled(&world),
        folders(&world),
    );
    operations(&world).await;
    let stored = world.service.all_files();
    // The file, the repeat, the image, the check that agrees, three receivers, the folder.
    assert_eq!(stored.len(), 8, "{stored:?}");
    world.stop().await;
}

/// Rows 1, 2, 26, 27 and 64.
async fn a_file(world: &World) {
    world.origin.put("/file", Resource::generated(1, 300_000));
    let url = world.origin.url("/file");
    let mut job = world.job(&url);
    job["extra"] = json!("any \"text\"");
    let (status, answer) =
        try_ask(&world.address, "POST", "/download", "", &job.to_string()).await.expect("an answer");
    assert_eq!(status, 201, "{answer}");
    let id = serde_json::from_str::<Value>(&answer).expect("JSON")["id"].as_str().expect("an id").to_owned();
    assert_eq!(answer, format!("{{\"id\":\"{id}\"}}"));
    assert!(
        id.len() == 14 && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte)),
        "{id}"
    );
    let told = world.told(&id).await;
    let expected = json!({
        "success": true,
        "error": "",
        "extra": "any \"text\"",
        "image_size": "",
        "resource_url": url,
        "download_url": format!("{FILES}/{}/{id}", &id[..3]),
        "job_id": id,
        "response_code": 200,
        "delivered": true,
        "delivery_error": "",
    });
    assert_eq!(told, expected);
    let (request, _) = world.callbacks(&id).remove(0);
    assert_eq!((&*request.method, &*request.path()), ("POST", "/callback"));
    assert_eq!(request.header("content-type"), Some("application/json"));
    assert_eq!(world.service.stored(&id).expect("stored"), Content::new(1, 300_000).bytes());
    world.called_back(&id, "delivered").await;
    assert_eq!(world.callbacks(&id).len(), 1);
}

/// Row 28, and errors that go elsewhere.
async fn refusals(world: &World) {
    let (url, elsewhere) = (world.origin.url("/missing"), world.receiver.url("/errors"));
    let id = world.submit(&url, json!({ "extra": "e" })).await;
    let members = json!({
        "callback_url": null, "callback_type": "http", "callback_dst": world.receiver.url("/callback"),
        "callback_error_type": "http", "callback_error_dst": elsewhere,
    });
    let other = world.submit(&url, members).await;
    for (id, extra, path) in [(id, "e", "/callback"), (other, "", "/errors")] {
        let told = world.told(&id).await;
        assert_eq!((&told["success"], &told["response_code"]), (&json!(false), &json!(404)), "{told}");
        assert!(told["error"].as_str().is_some_and(|error| error.contains("404 Not Found")), "{told}");
        assert_eq!((&told["extra"], &told["download_url"]), (&json!(extra), &json!("")), "{told}");
        assert_eq!(world.callbacks(&id)[0].0.path(), path);
        assert!(world.service.stored(&id).is_none());
    }
    assert_eq!(world.origin.requests_for("/missing").len(), 2, "one fetch for each");
}

/// Rows 31 and 32.
async fn repeats(world: &World) {
    let busy = |status| Act::new().status(status);
    world.origin.put("/recovers", Resource::new("abc").first(busy(500)).then(busy(503)));
    world.origin.put("/fails", Resource::act(busy(500)));
    let recovers = world.submit(&world.origin.url("/recovers"), json!({})).await;
    let fails = world.submit(&world.origin.url("/fails"), json!({ "max_retries": 1 })).await;
    let told = world.told(&recovers).await;
    assert_eq!((&told["success"], &told["error"]), (&json!(true), &json!("")), "{told}");
    assert_eq!(world.origin.requests_for("/recovers").len(), 3);
    let told = world.told(&fails).await;
    assert_eq!((&told["success"], &told["response_code"]), (&json!(false), &json!(500)), "{told}");
    assert_eq!(world.origin.requests_for("/fails").len(), 2);
}

/// Rows 49 and 54.
async fn contents(world: &World) {
    world.origin.put("/image", Resource::new(PNG));
    let url = world.origin.url("/image");
    let id = world.submit(&url, json!({ "extract_image_size": true, "mime_type": "image/*" })).await;
    let told = world.told(&id).await;
    assert_eq!((&told["success"], &told["image_size"]), (&json!(true), &json!("10x10")), "{told}");
    let id = world.submit(&url, json!({ "mime_type": "image/jpeg" })).await;
    let told = world.told(&id).await;
    assert!(told["error"].as_str().is_some_and(|error| error.contains("Expected mime-type to be")), "{told}");
    assert!(world.service.stored(&id).is_none());
}

/// What is not what was expected is not stored.
async fn checks(world: &World) {
    world.origin.put("/checked", Resource::new("abc"));
    let url = world.origin.url("/checked");
    let digest = sha256_hex(b"abc");
    let id = world.submit(&url, json!({ "digests": { "sha-256": digest }, "size": 3 })).await;
    assert_eq!(world.told(&id).await["success"], true);
    assert_eq!(world.service.stored(&id).expect("stored"), b"abc");
    for wrong in [json!({ "digests": { "sha-256": sha256_hex(b"abd") } }), json!({ "size": 4 })] {
        let id = world.submit(&url, wrong.clone()).await;
        let told = world.told(&id).await;
        assert_eq!((&told["success"], &told["download_url"]), (&json!(false), &json!("")), "{wrong}: {told}");
        assert!(
            told["error"].as_str().is_some_and(|error| error.contains("verifying file")),
            "{wrong}: {told}"
        );
        assert!(world.service.stored(&id).is_none(), "{wrong}");
    }
}

/// Rows 62 and 63: a receiver that recovers, and one that does not until it is asked again.
async fn receivers(world: &World) {
    world.origin.put("/told", Resource::new("abc"));
    let fails = Act::new().status(500);
    world.receiver.put("/recovers", Resource::act(Act::new().status(204)).first(fails.clone()));
    world.receiver.put("/dead", Resource::act(Act::new().status(200)).times(2, fails));
    for (path, state, posts) in [("/recovers", "delivered", 2), ("/dead", "dead", 2)] {
        let members = json!({ "callback_url": world.receiver.url(path) });
        let id = world.submit(&world.origin.url("/told"), members).await;
        world.called_back(&id, state).await;
        let mut callbacks = world.callbacks(&id);
        assert_eq!(callbacks.len(), posts, "{path}");
        if state == "dead" {
            let retry = try_ask(&world.address, "POST", &format!("/retry/{id}"), "", "").await;
            assert_eq!(retry.map(|(status, _)| status), Some(204));
            world.called_back(&id, "delivered").await;
            callbacks = world.callbacks(&id);
            assert_eq!(callbacks.len(), 3);
        }
        assert!(
            callbacks.iter().all(|(_, told)| *told == callbacks[0].1),
            "the same each time: {callbacks:?}"
        );
        assert_eq!(callbacks[0].1["success"], true);
    }
    // One that is slow to answer is answered for all the same.
    world
        .receiver
        .put("/slow", Resource::act(Act::new().status(202).delay(std::time::Duration::from_millis(300))));
    let members = json!({ "callback_url": world.receiver.url("/slow") });
    let id = world.submit(&world.origin.url("/told"), members).await;
    world.called_back(&id, "delivered").await;
    assert_eq!(world.callbacks(&id).len(), 1);
}

/// One that runs, and one that waits for it.
async fn cancelled(world: &World) {
    world.origin.put("/hangs", Resource::generated(2, 100_000).always(Act::new().stall_at(50_000)));
    let url = world.origin.url("/hangs");
    let members = json!({ "aggr_id": "hangs", "aggr_limit": 1 });
    let running = world.submit(&url, members.clone()).await;
    until(&world.address, &running, "it runs", |job| job["download"] == "running").await;
    let waiting = world.submit(&url, members).await;
    for (id, state) in [(&waiting, "done"), (&running, "requested")] {
        let answer = ask(&world.address, "POST", &format!("/jobs/{id}/cancel"), "").await;
        assert_eq!(answer["cancellation"], state);
        let told = world.told(id).await;
        assert_eq!((&told["success"], &told["error"]), (&json!(false), &json!("cancelled")), "{told}");
        let job = world.called_back(id, "delivered").await;
        assert_eq!(job["download"], "cancelled", "{job}");
        assert!(world.service.stored(id).is_none());
    }
    world.origin.wait_until("the download is broken off", |origin| origin.bodies() == 0).await;
}

async fn folders(world: &World) {
    world.origin.put("/below", Resource::new("abc"));
    let id = world.submit(&world.origin.url("/below"), json!({ "subpath": "a/b" })).await;
    let told = world.told(&id).await;
    assert_eq!(told["download_url"], format!("{FILES}/a/b/{}/{id}", &id[..3]), "{told}");
    let path = world.service.files().join(format!("a/b/{}/{id}", &id[..3]));
    assert_eq!(std::fs::read(path).expect("stored"), b"abc");
}

/// Rows 70 to 72, once everything has ended.
async fn operations(world: &World) {
    let answer = try_ask(&world.address, "GET", "/hb", "", "").await;
    assert_eq!(answer, Some((200, "OK".to_owned())));
    for (path, is) in [
        (
            "/stats/processor",
            &(|stats: &Value| stats["download.response.404"] == 2) as &dyn Fn(&Value) -> bool,
        ),
        ("/stats/notifier", &|stats| stats["alive"] == 1 && stats["failedCallbacks"] == 1),
        ("/dashboard/aggregations", &|groups| groups == &json!([])),
    ] {
        // They tell of themselves from time to time.
        let told = async {
            while !is(&ask(&world.address, "GET", path, "").await) {
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            }
        };
        let told = tokio::time::timeout(crate::program::PATIENCE, told).await;
        assert!(told.is_ok(), "{path}: {}", ask(&world.address, "GET", path, "").await);
    }
}

#[tokio::test]
async fn other_protocols_on_sqlite_in_one_process() {
    other_protocols(Place::Sqlite).await;
}

#[tokio::test]
async fn other_protocols_on_redis_with_roles_apart() {
    other_protocols(Place::Redis).await;
}

/// One file of vsftpd, and one of an SFTP server that asks for a password; of neither there is a status.
async fn other_protocols(place: Place) {
    let root = tempfile::tempdir().expect("a folder");
    std::fs::write(root.path().join("f"), b"over FTP").expect("written");
    let ftp = Ftpd::builder(Known::Vsftpd).start(root.path()).await.expect("vsftpd starts");
    let sftp = ScriptedSftp::with_account("me", "hunter2", false).await;
    sftp.put("/f", "over SFTP", Lie::None);
    let known = root.path().join("known_hosts");
    std::fs::write(&known, sftp.known()).expect("written");
    let keys = Keys::new().with("processor.known_hosts", format!("[{:?}]", known.to_str().expect("a text")));
    let world = World::start(place, keys).await;
    for (url, content) in [(ftp.url("/f"), "over FTP"), (sftp.url("me:hunter2", "/f"), "over SFTP")] {
        let id = world.submit(&url, json!({})).await;
        let told = world.told(&id).await;
        assert_eq!((&told["success"], &told["response_code"]), (&json!(true), &json!(0)), "{told}");
        assert_eq!(told["resource_url"], url);
        assert_eq!(world.service.stored(&id).expect("stored"), content.as_bytes());
        let shown = ask(&world.address, "GET", &format!("/jobs/{id}"), "").await.to_string();
        assert!(!shown.contains("hunter2"), "{shown}");
    }
    for role in &world.roles {
        assert!(!role.0.stderr().contains("hunter2"), "{}", role.0.stderr());
    }
    world.stop().await;
}
