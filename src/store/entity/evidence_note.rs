//! Table `EvidenceNote`: what callers say about the sets of identifiers that were seen.

use chrono::NaiveDateTime;
use sea_orm::entity::prelude::*;

/// A row: the note of one set. At least one of the parts is given.
#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "EvidenceNote")]
pub struct Model {
    /// The set: `c3` for that of contact 3, `e7` for that in row 7 of `Evidence`.
    #[sea_orm(primary_key, auto_increment = false)]
    pub evidence: String,
    /// Where it comes from.
    pub source: Option<String>,
    /// What the source calls it.
    #[sea_orm(column_name = "externalRef")]
    pub external_ref: Option<String>,
    /// When it happened. UTC, with microseconds.
    #[sea_orm(column_name = "occurredAt")]
    pub occurred_at: Option<NaiveDateTime>,
    /// When the row was written. UTC, with microseconds.
    #[sea_orm(column_name = "createdAt")]
    pub created_at: NaiveDateTime,
}

impl ActiveModelBehavior for ActiveModel {}
