//! The APIs as callers see them: real clients, real sockets, and a resolver that does as scripted.
#![expect(clippy::unwrap_used, reason = "tests")]

mod batch;
mod callers;
mod callers_file;
mod callers_metrics;
#[path = "../shared/certificates.rs"]
mod certificates;
mod connections;
mod documents;
mod drain;
#[path = "../resolver/faulty_store.rs"]
#[expect(dead_code, reason = "the tests of the resolver use the rest")]
mod faulty_store;
mod forms;
mod gateway;
mod graph;
mod graph_json;
mod grpc;
mod gzip;
mod handshakes;
mod harness;
mod health;
mod ignored;
mod json;
mod limits;
mod log;
mod metrics;
mod overload;
mod pages;
mod raw;
mod removed_callers;
mod reserved;
mod sizes;
mod stream;
mod tls;
mod unsent;
