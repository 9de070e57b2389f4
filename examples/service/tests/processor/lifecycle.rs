//! Limits, stops, kills and full disks.
//!
//! Owns rows 59, 61, 73, 74, 75 and 77, and removals (69). Invariant: what the origin saw decides. Must not know how leases are kept.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use downloader_core::Guard;
use downloader_service::job::{DownloadState, Ending, JobId, Queue, Settings as Group};
use downloader_service::processor::{AttemptResult, Thresholds};
use downloader_service::store::{Cancellation, Claim, Policy, Settlement};
use downloader_tests::kit::http::{Act, Resource, Server};

use crate::service::{Service, spec, store, store_with};

fn folder() -> Arc<tempfile::TempDir> {
    Arc::new(tempfile::tempdir().expect("a folder"))
}

#[tokio::test]
async fn skroutz_59_61_no_more_than_the_limit_of_a_group_at_once() {
    let (service, origin) = (Service::start(), Server::start().await);
    for (group, limit) in [("a", 3), ("b", 2)] {
        let slow = Act::new().pause_at(1, Duration::from_millis(10));
        origin.put(&format!("/{group}"), Resource::new("abc").always(slow));
        for _ in 0..60 {
            let mut job = spec(origin.url(&format!("/{group}")));
            job.group = group.to_owned();
            service.submit_to(job, limit).await;
        }
    }
    origin.wait_requests(120).await;
    origin.wait_idle().await;
    assert!(origin.max_concurrent_bodies() <= 5, "{}", origin.max_concurrent_bodies());
    service.stop().await;
}

#[tokio::test]
async fn a_job_that_names_a_limit_of_its_host_waits_for_room() {
    let (service, origin) = (Service::start(), Server::start().await);
    origin.put("/f", Resource::new("abc").always(Act::new().pause_at(1, Duration::from_millis(10))));
    let mut ids = Vec::new();
    for group in 0..20 {
        let mut job = spec(origin.url("/f"));
        (job.group, job.host_limit) = (group.to_string(), NonZeroU32::new(2));
        ids.push(service.submit(job).await);
    }
    for id in &ids {
        assert!(service.ending(id).await.success);
    }
    assert!(origin.max_concurrent_bodies() <= 2, "{}", origin.max_concurrent_bodies());
    service.stop().await;
}

/// A download that hangs half-way until the origin is told otherwise.
async fn hanging(origin: &Server, size: u64) {
    let resource = Resource::generated(7, size).etag("\"a\"");
    origin.put("/f", resource.first(Act::new().stall_at(size / 2)));
}

#[tokio::test]
async fn skroutz_74_a_clean_stop_gives_back_what_runs_and_no_attempt_is_counted() {
    let (store, folder, origin) = (store(), folder(), Server::start().await);
    hanging(&origin, 1000).await;
    let first = Service::on(Arc::clone(&store), Arc::clone(&folder), |settings| {
        settings.drain = Duration::from_millis(50);
    });
    let mut job = spec(origin.url("/f"));
    job.max_retries = Some(0);
    let id = first.submit(job).await;
    origin.wait_until("half of it came", |origin| origin.body_sent() >= 500).await;
    first.stop().await;
    let given_back = store.job(&id).await.expect("a store").expect("a job");
    assert_eq!((given_back.status.download, given_back.downloads), (DownloadState::Queued, 0));
    let second = Service::on(store, folder, |_| ());
    assert!(second.ending(&id).await.success);
    assert_eq!(second.job(&id).await.downloads, 1);
    second.stop().await;
}

#[tokio::test]
async fn a_clean_stop_waits_for_what_ends_soon() {
    let (service, origin) = (Service::start(), Server::start().await);
    origin.put("/f", Resource::new("abc").always(Act::new().pause_at(1, Duration::from_millis(300))));
    let id = service.submit(spec(origin.url("/f"))).await;
    origin.wait_requests(1).await;
    let store = Arc::clone(&service.store);
    service.stop().await;
    let job = store.job(&id).await.expect("a store").expect("a job");
    assert!(job.ending.is_some_and(|ending| ending.success));
}

