//! Servers that want to know who asks: `Basic`, `Digest`, and a registry with its token server.
//!
//! Owns what each has given out and what it was shown. Invariant: a server lets nobody in whose proof it did not compute
//! itself. Must not know how a client does it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use downloader_core::SafeUrl;
use downloader_http::Challenge;
use downloader_tests::kit::{Act, Request, Resource, Server, sha256_hex};
use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderValue};

/// `u:p`, as `Basic` sends it.
pub(crate) const BASIC: &str = "Basic dTpw";

/// The resource, for whoever sends this `Authorization`; for others an error page and a challenge.
pub(crate) fn guarded(resource: Resource, authorization: &'static str, challenge: &'static str) -> Resource {
    guarded_act(resource, Act::new(), authorization, challenge)
}

/// The same with another act than to serve it.
pub(crate) fn guarded_act(
    resource: Resource,
    act: Act,
    authorization: &'static str,
    challenge: &'static str,
) -> Resource {
    resource.decide(move |request| {
        if request.header("authorization") == Some(authorization) { act.clone() } else { denied(challenge) }
    })
}

/// 401 with an error page that nobody should mistake for the content.
pub(crate) fn denied(challenge: impl AsRef<str>) -> Act {
    Act::new().status(401).header("WWW-Authenticate", challenge.as_ref()).body("<html>an error page</html>")
}

/// The parameters of an `Authorization`, which has the form of a challenge.
pub(crate) fn shown(request: &Request) -> Option<Challenge> {
    let value = HeaderValue::from_str(request.header("authorization")?).unwrap();
    Challenge::parse(&HeaderMap::from_iter([(AUTHORIZATION, value)]), &AUTHORIZATION).pop()
}

/// A registry, the token server of it, and what each has seen. Clones are the same.
#[derive(Clone)]
pub(crate) struct Registry {
    pub(crate) server: Arc<Server>,
    state: Arc<Mutex<Granted>>,
    challenge: Arc<str>,
}

#[derive(Default)]
struct Granted {
    /// Scopes by token.
    tokens: HashMap<String, String>,
    /// What the token server was asked: scope, account, `Authorization`.
    asked: Vec<[String; 3]>,
    /// Is a token good for one request only?
    once: bool,
}

