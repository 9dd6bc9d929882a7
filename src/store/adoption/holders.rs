//! Holders of ignored identifiers. Their ids are above those of the old table, so they come last, and go before its new
//! rows come.

use std::collections::BTreeSet;

use sea_orm::sea_query::{Expr, ExprTrait};
use sea_orm::{ColumnTrait, DatabaseTransaction, EntityTrait, QueryFilter, QuerySelect, Select};

use super::row_chunks::ROWS_PER_STATEMENT;
use super::state::{AdoptionPhase, AdoptionRun};
use crate::domain::Identifier;
use crate::store::database::Database;
use crate::store::entity::{contact, identifier};
use crate::store::error::StoreError;
use crate::store::flags;
use crate::store::traits::Transaction;

impl Database {
    /// Gives these identifiers to holders, unless there are holders.
    ///
    /// # Errors
    /// As every write. Another run may have taken the adoption.
    pub async fn hold_ignored(&self, run: &AdoptionRun, ignored: &BTreeSet<Identifier>) -> Result<(), StoreError> {
        if ignored.is_empty() || !self.holders().await?.is_empty() {
            return Ok(());
        }
        let identifiers: Vec<Identifier> = ignored.iter().cloned().collect();
        self.in_run_with_clock(run, async |transaction| {
            let now = transaction.now();
            transaction.ignore_free(&identifiers, now).await
        })
        .await
    }

    /// Deletes all holders and what they hold. The adoption is not done any more.
    ///
    /// # Errors
    /// As every write. Another run may have taken the adoption.
    pub async fn delete_holders(&self, run: &AdoptionRun) -> Result<(), StoreError> {
        let holders = self.holders().await?;
        if holders.is_empty() {
            return Ok(());
        }
        let delete = async |transaction: &DatabaseTransaction| {
            for ids in holders.chunks(ROWS_PER_STATEMENT) {
                let held = identifier::Column::ContactId.is_in(ids.iter().copied());
                identifier::Entity::delete_many().filter(held).exec(transaction).await?;
                let rows = contact::Column::Id.is_in(ids.iter().copied());
                contact::Entity::delete_many().filter(rows).exec(transaction).await?;
            }
            Ok(())
        };
        self.in_run(run, AdoptionPhase::Contacts, 0, delete).await
    }

    async fn holders(&self) -> Result<Vec<i64>, StoreError> {
        Ok(all_holders().into_tuple().all(&self.connection()).await?)
    }
}

/// The ids of all holders.
pub(super) fn all_holders() -> Select<contact::Entity> {
    let is_holder = Expr::col(contact::Column::Flags).bit_and(flags::HOLDER).ne(0);
    contact::Entity::find().select_only().column(contact::Column::Id).filter(is_holder)
}
