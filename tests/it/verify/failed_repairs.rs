//! Identities that cannot be repaired. They do not end the run.

use sea_orm::DbBackend;

use super::{Customers, verify_and_count};
use crate::harness::{Backend, Suite, TestDatabase, binary, execute, register};

pub fn register(suite: &mut Suite) {
    register!(suite.on(&[Backend::Postgres]):
        an_identity_whose_repair_is_too_slow_does_not_end_the_run,
        an_identity_that_stays_locked_does_not_end_the_run,
    );
    register!(suite.on(&[Backend::Sqlite, Backend::Postgres]): an_identity_whose_repair_fails_does_not_end_the_run);
}

/// Damages both customers, of whom the first cannot be repaired: its contact 2 cannot be written.
async fn one_of_two_is_not_repaired(customers: &Customers, database: &TestDatabase, flags: &[&str], failure: &str) {
    for damage in [
        r#"UPDATE "Contact" SET "linkPrecedence" = 'secondary' WHERE "id" = $5"#,
        r#"UPDATE "Contact" SET "linkPrecedence" = 'primary' WHERE "id" = $3"#,
        r#"UPDATE "Contact" SET "linkPrecedence" = 'primary' WHERE "id" = $4"#,
    ] {
        customers.break_by(damage).await;
    }
    let (status, report, attempts) = verify_and_count(database, &[&["--repair"], flags].concat());
    assert_eq!((status, attempts), (1, 2), "{report}");
    let counts = ["found", "repaired", "failed"].map(|name| report[name].as_u64().unwrap());
    assert_eq!(counts, [3, 1, 2], "{report}");
    let failures: Vec<&str> =
        report["findings"].as_array().unwrap().iter().filter_map(|one| one["failure"].as_str()).collect();
    assert!(failures.iter().all(|one| one.contains(failure)), "{report}");
    let text = binary().args(["verify", "--repair"]).args(flags).env("DATABASE_URL", &database.url).output().unwrap();
    let text = String::from_utf8(text.stdout).unwrap();
    assert!(text.contains("\n  not repaired: ") && text.contains("2 findings, 2 failed, in "), "{text}");
}

async fn an_identity_whose_repair_fails_does_not_end_the_run(database: TestDatabase) {
    let customers = Customers::new(&database).await;
    let contact = customers.ids[2];
    let fail = if customers.tables.get_database_backend() == DbBackend::Sqlite {
        vec![format!(
            r#"CREATE TRIGGER "fails" BEFORE UPDATE OF "linkedId" ON "Contact" WHEN OLD."id" = {contact}
                BEGIN SELECT RAISE(ABORT, 'no'); END"#
        )]
    } else {
        postgres_trigger(contact, "RAISE EXCEPTION 'no'").to_vec()
    };
    break_and_repair(customers, &database, &fail, &[], "rejected").await;
}

/// The statements that make PostgreSQL do this at each update of the links of a contact.
fn postgres_trigger(contact: i64, action: &str) -> [String; 2] {
    [
        format!(r#"CREATE FUNCTION fails() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {action}; RETURN NEW; END $$"#),
        format!(
            r#"CREATE TRIGGER fails BEFORE UPDATE OF "linkedId" ON "Contact" FOR EACH ROW
                WHEN (OLD."id" = {contact}) EXECUTE FUNCTION fails()"#
        ),
    ]
}

async fn an_identity_whose_repair_is_too_slow_does_not_end_the_run(database: TestDatabase) {
    let customers = Customers::new(&database).await;
    let slow = postgres_trigger(customers.ids[2], "PERFORM pg_sleep(4)");
    let flags = ["--database-timeout", "1s"];
    break_and_repair(customers, &database, &slow, &flags, "not this statement within 1000 ms").await;
}

/// Every attempt loses the race for a row.
async fn an_identity_that_stays_locked_does_not_end_the_run(database: TestDatabase) {
    let customers = Customers::new(&database).await;
    let locked = postgres_trigger(customers.ids[2], "RAISE EXCEPTION USING ERRCODE = '55P03'");
    break_and_repair(customers, &database, &locked, &[], "55P03").await;
}

async fn break_and_repair(
    customers: Customers,
    database: &TestDatabase,
    statements: &[String],
    flags: &[&str],
    failure: &str,
) {
    for sql in statements {
        execute(&customers.tables, sql).await;
    }
    one_of_two_is_not_repaired(&customers, database, flags, failure).await;
    customers.end().await;
}
