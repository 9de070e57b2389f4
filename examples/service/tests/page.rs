//! The page in a real browser: what it shows, what its buttons do, and what it does not let happen.
//!
//! Owns the scenario; `UPDATE_SCREENSHOT=1` writes `docs/service-page.png`. Invariant: whatever the browser complains of fails the test.
//! Must not know the script.

#[path = "page/browser.rs"]
mod browser;
#[path = "api/client.rs"]
mod client;

use std::sync::Arc;
use std::time::Duration;

use downloader_service::api::{Files, Settings, Token};
use downloader_service::job::{CallbackState, DownloadState, Ending, JobId, Location, Queue};
use downloader_service::storage::{self, Place};
use downloader_service::store::{Claim, Progress, Renewal, Settlement, Store, Work};
use serde_json::{Value, json};

use browser::Browser;
use client::{Service, memory};

const SCREENSHOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/service-page.png");

async fn submit(service: &Service, group: &str, url: &str, limit: u32) -> JobId {
    let job =
        json!({ "url": url, "aggr_id": group, "aggr_limit": limit, "callback_url": "http://receiver/" });
    service.post("/jobs", job.to_string()).await.id().parse().expect("an id")
}

async fn claim(service: &Service, queue: Queue, group: &str) -> Work {
    let claim = Claim { lane: Some(group.to_owned()), ..Claim::new(queue, "processor-1", 1) };
    service.store.claim(&claim).await.expect("claimed").work.remove(0)
}

async fn end(service: &Service, queue: Queue, group: &str, settlement: Settlement) {
    let work = claim(service, queue, group).await;
    assert_eq!(service.store.settle(vec![(work.lease, settlement)]).await.expect("settled"), [true]);
}

async fn downloaded(service: &Service, group: &str, ending: Ending) {
    end(service, Queue::Downloads, group, Settlement::Downloaded(Box::new(ending))).await;
}

fn success(size: u64) -> Ending {
    Ending { success: true, response_code: 200, size: Some(size), ..Ending::default() }
}

async fn tell(store: &Arc<dyn Store>, at: u64) {
    let keep = Duration::from_secs(600);
    // Figures that grow, now faster, now slower.
    let grown = |base: u64| (0..=at).map(|step| base + (step % 24).abs_diff(12)).sum::<u64>();
    for (instance, share) in [("processor-1", 3), ("processor-2", 2)] {
        let told = json!({ "alive": 1, "workers": 2 + share, "done": grown(9) * share / 4, "failed": at / 9,
            "bytes": grown(14) * share * 700_000, "diskUsed": 61 });
        store.put_stats("processor", instance, &told.to_string(), keep).await.expect("put");
    }
    let told =
        json!({ "alive": 1, "activeCallbacks": 3, "successfulCallbacks": grown(9), "failedCallbacks": 1 });
    store.put_stats("notifier", "notifier-1", &told.to_string(), keep).await.expect("put");
}

/// Some of everything; the dead letter and the job that waits.
async fn busy(service: &Service) -> (JobId, JobId) {
    for at in 0..6 {
        submit(service, "mirrors", &format!("https://mirror.example.org/pool/{at}.deb"), 3).await;
    }
    for (done, total) in [(38_000_000, Some(52_000_000)), (9_400_000, Some(61_000_000)), (2_100_000, None)] {
        let lease = claim(service, Queue::Downloads, "mirrors").await.lease;
        let progress = Some(Progress { done, total });
        service.store.renew(vec![Renewal { lease, progress }]).await.expect("renewed");
    }
    for at in 0..2 {
        submit(service, "images", &format!("https://images.example.com/products/{at}.png"), 2).await;
        downloaded(service, "images", success(48_000 + at * 7919)).await;
        end(service, Queue::Callbacks, "images", Settlement::Delivered).await;
    }
    submit(service, "images", "https://images.example.com/products/missing.png", 2).await;
    downloaded(service, "images", Ending::failed("Error while processing response, Received status code 404 Not Found, retriable: false, internal: false", 404)).await;
    end(service, Queue::Callbacks, "images", Settlement::Delivered).await;
    let dead = submit(service, "invoices", "https://erp.example.net/invoice/10442.pdf", 1).await;
    downloaded(service, "invoices", success(184_220)).await;
    let reason = "Received Status: 500 Internal Server Error".to_owned();
    end(service, Queue::Callbacks, "invoices", Settlement::Undeliverable { reason }).await;
    let waits = submit(service, "invoices", "https://erp.example.net/invoice/10443.pdf", 1).await;
    (dead, waits)
}

