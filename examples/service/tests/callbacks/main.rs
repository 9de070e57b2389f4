//! What carries callbacks elsewhere than over HTTP, each against a real receiver.
//!
//! Owns the list of suites: one for each cargo feature. Invariant: what was delivered can be received. Must not know one kind from another.

#[cfg(feature = "amqp")]
mod amqp;
#[cfg(any(feature = "amqp", feature = "kafka", feature = "sqs"))]
mod fixture;
#[cfg(feature = "kafka")]
mod kafka;
#[cfg(feature = "sqs")]
mod sqs;
