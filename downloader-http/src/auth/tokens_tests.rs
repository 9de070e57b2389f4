//! Sharing of tokens, on paused time.
//!
//! Invariant: fetches are counted, so that one too many shows. Must not know: what a token server is.

use std::sync::atomic::{AtomicU32, Ordering::SeqCst};

use downloader_core::ErrorKind;
use futures_util::FutureExt;
use http::header::WWW_AUTHENTICATE;

use super::super::challenge::Challenge;
use super::*;

fn key(origin: &str, challenge: &str, credentials: Option<Credentials>) -> Arc<Key> {
    let url = origin.parse().unwrap();
    let headers = http::HeaderMap::from_iter([(WWW_AUTHENTICATE, HeaderValue::try_from(challenge).unwrap())]);
    let grant = Grant::of(&Challenge::parse(&headers, &WWW_AUTHENTICATE)[0], &url).unwrap();
    Arc::new(Key { origin: url.origin().into(), grant, credentials })
}

fn plain() -> Arc<Key> {
    key("http://h", "Bearer realm=http://a/,scope=x", None)
}

/// Gives a token each time it is asked, after a second: `1`, `2` and so on.
#[derive(Default)]
struct Server(AtomicU32);

impl Server {
    async fn fetch(&self, lifetime: u64) -> Result<Granted> {
        let count = self.0.fetch_add(1, SeqCst) + 1;
        tokio::time::sleep(Duration::from_secs(1)).await;
        let value = HeaderValue::from(count);
        Ok(Granted { value, lifetime: Duration::from_secs(lifetime) })
    }

    async fn fail(&self) -> Result<Granted> {
        self.0.fetch_add(1, SeqCst);
        tokio::time::sleep(Duration::from_secs(1)).await;
        Err(Error::new(ErrorKind::Busy, "busy"))
    }

    fn count(&self) -> u32 {
        self.0.load(SeqCst)
    }
}

/// pulp G3: 20 parallel items.
#[tokio::test(start_paused = true)]
async fn twenty_at_once_fetch_once() {
    let (tokens, server, key) = (Tokens::default(), Server::default(), plain());
    let all = (0..20).map(|_| tokens.token(&key, server.fetch(60)));
    let all = futures_util::future::try_join_all(all).await.unwrap();
    assert!(all.iter().all(|token| token.value == "1"));
    assert_eq!(all.iter().filter(|token| token.fresh).count(), 1);
    assert_eq!(server.count(), 1);
    assert!(!tokens.token(&key, server.fetch(60)).await.unwrap().fresh);
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_is_dropped_hands_over() {
    let (tokens, server, key) = (Tokens::default(), Server::default(), plain());
    let mut leader = Box::pin(tokens.token(&key, server.fetch(60)));
    assert!((&mut leader).now_or_never().is_none());
    let waiting = futures_util::future::try_join_all((0..3).map(|_| tokens.token(&key, server.fetch(60))));
    let mut waiting = Box::pin(waiting);
    assert!((&mut waiting).now_or_never().is_none());
    assert_eq!(server.count(), 1);
    drop(leader);
    let all = waiting.await.unwrap();
    assert!(all.iter().all(|token| token.value == "2"));
    assert_eq!(server.count(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_failure_is_that_of_all_who_waited_and_of_nobody_later() {
    let (tokens, server, key) = (Tokens::default(), Server::default(), plain());
    let all = futures_util::future::join_all((0..20).map(|_| tokens.token(&key, server.fail()))).await;
    assert!(all.iter().all(|result| result.as_ref().unwrap_err().kind() == ErrorKind::Busy));
    assert_eq!(server.count(), 1);
    assert!(tokens.token(&key, server.fail()).await.is_err());
    assert_eq!(tokens.token(&key, server.fetch(60)).await.unwrap().value, "3");
}

/// pulp G3: renewed before expiry.
#[tokio::test(start_paused = true)]
async fn tokens_are_renewed_before_they_expire() {
    let (tokens, server) = (Tokens::default(), Server::default());
    for (scope, lifetime, used) in [("a", 60, 52), ("b", 3600, 3568), ("c", 0, 0)] {
        let key = key("http://h", &format!("Bearer realm=http://a/,scope={scope}"), None);
        let first = tokens.token(&key, server.fetch(lifetime)).await.unwrap().value;
        // The second it took to fetch is a part of its life.
        tokio::time::sleep(Duration::from_secs(used)).await;
        let again = tokens.token(&key, server.fetch(lifetime)).await.unwrap();
        assert_eq!(again.fresh, lifetime == 0, "{scope}");
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_ne!(tokens.token(&key, server.fetch(lifetime)).await.unwrap().value, first, "{scope}");
    }
}

/// pulp G3: renewed on 401.
#[tokio::test(start_paused = true)]
async fn a_refused_token_is_forgotten_once() {
    let unknown = key("http://other", "Bearer realm=http://a/", None);
    let (tokens, server, key) = (Tokens::default(), Server::default(), plain());
    let first = tokens.token(&key, server.fetch(60)).await.unwrap().value;
    tokens.forget(&key, &first);
    let second = tokens.token(&key, server.fetch(60)).await.unwrap();
    assert!(second.fresh && second.value == "2");
    // Others whose request still went with the first one do not take the second away.
    tokens.forget(&key, &first);
    assert_eq!(tokens.token(&key, server.fetch(60)).await.unwrap().value, "2");
    tokens.forget(&unknown, &first);
}

/// pulp G3: tokens never cross.
#[tokio::test(start_paused = true)]
async fn another_origin_server_service_scope_or_user_is_another_token() {
    let (tokens, server) = (Tokens::default(), Server::default());
    let user = |name: &str| Some(Credentials::password(name, "p").unwrap());
    let challenge = "Bearer realm=http://a/,service=s,scope=x";
    let keys = [
        key("http://h", challenge, None),
        key("http://h:81", challenge, None),
        key("http://h", "Bearer realm=http://b/,service=s,scope=x", None),
        key("http://h", "Bearer realm=http://a/,service=t,scope=x", None),
        key("http://h", "Bearer realm=http://a/,service=s,scope=y", None),
        key("http://h", challenge, user("u")),
        key("http://h", challenge, user("v")),
    ];
    for round in 0..2 {
        for (index, key) in keys.iter().enumerate() {
            let token = tokens.token(key, server.fetch(600)).await.unwrap();
            assert_eq!(token.value, HeaderValue::from(index + 1), "{round}");
        }
    }
    assert_eq!(server.count() as usize, keys.len());
}

#[tokio::test(start_paused = true)]
async fn the_cache_is_bounded() {
    let (tokens, server) = (Tokens::default(), Server::default());
    let of = |scope: usize| key("http://h", &format!("Bearer realm=http://a/,scope={scope}"), None);
    for scope in 0..=MOST_TOKENS {
        tokens.token(&of(scope), server.fetch(1 << 20)).await.unwrap();
        tokens.token(&of(0), server.fetch(1 << 20)).await.unwrap();
    }
    assert_eq!(tokens.lock().slots.len(), MOST_TOKENS);
    assert_eq!(server.count() as usize, MOST_TOKENS + 1);
    assert!(!tokens.token(&of(0), server.fetch(1)).await.unwrap().fresh, "what is used stays");
    assert!(tokens.token(&of(1), server.fetch(1)).await.unwrap().fresh, "what is not used goes");
}
