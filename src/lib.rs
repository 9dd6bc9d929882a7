//! The identity service: tells which customer a checkout event belongs to.
//!
//! Layers, each using only those below it:
//!
//! | module | |
//! | --- | --- |
//! | [`server`] | listeners, limits, the log line of a call, drain |
//! | [`grpc`], [`http`] | the doors: bytes to requests, answers and errors to bytes |
//! | [`api`] | what both doors share: fields, faults, deadlines, request ids, readiness |
//! | [`proto`] | the messages and services of `proto/`, as code |
//! | [`resolver`] | use cases: batching, the lock protocol, retries; the only writer |
//! | [`domain`] | identifiers, contacts, identities, and the planner: pure |

pub mod api;
pub mod domain;
pub mod grpc;
pub mod http;
pub mod proto;
pub mod resolver;
pub mod server;
