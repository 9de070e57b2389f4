//! Dialogues with servers, without a network: what is sent ahead, what answers a challenge, and when it ends.
//!
//! Invariant: every step names what the server sent and what is sent to it. Must not know: sockets, redirects.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::time::Duration;

use async_trait::async_trait;
use downloader_core::credentials::{Netrc, OriginCredentials};
use futures_util::FutureExt;

use super::script::{Script, reply};
use super::*;

const URL: &str = "http://h/d/f?q";
const REALM: &str = "Bearer realm=http://a/t,service=s,scope=x";

/// A backend, and one request of it.
struct Talk<'a> {
    auth: &'a Auth,
    script: &'a Script,
    url: SafeUrl,
    home: Option<SafeUrl>,
    own: Option<RequestCredentials>,
    by_caller: bool,
    method: Method,
    dialogue: Dialogue,
}

impl<'a> Talk<'a> {
    fn to(auth: &'a Auth, script: &'a Script, url: &str) -> Self {
        let url: SafeUrl = url.parse().unwrap();
        Self {
            auth,
            script,
            home: Some(url.clone()),
            url,
            own: None,
            by_caller: false,
            method: Method::GET,
            dialogue: Dialogue::default(),
        }
    }

    fn with(mut self, credentials: Credentials) -> Self {
        self.own = Some(RequestCredentials::new(self.url.clone(), credentials).unwrap());
        self
    }

    fn asked(&self) -> Asked<'_> {
        Asked {
            method: &self.method,
            url: &self.url,
            home: self.home.as_ref(),
            credentials: self.own.as_ref(),
            by_caller: self.by_caller,
        }
    }

    /// What is sent first; a dash for nothing.
    async fn ahead(&mut self) -> String {
        let mut dialogue = std::mem::take(&mut self.dialogue);
        let value = self.auth.ahead(&self.asked(), &mut dialogue, self.script).await.unwrap();
        self.dialogue = dialogue;
        value.map_or("-".to_owned(), |value| text(&value))
    }

    /// What is sent after a 401 with these challenges.
    async fn answer(&mut self, challenges: &[&str]) -> Result<String> {
        let fields: Vec<_> = challenges.iter().map(|challenge| ("www-authenticate", *challenge)).collect();
        let mut dialogue = std::mem::take(&mut self.dialogue);
        let reply = reply(401, &fields, &["an error page"]);
        let value = self.auth.answer(&self.asked(), &mut dialogue, &reply.headers, self.script).await;
        self.dialogue = dialogue;
        value.map(|value| text(&value))
    }

    /// The words in which it gives up.
    async fn refusal(&mut self, challenges: &[&str]) -> String {
        let error = self.answer(challenges).await.unwrap_err();
        assert_eq!((error.kind(), error.status()), (ErrorKind::Unauthorized, Some(401)), "{error}");
        error.what().to_owned()
    }
}

fn text(value: &HeaderValue) -> String {
    assert!(value.is_sensitive());
    value.to_str().unwrap().to_owned()
}

fn auth(sources: Vec<Arc<dyn CredentialSource>>) -> Auth {
    Auth::new(sources)
}

fn user(name: &str) -> Credentials {
    Credentials::password(name, "p").unwrap()
}

/// `Basic` of `u:p`, `v:p` and `w:p`.
const BASIC: [&str; 3] = ["Basic dTpw", "Basic djpw", "Basic dzpw"];

/// Gives these, one after the other; the last for ever. Remembers what it was asked.
#[derive(Clone, Debug, Default)]
struct Vault(Arc<Mutex<Kept>>);

#[derive(Debug, Default)]
struct Kept {
    all: VecDeque<Option<Credentials>>,
    asked: Vec<String>,
}

impl Vault {
    fn of(all: impl IntoIterator<Item = Option<Credentials>>) -> Self {
        let kept = Kept { all: all.into_iter().collect(), asked: Vec::new() };
        Self(Arc::new(Mutex::new(kept)))
    }

    fn asked(&self) -> Vec<String> {
        self.0.lock().unwrap().asked.clone()
    }
}

#[async_trait]
impl CredentialSource for Vault {
    async fn credentials(&self, query: &CredentialQuery<'_>) -> Result<Option<Credentials>> {
        let Kept { all, asked } = &mut *self.0.lock().unwrap();
        let schemes: Vec<_> = query.challenges.iter().map(Challenge::scheme).collect();
        let refused = if query.refused { " refused" } else { "" };
        asked.push(format!("{} {}{refused}", query.url.path(), schemes.join("+")));
        let next = if all.len() > 1 { all.pop_front() } else { all.front().cloned() };
        Ok(next.flatten())
    }
}

