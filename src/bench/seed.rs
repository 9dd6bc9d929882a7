//! Filling a database past the service, which would take its time.

use anyhow::{Context, ensure};
use chrono::{NaiveDateTime, Utc};
use indicatif::{ProgressBar, ProgressStyle};
use sea_orm::{
    ActiveValue::Set, ConnectionTrait, DatabaseTransaction, DbBackend, DbErr, EntityTrait, QuerySelect,
    TransactionTrait,
};

use super::Seed;
use super::customer::{known_email, known_phone};
use crate::domain::IdentifierKind;
use crate::settings::Settings;
use crate::store::Database;
use crate::store::entity::contact::{self, LinkPrecedence};
use crate::store::entity::identifier;

/// Customers a statement: SQLite takes 32,766 values in one, and a contact has eight.
const PER_STATEMENT: u64 = 1_000;

/// Customers a transaction: a commit is a small part of the work then, and no log grows without end.
const PER_TRANSACTION: u64 = 10_000;

/// `identity bench seed`: makes customers 0, 1, 2, … each with one contact.
pub(super) fn run(seed: &Seed, settings: &Settings) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.context("cannot start a runtime")?.block_on(fill(u64::from(seed.contacts), settings))
}

async fn fill(customers: u64, settings: &Settings) -> anyhow::Result<()> {
    let database = Database::wait_and_connect(&settings.database).await?;
    database.migrate_up().await?;
    let connection = &database.connection();
    // The identifiers would clash, and nobody wants these customers among their own.
    let found = contact::Entity::find().select_only().column(contact::Column::Id).limit(1).into_tuple::<i64>();
    let is_empty = found.one(connection).await.context("cannot look for contacts")?.is_none();
    ensure!(is_empty, "the database has contacts already; give the benchmark a database of its own");

    let progress = ProgressBar::new(customers); // On stderr, and only if that is a terminal.
    progress.set_style(ProgressStyle::with_template("{bar:40} {human_pos} of {human_len} contacts, {eta} to go")?);
    let now = Utc::now().naive_utc();
    for from in (0..customers).step_by(PER_TRANSACTION as usize) {
        let until = customers.min(from + PER_TRANSACTION);
        let transaction = connection.begin().await.context("cannot begin a transaction")?;
        for from in (from..until).step_by(PER_STATEMENT as usize) {
            let until = until.min(from + PER_STATEMENT);
            insert(&transaction, from, until, now).await.context("cannot insert contacts")?;
            progress.set_position(until);
        }
        transaction.commit().await.context("cannot commit")?;
    }
    finish(connection).await.context("cannot prepare the tables for more")?;
    progress.finish();
    Ok(())
}

/// The id of a customer's contact. Given here, so that its identifiers need not wait to learn it.
fn id(customer: u64) -> i64 {
    customer.cast_signed() + 1
}

async fn insert(transaction: &DatabaseTransaction, from: u64, until: u64, now: NaiveDateTime) -> Result<(), DbErr> {
    let contacts = (from..until).map(|customer| contact::ActiveModel {
        id: Set(id(customer)),
        phone_number: Set(Some(known_phone(customer))),
        email: Set(Some(known_email(customer))),
        linked_id: Set(None),
        link_precedence: Set(LinkPrecedence::Primary),
        created_at: Set(now),
        updated_at: Set(now),
        deleted_at: Set(None),
    });
    contact::Entity::insert_many(contacts).exec_without_returning(transaction).await?;
    let row = |kind: IdentifierKind, value: String, customer| identifier::ActiveModel {
        kind: Set(kind.name().to_owned()),
        value: Set(value.into_bytes()),
        contact_id: Set(id(customer)),
    };
    let emails = (from..until).map(|customer| row(IdentifierKind::Email, known_email(customer), customer));
    let phones = (from..until).map(|customer| row(IdentifierKind::Phone, known_phone(customer), customer));
    identifier::Entity::insert_many(emails.chain(phones)).exec_without_returning(transaction).await?;
    Ok(())
}

/// PostgreSQL does not notice which ids were given.
async fn finish(connection: &impl ConnectionTrait) -> Result<(), DbErr> {
    if connection.get_database_backend() == DbBackend::Postgres {
        let next = r#"SELECT setval(pg_get_serial_sequence('"Contact"', 'id'), max("id")) FROM "Contact""#;
        connection.execute_unprepared(next).await?;
    }
    Ok(())
}
