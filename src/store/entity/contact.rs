//! Table `Contact`: one row an observation that brought something new.

use chrono::NaiveDateTime;
use sea_orm::entity::prelude::*;

/// `linkPrecedence`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, EnumIter, DeriveActiveEnum)]
#[sea_orm(rs_type = "String", db_type = "Enum", enum_name = "link_precedence")]
pub enum LinkPrecedence {
    /// The oldest contact of its identity.
    #[sea_orm(string_value = "primary")]
    Primary,
    /// Any other.
    #[sea_orm(string_value = "secondary")]
    Secondary,
}

/// A row. Moments are UTC, with microseconds.
#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "Contact")]
pub struct Model {
    /// Given by the database, ascending.
    #[sea_orm(primary_key)]
    pub id: i64,
    /// Canonical phone number, if the observation had one.
    #[sea_orm(column_name = "phoneNumber")]
    pub phone_number: Option<String>,
    /// Canonical e-mail address, if the observation had one.
    pub email: Option<String>,
    /// The primary's `id`; null on a primary.
    #[sea_orm(column_name = "linkedId")]
    pub linked_id: Option<i64>,
    /// Whether it is the primary.
    #[sea_orm(column_name = "linkPrecedence")]
    pub link_precedence: LinkPrecedence,
    /// When it was inserted.
    #[sea_orm(column_name = "createdAt")]
    pub created_at: NaiveDateTime,
    /// When the row last changed or, on a primary, its identity.
    #[sea_orm(column_name = "updatedAt")]
    pub updated_at: NaiveDateTime,
    /// When it was deleted: then it matches nothing and is in no answer.
    #[sea_orm(column_name = "deletedAt")]
    pub deleted_at: Option<NaiveDateTime>,
    /// What the row is besides a contact: see [`flags`](crate::store::flags).
    pub flags: i16,
}

impl ActiveModelBehavior for ActiveModel {}