#[tokio::test]
async fn the_callers_own_field_outweighs_all_else() {
    let vault = Vault::of([Some(user("u"))]);
    let (auth, script) = (auth(vec![Arc::new(vault.clone())]), Script::default());
    let mut talk = Talk { by_caller: true, ..Talk::to(&auth, &script, "http://w:p@h/").with(user("v")) };
    assert_eq!(talk.ahead().await, "-");
    assert!(talk.refusal(&["Basic realm=r"]).await.ends_with("offered: Basic; what was sent was refused"));
    assert!(vault.asked().is_empty());
}

#[tokio::test]
async fn the_request_outweighs_the_url_and_that_the_sources() {
    let (auth, script) = (auth(vec![Arc::new(Vault::of([Some(user("u"))]))]), Script::default());
    assert_eq!(Talk::to(&auth, &script, URL).ahead().await, BASIC[0]);
    assert_eq!(Talk::to(&auth, &script, "http://v:p@h/").ahead().await, BASIC[1]);
    assert_eq!(Talk::to(&auth, &script, "http://v:p@h/").with(user("w")).ahead().await, BASIC[2]);
    // User information of the first URL holds while redirects stay at its origin.
    let home = Some("http://v:p@h/".parse().unwrap());
    assert_eq!(Talk { home, ..Talk::to(&auth, &script, URL) }.ahead().await, BASIC[1]);
    assert_eq!(Talk { home: None, ..Talk::to(&auth, &script, URL) }.ahead().await, BASIC[0]);
    // Bound to another origin, they are not there.
    let own = RequestCredentials::new("http://h:81/", user("w")).unwrap();
    assert_eq!(Talk { own: Some(own), ..Talk::to(&auth, &script, URL) }.ahead().await, BASIC[0]);
}

/// biomaj 35: the user information of a URL is `Basic` with the first request already.
#[tokio::test]
async fn basic_ahead_or_after_a_challenge() {
    let script = Script::default();
    let none = auth(Vec::new());
    assert_eq!(Talk::to(&none, &script, "http://u:p@h/").ahead().await, BASIC[0]);
    assert_eq!(Talk::to(&none, &script, URL).ahead().await, "-");
    let mut waiting = Talk::to(&none, &script, URL);
    waiting.own = Some(RequestCredentials::new(URL, user("u")).unwrap().ahead(false));
    assert_eq!(waiting.ahead().await, "-");
    assert_eq!(waiting.answer(&["Basic realm=r"]).await.unwrap(), BASIC[0]);

    let source = OriginCredentials::new("http://h", user("u")).unwrap();
    let auth = auth(vec![Arc::new(source)]);
    let mut talk = Talk::to(&auth, &script, URL);
    assert_eq!(talk.ahead().await, "-");
    assert_eq!(talk.answer(&["Negotiate", "basic realm=r"]).await.unwrap(), BASIC[0]);
    // Now the space is known; beyond it, the server has to ask.
    assert_eq!(Talk::to(&auth, &script, "http://h/d/e/g").ahead().await, BASIC[0]);
    assert_eq!(Talk::to(&auth, &script, "http://h/e").ahead().await, "-");
    assert_eq!(Talk::to(&auth, &script, "http://h:81/d/g").ahead().await, "-");
}

#[tokio::test]
async fn one_requests_credentials_serve_no_other() {
    let (auth, script) = (auth(Vec::new()), Script::of([reply(200, &[], &["{\"token\":\"t\"}"])]));
    let mut first = Talk::to(&auth, &script, URL).with(user("u"));
    assert_eq!(first.ahead().await, BASIC[0]);
    assert_eq!(first.answer(&[REALM]).await.unwrap(), "Bearer t");
    let mut digest = Talk::to(&auth, &script, "http://g/").with(user("u"));
    assert!(digest.answer(&["Digest nonce=n"]).await.unwrap().starts_with("Digest username=\"u\""));
    // The space is known, the credentials are not.
    assert_eq!(Talk::to(&auth, &script, "http://g/").ahead().await, "-");
    let other = Talk::to(&auth, &script, "http://g/").with(user("v")).ahead().await;
    assert!(other.starts_with("Digest username=\"v\""), "{other}");
    // And a token of one is not for another, who has to ask for his own.
    assert_eq!(script.seen().len(), 1);
    let script = Script::of([reply(200, &[], &["{\"token\":\"t2\"}"])]);
    assert_eq!(Talk::to(&auth, &script, URL).with(user("v")).ahead().await, "Bearer t2");
    assert_eq!(script.seen()[0].1, BASIC[1]);
}

