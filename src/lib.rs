//! The identity service: tells which customer a checkout event belongs to.
//!
//! `docs/architecture.md` has the map. The modules, from the top down; each uses only those below it
//! (`tests/structure.rs` checks that no two files depend on each other in a circle):
//!
//! | module | what it holds |
//! | --- | --- |
//! | [`commands`] | the command line, one file a subcommand; wires settings, database and servers together |
//! | [`verify`] | reads all tables and reports, or repairs, each broken invariant |
//! | [`bench`] | the load generator: a client of the service like any other |
//! | [`listener`] | sockets, connections, drain, and the stack of layers that each request passes |
//! | [`transport`] | the gRPC API and the JSON API: bytes to requests, answers and errors to bytes |
//! | [`telemetry`] | the log |
//! | [`resolver`] | use cases: gathering, the lock protocol, retries |
//! | [`store`] | SeaORM entities, SQL, connections |
//! | [`settings`] | every setting, and where it comes from |
//! | [`proto`] | the messages and services of `proto/`, as code |
//! | [`domain`] | identifiers, contacts, identities, and the planner: pure |

pub mod bench;
pub mod commands;
pub mod domain;
pub mod listener;
pub mod proto;
pub mod resolver;
pub mod settings;
pub mod store;
pub mod telemetry;
pub mod transport;
pub mod verify;
