//! What the tests share: databases, services, clients, and what must be true of the tables.

mod caller;
mod checkout;
mod cluster;
mod collector;
mod components;
mod database;
mod dump;
mod ports;
mod process;
mod proxy;
mod server;
mod service;
mod suite;

pub use caller::{Api, Caller, Refusal, Reply, send_for_status};
pub use checkout::{Checkouts, Event, check_variety};
pub use cluster::{Cluster, ClusterKind};
pub use collector::{Collector, Span};
pub use components::Components;
pub use database::{Backend, MYSQL_SESSIONS, TestDatabase, connections, database_settings, execute, lock_row, query};
pub use dump::{Dump, dump};
pub use ports::{Ports, no_port_is_given_twice};
pub use process::{Process, binary};
pub use proxy::{Proxy, Traffic};
pub use server::Server;
pub use service::Service;
pub(crate) use suite::register;
pub use suite::{Suite, test_name};
