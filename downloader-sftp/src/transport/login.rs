//! Logging in: with keys, an agent's keys, or a password, whatever the server takes.
//!
//! Invariant: a password is sent only to a server whose key was found right, and only if it takes one; nothing is tried
//! twice. Must not know: sessions.

use std::sync::Arc;

use downloader_core::{Error, ErrorKind, Result};
use russh::client::{self, AuthResult, KeyboardInteractiveAuthResponse as Asked};
use russh::keys::agent::AgentIdentity;
use russh::keys::agent::client::AgentClient;
use russh::keys::{Algorithm, HashAlg, PrivateKey, PrivateKeyWithHashAlg};
use russh::{MethodKind, MethodSet};

use super::rsa::{RsaSigner, Unsigned};
use super::ssh::Watch;
use super::{Settings, Target};
use crate::error::{Stage, classify};
use crate::identity::Agent;

/// Keys of an agent that are tried: most servers hang up after six.
const MOST_AGENT_KEYS: usize = 16;

/// Rounds of questions (RFC 4256) that are answered.
const MOST_ROUNDS: usize = 4;

/// Logs in.
///
/// # Errors
/// Kind `Unauthorized` when nothing that we have is taken; `Local` when the agent cannot be asked.
pub(super) async fn login(
    handle: &mut client::Handle<Watch>,
    target: &Target,
    settings: &Settings,
) -> Result<()> {
    let mut login = Login { handle, target, left: MethodSet::empty(), tried: Vec::new() };
    // Without proof: tells which ones the server takes.
    if login.none().await? || login.keys(settings).await? || login.password().await? {
        return Ok(());
    }
    Err(login.refused())
}

struct Login<'a> {
    handle: &'a mut client::Handle<Watch>,
    target: &'a Target,
    /// What the server still takes.
    left: MethodSet,
    tried: Vec<&'static str>,
}

