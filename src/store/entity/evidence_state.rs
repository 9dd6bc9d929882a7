//! Table `EvidenceState`: one row about table `Evidence`.

use chrono::NaiveDateTime;
use sea_orm::entity::prelude::*;

/// The row. Its id is 1.
#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "EvidenceState")]
pub struct Model {
    /// 1.
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: i64,
    /// The merges up to this id were copied.
    #[sea_orm(column_name = "copiedMergeId")]
    pub copied_merge_id: i64,
    /// From when on every set that was seen is stored; null if it is not known. UTC, with microseconds.
    #[sea_orm(column_name = "completeSince")]
    pub complete_since: Option<NaiveDateTime>,
}

impl ActiveModelBehavior for ActiveModel {}
