//! The binary's settings: where they come from, which one wins, and what a wrong one says.

#![expect(clippy::expect_used, reason = "a test fails by panicking")]

mod bench;
mod database;
mod printed;
mod refusals;
mod sources;