#[tokio::test]
async fn what_was_refused_is_not_sent_again() {
    let (auth, script) = (auth(Vec::new()), Script::default());
    let refused = "HTTP status 401 Unauthorized; offered: Basic; what was sent was refused";
    let mut ahead = Talk::to(&auth, &script, "http://u:p@h/");
    ahead.ahead().await;
    assert_eq!(ahead.refusal(&["Basic realm=r"]).await, refused);
    let mut digest = Talk::to(&auth, &script, "http://u:p@g/");
    digest.ahead().await;
    assert!(digest.answer(&["Digest nonce=a", "Basic"]).await.unwrap().contains("nonce=\"a\""));
    let again = digest.refusal(&["Digest nonce=b", "Basic"]).await;
    assert!(again.ends_with("offered: Digest, Basic; what was sent was refused"), "{again}");
}

#[tokio::test]
async fn a_source_may_have_others_when_some_were_refused() {
    let token = |text: &str| Some(Credentials::bearer(text).unwrap());
    let vault = Vault::of([token("old"), token("new")]);
    let (auth, script) = (auth(vec![Arc::new(vault.clone())]), Script::default());
    let mut talk = Talk::to(&auth, &script, URL);
    assert_eq!(talk.ahead().await, "Bearer old");
    assert_eq!(talk.answer(&["Bearer error=invalid_token"]).await.unwrap(), "Bearer new");
    assert!(talk.refusal(&["Bearer error=invalid_token"]).await.ends_with("what was sent was refused"));
    assert_eq!(vault.asked(), ["/d/f ", "/d/f Bearer refused", "/d/f Bearer refused"]);
}

/// pulp G3: a scheme that is not known.
#[tokio::test]
async fn a_401_that_cannot_be_answered_says_why() {
    let (auth, script) = (auth(Vec::new()), Script::default());
    let none = |url: &str| Talk::to(&auth, &script, url);
    let cases: Vec<(Talk<'_>, &[&str], &str)> = vec![
        (none(URL), &[], "HTTP status 401 Unauthorized"),
        (none(URL), &["Negotiate, NTLM"], "offered: Negotiate, NTLM; none of which can be answered"),
        (none("http://u:p@h/"), &["Hoba x=1"], "offered: Hoba; none of which can be answered"),
        (none(URL), &["Basic realm=r"], "offered: Basic; no credentials for it"),
        (none(URL), &["Digest nonce=n"], "offered: Digest; no credentials for it"),
        (
            none("http://u:p@h/"),
            &["Digest nonce=n,qop=auth-int"],
            "offered: Digest; of Digest only qop auth with MD5, SHA-256 or SHA-512-256 can be answered",
        ),
        (none(URL), &["Bearer realm=app"], "offered: Bearer; its realm is not the URL of a token server"),
        (
            none("https://h/"),
            &[REALM],
            "offered: Bearer; it names a token server without TLS, although it has TLS itself",
        ),
        (
            none(URL).with(Credentials::bearer("t").unwrap()),
            &["Basic realm=r"],
            "offered: Basic; none of which can be answered",
        ),
    ];
    for (mut talk, challenges, words) in cases {
        let what = talk.refusal(challenges).await;
        assert!(what.contains(words), "{what} does not have: {words}");
    }
    // Names are a stranger's words, and bounded.
    let what = none(URL).refusal(&[&"S".repeat(99)]).await;
    assert!(what.ends_with(&format!("offered: {}; none of which can be answered", "S".repeat(32))), "{what}");
    let what = none(URL).refusal(&[&["S"; 12].join(",")]).await;
    assert!(what.contains(&format!("offered: {}; none", ["S"; MOST_NAMED].join(", "))), "{what}");
    assert!(script.seen().is_empty(), "nobody was asked for a token");
}

