//! Table `Adoption`: one row while the table of another system is taken over, and afterwards.

use chrono::NaiveDateTime;
use sea_orm::entity::prelude::*;

/// The row. Its id is 1.
#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "Adoption")]
pub struct Model {
    /// 1.
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: i64,
    /// The options that the adoption began with, without secrets.
    pub options: Json,
    /// What is done next; see [`AdoptionPhase`](crate::store::AdoptionPhase).
    pub phase: String,
    /// The last id of the contacts that were compared, or the number of identifiers or merges.
    pub progress: i64,
    /// How many contacts were adopted.
    pub contacts: i64,
    /// The greatest id of a contact that the adoption has written, apart from holders.
    #[sea_orm(column_name = "lastContactId")]
    pub last_contact_id: i64,
    /// The greatest id of a merge that the adoption has written.
    #[sea_orm(column_name = "lastMergeId")]
    pub last_merge_id: i64,
    /// A digest of all rows when a run of the adoption ended last; empty before.
    pub content: String,
    /// The run that may write: a random text. Each run takes a new one.
    pub run: String,
    /// When the adoption began. UTC, with microseconds.
    #[sea_orm(column_name = "startedAt")]
    pub started_at: NaiveDateTime,
}

impl ActiveModelBehavior for ActiveModel {}
