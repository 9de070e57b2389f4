//! Owns the keys that say where jobs are, and for how long: `store`, `redis`, `queue`.
//!
//! Invariant: one store is chosen; two that contradict each other are a fault. Must not know how a store works.

use std::path::Path;

use super::StoreChoice;
use super::tree::{Fault, Tree};
use crate::store::Policy;

const FORM: &str =
    "expected memory, sqlite:PATH, redis://…, rediss://…, redis+sentinel://… or rediss+sentinel://…";

/// `store` goes before the keys of the original, `redis.*`; without either it is a file in the data folder.
pub(super) fn store(tree: &mut Tree, data: &Path) -> Result<StoreChoice, Fault> {
    let (address, master) = (tree.some_text("redis.addr")?, tree.some_text("redis.master_name")?);
    let sentinels = tree.list("redis.sentinel")?.unwrap_or_default();
    if let Some(text) = tree.some_text("store")? {
        return match text.split_once(':') {
            None if text == "memory" => Ok(StoreChoice::Memory),
            Some(("sqlite", path)) if !path.is_empty() => Ok(StoreChoice::Sqlite(path.into())),
            Some(("redis" | "rediss" | "redis+sentinel" | "rediss+sentinel", rest))
                if rest.starts_with("//") =>
            {
                Ok(StoreChoice::Redis(text))
            }
            _ => Err(Fault::new("store", FORM)),
        };
    }
    match (address, sentinels.is_empty(), master) {
        (_, false, Some(master)) => {
            Ok(StoreChoice::Redis(format!("redis+sentinel://{}/{master}", sentinels.join(","))))
        }
        (_, false, None) => {
            Err(Fault::new("redis.master_name", "expected the name of the master that the sentinels know"))
        }
        (Some(address), true, _) => Ok(StoreChoice::Redis(format!("redis://{address}"))),
        (None, true, Some(_)) => Err(Fault::new(
            "redis.sentinel",
            "expected a list of host:port, since redis.master_name is given",
        )),
        (None, true, None) => Ok(StoreChoice::Sqlite(data.join("jobs.sqlite"))),
    }
}

pub(super) fn policy(tree: &mut Tree) -> Result<Policy, Fault> {
    let mut policy = Policy::default();
    let many = u64::from(u32::MAX);
    policy.lease = tree.seconds("queue.lease_seconds", 1)?.unwrap_or(policy.lease);
    policy.callbacks_per_group = tree
        .number("queue.callbacks_per_group", 1..=many, "a number of callbacks")?
        .unwrap_or(policy.callbacks_per_group);
    policy.removals_per_site = tree
        .number("queue.removals_per_site", 1..=many, "a number of removals")?
        .unwrap_or(policy.removals_per_site);
    policy.keep_delivered = tree.seconds("queue.keep_delivered_seconds", 0)?.unwrap_or(policy.keep_delivered);
    policy.keep_dead = tree.seconds("queue.keep_dead_seconds", 0)?.unwrap_or(policy.keep_dead);
    policy.keep_silent = tree.seconds("queue.keep_silent_seconds", 0)?.unwrap_or(policy.keep_silent);
    policy.keep_waiting = tree.seconds("queue.keep_waiting_seconds", 1)?.unwrap_or(policy.keep_waiting);
    policy.most_losses =
        tree.number("queue.most_losses", 0..=many, "a number of lost workers")?.unwrap_or(policy.most_losses);
    policy.most_jobs =
        tree.number("queue.most_jobs", 1..=u64::MAX, "a number of jobs")?.unwrap_or(policy.most_jobs);
    let minute = std::time::Duration::from_secs(60);
    policy.deletion = tree.time("notifier.deletion_interval", minute, 1)?;
    Ok(policy)
}
