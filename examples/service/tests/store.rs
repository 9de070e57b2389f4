//! What every store promises, shown on each of them.
//!
//! Owns the list of the stores. Invariant: every scenario of [`suite`] runs on every store. Must not know how a store keeps its rows.

#[path = "store/fixture.rs"]
mod fixture;
#[path = "store/kill.rs"]
mod kill;
#[path = "store/model.rs"]
mod model;
#[path = "store/suite.rs"]
#[macro_use]
mod suite;
#[path = "store/redis.rs"]
mod redis_store;
#[path = "store/sqlite.rs"]
mod sqlite;

/// All scenarios on one store.
macro_rules! suite_on {
    ($store:ident) => {
        mod $store {
            scenarios!($store);
        }
    };
}

mod on {
    suite_on!(memory);
    suite_on!(sqlite);
    suite_on!(redis);
}
