//! What the tests share: databases, services, clients.

mod database;
mod suite;

pub use database::{Backend, TestDatabase, execute, query};
pub use suite::Suite;
