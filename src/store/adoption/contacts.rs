//! Rows of `Contact` and `AdoptedContact`, by id.

use std::collections::BTreeMap;

use sea_orm::ActiveValue::Set;
use sea_orm::sea_query::{Expr, ExprTrait, SimpleExpr};
use sea_orm::{ColumnTrait, Condition, DatabaseTransaction, EntityTrait, QueryFilter, QueryOrder, QuerySelect, Select};

use super::digest::TableDigest;
use super::row_chunks::{ROWS_PER_STATEMENT, statements};
use super::state::{AdoptionPhase, AdoptionRun};
use crate::domain::Identifier;
use crate::domain::adoption::{AdoptedRow, LONGEST_ORIGINAL, LONGEST_PRECEDENCE};
use crate::store::database::Database;
use crate::store::entity::adopted_contact;
use crate::store::entity::contact::{self, LinkPrecedence};
use crate::store::error::StoreError;
use crate::store::flags;
use crate::store::rows::to_naive;

/// What a row had in the old table. Personal data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Original {
    /// Its e-mail address.
    pub email: Option<String>,
    /// Its phone number.
    pub phone_number: Option<String>,
    /// Its link.
    pub linked_id: Option<i64>,
    /// Its precedence.
    pub link_precedence: Option<String>,
    /// What was changed.
    pub reason: String,
}

/// A contact as it is stored, and what its row had in the old table if anything was changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredRow {
    contact: contact::Model,
    original: Option<adopted_contact::Model>,
}

impl StoredRow {
    /// Returns the row that stands for an adopted one.
    ///
    /// # Errors
    /// When a moment is out of range.
    pub fn new(row: &AdoptedRow, original: Option<Original>) -> Result<Self, StoreError> {
        let text = |identifier: &Option<Identifier>| identifier.as_ref().map(|one| one.value().to_owned());
        let contact = contact::Model {
            id: row.id,
            phone_number: text(&row.phone_number),
            email: text(&row.email),
            linked_id: row.linked_to,
            link_precedence: match row.linked_to {
                Some(_) => LinkPrecedence::Secondary,
                None => LinkPrecedence::Primary,
            },
            created_at: to_naive(row.created_at)?,
            updated_at: to_naive(row.updated_at)?,
            deleted_at: row.deleted_at.map(to_naive).transpose()?,
            flags: row.ignored.iter().fold(0, |flags, kind| flags | flags::ignored(*kind)),
        };
        let original = original.map(|original| adopted_contact::Model {
            id: row.id,
            email: original.email.map(|value| storable(&value, LONGEST_ORIGINAL)),
            phone_number: original.phone_number.map(|value| storable(&value, LONGEST_ORIGINAL)),
            linked_id: original.linked_id,
            link_precedence: original.link_precedence.map(|value| storable(&value, LONGEST_PRECEDENCE)),
            reason: storable(&original.reason, 255),
        });
        Ok(Self { contact, original })
    }

    /// Returns the id.
    pub fn id(&self) -> i64 {
        self.contact.id
    }

    /// About so many bytes of a statement.
    fn bytes(&self) -> usize {
        let length = |text: &Option<String>| text.as_ref().map_or(0, String::len);
        let original = |row: &adopted_contact::Model| length(&row.email) + length(&row.phone_number);
        200 + length(&self.contact.email) + self.original.as_ref().map_or(0, original)
    }

    /// Adds it to a digest.
    pub(super) fn add_to(&self, digest: &mut TableDigest) {
        let row = &self.contact;
        let micros = |moment: chrono::NaiveDateTime| moment.and_utc().timestamp_micros();
        let is_secondary = i64::from(row.link_precedence == LinkPrecedence::Secondary);
        digest.numbers(&[row.id, row.linked_id.unwrap_or(0), is_secondary, i64::from(row.flags)]);
        digest.numbers(&[micros(row.created_at), micros(row.updated_at), row.deleted_at.map_or(0, micros)]);
        digest.text(row.email.as_deref());
        digest.text(row.phone_number.as_deref());
        if let Some(original) = &self.original {
            digest.numbers(&[original.linked_id.unwrap_or(0)]);
            for text in [&original.email, &original.phone_number, &original.link_precedence] {
                digest.text(text.as_deref());
            }
            digest.text(Some(&original.reason));
        }
    }
}

/// A text as every database takes it: PostgreSQL takes no NUL.
fn storable(text: &str, longest: usize) -> String {
    text.chars().take(longest).map(|c| if c == '\0' { '\u{fffd}' } else { c }).collect()
}

