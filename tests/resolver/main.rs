//! The resolver over a store that fails as it is told, on a clock that leaps: what one request's fault does
//! to the others. How it does over real databases is in `tests/it`.

#![expect(clippy::unwrap_used, reason = "tests")]

mod faults;
mod faulty_store;
