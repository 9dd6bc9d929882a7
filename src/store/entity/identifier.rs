//! Table `Identifier`: who owns which identifier.

use sea_orm::entity::prelude::*;

/// A row: an identifier that is owned.
#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "Identifier")]
pub struct Model {
    /// [`IdentifierKind::name`](crate::domain::IdentifierKind::name).
    #[sea_orm(primary_key, auto_increment = false)]
    pub kind: String,
    /// The canonical value's UTF-8 bytes: bytes, so that equality is byte equality on every database.
    #[sea_orm(primary_key, auto_increment = false, column_type = "VarBinary(StringLen::N(255))")]
    pub value: Vec<u8>,
    /// The contact that first brought it; the identity is that contact's.
    #[sea_orm(column_name = "contactId")]
    pub contact_id: i64,
}

impl ActiveModelBehavior for ActiveModel {}
