//! The service through its APIs, on every database.
//!
//! A test is an async function over a [`TestDatabase`](harness::TestDatabase); the harness runs it on SQLite,
//! PostgreSQL, MariaDB and MySQL, each time in a database of its own. `scripts/test` starts the servers.
//! Plain `cargo test` runs what needs none, and says what it did not run.

#![expect(clippy::unwrap_used, clippy::expect_used, clippy::print_stderr, clippy::print_stdout, reason = "tests")]

mod abuse;
mod adopt;
mod attacks;
mod batch;
#[path = "../shared/certificates.rs"]
mod certificates;
mod changed_by_sql;
mod chaos;
mod concurrency;
mod connect;
mod evidence;
mod evidence_full;
mod evidence_upgrade;
mod explain;
mod export;
mod failover;
mod faulty_rows;
mod foreign_tables;
mod galera;
mod graph;
mod group_replication;
mod harness;
mod history;
mod identifiers;
mod ignored;
mod ignored_command;
mod ignored_repairs;
mod import;
mod inspect;
mod log;
mod metrics;
mod migrations;
mod notes;
mod nothing_found;
mod old_table;
mod old_tables;
mod outage;
mod pooler;
mod process;
mod read_only_file;
mod readiness;
mod refused_hosts;
mod replay;
mod rights;
mod rolling_restart;
mod round_trips;
mod server_defaults;
mod shutdown;
mod sizes;
mod slow_data;
mod store_conformance;
mod stored_values;
mod stream;
mod systemic_faults;
mod traces;
mod validate_only;
mod verify;
mod worked_example;

fn main() {
    let mut suite = harness::Suite::from_env();
    worked_example::register(&mut suite);
    store_conformance::register(&mut suite);
    identifiers::register(&mut suite);
    graph::register(&mut suite);
    validate_only::register(&mut suite);
    notes::register(&mut suite);
    ignored::register(&mut suite);
    ignored_command::register(&mut suite);
    ignored_repairs::register(&mut suite);
    concurrency::register(&mut suite);
    batch::register(&mut suite);
    sizes::register(&mut suite);
    stream::register(&mut suite);
    replay::register(&mut suite);
    slow_data::register(&mut suite);
    changed_by_sql::register(&mut suite);
    faulty_rows::register(&mut suite);
    systemic_faults::register(&mut suite);
    outage::register(&mut suite);
    failover::register(&mut suite);
    nothing_found::register(&mut suite);
    readiness::register(&mut suite);
    read_only_file::register(&mut suite);
    refused_hosts::register(&mut suite);
    round_trips::register(&mut suite);
    rights::register(&mut suite);
    server_defaults::register(&mut suite);
    pooler::register(&mut suite);
    group_replication::register(&mut suite);
    galera::register(&mut suite);
    connect::register(&mut suite);
    migrations::register(&mut suite);
    evidence::register(&mut suite);
    evidence_full::register(&mut suite);
    evidence_upgrade::register(&mut suite);
    explain::register(&mut suite);
    process::register(&mut suite);
    log::register(&mut suite);
    metrics::register(&mut suite);
    traces::register(&mut suite);
    shutdown::register(&mut suite);
    rolling_restart::register(&mut suite);
    abuse::register(&mut suite);
    verify::register(&mut suite);
    adopt::register(&mut suite);
    export::register(&mut suite);
    import::register(&mut suite);
    inspect::register(&mut suite);
    stored_values::register(&mut suite);
    foreign_tables::register(&mut suite);
    old_table::register(&mut suite);
    history::register(&mut suite);
    chaos::register(&mut suite);
    attacks::register(&mut suite);
    suite.run();
}