fn click(browser: &mut Browser, row: &str, act: &str) {
    browser.evaluate(&format!("document.querySelector('{row} [data-act={act}]').click()"));
}

/// What the browser complained of, and whom it asked.
fn complaints(browser: &mut Browser, service: &str) -> Vec<Value> {
    browser.evaluate("1"); // whatever was on its way is here now
    let complains = |event: &Value| match event["method"].as_str() {
        Some("Log.entryAdded") => event["params"]["entry"]["level"] == "error",
        Some("Runtime.exceptionThrown" | "Network.loadingFailed") => true,
        Some("Network.requestWillBeSent") => {
            !event["params"]["request"]["url"].as_str().is_some_and(|url| url.starts_with(service))
        }
        _ => false,
    };
    browser.events.drain(..).filter(complains).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_shows_what_there_is_and_its_buttons_work() {
    let service = Service::start().await;
    let (dead, waits) = busy(&service).await;
    tell(&service.store, 0).await;
    let root = format!("http://{}/", service.address);
    let mut browser = Browser::start(1160, 1190);
    browser.open(&root);
    browser.wait("document.body?.dataset.refreshed >= 1");

    let text = |browser: &mut Browser, selector: &str| {
        let text = browser.evaluate(&format!("document.querySelector({selector:?})?.innerText ?? ''"));
        text.as_str().unwrap_or_default().to_owned()
    };
    assert_eq!(text(&mut browser, "#health"), "healthy");
    assert_eq!(text(&mut browser, "#running"), "3 running");
    let mirrors = text(&mut browser, "[data-group=mirrors]");
    assert_eq!(
        mirrors.split_whitespace().take(3).collect::<Vec<_>>(),
        ["mirrors", "3", "3"],
        "pending, active"
    );
    let limit = browser.evaluate("document.querySelector('[data-group=mirrors] .limit').value");
    assert_eq!(limit, "3");
    let progress =
        browser.evaluate("[...document.querySelectorAll('#jobs progress')].map(p => [p.value, p.max])");
    assert_eq!(progress, json!([[9_400_000, 61_000_000], [38_000_000, 52_000_000]]), "the newest first");
    let failures = text(&mut browser, "#failures");
    assert!(
        failures.contains("callback: Received Status: 500") && failures.contains("404 Not Found"),
        "{failures}"
    );
    for instance in ["processor/processor-1", "processor/processor-2", "notifier/notifier-1", "api/api"] {
        assert!(
            text(&mut browser, "#instances").contains(instance.split('/').next_back().expect("a name")),
            "{instance}"
        );
    }

    // Figures that grow are seen as rates.
    browser.evaluate("clearInterval(timer)");
    for at in 1..=60 {
        tell(&service.store, at).await;
        browser.evaluate("new Promise(done => setTimeout(done, 100)).then(refresh)");
    }
    let drawn =
        browser.evaluate("document.querySelector('#plot-bytes .curve').getAttribute('d').split('L').length");
    assert!(drawn.as_u64() >= Some(50), "{drawn} points");
    assert!(text(&mut browser, "#rate-ended").contains("per second"));

    let picture = browser.screenshot();
    assert!(picture.starts_with(b"\x89PNG") && picture.len() > 20_000, "{} bytes", picture.len());
    if std::env::var_os("UPDATE_SCREENSHOT").is_some() {
        std::fs::write(SCREENSHOT, &picture).expect("written");
        assert!(picture.len() < 200 << 10, "{} bytes", picture.len());
    }

    // The buttons.
    click(&mut browser, &format!("[data-failure=\"{dead}\"]"), "retry");
    browser.wait(&format!("!document.querySelector('[data-failure=\"{dead}\"]')"));
    let job = service.store.job(&dead).await.expect("read").expect("there");
    assert_eq!(job.status.callback, CallbackState::Pending);
    click(&mut browser, &format!("[data-job=\"{waits}\"]"), "cancel");
    browser
        .wait(&format!("document.querySelector('[data-job=\"{waits}\"]').innerText.includes('cancelled')"));
    let job = service.store.job(&waits).await.expect("read").expect("there");
    assert_eq!(job.status.download, DownloadState::Cancelled);
    browser.evaluate("document.querySelector('[data-group=mirrors] .limit').value = 5");
    click(&mut browser, "[data-group=mirrors]", "limit");
    browser.wait("document.querySelector('[data-group=mirrors]').innerText.includes('Unpin')");
    let groups = service.store.groups().await.expect("read");
    let group = groups.iter().find(|group| group.name == "mirrors").expect("there");
    assert_eq!(group.settings.effective().limit.get(), 5);
    browser.evaluate("{ const f = document.querySelector('#filter'); f.value = 'running'; f.dispatchEvent(new Event('change')); }");
    browser.wait("document.querySelectorAll('#jobs tr').length === 3");

    let light = browser.evaluate("getComputedStyle(document.body).backgroundColor");
    let dark = json!({ "features": [{ "name": "prefers-color-scheme", "value": "dark" }] });
    browser.call("Emulation.setEmulatedMedia", &dark);
    assert_ne!(browser.evaluate("getComputedStyle(document.body).backgroundColor"), light);
    assert_eq!(complaints(&mut browser, &root), [] as [Value; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_jobs_say_of_themselves_is_text_and_other_scripts_do_not_run() {
    let service = Service::start().await;
    let group = "<img src=x onerror='window.hacked=1'>";
    submit(&service, group, "http://origin/%3Cscript%3E<script>window.hacked=1</script>", 1).await;
    downloaded(&service, group, Ending::failed("<b onclick='window.hacked=1'>reason</b>", 0)).await;
    let mut browser = Browser::start(900, 900);
    browser.open(&format!("http://{}/", service.address));
    browser.wait("document.body?.dataset.refreshed >= 1");
    let shown = browser.evaluate("document.querySelector('#groups').innerText");
    assert!(shown.as_str().is_some_and(|shown| shown.contains(group)), "{shown}");
    assert_eq!(browser.evaluate("document.querySelectorAll('img, b, main script').length"), 0);
    // Even markup that got in would be stopped by the policy.
    browser.evaluate("document.body.insertAdjacentHTML('beforeend', \"<button id=odd onclick='window.hacked=1'>x</button>\")");
    browser.evaluate("document.querySelector('#odd').click()");
    browser.evaluate("{ const s = document.createElement('script'); s.textContent = 'window.hacked=1'; document.body.append(s); }");
    assert_eq!(browser.evaluate("window.hacked === undefined"), true);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_asked_for_and_kept_for_the_session() {
    let settings = Settings { token: Some(Token::new("s3cret")), ..Settings::default() };
    let service = Service::with(settings, memory()).await;
    let mut browser = Browser::start(900, 900);
    browser.open(&format!("http://{}/", service.address));
    browser.wait("document.querySelector('#sign-in')?.hidden === false");
    browser.evaluate("document.querySelector('#token').value = 's3cret'; document.querySelector('#sign-in button').click()");
    browser.wait("document.querySelector('#sign-in').hidden && document.body.dataset.refreshed >= 1");
    browser.call("Page.reload", &json!({}));
    browser.wait("document.body?.dataset.refreshed >= 1 && document.querySelector('#sign-in').hidden");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_is_linked_where_files_are_served() {
    let folder = tempfile::TempDir::new().expect("a folder");
    let mut place = storage::Settings::new(Place::Directory(folder.path().to_owned()));
    place.site = Some("here".to_owned());
    let settings = Settings { files: Files::open(&place).expect("a folder"), ..Settings::default() };
    let service = Service::with(settings, memory()).await;
    let id = submit(&service, "a", "http://origin/1", 1).await;
    let path = format!("some folder/{}/{id}", &id.as_str()[..3]);
    let location = Some(Location { site: "here".to_owned(), path: path.clone() });
    downloaded(&service, "a", Ending { location, ..success(5) }).await;
    submit(&service, "b", "http://origin/2", 1).await;
    downloaded(&service, "b", success(5)).await;
    let mut browser = Browser::start(900, 900);
    browser.open(&format!("http://{}/", service.address));
    browser.wait("document.body?.dataset.refreshed >= 1");
    let links = browser
        .evaluate("[...document.querySelectorAll('a[data-file]')].map(a => [a.dataset.file, a.pathname])");
    assert_eq!(links, json!([[id, format!("/files/{}", path.replace(' ', "%20"))]]));
}