#[tokio::test]
async fn digest_goes_on_with_its_nonce_and_takes_a_new_one_when_it_is_stale() {
    let (auth, script) = (auth(Vec::new()), Script::default());
    let challenge =
        |nonce: &str, stale: bool| format!("Digest realm=r, nonce={nonce}, qop=auth, stale={stale}");
    let has = |text: &str, nonce: &str, count: u32| {
        assert!(text.contains(&format!("nonce=\"{nonce}\", nc={count:08x}, ")), "{text}");
    };
    let talk = || {
        let mut talk = Talk::to(&auth, &script, URL).with(user("u"));
        talk.own = talk.own.take().map(|own| own.ahead(false));
        talk
    };
    let mut first = talk();
    assert_eq!(first.ahead().await, "-");
    has(&first.answer(&[&challenge("a", false)]).await.unwrap(), "a", 1);
    // Later requests need no challenge, at other paths neither.
    let mut second = talk();
    second.url = "http://h/elsewhere".parse().unwrap();
    has(&second.ahead().await, "a", 2);
    // HEAD is another proof.
    let mut head = talk();
    head.method = Method::HEAD;
    has(&head.ahead().await, "a", 3);
    // The nonce is too old: once more, with the new one. It cannot be too old at once.
    let mut third = talk();
    has(&third.ahead().await, "a", 4);
    has(&third.answer(&[&challenge("b", true)]).await.unwrap(), "b", 1);
    has(&third.answer(&[&challenge("c", true)]).await.unwrap(), "c", 1);
    assert!(third.refusal(&[&challenge("d", true)]).await.ends_with("what was sent was refused"));
    // A server that forgot its nonce and does not call it stale: credentials may be right all the same.
    let mut fourth = talk();
    has(&fourth.ahead().await, "c", 2);
    has(&fourth.answer(&[&challenge("e", false)]).await.unwrap(), "e", 1);
    assert!(fourth.refusal(&[&challenge("f", false)]).await.ends_with("what was sent was refused"));
    // It names the nonce it wants next.
    let mut fifth = talk();
    has(&fifth.ahead().await, "e", 2);
    let information = HeaderMap::from_iter([(AUTHENTICATION_INFO, "nextnonce=\"g\"".parse().unwrap())]);
    auth.accepted(&fifth.asked(), &fifth.dialogue, &information).unwrap();
    has(&talk().ahead().await, "g", 1);
}

/// pulp G3: fetched once, used for later requests, renewed on 401.
#[tokio::test(start_paused = true)]
async fn a_token_is_fetched_and_renewed() {
    let tokens = ["{\"token\":\"t1\"}", "{\"token\":\"t2\"}", "{\"token\":\"t3\"}", "{\"token\":\"t4\"}"];
    let script = Script::of(tokens.map(|token| reply(200, &[], &[token])));
    let auth = auth(Vec::new());
    let mut first = Talk::to(&auth, &script, URL);
    assert_eq!(first.ahead().await, "-");
    assert_eq!(first.answer(&[REALM]).await.unwrap(), "Bearer t1");
    let mut second = Talk::to(&auth, &script, "http://h/d/g");
    assert_eq!(second.ahead().await, "Bearer t1");
    assert_eq!(second.answer(&[REALM]).await.unwrap(), "Bearer t2");
    // One that was fetched for this request cannot be too old.
    assert!(second.refusal(&[REALM]).await.ends_with("what was sent was refused"));
    assert_eq!(Talk::to(&auth, &script, URL).ahead().await, "Bearer t3");
    // Two requests with the same refused token: one of them fetches another.
    let (mut third, mut fourth) = (Talk::to(&auth, &script, URL), Talk::to(&auth, &script, URL));
    assert_eq!((third.ahead().await, fourth.ahead().await), ("Bearer t3".to_owned(), "Bearer t3".to_owned()));
    assert_eq!(third.answer(&[REALM]).await.unwrap(), "Bearer t4");
    assert_eq!(fourth.answer(&[REALM]).await.unwrap(), "Bearer t4");
    assert_eq!(script.seen().len(), 4);
    assert_eq!(script.seen()[0], ("http://a/t?service=s&scope=x".to_owned(), "-".to_owned()));
}

/// pulp G3: a guess that is wrong costs one 401, and no token goes to another scope.
#[tokio::test(start_paused = true)]
async fn another_scope_is_another_token() {
    let script =
        Script::of([reply(200, &[], &["{\"token\":\"x\"}"]), reply(200, &[], &["{\"token\":\"y\"}"])]);
    let auth = auth(Vec::new());
    Talk::to(&auth, &script, URL).answer(&[REALM]).await.unwrap();
    let mut guess = Talk::to(&auth, &script, "http://h/d/other");
    assert_eq!(guess.ahead().await, "Bearer x");
    assert_eq!(guess.answer(&["Bearer realm=http://a/t,service=s,scope=y"]).await.unwrap(), "Bearer y");
    assert_eq!(Talk::to(&auth, &script, "http://h/elsewhere/f").ahead().await, "-");
}

