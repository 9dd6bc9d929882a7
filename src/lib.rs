//! The identity service: finds the customer that a checkout event belongs to.
//!
//! `docs/architecture.md` has the map. These are the modules, from the top down. Each uses only modules below it:
//! `tests/structure/rules.rs` checks that, and that no two files depend on each other in a circle.
//!
//! | module | what it holds |
//! | --- | --- |
//! | [`commands`] | the command line, one file for each subcommand; it connects settings, database and servers |
//! | [`adopt`] | takes over the contacts of another system, from its table or from a file |
//! | [`export`] | contacts, identifiers, merges and evidence as files |
//! | [`inspect`] | one identity for people: shown, or explained |
//! | [`verify`] | checks all tables, and reports or repairs each broken invariant |
//! | [`bench`](mod@bench) | the load generator: a client of the service (cargo feature `bench`) |
//! | [`progress`] | the progress of long commands |
//! | [`listener`] | sockets, connections, drain, and the stack of layers that each request passes |
//! | [`transport`] | the gRPC API and the JSON API: from bytes to requests, and from answers and errors to bytes |
//! | [`telemetry`] | the log |
//! | [`tls`] | the certificates of the two APIs, and the TLS of the commands that call them |
//! | [`resolver`] | the use case: the request queues, the lock protocol, retries |
//! | [`store`] | SeaORM entities, SQL, connections |
//! | [`auth`] | who calls: tokens, client certificates, scopes and rate limits |
//! | [`reload`] | values that follow their files |
//! | [`traces`] | spans of sampled requests, and their way to a collector |
//! | [`settings`] | every setting and its origin |
//! | [`metrics`] | all metrics, and the handles by which the others record |
//! | [`proto`] | the messages and services of `proto/`, as code |
//! | [`domain`] | identifiers, contacts, identities, and the planner, without I/O |

pub mod adopt;
pub mod auth;
#[cfg(feature = "bench")]
pub mod bench;
pub mod commands;
pub mod domain;
pub mod export;
pub mod inspect;
pub mod listener;
pub mod metrics;
pub mod progress;
pub mod proto;
pub mod reload;
pub mod resolver;
pub mod settings;
pub mod store;
pub mod telemetry;
pub mod tls;
pub mod traces;
pub mod transport;
pub mod verify;
