//! Statements of this service, for the tests: `tests/it/explain.rs` asks each database for its plan of those of the hot
//! path, and the snapshots show in review what a change does to a statement.
//!
//! The snapshots of this file have the statements of the hot path, and most of those of lists, ignoring, audits and
//! exports; also the probe, the session and the migration lock. `commands` has those of the catalogue, of repairs and
//! of the copying of evidence. `migrations` has what `up` of the migrations executes. `adoption/statements.rs` and
//! `old_table/statements.rs` have snapshots of their own. Without snapshots are the inserts and deletes of an adoption,
//! counts, `down` of the migrations, and what SeaORM makes of an entity and an id.

#[cfg(test)]
mod commands;
#[cfg(test)]
mod migrations;
#[cfg(test)]
pub(super) mod snapshot;

use sea_orm::{Statement, StatementBuilder};

use super::database::Database;
use super::error::StoreError;
use super::flagged;
use super::history;
use super::notes;
use super::sql::Engine;
use super::{lock, rows, stored_sets, write};
use crate::domain::{ContactId, Identifier, SetKey, Timestamp};

impl Database {
    /// Returns every statement of the hot path that looks rows up, by name, with these values.
    ///
    /// # Errors
    /// When the moment is out of range.
    pub fn hot_path(
        &self,
        identifiers: &[Identifier],
        contacts: &[ContactId],
        now: Timestamp,
    ) -> Result<Vec<(&'static str, Statement)>, StoreError> {
        hot_path(self.engine(), identifiers, contacts, now)
    }
}

