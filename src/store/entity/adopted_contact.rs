//! Table `AdoptedContact`: what a row of another system's table had before it was adopted, if anything was changed.

use sea_orm::entity::prelude::*;

/// A row. It has the values as they were stored, changed or not: personal data.
#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "AdoptedContact")]
pub struct Model {
    /// The id of the contact.
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: i64,
    /// Its e-mail address.
    #[sea_orm(column_type = "Text", nullable)]
    pub email: Option<String>,
    /// Its phone number.
    #[sea_orm(column_name = "phoneNumber", column_type = "Text", nullable)]
    pub phone_number: Option<String>,
    /// Its link.
    #[sea_orm(column_name = "linkedId")]
    pub linked_id: Option<i64>,
    /// Its precedence, in the words of the old table.
    #[sea_orm(column_name = "linkPrecedence")]
    pub link_precedence: Option<String>,
    /// What was changed, in words.
    pub reason: String,
}

impl ActiveModelBehavior for ActiveModel {}
