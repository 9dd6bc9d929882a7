//! The resolver over a store with planned faults and a paused clock: a fault of one request must not harm the others.
//! `tests/it` tests the resolver over real databases.

#![expect(clippy::unwrap_used, reason = "tests")]

mod admission;
mod faults;
mod faulty_store;
mod graph;
mod histories;
mod large_identities;
mod validate_only;