/// What is to be written.
#[derive(Clone, Debug, Default)]
pub struct ContactChanges {
    /// The rows that are deleted.
    pub deleted: Vec<i64>,
    /// The rows that are inserted, by id. One that is there is deleted first.
    pub inserted: Vec<StoredRow>,
}

impl ContactChanges {
    /// Returns the number of changes.
    pub fn len(&self) -> usize {
        self.deleted.len() + self.inserted.len()
    }

    /// Returns whether there is nothing to write.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Database {
    /// Returns the next stored rows with ids above `after`, by id. Holders of ignored identifiers only if asked for.
    ///
    /// # Errors
    /// As every read.
    pub async fn adopted_page(&self, after: i64, limit: u64, with_holders: bool) -> Result<Vec<StoredRow>, StoreError> {
        let connection = self.connection();
        let contacts = page_of_contacts(after, limit, with_holders).all(&connection).await?;
        let Some(last) = contacts.last() else { return Ok(Vec::new()) };
        let originals = originals_between(after, last.id);
        let mut originals: BTreeMap<i64, adopted_contact::Model> =
            originals.all(&connection).await?.into_iter().map(|row| (row.id, row)).collect();
        let stored = |contact: contact::Model| StoredRow { original: originals.remove(&contact.id), contact };
        Ok(contacts.into_iter().map(stored).collect())
    }

    /// Writes changes in one transaction, which also records that the rows up to `until` are as they are to be.
    ///
    /// # Errors
    /// As every write. Then nothing was written. Another run may have taken the adoption.
    pub async fn write_adopted_rows(
        &self,
        run: &mut AdoptionRun,
        changes: &ContactChanges,
        until: i64,
    ) -> Result<(), StoreError> {
        let write = async |transaction: &DatabaseTransaction| {
            for ids in changes.deleted.chunks(ROWS_PER_STATEMENT) {
                let ids = ids.iter().copied();
                let of_contact = Condition::all().add(contact::Column::Id.is_in(ids.clone()));
                contact::Entity::delete_many().filter(of_contact).exec(transaction).await?;
                let of_original = Condition::all().add(adopted_contact::Column::Id.is_in(ids));
                adopted_contact::Entity::delete_many().filter(of_original).exec(transaction).await?;
            }
            for rows in statements(&changes.inserted, StoredRow::bytes) {
                let contacts = rows.iter().map(|row| active_contact(&row.contact));
                contact::Entity::insert_many(contacts).exec_without_returning(transaction).await?;
                let originals: Vec<_> =
                    rows.iter().filter_map(|row| row.original.as_ref()).map(active_original).collect();
                if !originals.is_empty() {
                    adopted_contact::Entity::insert_many(originals).exec_without_returning(transaction).await?;
                }
            }
            Ok(())
        };
        let last = changes.inserted.last().map_or(0, StoredRow::id);
        run.last_contact_id = Ord::max(run.last_contact_id, last);
        self.in_run(run, AdoptionPhase::Contacts, until, write).await
    }
}

/// The next contacts above an id, by id.
pub(super) fn page_of_contacts(after: i64, limit: u64, with_holders: bool) -> Select<contact::Entity> {
    let contacts =
        contact::Entity::find().filter(contact::Column::Id.gt(after)).order_by_asc(contact::Column::Id).limit(limit);
    if with_holders { contacts } else { contacts.filter(no_holder()) }
}

/// What the rows above an id, up to another one, had in the old table.
pub(super) fn originals_between(after: i64, last: i64) -> Select<adopted_contact::Entity> {
    adopted_contact::Entity::find()
        .filter(adopted_contact::Column::Id.gt(after))
        .filter(adopted_contact::Column::Id.lte(last))
}

/// Rows that are contacts: a row with that flag holds an ignored identifier.
pub(super) fn no_holder() -> SimpleExpr {
    Expr::col(contact::Column::Flags).bit_and(flags::HOLDER).eq(0)
}

fn active_contact(row: &contact::Model) -> contact::ActiveModel {
    let row = row.clone();
    contact::ActiveModel {
        id: Set(row.id),
        phone_number: Set(row.phone_number),
        email: Set(row.email),
        linked_id: Set(row.linked_id),
        link_precedence: Set(row.link_precedence),
        created_at: Set(row.created_at),
        updated_at: Set(row.updated_at),
        deleted_at: Set(row.deleted_at),
        flags: Set(row.flags),
    }
}

fn active_original(row: &adopted_contact::Model) -> adopted_contact::ActiveModel {
    let row = row.clone();
    adopted_contact::ActiveModel {
        id: Set(row.id),
        email: Set(row.email),
        phone_number: Set(row.phone_number),
        linked_id: Set(row.linked_id),
        link_precedence: Set(row.link_precedence),
        reason: Set(row.reason),
    }
}