fn hot_path(
    engine: Engine,
    identifiers: &[Identifier],
    contacts: &[ContactId],
    now: Timestamp,
) -> Result<Vec<(&'static str, Statement)>, StoreError> {
    let ids: Vec<i64> = contacts.iter().map(|id| id.0).collect();
    let links: Vec<(i64, i64)> = ids.iter().map(|id| (*id, ids[0])).collect();
    let now = rows::to_naive(now)?;
    let backend = engine.backend();
    let (root, identifier) = (contacts[0], &identifiers[0]);
    Ok(vec![
        ("contacts with a value", flagged::contacts_with_value(engine, root, identifier, false)),
        ("lookup", engine.lookup(identifiers).0),
        ("lookup of large identities", engine.lookup_large(identifiers)),
        ("owners", engine.owners(identifiers)),
        ("root rows", engine.root_rows(&ids)),
        ("owner rows", engine.owner_rows(identifiers)),
        ("contacts of roots", engine.contacts_of(&ids, None)),
        ("contacts of small roots", engine.contacts_of(&ids, Some(512))),
        ("roots after", engine.rows_after(ids[0])),
        ("history", engine.history(root.0, Some(history::LIMIT))),
        ("lock", StatementBuilder::build(&lock::lock_rows(engine, &ids), &backend)),
        ("touch", StatementBuilder::build(&write::touch_rows(&ids, now), &backend)),
        ("stored sets", stored_sets::stored_sets(engine, &[SetKey::of(identifiers)])),
        ("notes", notes::select_notes(engine, &ids.iter().map(|id| format!("c{id}")).collect::<Vec<_>>())),
        ("move secondaries", engine.move_secondaries(&links, now)),
        ("absorb", StatementBuilder::build(&write::absorb_rows(&links, now), &backend)),
    ])
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::sync::Arc;
    use std::time::Duration;

    use super::snapshot::StatementList;
    use super::*;
    use crate::domain::graph::SetName;
    use crate::domain::{ContactRef, EvidenceOrigin, IdentifierKind, Link, Merge, NewContact, NewEvidence, Note};
    use crate::store::audit::{self, Rows};
    use crate::store::evidence;
    use crate::store::evidence_audit;
    use crate::store::export;
    use crate::store::holder;
    use crate::store::orphans;
    use crate::store::probe;
    use crate::store::repair_ops;
    use crate::store::sql::{LockWait, mariadb, mysql, postgres};
    use crate::store::traits::MAX_LOOKUP;

    const NOW: Timestamp = Timestamp(1_700_000_000_000_000);

    /// The statements of one database, each as the driver gets it.
    fn statements(engine: Engine) -> String {
        let email = Identifier::from_stored(IdentifierKind::Email, "a@b.co");
        let phone = Identifier::from_stored(IdentifierKind::Phone, "123456");
        let identifiers = [email.clone(), phone.clone(), Identifier::from_stored(IdentifierKind::Phone, "7")];
        let ids = [ContactId(1), ContactId(2), ContactId(3)];
        let moment = rows::to_naive(NOW).unwrap();
        let new_contact = NewContact {
            identifiers: vec![email.clone(), phone.clone()].into(),
            created_at: NOW,
            updated_at: NOW,
            link: Link::SecondaryOf(ContactRef::Stored(ContactId(1))),
            note: None,
        };
        let merge = Merge {
            survivor: ContactRef::Stored(ContactId(1)),
            absorbed: ContactRef::Stored(ContactId(2)),
            cause: vec![email.clone(), phone.clone()],
            is_repair: false,
        };
        let set = NewEvidence {
            key: SetKey::of(&merge.cause),
            identifiers: merge.cause.clone().into(),
            contact: ContactRef::Stored(ContactId(1)),
            origin: EvidenceOrigin::Match,
            note: None,
            replaces: false,
        };
        let key = set.key;
        let note = Note::new(Some("shop".to_owned()), None, Some(NOW)).map(Arc::new).unwrap();
        let notes = [(SetName::Contact(ContactId(1)), &note), (SetName::Stored(7), &note)];
        let resolve = |contact| match contact {
            ContactRef::Stored(id) => id,
            ContactRef::Planned(_) => unreachable!("only stored contacts are given"),
        };
        let plain = |sql: String| engine.statement(sql, Vec::new());
        let mut list = StatementList::new(engine);
        for (name, statement) in hot_path(engine, &identifiers, &ids, NOW).unwrap() {
            list.add(name, &statement);
        }
        list.add("lock roots after", &engine.lock_roots_after(1, 2_000, 128));
        list.add_built("lock free rows", &lock::lock_free_rows(engine, &[1, 2, 3]));
        list.add("whole history", &engine.history(1, None));
        list.add_built("existing rows", &lock::existing_rows(&[1, 2, 3]));
        list.add("insert contacts", &write::contact_rows(engine, &[new_contact]).unwrap());
        list.add(
            "insert identifiers",
            &write::identifier_rows(engine, &[(&email, ContactId(1)), (&phone, ContactId(1))]),
        );
        list.add_built("insert merges", &write::merge_rows(&[merge], moment, resolve));
        list.add_built("insert evidence", &evidence::evidence_rows(&[set], moment, resolve));
        list.add("sets of an identity", &evidence::sets_of_root(engine, ContactId(1)));
        list.add("evidence of an identity", &evidence::evidence_of_root(engine, 1));
        list.add_built("delete evidence", &evidence::delete_rows(&[1, 2, 3]));
        list.add("audit evidence", &plain(evidence_audit::evidence_sql(engine, Rows::After(0, 1_000))));
        list.add_built("insert notes", &notes::note_rows(&notes, moment).unwrap());
        list.add_built("ids of sets", &stored_sets::ids_of_sets(&[key]));
        list.add_built("delete notes", &notes::delete_rows(&[SetName::Stored(1), SetName::Stored(2)]));
        list.add("insert holders", &holder::holder_rows(engine, std::slice::from_ref(&phone), NOW).unwrap());
        list.add("mark", &flagged::mark_rows(engine, IdentifierKind::Phone, &ids, true, NOW).unwrap());
        list.add("unmark", &flagged::mark_rows(engine, IdentifierKind::Email, &ids, false, NOW).unwrap());
        list.add_built("empty holder", &flagged::empty_row(ContactId(1), NOW).unwrap());
        list.add("contacts that show", &plain(flagged::flagged_sql()));
        list.add("newest of an identity", &flagged::newest_update(engine, ContactId(1)));
        list.add_built("link", &write::link_rows(&[(2, 1)]));
        list.add_built("promote", &write::promote_rows(&[1], moment));
        list.add_built("delete identifier", &orphans::delete_owned("email", b"a@b.co", 1));
        list.add("audit contacts", &plain(audit::contacts_sql(engine, Rows::After(0, 1_000))));
        list.add("audit identifiers", &plain(audit::identifiers_sql(engine, r#"(SELECT * FROM "Identifier")"#)));
        list.add("audit merges", &plain(audit::merges_sql(engine, Rows::Only(1))));
        list.add("audit linked", &audit::linked_rows(engine, &[1, 2, 3], "linkedId", "Contact_linkedId"));
        list.add_built("rewrite", &repair_ops::rewrite_row(ContactId(1), IdentifierKind::Phone, None, NOW).unwrap());
        list.add("export contacts", &plain(export::contacts_sql(engine)));
        list.add("export identifiers", &plain(export::identifiers_sql(engine, true)));
        list.add("export merges", &plain(export::merges_sql(engine)));
        list.add("export evidence", &plain(export::evidence_sql(engine)));
        list.add("state of contacts", &plain(export::state_sql(export::ExportedTable::Contacts)));
        list.add("audit owners", &engine.owned_rows_with(&audit::identifier_columns(), &identifiers));
        if let Some(statement) = engine.lock_identifiers(&identifiers) {
            list.add("lock identifiers", &statement);
        }
        let lock_wait = LockWait::within(Duration::from_secs(3));
        let session = match engine {
            Engine::Mysql => vec![
                ("session", mysql::session(lock_wait)),
                ("is it MariaDB", mysql::IS_MARIADB.to_owned()),
                ("is it outside its group", mysql::IS_OUTSIDE_GROUP.to_owned()),
                ("logs statements", mysql::LOGS_STATEMENTS.to_owned()),
                ("log rows", mysql::LOG_ROWS.to_owned()),
                ("wait for others", mysql::WAIT_FOR_OTHERS.to_owned()),
            ],
            Engine::Mariadb => vec![
                ("session", mysql::session(lock_wait)),
                ("is it not ready", mariadb::IS_NOT_READY.to_owned()),
                ("wait for others", mariadb::WAIT_FOR_OTHERS.to_owned()),
            ],
            Engine::Postgres => vec![
                ("session", postgres::session(lock_wait)),
                ("is in a transaction", postgres::IS_IN_TRANSACTION.to_owned()),
            ],
            Engine::Sqlite => Vec::new(),
        };
        let texts = session.into_iter().chain([
            ("without time limits", engine.without_time_limits().unwrap_or("none").to_owned()),
            ("role", engine.role_question().unwrap_or("none").to_owned()),
            ("role while reading", engine.role_question_while_reading().unwrap_or("none").to_owned()),
            ("clock", engine.clock_columns().map_or("none".to_owned(), |columns| columns.join(", "))),
            ("probe", probe::writes(engine)),
            ("try the migration lock", engine.try_migration_lock().unwrap_or("none".to_owned())),
            ("release the migration lock", engine.release_migration_lock().unwrap_or("none".to_owned())),
            ("advance the counter of ids", engine.advance_counter("Contact", 7).unwrap_or("none".to_owned())),
            (
                "advance the counter of ids of no rows",
                engine.advance_counter("Contact", 0).unwrap_or("none".to_owned()),
            ),
            ("refresh statistics", engine.analyze(&["Identifier", "Contact"]).join(";\n")),
            ("empty tables", engine.empty_tables(&["Identifier", "Contact"]).join(";\n")),
        ]);
        for (name, sql) in texts {
            list.add_text(name, &sql);
        }
        list.into_text()
    }

    #[test]
    fn every_statement_is_as_the_snapshots_show() {
        for (name, engine) in snapshot::ENGINES {
            insta::assert_snapshot!(name, statements(engine));
        }
    }

    /// A statement for each id, or for each length of a list, would make room for others in a connection's cache.
    #[test]
    fn an_audit_prepares_few_statements() {
        let ids: Vec<i64> = (0..).take(MAX_LOOKUP).collect();
        for engine in [Engine::Mysql, Engine::Mariadb, Engine::Postgres, Engine::Sqlite] {
            let linked = |count: usize| audit::linked_rows(engine, &ids[..count], "id", "PRIMARY").sql;
            let texts: BTreeSet<String> = (1..=MAX_LOOKUP).map(linked).collect();
            assert_eq!(texts.len(), 8, "{engine:?}");
            assert_eq!(audit::contacts_sql(engine, Rows::Only(1)), audit::contacts_sql(engine, Rows::Only(2)));
            assert_eq!(audit::merges_sql(engine, Rows::After(1, 9)), audit::merges_sql(engine, Rows::After(2, 9)));
        }
    }
}
