//! One job from its submission to its delivered callback.
//!
//! Owns the store and the notifier of a test. Invariant: it returns when the job's record says that the callback was delivered. Must not know
//! what carries it.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use downloader_service::callback::{Callback, Callbacks};
use downloader_service::job::{
    CallbackState, Destination, Ending, JobId, Queue, Settings as Group, Spec, Submission,
};
use downloader_service::notifier::{Notifier, Settings};
use downloader_service::store::{Claim, Clock, MemoryStore, Policy, Settlement, Store};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

/// Has a notifier tell `target` of a download that ended with 404.
pub(crate) async fn told(kind: &str, callback: impl Callback, target: &str) -> JobId {
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new(Policy::default(), Clock::system()));
    let mut spec = Spec::new("http://origin/é", "g");
    spec.callback = Some(Destination { kind: kind.to_owned(), target: target.to_owned() });
    let settings = Group { limit: NonZeroU32::MIN, proxy: None };
    let id = JobId::random();
    store.submit(vec![(id.clone(), Submission { spec, settings })]).await.expect("taken in");
    let lease =
        store.claim(&Claim::new(Queue::Downloads, "p", 1)).await.expect("claimed").work.remove(0).lease;
    let ended = Settlement::Downloaded(Box::new(Ending::failed("404 Not Found", 404)));
    store.settle(vec![(lease, ended)]).await.expect("settled");
    let stop = CancellationToken::new();
    let callbacks = Callbacks::default().with(kind, callback);
    let notifier = Notifier::new(Settings::default(), store.clone(), callbacks);
    let running = tokio::spawn(notifier.run(stop.clone()));
    let mut state = CallbackState::None;
    for _ in 0..3000 {
        state = store.job(&id).await.expect("read").expect("there").status.callback;
        if state == CallbackState::Delivered {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(state, CallbackState::Delivered);
    stop.cancel();
    running.await.expect("no panic");
    id
}

/// Is this what was to be told of the job?
pub(crate) fn tells_of(id: &JobId, payload: &str) -> bool {
    let told: Value = serde_json::from_str(payload).expect("JSON");
    (&told["job_id"], &told["response_code"]) == (&json!(id), &json!(404))
}
