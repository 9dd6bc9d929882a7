//! The identity service: tells which customer a checkout event belongs to.
//!
//! Layers, each using only those below it:
//!
//! | module | |
//! | --- | --- |
//! | [`cli`] [`settings`] [`telemetry`] [`healthcheck`] | what the binary is told, and the log it writes |
//! | [`resolver`] | use cases: batching, the lock protocol, retries; the only writer |
//! | [`store`] | SeaORM entities and queries; entities stop here |
//! | [`domain`] | identifiers, contacts, identities, and the planner: pure |

pub mod app;
pub mod cli;
pub mod domain;
pub mod healthcheck;
pub mod resolver;
pub mod settings;
pub mod store;
pub mod telemetry;
