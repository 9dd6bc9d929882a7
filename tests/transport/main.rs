//! The APIs as callers see them: real clients, real sockets, and a resolver that does as scripted.
#![expect(clippy::unwrap_used, reason = "tests")]

mod batch;
mod connections;
mod drain;
mod grpc;
mod harness;
mod health;
mod json;
mod limits;
mod log;
mod raw;
mod sizes;
mod stream;
mod unsent;
