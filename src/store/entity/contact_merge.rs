//! Table `ContactMerge`: which identities were merged, when and why.

use chrono::NaiveDateTime;
use sea_orm::FromJsonQueryResult;
use sea_orm::entity::prelude::*;
use serde::{Deserialize, Serialize};

/// An identifier in a `cause`, [`CauseIdentifier::link`] or [`CauseIdentifier::repair`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CauseIdentifier {
    /// [`IdentifierKind::name`](crate::domain::IdentifierKind::name).
    pub kind: String,
    /// The canonical value.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub value: String,
}

impl CauseIdentifier {
    /// What the cause of a join has that only a link of an adopted table proves: `{"kind":"link"}`.
    pub fn link() -> Self {
        Self { kind: "link".to_owned(), value: String::new() }
    }

    /// What the cause of a merge has that a repair made: `{"kind":"repair"}`. Its identifiers were not seen together.
    pub fn repair() -> Self {
        Self { kind: "repair".to_owned(), value: String::new() }
    }
}

/// The identifiers that one observation carried and that different identities owned until then. A JSON
/// array in the table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, FromJsonQueryResult)]
pub struct MergeCause(pub Vec<CauseIdentifier>);

/// A row: one identity taken in by another.
#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "ContactMerge")]
pub struct Model {
    /// Given by the database, ascending.
    #[sea_orm(primary_key)]
    pub id: i64,
    /// The primary contact of the identity that stayed.
    #[sea_orm(column_name = "survivorId")]
    pub survivor_id: i64,
    /// The contact that was the other's primary until then.
    #[sea_orm(column_name = "absorbedId")]
    pub absorbed_id: i64,
    /// Why.
    pub cause: MergeCause,
    /// When. UTC, with microseconds.
    #[sea_orm(column_name = "createdAt")]
    pub created_at: NaiveDateTime,
}

impl ActiveModelBehavior for ActiveModel {}