impl Registry {
    /// One whose tokens begin with `name` and live for so many seconds, by their own words.
    pub(crate) async fn start(name: &'static str, lifetime: u64) -> Self {
        let (server, state) = (Arc::new(Server::start().await), Arc::<Mutex<Granted>>::default());
        let challenge = format!("Bearer realm=\"{}\",service=\"{name}\",scope=", server.url("/token")).into();
        let registry = Self { server, state, challenge };
        let state = Arc::clone(&registry.state);
        let tokens = Resource::new("").decide(move |request| {
            let url: SafeUrl = format!("http://h{}", request.path()).parse().unwrap();
            let query: HashMap<_, _> = url.expose().query_pairs().into_owned().collect();
            let of = |name: &str| query.get(name).cloned().unwrap_or_default();
            assert_eq!(of("service"), name);
            let mut state = state.lock().unwrap();
            let authorization = request.header("authorization").unwrap_or("-").to_owned();
            state.asked.push([of("scope"), of("account"), authorization]);
            let token = format!("{name}-{}", state.asked.len());
            state.tokens.insert(token.clone(), of("scope"));
            Act::new().body(format!(r#"{{"token":"{token}","expires_in":{lifetime}}}"#))
        });
        registry.server.put("/token", tokens);
        registry
    }

    /// Puts a blob into a repository; whoever has a token of that repository gets it.
    pub(crate) fn put(&self, repository: &'static str, name: &str, act: Act, resource: Resource) -> String {
        let (state, challenge) = (Arc::clone(&self.state), Arc::clone(&self.challenge));
        let scope = format!("repository:{repository}:pull");
        let resource = resource.decide(move |request| {
            let token = request.header("authorization").and_then(|value| value.strip_prefix("Bearer "));
            let mut state = state.lock().unwrap();
            let known = token.and_then(|token| state.tokens.get(token).cloned());
            if state.once {
                token.and_then(|token| state.tokens.remove(token));
            }
            if known.as_deref() == Some(&*scope) {
                act.clone()
            } else {
                denied(format!("{challenge}\"{scope}\""))
            }
        });
        let path = format!("/v2/{repository}/blobs/{name}");
        self.server.put(&path, resource);
        self.server.url(&path)
    }

    /// From now on a token is good for one request only.
    pub(crate) fn each_token_once(&self) {
        self.state.lock().unwrap().once = true;
    }

    /// From now on no token is good any more.
    pub(crate) fn revoke(&self) {
        self.state.lock().unwrap().tokens.clear();
    }

    /// What the token server was asked: scope, account, `Authorization`.
    pub(crate) fn asked(&self) -> Vec<[String; 3]> {
        self.state.lock().unwrap().asked.clone()
    }
}

/// What a `Digest` server knows: its nonces, and the counts each was used with.
#[derive(Clone, Default)]
pub(crate) struct Nonces(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    issued: u32,
    used: HashMap<String, Vec<u32>>,
    refusals: u32,
}

impl Nonces {
    /// The resource, for user `u` with password `p` and SHA-256. A nonce is good for so many uses; no count is taken twice.
    pub(crate) fn guard(&self, resource: Resource, act: Act, uses: usize) -> Resource {
        let state = Arc::clone(&self.0);
        resource.decide(move |request| {
            let mut state = state.lock().unwrap();
            let Some(shown) = shown(request) else { return state.challenge(false) };
            let of = |name: &str| shown.parameter(name).unwrap_or_default().into_owned();
            let (nonce, count) = (of("nonce"), of("nc"));
            let secret = sha256_hex(b"u:the \"realm\":p");
            let asked = sha256_hex(format!("{}:{}", request.method, request.path()).as_bytes());
            let proof = format!("{secret}:{nonce}:{count}:{}:auth:{asked}", of("cnonce"));
            let right = [
                (of("response"), sha256_hex(proof.as_bytes())),
                (of("username"), "u".to_owned()),
                (of("realm"), "the \"realm\"".to_owned()),
                (of("uri"), request.path()),
                (of("qop"), "auth".to_owned()),
                (of("algorithm"), "SHA-256".to_owned()),
                (of("opaque"), "o".to_owned()),
            ];
            if right.iter().any(|(found, expected)| found != expected) {
                state.refusals += 1;
                return state.challenge(false);
            }
            let count = u32::from_str_radix(&count, 16).unwrap();
            let Some(counts) = state.used.get_mut(&nonce) else { return state.challenge(true) };
            assert!(!counts.contains(&count), "{count} was used before with {nonce}");
            counts.push(count);
            if counts.len() > uses { state.challenge(true) } else { act.clone() }
        })
    }

    /// Nonces given out, and proofs that were wrong.
    pub(crate) fn told(&self) -> (u32, u32) {
        let state = self.0.lock().unwrap();
        (state.issued, state.refusals)
    }

    /// The highest count a nonce was used with.
    pub(crate) fn highest(&self) -> u32 {
        self.0.lock().unwrap().used.values().flatten().copied().max().unwrap_or(0)
    }
}

impl State {
    fn challenge(&mut self, stale: bool) -> Act {
        self.issued += 1;
        let nonce = format!("n{}", self.issued);
        let digest = format!(
            r#"Digest realm="the \"realm\"", nonce="{nonce}", opaque="o", qop="auth,auth-int", algorithm=SHA-256, stale={stale}"#
        );
        self.used.insert(nonce, Vec::new());
        // A weaker one beside it, and `Basic`: neither is to be chosen.
        denied(digest)
            .header("WWW-Authenticate", r#"Digest realm="x", nonce="weak", qop="auth", Basic realm="x""#)
    }
}
