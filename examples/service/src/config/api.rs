//! Owns the keys of the API.
//!
//! Invariant: every key has the default of [`Settings`]. Must not know what a key does.

use std::time::Duration;

use super::tree::{Fault, Tree};
use crate::api::{Settings, Token};

/// Every scheme that the processor's engine has.
const SCHEMES: [&str; 5] = ["http", "https", "ftp", "ftps", "sftp"];

pub(super) fn read(tree: &mut Tree) -> Result<Settings, Fault> {
    let key = |name: &str| format!("api.{name}");
    let mut settings = Settings::default();
    if let Some(schemes) = tree.list(&key("schemes"))? {
        if schemes.is_empty() || schemes.iter().any(|scheme| !SCHEMES.contains(&scheme.as_str())) {
            return Err(Fault::new(key("schemes"), format!("expected some of {}", SCHEMES.join(", "))));
        }
        settings.rules.schemes = schemes;
    }
    settings.heartbeat_path = tree.path(&key("heartbeat_path"))?;
    settings.token = tree.some_text(&key("token"))?.map(|text| Token::new(&text));
    let bytes = 1..=1 << 30;
    settings.body_limit = tree
        .number(&key("body_limit_bytes"), bytes.clone(), "a number of bytes")?
        .unwrap_or(settings.body_limit);
    settings.batch_limit =
        tree.number(&key("batch_limit_bytes"), bytes, "a number of bytes")?.unwrap_or(settings.batch_limit);
    settings.most_connections = tree
        .number(&key("most_connections"), 1..=1 << 20, "a number of connections")?
        .unwrap_or(settings.most_connections);
    settings.head_timeout = tree.seconds(&key("head_timeout_seconds"), 1)?.unwrap_or(settings.head_timeout);
    settings.body_timeout = tree.seconds(&key("body_timeout_seconds"), 1)?.unwrap_or(settings.body_timeout);
    settings.drain = tree.seconds(&key("drain_seconds"), 0)?.unwrap_or(settings.drain);
    settings.retry_after = tree.seconds(&key("retry_after_seconds"), 0)?.unwrap_or(settings.retry_after);
    settings.instance = tree.some_text(&key("instance"))?.unwrap_or(settings.instance);
    settings.stats_interval =
        tree.time(&key("stats_interval"), Duration::from_millis(1), 100)?.unwrap_or(settings.stats_interval);
    Ok(settings)
}
