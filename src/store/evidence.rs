//! The sets of identifiers that no contact carries: table `Evidence`.
//!
//! Every row is inserted, changed and deleted under the lock of the root of its identity, and the root is written too.

use std::collections::{BTreeMap, BTreeSet};

use chrono::NaiveDateTime;
use sea_orm::ActiveValue::Set;
use sea_orm::sea_query::{DeleteStatement, InsertStatement};
use sea_orm::{ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter, QueryTrait, Statement};

use super::classify::is_of_primary_key;
use super::entity::contact_merge::MergeCause;
use super::entity::evidence::{self, Column};
use super::error::StoreError;
use super::notes;
use super::pieces::pieces;
use super::rows::{identifiers_to_json, to_naive};
use super::sql::{Engine, padded_ids};
use super::stored_sets::query_ids_of_sets;
use super::traits::MAX_LOOKUP;
use crate::domain::graph::SetName;
use crate::domain::{ContactId, ContactRef, MAX_EVIDENCE, NewEvidence, Plan, SetKey};

/// Maximum sets that one statement inserts. 128 of them, as of other rows, are usually more than a TLS record has room
/// for (docs/decisions/0009-nagles-algorithm.md).
const SETS_OF_A_STATEMENT: usize = 64;

/// Returns how many sets each identity of these roots has, counted up to [`MAX_EVIDENCE`].
pub(super) async fn count_sets(
    connection: &impl ConnectionTrait,
    engine: Engine,
    roots: &BTreeSet<ContactId>,
) -> Result<BTreeMap<ContactId, usize>, StoreError> {
    let mut counts = BTreeMap::new();
    for root in roots {
        let row = connection.query_one_raw(sets_of_root(engine, *root)).await?;
        let count: i64 = row.map(|row| row.try_get_by_index(0)).transpose()?.unwrap_or_default();
        counts.insert(*root, usize::try_from(count).unwrap_or(MAX_EVIDENCE));
    }
    Ok(counts)
}

