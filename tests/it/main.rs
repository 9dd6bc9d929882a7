//! The service through its doors, on every database.
//!
//! A test is an async function over a [`Bench`](harness::Bench); the harness runs it on SQLite, PostgreSQL,
//! MariaDB and MySQL, each time in a database of its own. `scripts/test` starts the servers. Plain
//! `cargo test` runs what needs none, and says what it did not run.

#![expect(clippy::unwrap_used, clippy::expect_used, clippy::print_stderr, reason = "tests")]

mod explain;
mod harness;
mod migrations;

fn main() {
    let mut suite = harness::Suite::from_env();
    explain::register(&mut suite);
    migrations::register(&mut suite);
    suite.run();
}
