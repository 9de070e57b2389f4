//! Owns the reading of the one URL that says where Redis is.
//!
//! Invariant: no error shows the URL, which may hold a password. Must not know a socket.

use redis::sentinel::{SentinelClient, SentinelClientBuilder, SentinelServerType};
use redis::{Client, ConnectionAddr, IntoConnectionInfo as _, TlsMode};
use url::Url;

use super::failure::failure;
use crate::store::{Error, ErrorKind, Result};

/// What every key begins with, unless the URL says otherwise.
const TAG: &str = "downloader";
const SENTINEL_PORT: u16 = 26_379;

/// Where Redis is, and what our keys begin with.
pub(super) struct Address {
    pub(super) server: Server,
    pub(super) tag: String,
}

/// How the server is found.
pub(super) enum Server {
    /// It is the one.
    Single(Box<Client>),
    /// Sentinels know which it is.
    Sentinel(Box<SentinelClient>),
}

impl Address {
    pub(super) fn parse(url: &str) -> Result<Self> {
        let (rest, query) = url.split_once('?').unwrap_or((url, ""));
        let pairs = || url::form_urlencoded::parse(query.as_bytes());
        let tag = pairs().find(|(name, _)| name == "tag").map_or_else(|| TAG.into(), |(_, tag)| tag);
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_-".contains(&byte);
        if tag.is_empty() || tag.len() > 64 || !tag.bytes().all(plain) {
            return Err(wrong("the tag has 1 to 64 characters of A-Z, a-z, 0-9, _ and -"));
        }
        let server = match rest.split_once("://") {
            Some(("redis+sentinel", rest)) => sentinel(rest, false)?,
            Some(("rediss+sentinel", rest)) => sentinel(rest, true)?,
            Some(("redis" | "rediss", _)) => {
                Server::Single(Box::new(Client::open(rest).map_err(failure("the URL of Redis"))?))
            }
            _ => {
                return Err(wrong(
                    "it begins with redis://, rediss://, redis+sentinel:// or rediss+sentinel://",
                ));
            }
        };
        Ok(Self { server, tag: tag.into_owned() })
    }
}

/// `user:password@host:port,host:port/master/db`.
fn sentinel(rest: &str, tls: bool) -> Result<Server> {
    let (authority, path) = rest.split_once('/').ok_or_else(|| wrong("the name of the master is missing"))?;
    let (master, db) = path.split_once('/').unwrap_or((path, ""));
    if master.is_empty() {
        return Err(wrong("the name of the master is missing"));
    }
    let (user, hosts) = authority.rsplit_once('@').map_or(("", authority), |(user, hosts)| (user, hosts));
    let sentinels = hosts.split(',').map(|host| address(host, tls)).collect::<Result<Vec<_>>>()?;
    // Read by the same rules as other URLs'.
    let plain =
        format!("redis://{user}@host/{db}").into_connection_info().map_err(failure("the URL of Redis"))?;
    let plain = plain.redis_settings();
    let builder = SentinelClientBuilder::new(sentinels, master, SentinelServerType::Master);
    let mut builder = builder.map_err(failure("the URL of Redis"))?.set_client_to_redis_db(plain.db());
    if tls {
        builder = builder.set_client_to_redis_tls_mode(TlsMode::Secure);
    }
    if let Some(username) = plain.username() {
        builder = builder.set_client_to_redis_username(username);
    }
    if let Some(password) = plain.password() {
        builder = builder.set_client_to_redis_password(password);
    }
    Ok(Server::Sentinel(Box::new(builder.build().map_err(failure("the URL of Redis"))?)))
}

fn address(text: &str, tls: bool) -> Result<ConnectionAddr> {
    let url = Url::parse(&format!("redis://{text}/")).map_err(|_| wrong("a sentinel is not host:port"))?;
    let host = match url.host() {
        Some(url::Host::Ipv6(address)) => address.to_string(),
        Some(host) => host.to_string(),
        None => return Err(wrong("a sentinel is not host:port")),
    };
    let port = url.port().unwrap_or(SENTINEL_PORT);
    Ok(if tls {
        ConnectionAddr::TcpTls { host, port, insecure: false, tls_params: None }
    } else {
        ConnectionAddr::Tcp(host, port)
    })
}

fn wrong(why: &str) -> Error {
    Error::new(ErrorKind::Input, format!("the URL of Redis: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_is_read() {
        let tag = |url: &str| Address::parse(url).map(|address| address.tag).expect(url);
        assert_eq!(tag("redis://h/"), "downloader");
        assert_eq!(tag("redis://:p%40ss@h:7000/3?tag=staging"), "staging");
        assert_eq!(tag("rediss://user:pass@h"), "downloader");
        for url in [
            "redis+sentinel://a:1,b:2,[::1]/main/4?tag=x",
            "redis+sentinel://user:pa%2Fss@a/main",
            "rediss+sentinel://a/main/",
        ] {
            let address = Address::parse(url).expect(url);
            assert!(matches!(address.server, Server::Sentinel(_)), "{url}");
        }
    }

    #[test]
    fn what_cannot_be_is_refused_and_no_password_is_shown() {
        for url in [
            "",
            "hunter2",
            "http://u:hunter2@h/",
            "redis://u:hunter2@/",
            "redis://u:hunter2@h:99999/",
            "redis://u:hunter2@h/x",
            "redis://u:hunter2@h/?tag=a:b",
            "redis://u:hunter2@h/?tag=",
            "redis+sentinel://u:hunter2@a:1",
            "redis+sentinel://u:hunter2@a:1/",
            "redis+sentinel://u:hunter2@a:1/main/x",
            "redis+sentinel://u:hunter2@a:x/main",
            "redis+sentinel://u:hunter2@,/main",
        ] {
            let Err(error) = Address::parse(url) else { panic!("{url} was read") };
            assert_eq!(error.kind(), ErrorKind::Input, "{url}");
            let told = format!("{error} {:?}", std::error::Error::source(&error).map(ToString::to_string));
            assert!(!told.contains("hunter2"), "{told}");
        }
    }
}