#[tokio::test]
async fn skroutz_73_75_what_a_killed_processor_held_goes_on_at_once_from_where_it_was() {
    const SIZE: u64 = 24 << 20;
    let (store, folder, origin) = (store(), folder(), Server::start().await);
    hanging(&origin, SIZE).await;
    let named = |settings: &mut downloader_service::processor::Settings| {
        (settings.instance, settings.recover) = ("one".to_owned(), true);
    };
    let first = Service::on(Arc::clone(&store), Arc::clone(&folder), named);
    let id = first.submit(spec(origin.url("/f"))).await;
    origin.wait_until("half of it came", |origin| origin.body_sent() >= SIZE / 2).await;
    first.until(&id, "it runs", |job| job.status.download == DownloadState::Running).await;
    first.kill().await;
    let second = Service::on(store, folder, named);
    let ending = second.ending(&id).await;
    assert_eq!(
        (ending.success, ending.response_code, ending.size),
        (true, 200, Some(SIZE)),
        "{}",
        ending.error
    );
    let requests = origin.requests_for("/f");
    assert_eq!(requests.len(), 2);
    let range = requests[1].range().expect("only the rest is asked for");
    assert!(range.starts_with("bytes=") && range != "bytes=0-", "{range}");
    let content = downloader_tests::kit::content::Content::new(7, SIZE);
    assert_eq!(ending.digests["sha-256"], content.sha256());
    assert_eq!(second.parts(), [""; 0]);
    second.stop().await;
}

#[tokio::test]
async fn skroutz_73_a_lease_that_nobody_renews_is_taken_over() {
    let mut policy = Policy::default();
    policy.lease = Duration::from_millis(600);
    let (store, folder, origin) = (store_with(policy), folder(), Server::start().await);
    hanging(&origin, 1000).await;
    let short =
        |settings: &mut downloader_service::processor::Settings| settings.lease = Duration::from_millis(600);
    let first = Service::on(Arc::clone(&store), Arc::clone(&folder), short);
    let id = first.submit(spec(origin.url("/f"))).await;
    origin.wait_until("half of it came", |origin| origin.body_sent() >= 500).await;
    // It hangs for longer than a lease, and is held meanwhile.
    tokio::time::sleep(Duration::from_millis(1500)).await;
    assert_eq!(origin.requests().len(), 1, "the lease is renewed");
    first.kill().await;
    let second = Service::on(store, folder, short);
    assert!(second.ending(&id).await.success);
    second.stop().await;
}

#[tokio::test]
async fn a_worker_that_lost_its_lease_publishes_nothing() {
    // With room for one it cannot take its own job again.
    let service =
        Service::with(|settings| (settings.instance, settings.concurrency) = ("slow".to_owned(), 1));
    let origin = Server::start().await;
    hanging(&origin, 1000).await;
    let id = service.submit(spec(origin.url("/f"))).await;
    origin.wait_until("half of it came", |origin| origin.body_sent() >= 500).await;
    // Somebody says that it is gone, and another one takes the job.
    assert_eq!(service.store.recover("slow").await.expect("a store"), 1);
    let work = service.store.claim(&Claim::new(Queue::Downloads, "other", 1)).await.expect("a store").work;
    let ending = Ending::failed("the other says so", 0);
    let settlement = Settlement::Downloaded(Box::new(ending));
    let settled = service.store.settle(vec![(work[0].lease.clone(), settlement)]).await;
    assert_eq!(settled.expect("a store"), [true]);
    service.until_ended(AttemptResult::Lost).await;
    assert_eq!(service.ending(&id).await.error, "the other says so");
    let files = std::fs::read_dir(service.files()).expect("a folder").count();
    assert_eq!(files, 1, "only the folder of files that come in");
    service.stop().await;
}

#[tokio::test]
async fn a_job_that_is_cancelled_while_it_runs_stops() {
    let (service, origin) = (Service::start(), Server::start().await);
    hanging(&origin, 1000).await;
    let id = service.submit(spec(origin.url("/f"))).await;
    origin.wait_until("half of it came", |origin| origin.body_sent() >= 500).await;
    assert_eq!(service.store.cancel(&id).await.expect("a store"), Cancellation::Requested);
    let job = service.until(&id, "it stops", |job| job.ending.is_some()).await;
    assert_eq!(job.status.download, DownloadState::Cancelled);
    assert_eq!(service.count(AttemptResult::Cancelled), 1);
    service.stop().await;
}