impl Login<'_> {
    fn user(&self) -> String {
        self.target.user.to_string()
    }

    fn takes(&self, method: MethodKind) -> bool {
        self.left.contains(&method)
    }

    /// Is it enough? What is left, if not.
    fn judge(&mut self, result: Result<AuthResult, russh::Error>) -> Result<bool> {
        match result {
            Ok(AuthResult::Success) => Ok(true),
            Ok(AuthResult::Failure { remaining_methods, .. }) => {
                self.left = remaining_methods;
                Ok(false)
            }
            // A server that hangs up on us has had enough of our keys.
            Err(_) if !self.tried.is_empty() => {
                self.left = MethodSet::empty();
                Ok(false)
            }
            Err(error) => Err(classify(error, Stage::Head)),
        }
    }

    async fn none(&mut self) -> Result<bool> {
        let result = self.handle.authenticate_none(self.user()).await;
        let done = self.judge(result)?;
        if !done && self.handle.is_closed() {
            return Err(classify(russh::Error::Disconnect, Stage::Head));
        }
        Ok(done)
    }

    async fn keys(&mut self, settings: &Settings) -> Result<bool> {
        for identity in &settings.identities {
            if !self.takes(MethodKind::PublicKey) {
                return Ok(false);
            }
            self.tried.push("key");
            let hash = self.hash(&identity.key().algorithm()).await?;
            let result = self.key(identity.key(), hash).await;
            if self.judge(result)? {
                return Ok(true);
            }
        }
        match &settings.agent {
            Some(agent) if self.takes(MethodKind::PublicKey) => self.agent(agent).await,
            _ => Ok(false),
        }
    }

    async fn key(
        &mut self,
        key: &Arc<PrivateKey>,
        hash: Option<HashAlg>,
    ) -> Result<AuthResult, russh::Error> {
        // A server that takes nothing but SHA-1, and a short key, are left to russh.
        if hash.is_some()
            && let Some(mut signer) = RsaSigner::of(key)
        {
            let public = key.public_key().clone();
            let result = self.handle.authenticate_publickey_with(self.user(), public, hash, &mut signer);
            return result.await.map_err(|Unsigned| russh::Error::SendError);
        }
        let key = PrivateKeyWithHashAlg::new(Arc::clone(key), hash);
        self.handle.authenticate_publickey(self.user(), key).await
    }

    #[cfg(unix)]
    async fn agent(&mut self, agent: &Agent) -> Result<bool> {
        let unasked = |error: russh::keys::Error| {
            Error::new(ErrorKind::Local, "asking the SSH agent").with_source(error)
        };
        let mut client = AgentClient::connect_uds(agent.path()).await.map_err(unasked)?;
        let held = client.request_identities().await.map_err(unasked)?;
        for identity in held.into_iter().take(MOST_AGENT_KEYS) {
            if !self.takes(MethodKind::PublicKey) {
                return Ok(false);
            }
            self.tried.push("agent");
            let hash = self.hash(&identity.public_key().algorithm()).await?;
            let user = self.user();
            let result = match identity {
                AgentIdentity::PublicKey { key, .. } => {
                    self.handle.authenticate_publickey_with(user, key, hash, &mut client).await
                }
                AgentIdentity::Certificate { certificate, .. } => {
                    self.handle.authenticate_certificate_with(user, certificate, hash, &mut client).await
                }
            };
            // A key that the agent does not sign with, because somebody said no, is one less.
            if let Ok(result) = result
                && self.judge(Ok(result))?
            {
                return Ok(true);
            }
        }
        Ok(false)
    }

    #[cfg(not(unix))]
    async fn agent(&mut self, _: &Agent) -> Result<bool> {
        Err(Error::unsupported("SSH agents on this system"))
    }

    /// With which hash an RSA key signs.
    async fn hash(&self, algorithm: &Algorithm) -> Result<Option<HashAlg>> {
        if !matches!(algorithm, Algorithm::Rsa { .. }) {
            return Ok(None);
        }
        let told = self.handle.best_supported_rsa_hash().await;
        told.map(Option::flatten).map_err(|error| classify(error, Stage::Head))
    }

    async fn password(&mut self) -> Result<bool> {
        let Some(password) = self.target.password.clone() else { return Ok(false) };
        if self.takes(MethodKind::Password) {
            self.tried.push("password");
            let result = self.handle.authenticate_password(self.user(), password.to_string()).await;
            if self.judge(result)? {
                return Ok(true);
            }
        }
        if self.takes(MethodKind::KeyboardInteractive) {
            self.tried.push("questions");
            return self.questions(&password).await;
        }
        Ok(false)
    }

    /// Answers the first question that is not shown while it is answered with the password; others with nothing.
    async fn questions(&mut self, password: &str) -> Result<bool> {
        let mut unused = Some(password);
        let mut asked = self.handle.authenticate_keyboard_interactive_start(self.user(), None).await;
        for _ in 0..MOST_ROUNDS {
            let prompts = match asked {
                Ok(Asked::Success) => return Ok(true),
                Ok(Asked::InfoRequest { prompts, .. }) => prompts,
                Ok(Asked::Failure { .. }) | Err(_) => return Ok(false),
            };
            let answers = prompts.iter().map(|prompt| {
                let answer = if prompt.echo { None } else { unused.take() };
                answer.unwrap_or_default().to_owned()
            });
            let answers = answers.collect();
            asked = self.handle.authenticate_keyboard_interactive_respond(answers).await;
        }
        Ok(matches!(asked, Ok(Asked::Success)))
    }

    fn refused(&self) -> Error {
        let left: Vec<&str> = self.left.iter().map(Into::into).collect();
        let mut tried = self.tried.clone();
        tried.dedup();
        let tried = if tried.is_empty() { "nothing".to_owned() } else { tried.join(", ") };
        let takes =
            if left.is_empty() { String::new() } else { format!("; the server takes {}", left.join(", ")) };
        Error::new(
            ErrorKind::Unauthorized,
            format!("the server lets us in by nothing we have (tried: {tried}{takes})"),
        )
    }
}
