//! The end of an adoption: counters of ids, statistics, and emptying the tables.

use sea_orm::{ColumnTrait, ConnectionTrait, EntityTrait, PaginatorTrait, QueryFilter, QuerySelect, Select, Value};

use super::contacts::no_holder;
use super::state::{AdoptionPhase, AdoptionRun, AdoptionState, again_after_lost_race};
use crate::store::audit::last_id_sql;
use crate::store::database::Database;
use crate::store::entity::{contact, contact_merge};
use crate::store::error::StoreError;
use crate::store::schema;

/// The tables that an adoption fills, and those of evidence and its notes: they name contacts.
const FILLED: [&str; 6] = ["EvidenceNote", "Evidence", "Identifier", "ContactMerge", "AdoptedContact", "Contact"];

/// The tables with automatic ids, which an adoption gives itself.
const NUMBERED: [&str; 3] = ["Contact", "ContactMerge", "Evidence"];

/// Somebody else has written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServiceWrote;

impl Database {
    /// Returns whether the tables show that somebody else has written since a run of the adoption ended.
    ///
    /// After the end of a run all rows are compared, by their digest. In the middle of one only rows with ids above
    /// those that the adoption has written are seen: it has not recorded more.
    ///
    /// # Errors
    /// As every read.
    pub async fn written_since(&self, state: &AdoptionState) -> Result<Option<ServiceWrote>, StoreError> {
        let is_written = match state.phase {
            AdoptionPhase::Done | AdoptionPhase::Checking | AdoptionPhase::Behind => {
                self.digest_of_tables().await? != state.content
            }
            AdoptionPhase::Contacts | AdoptionPhase::Identifiers | AdoptionPhase::Merges => {
                self.has_rows_above(state.last_contact_id, state.last_merge_id).await?
            }
            AdoptionPhase::Undoing => false,
        };
        Ok(is_written.then_some(ServiceWrote))
    }

    /// Returns whether there is a contact above this id that is no holder, or a merge above this one.
    ///
    /// # Errors
    /// As every read.
    pub async fn has_rows_above(&self, contact: i64, merge: i64) -> Result<bool, StoreError> {
        let connection = self.connection();
        Ok(contact_above(contact).into_tuple::<i64>().one(&connection).await?.is_some()
            || merge_above(merge).into_tuple::<i64>().one(&connection).await?.is_some())
    }

    /// Returns whether a table that an adoption fills has rows. The tables need not be there.
    ///
    /// # Errors
    /// As every read.
    pub async fn has_rows(&self) -> Result<bool, StoreError> {
        Ok(schema::has_rows(&self.connection(), self.engine(), &FILLED).await?)
    }

    /// Returns the number of contacts, without holders.
    ///
    /// # Errors
    /// As every read.
    pub async fn count_contacts(&self) -> Result<u64, StoreError> {
        Ok(contact::Entity::find().filter(no_holder()).count(&self.connection()).await?)
    }

    async fn last_id(&self, table: &str) -> Result<i64, StoreError> {
        let sql = last_id_sql(table);
        let row = self.connection().query_one_raw(self.engine().statement(sql, Vec::new())).await?;
        Ok(row.map(|row| row.try_get_by_index(0)).transpose()?.unwrap_or(0))
    }

    /// Lets automatic ids begin above those that were given, and refreshes the statistics of the tables: without them
    /// the first look-ups read whole tables.
    ///
    /// # Errors
    /// As every write.
    pub async fn finish_tables(&self) -> Result<(), StoreError> {
        let engine = self.engine();
        for table in NUMBERED {
            let next = self.last_id(table).await?;
            if let Some(sql) = engine.advance_counter(table, next) {
                again_after_lost_race(async || Ok(self.connection().execute_unprepared(&sql).await?)).await?;
            }
        }
        for sql in engine.analyze(&FILLED) {
            let analyze = engine.statement(sql, Vec::<Value>::new());
            // MySQL answers with rows, and PostgreSQL with none.
            again_after_lost_race(async || Ok(self.connection().query_all_raw(analyze.clone()).await?)).await?;
        }
        Ok(())
    }

    /// Deletes all rows of the tables that an adoption fills, and resets their counters of ids.
    ///
    /// # Errors
    /// As every write. Then some of the tables may be empty, and others not. Another run may have taken the adoption.
    pub async fn empty_tables(&self, run: &AdoptionRun) -> Result<(), StoreError> {
        let engine = self.engine();
        for sql in engine.empty_tables(&FILLED) {
            self.enter_adoption_phase(run, AdoptionPhase::Undoing).await?;
            again_after_lost_race(async || Ok(self.connection().execute_unprepared(&sql).await?)).await?;
        }
        Ok(())
    }
}

/// The id of a contact above this one that is no holder.
pub(super) fn contact_above(id: i64) -> Select<contact::Entity> {
    contact::Entity::find()
        .select_only()
        .column(contact::Column::Id)
        .filter(contact::Column::Id.gt(id))
        .filter(no_holder())
        .limit(1)
}

/// The id of a merge above this one.
pub(super) fn merge_above(id: i64) -> Select<contact_merge::Entity> {
    contact_merge::Entity::find()
        .select_only()
        .column(contact_merge::Column::Id)
        .filter(contact_merge::Column::Id.gt(id))
        .limit(1)
}
