//! Faults of the database that hit every request, beside rows that it refuses: the first fail all at once, the second
//! alone.

use std::time::Duration;

use sea_orm::{ConnectionTrait, DatabaseConnection};
use tonic::Code;

use crate::harness::{Api, Backend, Event, Process, Service, Suite, TestDatabase, register};

pub fn register(suite: &mut Suite) {
    register!(suite.on_all():
        a_fault_of_the_database_costs_few_transactions_and_one_line,
        a_column_that_nobody_fills_costs_few_transactions_and_one_line,
        a_fault_of_a_table_that_few_requests_write_fails_those,
        a_row_that_a_trigger_refuses_fails_alone,
        a_trigger_that_refuses_every_row_is_not_halved_to_the_end,
    );
}

const DEADLINE: Duration = Duration::from_secs(30);

async fn run(tables: &DatabaseConnection, statements: &[&str]) {
    for statement in statements {
        tables.execute_unprepared(statement).await.expect(statement);
    }
}

/// Statements that add a trigger which runs before each insert into a table. PostgreSQL has the action in a function.
fn trigger(backend: Backend, table: &str, action: &str) -> Vec<String> {
    let before = "CREATE TRIGGER t BEFORE INSERT ON";
    match backend {
        Backend::Postgres => vec![
            format!("CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {action}; RETURN NEW; END $$"),
            format!(r#"{before} "{table}" FOR EACH ROW EXECUTE FUNCTION f()"#),
        ],
        Backend::Mysql | Backend::Mariadb => vec![format!("{before} {table} FOR EACH ROW {action}")],
        Backend::Sqlite => vec![format!(r#"{before} "{table}" BEGIN {action}; END"#)],
    }
}

/// Adds a trigger that runs before each insert of a contact.
pub async fn add_trigger(database: &TestDatabase, tables: &DatabaseConnection, action: &str) {
    let statements = trigger(database.backend, "Contact", action);
    run(tables, &statements.iter().map(String::as_str).collect::<Vec<_>>()).await;
}

async fn drop_trigger(database: &TestDatabase, tables: &DatabaseConnection) {
    let drop = if database.backend == Backend::Postgres { r#"DROP TRIGGER t ON "Contact""# } else { "DROP TRIGGER t" };
    run(tables, &[drop]).await;
}

async fn start_measured(database: &TestDatabase) -> Process {
    let variables = [("DATABASE_URL", &database.url[..]), ("METRICS_ADDR", "127.0.0.1:0"), ("REQUEST_TIMEOUT", "30s")];
    Process::start(&variables).await
}

/// The transactions so far that did not commit.
async fn refused_transactions(process: &Process) -> u64 {
    let log = process.log();
    let lines = log.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    let address = lines.filter_map(|line| line["metrics.address"].as_str().map(str::to_owned)).next().expect("bound");
    let page = reqwest::get(format!("http://{address}/metrics")).await.expect("a scrape").text().await.expect("text");
    let series = |result: &str| format!(r#"identity_transactions_total{{result="{result}"}} "#);
    let count = |result: &str| -> u64 {
        let value = page.lines().find_map(|line| line.strip_prefix(&series(result))?.parse().ok());
        value.unwrap_or_else(|| panic!("no {result} in {page}"))
    };
    count("rolled_back") + count("failed")
}

fn events(name: &str) -> Vec<Event> {
    (0..1_000).map(|number| Event::of(&format!("{name}{number}@x.de"), "")).collect()
}

/// What a trigger of this table cannot do.
fn fault_of(table: &str, backend: Backend) -> &'static str {
    match (backend, table) {
        (Backend::Postgres, _) => "PERFORM missing_function()",
        // A trigger may not change its own table.
        (Backend::Mysql | Backend::Mariadb, "Contact") => "DELETE FROM Contact WHERE id = 0",
        (Backend::Mysql | Backend::Mariadb, _) => "DELETE FROM ContactMerge WHERE id = 0",
        (Backend::Sqlite, _) => "SELECT missing_function()",
    }
}

/// Only the request that merges writes to that table. The others are in its group.
async fn a_fault_of_a_table_that_few_requests_write_fails_those(database: TestDatabase) {
    let process = start_measured(&database).await;
    let caller = process.caller();
    caller.identify(Api::Grpc, Some("one@x.de"), None).await.unwrap();
    caller.identify(Api::Grpc, None, Some("+4930123456")).await.unwrap();
    let tables = database.raw().await;
    let statements = trigger(database.backend, "ContactMerge", fault_of("ContactMerge", database.backend));
    run(&tables, &statements.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let mut events = events("new");
    events[300] = Event::of("one@x.de", "+4930123456");
    let answers = caller.batch(Api::Grpc, &events).await.expect("most are carried out");
    for (position, answer) in answers.iter().enumerate() {
        match answer {
            Ok(reply) => assert!(position != 300 && reply.outcome == "created", "{position}"),
            Err(refusal) => assert_eq!((position, refusal.code), (300, Code::Internal)),
        }
    }
    tables.close().await.unwrap();
}

async fn a_fault_of_the_database_costs_few_transactions_and_one_line(database: TestDatabase) {
    let process = start_measured(&database).await;
    let tables = database.raw().await;
    add_trigger(&database, &tables, fault_of("Contact", database.backend)).await;
    fails_at_once(&process).await;
    drop_trigger(&database, &tables).await;
    // On SQLite no connection of the service has read since that there is no trigger.
    is_repaired(&process).await;
    tables.close().await.unwrap();
}

/// An operator's own column, without a default, which each row must have.
async fn a_column_that_nobody_fills_costs_few_transactions_and_one_line(database: TestDatabase) {
    let process = start_measured(&database).await;
    let tables = database.raw().await;
    let quote = if database.backend.is_mysql() { "`" } else { "\"" };
    let alter = |change: &str| format!("ALTER TABLE {quote}Contact{quote} {change}");
    run(&tables, &[&alter("ADD COLUMN added int NOT NULL")]).await;
    fails_at_once(&process).await;
    run(&tables, &[&alter("DROP COLUMN added")]).await;
    is_repaired(&process).await;
    tables.close().await.unwrap();
}

/// Sends groups of requests, which a fault of the database all fails.
async fn fails_at_once(process: &Process) {
    let caller = process.caller();
    for api in Api::BOTH {
        let refusal = caller.batch(api, &events("new")).await.expect_err("no item could be carried out");
        assert_eq!((refusal.code, &refusal.reason[..]), (Code::Internal, "INTERNAL"));
        let refusal = caller.identify_within(DEADLINE, api, Some("one@x.de"), None).await.unwrap_err();
        assert_eq!(refusal.code, Code::Internal);
    }
    // Groups have up to 256 requests. Halving them would take 2,000 transactions for each batch.
    let refused = refused_transactions(process).await;
    assert!((4..300).contains(&refused), "{refused} transactions");
    let log = process.log();
    let count = |text: &str| log.lines().filter(|line| line.contains(text)).count();
    assert_eq!(count("the database has a fault: look at its tables"), 1, "{log}");
    assert_eq!(count("the database rejected a transaction"), 0);
}

async fn is_repaired(process: &Process) {
    let caller = process.caller();
    assert_eq!(caller.identify_within(DEADLINE, Api::Grpc, Some("one@x.de"), None).await.unwrap().outcome, "created");
    let answers = caller.batch(Api::Grpc, &events("new")).await.expect("the fault is repaired");
    assert!(answers.iter().all(Result::is_ok));
}

/// No error tells such a trigger from one that refuses single rows. Each request is tried alone, few more than once.
async fn a_trigger_that_refuses_every_row_is_not_halved_to_the_end(database: TestDatabase) {
    let process = start_measured(&database).await;
    let tables = database.raw().await;
    let action = match database.backend {
        Backend::Postgres => "RAISE EXCEPTION 'no'",
        Backend::Mysql | Backend::Mariadb => "SIGNAL SQLSTATE '45000'",
        Backend::Sqlite => "SELECT RAISE(ABORT, 'no')",
    };
    add_trigger(&database, &tables, action).await;
    let refusal = process.caller().batch(Api::Grpc, &events("new")).await.expect_err("no item could be carried out");
    assert_eq!(refusal.code, Code::Internal);
    // Of 1,000 requests in groups of up to 256. Halving alone took 2,000.
    let refused = refused_transactions(&process).await;
    assert!((1_000..1_200).contains(&refused), "{refused} transactions");
    drop_trigger(&database, &tables).await;
    is_repaired(&process).await;
    tables.close().await.unwrap();
}

async fn a_row_that_a_trigger_refuses_fails_alone(database: TestDatabase) {
    let service = Service::start_with(&database.url, &["--request-timeout", "30s"]).await;
    let tables = database.raw().await;
    let action = match database.backend {
        // A code of its own, as operators choose it.
        Backend::Postgres => "IF NEW.email = 'poison@x.de' THEN RAISE EXCEPTION 'no' USING ERRCODE = 'MY001'; END IF",
        Backend::Mysql | Backend::Mariadb => {
            "IF NEW.email = 'poison@x.de' THEN SIGNAL SQLSTATE '45000' SET MYSQL_ERRNO = 30001; END IF"
        }
        Backend::Sqlite => "SELECT RAISE(ABORT, 'no') WHERE NEW.\"email\" = 'poison@x.de'",
    };
    add_trigger(&database, &tables, action).await;
    for (number, api) in Api::BOTH.into_iter().enumerate() {
        let mut events: Vec<Event> = (0..100).map(|n| Event::of(&format!("{number}.{n}@x.de"), "")).collect();
        events[42] = Event::of("poison@x.de", "");
        let answers = service.caller().batch(api, &events).await.expect("most items are carried out");
        for (position, answer) in answers.iter().enumerate() {
            match answer {
                Ok(reply) => assert!(position != 42 && reply.outcome == "created", "{position}: {reply:?}"),
                Err(refusal) => assert!(position == 42 && refusal.code == Code::Internal, "{position}: {refusal:?}"),
            }
        }
    }
    tables.close().await.unwrap();
    service.stop().await;
}
