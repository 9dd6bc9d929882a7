//! Whether the tables are those of this version, and whether the user may read and write them.

use migration::{Migrator, MigratorTrait};
use sea_orm::ConnectionTrait;

use super::error::StoreError;
use super::sql::Engine;

/// The migrations that the database has.
const VERSIONS: &str = r#"SELECT "version" FROM "seaql_migrations""#;

/// Statements that need what the hot path needs: every table, every column, and every right. They find no row, so they
/// change and lock none.
const WRITES: [&str; 9] = [
    r#"UPDATE "Contact" SET "linkedId" = "linkedId", "linkPrecedence" = "linkPrecedence", "updatedAt" = "updatedAt"
       WHERE "id" = -1 AND "flags" = 0"#,
    r#"INSERT INTO "Contact"
       ("phoneNumber", "email", "linkedId", "linkPrecedence", "createdAt", "updatedAt", "deletedAt")
       SELECT "phoneNumber", "email", "linkedId", "linkPrecedence", "createdAt", "updatedAt", "deletedAt"
       FROM "Contact" WHERE "id" = -1"#,
    r#"INSERT INTO "Identifier" ("kind", "value", "contactId")
       SELECT "kind", "value", "contactId" FROM "Identifier" WHERE "kind" = '' AND "value" = ''"#,
    r#"DELETE FROM "Identifier" WHERE "kind" = '' AND "value" = ''"#,
    r#"INSERT INTO "ContactMerge" ("survivorId", "absorbedId", "cause", "createdAt")
       SELECT "survivorId", "absorbedId", "cause", "createdAt" FROM "ContactMerge" WHERE "id" = -1"#,
    r#"INSERT INTO "Evidence" ("setKey", "contactId", "origin", "identifiers", "createdAt", "retractedBy")
       SELECT "setKey", "contactId", "origin", "identifiers", "createdAt", "retractedBy"
       FROM "Evidence" WHERE "id" = -1"#,
    r#"DELETE FROM "Evidence" WHERE "id" = -1"#,
    r#"INSERT INTO "EvidenceNote" ("evidence", "source", "externalRef", "occurredAt", "createdAt")
       SELECT "evidence", "source", "externalRef", "occurredAt", "createdAt"
       FROM "EvidenceNote" WHERE "evidence" = ''"#,
    r#"DELETE FROM "EvidenceNote" WHERE "evidence" = ''"#,
];

/// The same on SQLite, which has no rights of users: one statement that needs the write lock is enough.
const SQLITE: [&str; 5] = [
    r#"SELECT "kind", "value", "contactId" FROM "Identifier" WHERE "kind" = '' AND "value" = ''"#,
    r#"SELECT "survivorId", "absorbedId", "cause", "createdAt" FROM "ContactMerge" WHERE "id" = -1"#,
    r#"SELECT "setKey", "contactId", "origin", "identifiers", "createdAt", "retractedBy"
       FROM "Evidence" WHERE "id" = -1"#,
    r#"SELECT "evidence", "source", "externalRef", "occurredAt", "createdAt"
       FROM "EvidenceNote" WHERE "evidence" = ''"#,
    r#"UPDATE "Contact" SET "phoneNumber" = "phoneNumber", "email" = "email", "linkedId" = "linkedId",
       "linkPrecedence" = "linkPrecedence", "createdAt" = "createdAt", "updatedAt" = "updatedAt",
       "deletedAt" = "deletedAt", "flags" = "flags" WHERE "id" = -1"#,
];

/// Fails if the tables are older than this version.
pub(super) async fn check_version(connection: &impl ConnectionTrait, engine: Engine) -> Result<(), StoreError> {
    let rows = connection.query_all_raw(engine.statement(VERSIONS.to_owned(), Vec::new())).await?;
    let applied: Vec<String> = rows.iter().map(|row| row.try_get_by_index(0)).collect::<Result<_, _>>()?;
    if Migrator::migrations().iter().any(|migration| !applied.iter().any(|version| version == migration.name())) {
        return Err(StoreError::outdated_schema());
    }
    Ok(())
}

/// What to run, one after another, to know that no table or column is missing and that the user lacks no right on them:
/// one round trip, each second.
///
/// One of several servers that take writes waits for the others before each statement. There each statement is by
/// itself, so that each has the time of a statement.
pub(super) fn round_trips(engine: Engine, is_one_of_several: bool) -> Vec<String> {
    if is_one_of_several {
        WRITES.iter().map(|sql| engine.statement((*sql).to_owned(), Vec::new()).sql).collect()
    } else {
        vec![writes(engine)]
    }
}

/// All of them in one text: one round trip.
pub(super) fn writes(engine: Engine) -> String {
    let statements = match engine {
        Engine::Mysql | Engine::Mariadb | Engine::Postgres => WRITES.join("; "),
        Engine::Sqlite => SQLITE.join("; "),
    };
    engine.statement(statements, Vec::new()).sql
}
