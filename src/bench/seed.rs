//! `identity bench seed`: writes customers directly into the database, which is faster than through the service.

use anyhow::{Context, ensure};
use chrono::{NaiveDateTime, Utc};
use indicatif::{ProgressBar, ProgressStyle};
use sea_orm::{
    ActiveValue::Set, ConnectionTrait, DatabaseTransaction, DbBackend, DbErr, EntityTrait, QuerySelect,
    TransactionTrait,
};

use super::args::SeedArgs;
use super::customer::{known_email, known_phone};
use crate::domain::IdentifierKind;
use crate::settings::Settings;
use crate::store::Database;
use crate::store::entity::contact::{self, LinkPrecedence};
use crate::store::entity::identifier;

/// Customers in one statement. SQLite takes 32,766 values in one statement, and a contact has eight.
const CUSTOMERS_PER_STATEMENT: u64 = 1_000;

/// Customers in one transaction. So many that commits cost little, and so few that the database log stays small.
const CUSTOMERS_PER_TRANSACTION: u64 = 10_000;

/// Creates the customers 0, 1, 2, … each with one contact.
pub(super) fn run(seed: &SeedArgs, settings: &Settings) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.context("cannot start a runtime")?.block_on(fill(u64::from(seed.contacts), settings))
}

async fn fill(customers: u64, settings: &Settings) -> anyhow::Result<()> {
    let database = Database::wait_and_connect(&settings.database).await?;
    database.migrate_up().await?;
    let connection = &database.connection();
    // The identifiers could collide, and nobody wants these customers among real ones.
    let found = contact::Entity::find().select_only().column(contact::Column::Id).limit(1).into_tuple::<i64>();
    let is_empty = found.one(connection).await.context("cannot look for contacts")?.is_none();
    ensure!(is_empty, "the database has contacts already; give the benchmark a database of its own");

    let progress = ProgressBar::new(customers); // On stderr, and only if that is a terminal.
    progress.set_style(ProgressStyle::with_template("{bar:40} {human_pos} of {human_len} contacts, {eta} to go")?);
    let now = Utc::now().naive_utc();
    for from in (0..customers).step_by(CUSTOMERS_PER_TRANSACTION as usize) {
        let until = customers.min(from + CUSTOMERS_PER_TRANSACTION);
        let transaction = connection.begin().await.context("cannot begin a transaction")?;
        for from in (from..until).step_by(CUSTOMERS_PER_STATEMENT as usize) {
            let until = until.min(from + CUSTOMERS_PER_STATEMENT);
            insert(&transaction, from, until, now).await.context("cannot insert contacts")?;
            progress.set_position(until);
        }
        transaction.commit().await.context("cannot commit")?;
    }
    advance_id_counter(connection).await.context("cannot set the counter of automatic ids")?;
    progress.finish();
    Ok(())
}

/// Returns the id of a customer's contact. A fixed id saves the query for the id that the database gave.
fn contact_id(customer: u64) -> i64 {
    customer.cast_signed() + 1
}

async fn insert(transaction: &DatabaseTransaction, from: u64, until: u64, now: NaiveDateTime) -> Result<(), DbErr> {
    let contacts = (from..until).map(|customer| contact::ActiveModel {
        id: Set(contact_id(customer)),
        phone_number: Set(Some(known_phone(customer))),
        email: Set(Some(known_email(customer))),
        linked_id: Set(None),
        link_precedence: Set(LinkPrecedence::Primary),
        created_at: Set(now),
        updated_at: Set(now),
        deleted_at: Set(None),
        flags: Set(0),
    });
    contact::Entity::insert_many(contacts).exec_without_returning(transaction).await?;
    let row = |kind: IdentifierKind, value: String, customer| identifier::ActiveModel {
        kind: Set(kind.name().to_owned()),
        value: Set(value.into_bytes()),
        contact_id: Set(contact_id(customer)),
    };
    let emails = (from..until).map(|customer| row(IdentifierKind::Email, known_email(customer), customer));
    let phones = (from..until).map(|customer| row(IdentifierKind::Phone, known_phone(customer), customer));
    identifier::Entity::insert_many(emails.chain(phones)).exec_without_returning(transaction).await?;
    Ok(())
}

/// Sets the counter of automatic ids on PostgreSQL, which does not count ids given by an INSERT.
async fn advance_id_counter(connection: &impl ConnectionTrait) -> Result<(), DbErr> {
    if connection.get_database_backend() == DbBackend::Postgres {
        let next = r#"SELECT setval(pg_get_serial_sequence('"Contact"', 'id'), max("id")) FROM "Contact""#;
        connection.execute_unprepared(next).await?;
    }
    Ok(())
}
