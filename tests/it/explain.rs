//! Every statement of the hot path is a key look-up, on all databases, with 100,000 contacts.

use std::ops::Range;

use identity::domain::{ContactId, Identifier, IdentifierKind, SetKey, Timestamp};
use identity::store::audit::Rows;
use identity::store::entity::contact_merge::MergeCause;
use identity::store::entity::{contact, contact_merge, evidence, evidence_note, identifier};
use sea_orm::{ActiveValue::Set, ConnectionTrait, EntityTrait, QueryResult, Statement, TransactionTrait};

use crate::harness::{Backend, Suite, TestDatabase, register};

pub fn register(suite: &mut Suite) {
    register!(suite.on_all(): hot_path_is_key_look_ups, reads_are_key_look_ups_by_stale_statistics);
}

const CONTACTS: i64 = 100_000;

/// The table that has one row. It may be read whole.
const ONE_ROW: &str = "EvidenceState";

async fn hot_path_is_key_look_ups(database: TestDatabase) {
    let store = database.store().await;
    // Nearly all primary, so that null dominates `linkedId`: the case that misleads an optimizer.
    seed(&store.connection(), 0..CONTACTS, 50).await;
    assert_key_look_ups(&database, |_| true).await;
    analyze(&database).await;
    assert_key_look_ups(&database, |_| true).await;
}

/// Statistics of nearly empty tables, from before the shop grew. No word makes SQLite update a list of rows by
/// their ids if it takes the table for shorter than the list; the reads have none of this.
async fn reads_are_key_look_ups_by_stale_statistics(database: TestDatabase) {
    let store = database.store().await;
    seed(&store.connection(), 0..10, 50).await;
    analyze(&database).await;
    seed(&store.connection(), 10..CONTACTS, 50).await;
    let reads = [
        "lookup",
        "lookup of large identities",
        "owners",
        "root rows",
        "owner rows",
        "contacts of roots",
        "contacts of small roots",
        "roots after",
        "stored sets",
        "history",
    ];
    assert_key_look_ups(&database, |name| reads.contains(&name)).await;
    // `verify` reads pages of rows with what they point at. PostgreSQL compared each row of a page with the whole
    // table, until the statement took longer than it may.
    let page = Rows::After(0, 1_000);
    assert_eq!(store.audit_contacts(page).await.expect("contacts").len(), 1_000);
    assert_eq!(store.audit_identifiers("phone", None, 1_000).await.expect("identifiers").len(), 1_000);
    assert_eq!(store.audit_merges(page).await.expect("merges").len(), 1_000);
    assert_eq!(store.audit_evidence(page).await.expect("evidence").len(), 1_000);
}

/// As an administrator does, or the database by itself.
async fn analyze(database: &TestDatabase) {
    let tables = database.raw().await;
    let sql = match database.backend {
        Backend::Sqlite | Backend::Postgres => "ANALYZE",
        Backend::Mariadb | Backend::Mysql => "ANALYZE TABLE Contact, Identifier, Evidence, EvidenceNote, ContactMerge",
    };
    tables.execute_unprepared(sql).await.unwrap();
    tables.close().await.unwrap();
}

async fn assert_key_look_ups(database: &TestDatabase, concerns: impl Fn(&str) -> bool) {
    let store = database.store().await; // Its connections have read the statistics.
    for size in [1, 2, 100, 128] {
        let identifiers: Vec<_> = (0..size).map(|n| if n % 3 == 2 { email(n) } else { phone(n * 701) }).collect();
        let ids: Vec<_> = (1..=size).map(|n| ContactId(n * 701)).collect();
        let statements = store.hot_path(&identifiers, &ids, Timestamp(0)).unwrap();
        for (name, statement) in statements.into_iter().filter(|(name, _)| concerns(name)) {
            let plan = explain(database.backend, &store, &statement).await;
            let scans: Vec<_> = plan.iter().filter(|line| is_scan(database.backend, line)).collect();
            let names = [
                "Contact",
                "Identifier",
                "Evidence",
                "table=e ",
                "table=n ",
                "SEARCH e ",
                "SEARCH n ",
                "table=o ",
                "table=c ",
                "table=s ",
                "SEARCH o ",
                "SEARCH c ",
                "SEARCH r ",
                "SEARCH s ",
            ];
            // MySQL and MariaDB look a whole unique key up while they plan: then there is no row for the table.
            let names = names.into_iter().chain(["no matching row in const table", "after reading const tables"]);
            let names: Vec<_> = names.collect();
            let is_about_tables = plan.iter().any(|line| names.iter().any(|name| line.contains(name)));
            assert!(is_about_tables, "{name}: no plan was read: {}", plan.join("\n"));
            assert!(scans.is_empty(), "{name} of {size} scans: {scans:?}\n{}", plan.join("\n"));
        }
    }
}

fn phone(number: i64) -> Identifier {
    Identifier::from_stored(IdentifierKind::Phone, number.to_string())
}

fn email(number: i64) -> Identifier {
    Identifier::from_stored(IdentifierKind::Email, format!("{number}@x"))
}

