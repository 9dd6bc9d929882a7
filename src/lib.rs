//! The identity service: tells which customer a checkout event belongs to.
//!
//! Layers, each using only those below it:
//!
//! | module | |
//! | --- | --- |
//! | [`cli`], [`settings`], [`telemetry`], [`healthcheck`] | what the binary is told, and the log it writes |
//! | [`verify`] | goes through the tables and reports, or mends, what is wrong |
//! | [`bench`] | the load generator, a client like any other |
//! | [`app`] | wiring: from settings to a running service |
//! | [`server`] | listeners, limits, the log line of a call, drain |
//! | [`grpc`], [`http`] | the doors: bytes to requests, answers and errors to bytes |
//! | [`api`] | what both doors share: fields, faults, deadlines, request ids, readiness |
//! | [`proto`] | the messages and services of `proto/`, as code |
//! | [`resolver`] | use cases: batching, the lock protocol, retries; the only writer |
//! | [`store`] | SeaORM entities and queries; entities stop here |
//! | [`domain`] | identifiers, contacts, identities, and the planner: pure |

pub mod api;
pub mod app;
pub mod bench;
pub mod cli;
pub mod domain;
pub mod grpc;
pub mod healthcheck;
pub mod http;
pub mod proto;
pub mod resolver;
pub mod server;
pub mod settings;
pub mod store;
pub mod telemetry;
pub mod verify;