#[tokio::test]
async fn skroutz_77_without_a_folder_for_files_that_come_in_jobs_fail_after_their_attempts() {
    let (service, origin) = (Service::start(), Server::start().await);
    origin.put("/f", Resource::new("abc"));
    std::fs::remove_dir_all(service.files().join(".work")).expect("removed");
    let ending = service.run(spec(origin.url("/f"))).await;
    assert!(!ending.success && ending.error.contains("creating tmp file"), "{}", ending.error);
    assert!(origin.requests().len() <= 3, "bounded");
    service.stop().await;
}

#[tokio::test]
async fn nothing_begins_on_a_full_disk_and_what_runs_is_given_back() {
    let thresholds = Thresholds::default();
    let (service, origin) = (Service::with(|settings| settings.disk = None), Server::start().await);
    hanging(&origin, 1000).await;
    let id = service.submit(spec(origin.url("/f"))).await;
    origin.wait_until("half of it came", |origin| origin.body_sent() >= 500).await;
    service.disk.tell(99, &thresholds);
    let job =
        service.until(&id, "it is given back", |job| job.status.download == DownloadState::Queued).await;
    assert_eq!(job.downloads, 0);
    service.disk.tell(92, &thresholds);
    assert!(service.disk.is_sick());
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(origin.requests().len(), 1, "nothing begins");
    service.disk.tell(90, &thresholds);
    assert!(service.ending(&id).await.success);
    service.stop().await;
}

#[tokio::test]
async fn skroutz_69_after_the_deletion_interval_the_file_of_a_delivered_job_is_gone() {
    let mut policy = Policy::default();
    policy.deletion = Some(Duration::from_millis(100));
    let service = Service::on(store_with(policy), folder(), |_| ());
    let origin = Server::start().await;
    origin.put("/f", Resource::new("abc"));
    let mut ids: Vec<JobId> = Vec::new();
    for _ in 0..2 {
        ids.push(service.submit(spec(origin.url("/f"))).await);
    }
    let mut paths = Vec::new();
    for id in &ids {
        let ending = service.ending(id).await;
        paths.push(service.files().join(ending.location.expect("stored").path));
    }
    // Delivered is one of the two.
    let work = service.store.claim(&Claim::new(Queue::Callbacks, "notifier", 2)).await.expect("a store").work;
    assert_eq!(work.len(), 2);
    let undelivered = Settlement::Undeliverable { reason: "gone".to_owned() };
    let of = |id: &JobId| work.iter().find(|work| work.lease.id == *id).expect("claimed").lease.clone();
    let settlements = vec![(of(&ids[0]), Settlement::Delivered), (of(&ids[1]), undelivered)];
    assert_eq!(service.store.settle(settlements).await.expect("a store"), [true, true]);
    tokio::time::timeout(Duration::from_secs(20), async {
        while paths[0].exists() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await
    .expect("the file goes");
    assert!(paths[1].exists(), "that of an undelivered job is kept");
    service.stop().await;
}

#[tokio::test]
async fn downloads_go_through_the_proxy_of_their_group_unless_the_guard_forbids_it() {
    let (origin, proxy) = (Server::start().await, Server::start().await);
    proxy.put("/", Resource::new(""));
    origin.put("/f", Resource::new("abc"));
    let group = |proxy: &Server| Group {
        limit: NonZeroU32::new(1).expect("one"),
        proxy: Some(format!("http://{}", proxy.addr())),
    };
    let service = Service::start();
    let id = service.submit_as(spec(origin.url("/f")), group(&proxy)).await;
    service.ending(&id).await;
    assert!(!proxy.requests().is_empty() && origin.requests().is_empty(), "the proxy was asked");
    service.stop().await;
    let service = Service::with(|settings| {
        settings.guard = Some(Guard::public().allow_host("localhost").expect("a name"));
    });
    let asked = proxy.requests().len();
    let id = service.submit_as(spec(origin.url_at("localhost", "/f")), group(&proxy)).await;
    let ending = service.ending(&id).await;
    assert!(ending.error.contains("the address guard forbids"), "{}", ending.error);
    assert_eq!(proxy.requests().len(), asked);
    service.stop().await;
}
