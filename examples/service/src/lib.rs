//! The download service: jobs in groups, each downloaded, called back, and in the end removed.
//!
//! Owns the parts; the program is a thin layer around them. Its one invariant: roles share nothing but the [`store`], so that any of them
//! may be killed at any moment, and any number of each may run. It must not know an operator's command line.
//!
//! | module | what it is |
//! | --- | --- |
//! | [`job`] | what was asked for, what became of it; reading of submissions. Pure |
//! | [`processor`] | the role that downloads, and removes files whose time is over |
//! | [`storage`] | where finished files lie: a directory, a bucket, buckets of callers |
//! | [`store`] | where jobs are and who may work on which: the contract, the rules, the store in memory |
//! | [`callback`] | what carries a payload to whoever is to be told |
//! | [`config`] | the configuration: one file, and the environment over it |
//! | [`program`] | the roles of one process, put together from a configuration |
//! | [`api`] | the role that takes jobs in and shows what became of them, over HTTP |
//! | [`notifier`] | the role that tells callers how their downloads ended |
//!
//! Every role is the same loop: take [`store::Wakes`], then for ever [`store::Store::claim`], work while renewing every third of a lease,
//! [`store::Store::settle`]; and when less came than was asked for, [`store::Wakes::wait`].

pub mod api;
pub mod callback;
pub mod config;
pub mod job;
pub mod notifier;
mod page;
pub mod processor;
pub mod program;
pub mod storage;
pub mod store;