/// The statement of [`count_sets`], for one root. Each half has the limit too, so that neither reads more.
pub(super) fn sets_of_root(engine: Engine, root: ContactId) -> Statement {
    let half = |column, index| {
        let rows = rows_linked_by(engine, r#"e."id""#, column, index);
        format!(r#"SELECT h."id" FROM ({rows} LIMIT {MAX_EVIDENCE}) h"#)
    };
    let (own, linked) = (half("id", "PRIMARY"), half("linkedId", "Contact_linkedId"));
    let sql =
        format!(r#"SELECT COUNT(*) FROM (SELECT s."id" FROM ({own} UNION ALL {linked}) s LIMIT {MAX_EVIDENCE}) n"#);
    engine.statement(sql, vec![root.0.into(), root.0.into()])
}

/// These columns of the sets `e` of the identity of a root, which is the parameter, twice.
fn rows_of_root(engine: Engine, columns: &str) -> String {
    let half = |column, index| rows_linked_by(engine, columns, column, index);
    format!("{} UNION ALL {}", half("id", "PRIMARY"), half("linkedId", "Contact_linkedId"))
}

/// These columns of the sets `e` of the contacts that have a number in this column, which is the parameter.
fn rows_linked_by(engine: Engine, columns: &str, column: &str, index: &str) -> String {
    let (by, sets) = (engine.force_index(index), engine.force_index("Evidence_contactId"));
    let join = engine.ordered_join();
    format!(
        r#"SELECT {columns} FROM "Contact" c {by} {join} "Evidence" e {sets} ON e."contactId" = c."id"
        WHERE c."{column}" = ?"#
    )
}

/// Stores the sets of a plan, after it has deleted the rows that they replace. They are sorted by key: all transactions
/// insert them in this order.
pub(super) async fn insert_evidence(
    connection: &impl ConnectionTrait,
    plan: &Plan,
    resolve: impl Fn(ContactRef) -> ContactId,
) -> Result<(), StoreError> {
    let created_at = to_naive(plan.updated_at)?;
    let replaced: Vec<SetKey> = plan.new_evidence.iter().filter(|new| new.replaces).map(|new| new.key).collect();
    let replaced = query_ids_of_sets(connection, &replaced).await?;
    delete_sets(connection, &replaced.into_iter().map(|(_, id)| id).collect::<Vec<_>>()).await?;
    for piece in plan.new_evidence.chunks(SETS_OF_A_STATEMENT).flat_map(pieces) {
        let inserted = connection.execute(&evidence_rows(piece, created_at, &resolve)).await;
        inserted.map_err(|error| match is_of_primary_key(&error) {
            true => StoreError::from(error).of_automatic_id(),
            false => error.into(),
        })?;
    }
    Ok(())
}

/// Inserts sets.
pub(super) fn evidence_rows(
    new: &[NewEvidence],
    created_at: NaiveDateTime,
    resolve: impl Fn(ContactRef) -> ContactId,
) -> InsertStatement {
    let rows = new.iter().map(|new| evidence::ActiveModel {
        set_key: Set(new.key.as_bytes().to_vec()),
        contact_id: Set(resolve(new.contact).0),
        origin: Set(new.origin.name().to_owned()),
        identifiers: Set(identifiers_to_json(&new.identifiers)),
        created_at: Set(created_at),
        ..Default::default()
    });
    evidence::Entity::insert_many(rows).into_query()
}

/// Deletes the sets of the identities of these roots that have one of these identifiers: nobody owns it any more. The
/// roots are locked.
pub(super) async fn delete_sets_with(
    connection: &impl ConnectionTrait,
    engine: Engine,
    roots: &[i64],
    is_freed: impl Fn(&str, &str) -> bool,
) -> Result<(), StoreError> {
    let mut deleted = Vec::new();
    for root in roots {
        for row in &connection.query_all_raw(evidence_of_root(engine, *root)).await? {
            let text: String = row.try_get_by_index(SetColumn::Identifiers as usize)?;
            let set: MergeCause = serde_json::from_str(&text).unwrap_or(MergeCause(Vec::new()));
            if set.0.iter().any(|one| is_freed(&one.kind, &one.value)) {
                deleted.push(row.try_get_by_index::<i64>(SetColumn::Id as usize)?);
            }
        }
    }
    delete_sets(connection, &deleted).await
}

/// Deletes these rows and their notes.
pub(super) async fn delete_sets(connection: &impl ConnectionTrait, ids: &[i64]) -> Result<(), StoreError> {
    for piece in ids.chunks(MAX_LOOKUP) {
        let sets: Vec<SetName> = piece.iter().copied().map(SetName::Stored).collect();
        connection.execute(&notes::delete_rows(&sets)).await?;
        connection.execute(&delete_rows(piece)).await?;
    }
    Ok(())
}

/// The statement of [`delete_sets`].
pub(super) fn delete_rows(ids: &[i64]) -> DeleteStatement {
    evidence::Entity::delete_many().filter(Column::Id.is_in(padded_ids(ids))).into_query()
}

/// The columns of [`evidence_of_root`], in order.
#[derive(Clone, Copy)]
enum SetColumn {
    Id,
    /// A text of JSON.
    Identifiers,
}

/// The sets of the identity of a root. The columns are those of [`SetColumn`].
pub(super) fn evidence_of_root(engine: Engine, root: i64) -> Statement {
    let columns = format!(r#"e."id", {}"#, engine.text_of(r#"e."identifiers""#));
    engine.statement(rows_of_root(engine, &columns), vec![root.into(), root.into()])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{EvidenceOrigin, Identifier, IdentifierKind};

    #[test]
    fn the_sets_of_a_statement_fit_into_a_tls_record() {
        let set = |number: usize| {
            let email =
                Identifier::from_stored(IdentifierKind::Email, format!("george.mcfly.{number:05}@hillvalley.example"));
            let phone = Identifier::from_stored(IdentifierKind::Phone, format!("+4915112{number:06}"));
            vec![email, phone]
        };
        let new = |number: usize| NewEvidence {
            key: SetKey::of(&set(number)),
            identifiers: set(number).into(),
            contact: ContactRef::Stored(ContactId(1)),
            origin: EvidenceOrigin::Match,
            note: None,
            replaces: false,
        };
        // Key, contact, origin, moment, and the identifiers as text; and the text of the statement.
        let row = |new: &NewEvidence| {
            let identifiers = serde_json::to_string(&identifiers_to_json(&new.identifiers)).unwrap();
            17 + 8 + 1 + new.origin.name().len() + 12 + 3 + identifiers.len() + "(?, ?, ?, ?, ?), ".len()
        };
        let bytes = |sets: usize| (0..sets).map(|number| row(&new(number))).sum::<usize>() + 200;
        assert!(bytes(SETS_OF_A_STATEMENT) < 16_384, "{}", bytes(SETS_OF_A_STATEMENT));
        assert!(bytes(MAX_LOOKUP) > 16_384, "{}", bytes(MAX_LOOKUP));
    }
}
