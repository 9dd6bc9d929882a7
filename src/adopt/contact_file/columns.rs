//! Which column of a file holds what.

use std::collections::BTreeMap;

use super::error::FileError;
use crate::store::old_table::{ColumnOverride, Field, is_deletion_mark};

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
        let all = names.join(", ");
        let mut by_field: BTreeMap<Field, String> = BTreeMap::new();
        for field in Field::ALL {
            let given: Vec<_> = overrides.iter().filter(|one| one.field() == field).collect();
            let column = match given[..] {
                [] => column_of(names, field)?,
                [only] => only.column().map(|column| column_named(names, field, column, &all)).transpose()?,
                _ => return Err(FileError::FieldTwice(field.name())),
            };
            let Some(column) = column else { continue };
            if let Some((other, _)) = by_field.iter().find(|(_, other)| *other == column) {
                let (one, other) = (other.name(), field.name());
                return Err(FileError::ColumnTwice { column: column.clone(), one, other });
            }
            by_field.insert(field, column.clone());
        }
        let has = |field: Field| by_field.contains_key(&field);
        if !has(Field::Email) && !has(Field::PhoneNumber) {
            return Err(FileError::NoColumn { field: "email or phoneNumber", flag: "email", columns: all });
        }
        if has(Field::LinkedId) && !has(Field::Id) {
            return Err(FileError::NoColumn { field: "id, which linkedId needs", flag: "id", columns: all });
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

fn column_of(names: &[String], field: Field) -> Result<Option<&String>, FileError> {
    let found: Vec<&String> = names.iter().filter(|name| field.is_column(name)).collect();
    match found[..] {
        [] => Ok(None),
        [only] => Ok(Some(only)),
        _ => Err(FileError::SeveralColumns {
            field: field.name(),
            columns: found.into_iter().cloned().collect::<Vec<_>>().join(", "),
        }),
    }
}

/// The column that `--map` names: in its spelling, or else in another case of letters.
fn column_named<'a>(names: &'a [String], field: Field, name: &str, all: &str) -> Result<&'a String, FileError> {
    let exact = names.iter().find(|one| *one == name);
    let mut folded = names.iter().filter(|one| one.to_lowercase() == name.to_lowercase());
    exact.or_else(|| folded.next().filter(|_| folded.next().is_none())).ok_or_else(|| FileError::NoSuchColumn {
        field: field.name(),
        column: name.to_owned(),
        columns: all.to_owned(),
    })
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
            (&["name", "town"][..], &[][..], "no column is for email or phoneNumber: name it by --map email=COLUMN"),
            (&["name", "town"], &[], "(the file has name, town)"),
            (&["email", "mail"], &[], "the columns email, mail could each be email"),
            (&["email"], &["phone=tel"], "--map phoneNumber=tel: the file has no such column"),
            (&["email"], &["phone=email"], "the column email cannot hold both email and phoneNumber"),
            (&["email"], &["email=email", "email=email"], "--map: email is given twice"),
            (&["email", "linked_id"], &[], "no column is for id, which linkedId needs"),
            (&["email", "status"], &[], "the column status could mark deleted rows"),
        ] {
            let error = detect(names, map).unwrap_err();
            assert!(error.contains(said), "{error}");
        }
        detect(&["email", "status"], &["deletedAt="]).unwrap();
    }
}
