//! Which column of a file holds what.

use std::collections::BTreeMap;

use super::error::FileError;
use crate::store::old_table::{ColumnNames, ColumnOverride, Field, is_deletion_mark};

/// The columns of a file that are read.
#[derive(Clone, Debug)]
pub(super) struct Columns {
    by_field: BTreeMap<Field, String>,
    /// The columns that are not read.
    pub(super) unused: Vec<String>,
    /// Whether the file was written by `identity export`: it says what is ignored.
    pub(super) is_export: bool,
}

/// What `identity export` adds to the columns of a contact.
pub(super) const IGNORED: &str = "ignored";
pub(super) const HOLDER: &str = "holder";

impl Columns {
    /// Finds the columns among these names: by `--map`, else by the names that other systems have.
    pub(super) fn detect(names: &[String], overrides: &[ColumnOverride]) -> Result<Self, FileError> {
        // Values of a customer would be shown as names.
        let is_value =
            |name: &String| name.contains(['@', '\r', '\n']) || name.chars().filter(char::is_ascii_digit).count() > 4;
        if names.iter().any(is_value) {
            return Err(FileError::NoNames);
        }
        let columns = ColumnNames { of: "the file".to_owned(), names: names.iter().map(String::as_str).collect() };
        let by_field = columns.choose(overrides)?;
        let by_field: BTreeMap<Field, String> =
            by_field.into_iter().map(|(field, column)| (field, column.to_owned())).collect();
        let has = |field: Field| by_field.contains_key(&field);
        if !has(Field::Email) && !has(Field::PhoneNumber) {
            return Err(columns.missing("email or phoneNumber", "email").into());
        }
        if has(Field::LinkedId) && !has(Field::Id) {
            return Err(columns.missing("id, which linkedId needs", "id").into());
        }
        let is_named = |name: &str| names.iter().any(|one| one == name);
        let is_export = [IGNORED, HOLDER, "linkPrecedence"].into_iter().all(is_named);
        let is_used = |name: &&String| {
            by_field.values().any(|used| used == *name) || is_export && [IGNORED, HOLDER].contains(&name.as_str())
        };
        let unused: Vec<String> = names.iter().filter(|name| !is_used(name)).cloned().collect();
        let says_deleted = overrides.iter().any(|one| one.field() == Field::DeletedAt) || has(Field::DeletedAt);
        match unused.iter().find(|name| is_deletion_mark(name)).filter(|_| !says_deleted) {
            Some(mark) => Err(FileError::DeletionMark(mark.clone())),
            None => Ok(Self { by_field, unused, is_export }),
        }
    }

    /// Returns the name of the column that holds a field.
    pub(super) fn get(&self, field: Field) -> Option<&str> {
        self.by_field.get(&field).map(String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn detect(names: &[&str], map: &[&str]) -> Result<Columns, String> {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let map: Vec<ColumnOverride> = map.iter().map(|text| text.parse().unwrap()).collect();
        Columns::detect(&names, &map).map_err(|error| error.to_string())
    }

    #[test]
    fn columns_are_found_by_name_and_by_map() {
        let found = detect(&["Mail", "Telefon", "created_at", "note"], &["phone=telefon"]).unwrap();
        assert_eq!(found.get(Field::Email), Some("Mail"));
        assert_eq!((found.get(Field::PhoneNumber), found.get(Field::Id)), (Some("Telefon"), None));
        assert_eq!((found.unused, found.is_export), (vec!["note".to_owned()], false));
        let columns = ["id", "email", "phoneNumber", "linkPrecedence", "ignored", "holder"];
        let export = detect(&columns, &[]).unwrap();
        assert!(export.is_export && export.unused.is_empty());
    }

    #[test]
    fn what_is_missing_or_twice_is_named() {
        for (names, map, said) in [
            (&["name", "town"][..], &[][..], "the file has no column for email or phoneNumber: name it by --map email"),
            (&["name", "town"], &[], "(it has name, town)"),
            (&["email", "mail"], &[], "the columns email, mail of the file could each be email"),
            (&["email", "linked_id"], &[], "the file has no column for id, which linkedId needs"),
            (&["email", "status"], &[], "the column status could mark deleted rows"),
        ] {
            let error = detect(names, map).unwrap_err();
            assert!(error.contains(said), "{error}");
        }
        detect(&["email", "status"], &["deletedAt="]).unwrap();
    }
}
