//! A session of libssh2: the key exchange, the key of the host, the login.
//!
//! Invariant: as of the other transport: nothing is sent but to a host whose key was found right. Must not know: threads.

use std::net::TcpStream;
use std::time::Duration;

use downloader_core::{Error, ErrorKind, Phase, Result};
use russh::keys::ssh_key::LineEnding;
use ssh2::{ErrorCode, KeyboardInteractivePrompt, MethodType, Prompt};

use crate::error::{Stage, classify};
use crate::host_key::HostCheck;
use crate::protocol::{Fields, Reply, Status};
use crate::session::End;
use crate::transport::{Settings, Target};

/// A session that is logged in. The parts are dropped in this order.
pub(super) struct Session {
    pub(super) sftp: ssh2::Sftp,
    _session: ssh2::Session,
}

impl Session {
    pub(super) fn start(
        settings: &Settings,
        target: &Target,
        stream: TcpStream,
        check: &HostCheck,
    ) -> Result<Self> {
        let mut session = ssh2::Session::new().map_err(|error| fault(&error, Stage::Head))?;
        set_timeout(&session, settings.handshake_timeout);
        session.set_tcp_stream(stream);
        session
            .method_pref(MethodType::HostKey, &host_keys(check))
            .map_err(|error| fault(&error, Stage::Head))?;
        session.handshake().map_err(|error| fault(&error, Stage::Head))?;
        let (key, _) = session
            .host_key()
            .ok_or_else(|| Error::new(ErrorKind::Protocol, "the server shows no host key"))?;
        let kind = Fields::new(key).string().unwrap_or_default();
        check.key(&String::from_utf8_lossy(kind), key)?;
        set_timeout(&session, settings.login_timeout);
        login(&session, settings, target)?;
        let sftp = session.sftp().map_err(|error| fault(&error, Stage::Head))?;
        set_timeout(&session, settings.reply_timeout);
        Ok(Self { sftp, _session: session })
    }
}

fn set_timeout(session: &ssh2::Session, timeout: Option<Duration>) {
    let milliseconds = timeout.map_or(0, |timeout| timeout.as_millis().clamp(1, u32::MAX.into()) as u32);
    session.set_timeout(milliseconds);
}

/// Types of host keys, those that are known first.
fn host_keys(check: &HostCheck) -> String {
    let known: Vec<&str> = check.known().kinds().collect();
    let mut all = vec![
        ("ssh-ed25519", "ssh-ed25519"),
        ("ecdsa-sha2-nistp256", "ecdsa-sha2-nistp256"),
        ("ecdsa-sha2-nistp384", "ecdsa-sha2-nistp384"),
        ("ecdsa-sha2-nistp521", "ecdsa-sha2-nistp521"),
        ("ssh-rsa", "rsa-sha2-512,rsa-sha2-256"),
    ];
    all.sort_by_key(|(kind, _)| known.iter().position(|known| known == kind).unwrap_or(usize::MAX));
    all.into_iter().map(|(_, algorithms)| algorithms).collect::<Vec<_>>().join(",")
}

fn login(session: &ssh2::Session, settings: &Settings, target: &Target) -> Result<()> {
    let user = &*target.user;
    // Asks without proof; a server that lets everybody in has no list.
    let takes = session.auth_methods(user).map(str::to_owned).unwrap_or_default();
    if session.authenticated() {
        return Ok(());
    }
    if takes.contains("publickey") {
        for identity in &settings.identities {
            let pem = identity.key().to_openssh(LineEnding::LF);
            let pem = pem.map_err(|_| Error::unsupported("this key with libssh2"))?;
            if session.userauth_pubkey_memory(user, None, &pem, None).is_ok() {
                return Ok(());
            }
        }
        if let Some(agent) = &settings.agent
            && by_agent(session, user, agent.path())?
        {
            return Ok(());
        }
    }
    if let Some(password) = &target.password {
        if takes.contains("password") && session.userauth_password(user, password).is_ok() {
            return Ok(());
        }
        let mut answers = Answers(Some(password));
        if takes.contains("keyboard-interactive")
            && session.userauth_keyboard_interactive(user, &mut answers).is_ok()
        {
            return Ok(());
        }
    }
    let what = format!("the server lets us in by nothing we have; the server takes {takes}");
    Err(Error::new(ErrorKind::Unauthorized, what))
}

fn by_agent(session: &ssh2::Session, user: &str, path: &std::path::Path) -> Result<bool> {
    let unasked =
        |error: ssh2::Error| Error::new(ErrorKind::Local, "asking the SSH agent").with_source(error);
    let mut agent = session.agent().map_err(unasked)?;
    agent.set_identity_path(path).map_err(unasked)?;
    agent.connect().map_err(unasked)?;
    agent.list_identities().map_err(unasked)?;
    let held = agent.identities().map_err(unasked)?;
    Ok(held.iter().any(|identity| agent.userauth(user, identity).is_ok()))
}

/// Answers the first question that is not shown while it is answered with the password; others with nothing.
struct Answers<'a>(Option<&'a str>);

impl KeyboardInteractivePrompt for Answers<'_> {
    fn prompt(&mut self, _: &str, _: &str, prompts: &[Prompt<'_>]) -> Vec<String> {
        let answer = |prompt: &Prompt<'_>| if prompt.echo { None } else { self.0.take() };
        prompts.iter().map(answer).map(|answer| answer.unwrap_or_default().to_owned()).collect()
    }
}

/// What libssh2 says, as an error of the engine.
pub(super) fn fault(error: &ssh2::Error, stage: Stage) -> Error {
    let code = match error.code() {
        ErrorCode::SFTP(code) => {
            let status = Status { code: code.unsigned_abs(), message: error.message().into() };
            return classify(Reply::Status(status), stage);
        }
        ErrorCode::Session(code) => code,
    };
    let error = format!("libssh2 {code}: {}", error.message());
    let (kind, what) = match code {
        libssh2_sys::LIBSSH2_ERROR_TIMEOUT | libssh2_sys::LIBSSH2_ERROR_SOCKET_TIMEOUT => {
            let phase = if stage == Stage::Head { Phase::Head } else { Phase::Idle };
            (ErrorKind::Timeout(phase), "no answer from the server in time")
        }
        _ if stage == Stage::Body => return classify(End::Broken, stage).with_source(error),
        libssh2_sys::LIBSSH2_ERROR_METHOD_NONE => {
            (ErrorKind::Unsupported, "the server and we have no algorithm in common")
        }
        libssh2_sys::LIBSSH2_ERROR_INVALID_MAC
        | libssh2_sys::LIBSSH2_ERROR_KEX_FAILURE
        | libssh2_sys::LIBSSH2_ERROR_KEY_EXCHANGE_FAILURE
        | libssh2_sys::LIBSSH2_ERROR_HOSTKEY_INIT
        | libssh2_sys::LIBSSH2_ERROR_HOSTKEY_SIGN
        | libssh2_sys::LIBSSH2_ERROR_DECRYPT
        | libssh2_sys::LIBSSH2_ERROR_PROTO
        | libssh2_sys::LIBSSH2_ERROR_SFTP_PROTOCOL => {
            (ErrorKind::Protocol, "the server does not speak SSH as it should")
        }
        _ => return classify(End::Broken, stage).with_source(error),
    };
    Error::new(kind, what).with_source(error)
}
