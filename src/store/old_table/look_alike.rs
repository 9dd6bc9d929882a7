//! Tables beside those of the service that could hold the contacts of another system.

use sea_orm::{ConnectionTrait, DbErr};

use super::names::{Field, is_contact_table};
use crate::store::catalogue::{Catalogue, FoundTable};

/// The tables that could be an old table of contacts, by their names. `own` is the table of this service.
pub(super) fn candidates<'a>(catalogue: &'a Catalogue, own: Option<&str>) -> Vec<&'a str> {
    catalogue.names().filter(|name| is_contact_table(name) && Some(*name) != own).collect()
}

/// Whether a table could hold contacts that `identity adopt` takes over: it has a column for an identifier, and one for
/// the link or the precedence. Other tables of such names keep addresses for another purpose.
pub(in crate::store) fn could_hold_contacts(found: &FoundTable) -> bool {
    let has = |field: Field| found.columns.iter().any(|column| field.is_column(&column.name));
    (has(Field::Email) || has(Field::PhoneNumber)) && (has(Field::LinkedId) || has(Field::LinkPrecedence))
}

/// Returns the first table with rows that could hold the contacts of another system, by its name and
/// [its columns](could_hold_contacts). `own` is the table of this service, and `ignored` are the names that the
/// operator knows.
pub(in crate::store) async fn first_look_alike(
    connection: &impl ConnectionTrait,
    catalogue: &Catalogue,
    own: Option<&str>,
    ignored: &[String],
) -> Result<Option<String>, DbErr> {
    let is_ignored = |name: &str| ignored.iter().any(|ignored| catalogue.table_named(ignored) == Some(name));
    for name in candidates(catalogue, own) {
        let is_candidate = catalogue.is_readable(name) && !is_ignored(name);
        if is_candidate
            && could_hold_contacts(&catalogue.describe(connection, name).await?)
            && catalogue.has_rows(connection, name).await?
        {
            return Ok(Some(name.to_owned()));
        }
    }
    Ok(None)
}