/// Contacts with a phone number each; every n-th is a secondary of the one before.
async fn seed(connection: &sea_orm::DatabaseConnection, numbers: Range<i64>, nth: i64) {
    let now = chrono::DateTime::from_timestamp_micros(0).unwrap().naive_utc();
    let transaction = connection.begin().await.unwrap();
    let numbers: Vec<i64> = numbers.collect();
    for some in numbers.chunks(1_000) {
        let contacts = some.iter().map(|n| contact::ActiveModel {
            id: Set(n + 1),
            phone_number: Set(Some(n.to_string())),
            email: Set(None),
            linked_id: Set((n % nth == nth - 1).then_some(*n)),
            link_precedence: Set(if n % nth == nth - 1 {
                contact::LinkPrecedence::Secondary
            } else {
                contact::LinkPrecedence::Primary
            }),
            created_at: Set(now),
            updated_at: Set(now),
            deleted_at: Set(None),
            flags: Set(0),
        });
        contact::Entity::insert_many(contacts).exec_without_returning(&transaction).await.unwrap();
        let identifiers = some.iter().map(|n| identifier::ActiveModel {
            kind: Set("phone".to_owned()),
            value: Set(n.to_string().into_bytes()),
            contact_id: Set(n + 1),
        });
        identifier::Entity::insert_many(identifiers).exec_without_returning(&transaction).await.unwrap();
        let sets = some.iter().map(|n| evidence::ActiveModel {
            set_key: Set(SetKey::of(&[phone(*n)]).as_bytes().to_vec()),
            contact_id: Set(n + 1),
            origin: Set("match".to_owned()),
            identifiers: Set(MergeCause(Vec::new())),
            created_at: Set(now),
            ..Default::default()
        });
        evidence::Entity::insert_many(sets).exec_without_returning(&transaction).await.unwrap();
        let notes = some.iter().map(|n| evidence_note::ActiveModel {
            evidence: Set(format!("c{}", n + 1)),
            source: Set(Some("shop".to_owned())),
            external_ref: Set(None),
            occurred_at: Set(None),
            created_at: Set(now),
        });
        evidence_note::Entity::insert_many(notes).exec_without_returning(&transaction).await.unwrap();
        let merges = some.iter().map(|n| contact_merge::ActiveModel {
            survivor_id: Set(1),
            absorbed_id: Set(n + 1),
            cause: Set(MergeCause(Vec::new())),
            created_at: Set(now),
            ..Default::default()
        });
        contact_merge::Entity::insert_many(merges).exec_without_returning(&transaction).await.unwrap();
    }
    transaction.commit().await.unwrap();
}

async fn explain(backend: Backend, store: &identity::store::Database, statement: &Statement) -> Vec<String> {
    let prefix = match backend {
        Backend::Sqlite => "EXPLAIN QUERY PLAN",
        Backend::Postgres | Backend::Mariadb => "EXPLAIN",
        Backend::Mysql => "EXPLAIN FORMAT=TRADITIONAL",
    };
    let explain = Statement::from_string(store.connection().get_database_backend(), format!("{prefix} {statement}"));
    let rows = store.connection().query_all_raw(explain).await.unwrap();
    let lines: Vec<String> = rows.iter().map(|row| line(backend, row)).collect();
    if backend != Backend::Postgres {
        return lines;
    }
    // A node has lines of its own for its conditions: put them behind it.
    lines.iter().fold(Vec::new(), |mut nodes, line| {
        match nodes.last_mut() {
            Some(node) if !line.contains("->") => *node = format!("{node} {}", line.trim()),
            _ => nodes.push(line.clone()),
        }
        nodes
    })
}

fn line(backend: Backend, row: &QueryResult) -> String {
    let text = |column: &str| row.try_get::<Option<String>>("", column).ok().flatten().unwrap_or_default();
    match backend {
        Backend::Sqlite => text("detail"),
        Backend::Postgres => text("QUERY PLAN"),
        Backend::Mariadb | Backend::Mysql => {
            format!("table={} type={} key={} extra={}", text("table"), text("type"), text("key"), text("Extra"))
        }
    }
}

/// Whether a line of a plan reads more rows of a table than its keys name. What a statement made itself
/// (`roots`, a list of values) may be read whole.
fn is_scan(backend: Backend, line: &str) -> bool {
    match backend {
        Backend::Sqlite => {
            ["SCAN i", "SCAN o", "SCAN c", "SCAN r", "SCAN s", "SCAN e", "SCAN m", "SCAN Contact", "SCAN Identifier"]
                .iter()
                .any(|scan| line == *scan || line.starts_with(&format!("{scan} ")))
                || ["AUTOMATIC", "BLOOM FILTER"].iter().any(|built| line.contains(built))
                || (line.contains("_Identifier_1") && !line.contains("(kind=? AND value=?)"))
        }
        Backend::Postgres => {
            let is_scan = line.contains("Seq Scan on") && !line.contains(ONE_ROW);
            is_scan || (line.contains("Hash Cond") || line.contains("Merge Cond"))
        }
        Backend::Mariadb | Backend::Mysql => {
            let own = ["i", "o", "c", "r", "s", "e", "m", "Contact", "Identifier"]
                .iter()
                .any(|table| line.contains(&format!("table={table} ")));
            own && ["type=ALL", "type=index ", "type= "].iter().any(|kind| line.contains(kind))
        }
    }
}
