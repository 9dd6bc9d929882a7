//! Table `Evidence`: the sets of identifiers that were seen together and that no contact carries.

use chrono::NaiveDateTime;
use sea_orm::entity::prelude::*;

use super::contact_merge::MergeCause;

/// A row: a set that was seen.
#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "Evidence")]
pub struct Model {
    /// Given by the database, ascending.
    #[sea_orm(primary_key)]
    pub id: i64,
    /// [`SetKey`](crate::domain::SetKey) of the identifiers. Unique.
    #[sea_orm(column_name = "setKey", column_type = "VarBinary(StringLen::N(16))")]
    pub set_key: Vec<u8>,
    /// A contact that carries one of the identifiers.
    #[sea_orm(column_name = "contactId")]
    pub contact_id: i64,
    /// [`EvidenceOrigin::name`](crate::domain::EvidenceOrigin::name).
    pub origin: String,
    /// The set: the same form as the cause of a merge.
    pub identifiers: MergeCause,
    /// When it was seen first. UTC, with microseconds.
    #[sea_orm(column_name = "createdAt")]
    pub created_at: NaiveDateTime,
    /// Always null: a later version says here which correction has retracted the set.
    #[sea_orm(column_name = "retractedBy")]
    pub retracted_by: Option<i64>,
}

impl ActiveModelBehavior for ActiveModel {}