/// pulp G3: 20 parallel items; the request that fetches goes away.
#[tokio::test(start_paused = true)]
async fn many_share_one_fetch() {
    let auth = auth(vec![Arc::new(OriginCredentials::new("http://h", user("u")).unwrap())]);
    let script = Script::of([reply(500, &[], &[]), reply(200, &[], &["{\"token\":\"t\"}"])]);
    let script = script.takes(Duration::from_secs(1));
    let mut leader = Talk::to(&auth, &script, URL);
    {
        let mut leading = Box::pin(leader.answer(&[REALM]));
        assert!((&mut leading).now_or_never().is_none());
    }
    // The first reply was meant for the one that is gone: take it away.
    script.ask(Ask::get("http://x/".parse().unwrap())).await.unwrap();
    let talks = (0..20).map(|_| async {
        let mut talk = Talk::to(&auth, &script, URL);
        talk.answer(&[REALM]).await.unwrap()
    });
    let all = futures_util::future::join_all(talks).await;
    assert!(all.iter().all(|value| value == "Bearer t"));
    let seen = script.seen();
    assert_eq!(seen.len(), 3, "the one that went away, the one in between, and one for all");
    assert_eq!(seen[2], ("http://a/t?service=s&scope=x&account=u".to_owned(), BASIC[0].to_owned()));
}

#[tokio::test]
async fn a_token_server_that_fails_ahead_is_asked_again_only_if_that_may_pass() {
    let auth = auth(Vec::new());
    let good = || reply(200, &[], &["{\"token\":\"t\",\"expires_in\":0.001}"]);
    for (status, asked_again) in [(503, true), (404, false)] {
        let script = Script::of([good(), reply(status, &[], &[]), good()]);
        Talk::to(&auth, &script, URL).answer(&[REALM]).await.unwrap();
        tokio::time::sleep(Duration::from_millis(5)).await;
        let talk = Talk::to(&auth, &script, URL);
        let error = auth.ahead(&talk.asked(), &mut Dialogue::default(), &script).await.unwrap_err();
        assert_eq!(error.url().unwrap().to_string(), "http://a/t?service=***&scope=***");
        assert_eq!(Talk::to(&auth, &script, URL).ahead().await != "-", asked_again, "{status}");
    }
}

#[tokio::test]
async fn a_server_that_always_wants_something_else_is_left() {
    let vault = Vault::of((0..9).map(|n| Some(user(&n.to_string()))));
    let (auth, script) = (auth(vec![Arc::new(vault)]), Script::default());
    let mut talk = Talk::to(&auth, &script, URL);
    let mut answers = 0;
    while talk.answer(&["Basic realm=r"]).await.is_ok() {
        answers += 1;
    }
    assert_eq!(answers, MOST_ANSWERS);
}

#[tokio::test]
async fn the_strongest_scheme_is_chosen() {
    let (auth, script) = (auth(Vec::new()), Script::of([reply(200, &[], &["{\"token\":\"t\"}"])]));
    for (challenges, expected) in [
        (&["Basic", "Digest nonce=n", REALM][..], "Digest "),
        (&["Basic, Bearer realm=http://a/t", "Digest nonce=n, qop=auth-int"], "Bearer t"),
        (&["Digest nonce=n, algorithm=X", "Bearer realm=r", "Basic"], BASIC[0]),
    ] {
        let sent = Talk::to(&auth, &script, "http://u:p@h/").answer(challenges).await.unwrap();
        assert!(sent.starts_with(expected), "{challenges:?}: {sent}");
    }
}

#[tokio::test]
async fn nothing_is_printed() {
    let auth = auth(vec![Arc::new(Netrc::parse("machine h login s3cret password s3cret").unwrap())]);
    let script = Script::of([reply(200, &[], &["{\"token\":\"s3cret\"}"])]);
    for challenge in [REALM, "Basic realm=r", "Digest nonce=n"] {
        let mut talk = Talk::to(&auth, &script, "http://h/");
        talk.answer(&[challenge]).await.unwrap();
        let printed = format!("{auth:?} {:#?} {:#?} {:#?}", talk.dialogue, auth.spaces, auth.tokens);
        assert!(!printed.contains("s3cret"), "{printed}");
    }
}
