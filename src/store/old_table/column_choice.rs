//! Which columns of a table or of a file hold the fields of a contact: those of `--map`, else those with a name that is
//! known.

use std::collections::BTreeMap;

use super::column_override::ColumnOverride;
use super::names::Field;

/// Why columns cannot be chosen. One line for the operator: it names columns and flags, and no value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ColumnError {
    /// No column holds a field.
    #[error("{of} has no column for {field}: name it by --map {flag}=COLUMN (it has {columns})")]
    NoColumn {
        /// The table or file.
        of: String,
        /// The field or fields.
        field: &'static str,
        /// The field in the flag.
        flag: &'static str,
        /// All columns.
        columns: String,
    },
    /// Several columns could hold a field.
    #[error("the columns {columns} of {of} could each be {field}: name one by --map {field}=COLUMN")]
    SeveralColumns {
        /// The table or file.
        of: String,
        /// The field.
        field: &'static str,
        /// The columns.
        columns: String,
    },
    /// `--map` names no column.
    #[error("--map {field}={column}: {of} has no such column (it has {columns})")]
    NoSuchColumn {
        /// The table or file.
        of: String,
        /// The field.
        field: &'static str,
        /// The column.
        column: String,
        /// All columns.
        columns: String,
    },
    /// `--map` names a field twice.
    #[error("--map: {0} is given twice")]
    FieldTwice(&'static str),
    /// Two fields have one column.
    #[error("the column {column} cannot hold both {one} and {other}: see --map")]
    ColumnTwice {
        /// The column.
        column: String,
        /// A field.
        one: &'static str,
        /// Another one.
        other: &'static str,
    },
}

/// The columns of a table or of a file.
#[derive(Clone, Debug)]
pub(crate) struct ColumnNames<'a> {
    /// What has them, in the words of an error, such as `the file`.
    pub(crate) of: String,
    pub(crate) names: Vec<&'a str>,
}

impl<'a> ColumnNames<'a> {
    /// Returns the name of the column of each field that has one.
    pub(crate) fn choose(&self, overrides: &[ColumnOverride]) -> Result<BTreeMap<Field, &'a str>, ColumnError> {
        let mut chosen: BTreeMap<Field, &str> = BTreeMap::new();
        for field in Field::ALL {
            let mut given = overrides.iter().filter(|given| given.field() == field);
            let column = match (given.next(), given.next()) {
                (None, _) => self.known(field)?,
                (Some(given), None) => given.column().map(|column| self.named(field, column)).transpose()?,
                (Some(_), Some(_)) => return Err(ColumnError::FieldTwice(field.name())),
            };
            let Some(column) = column else { continue };
            if let Some((other, _)) = chosen.iter().find(|(_, other)| **other == column) {
                let (one, other) = (other.name(), field.name());
                return Err(ColumnError::ColumnTwice { column: column.to_owned(), one, other });
            }
            chosen.insert(field, column);
        }
        Ok(chosen)
    }

    /// Returns the error that a field lacks a column. `flag` is the field in the flag that would name it.
    pub(crate) fn missing(&self, field: &'static str, flag: &'static str) -> ColumnError {
        ColumnError::NoColumn { of: self.of.clone(), field, flag, columns: self.list() }
    }

    /// Returns the names as a list.
    pub(crate) fn list(&self) -> String {
        self.names.join(", ")
    }

    /// The column with a name that the field has in other systems.
    fn known(&self, field: Field) -> Result<Option<&'a str>, ColumnError> {
        let found: Vec<&str> = self.names.iter().copied().filter(|name| field.is_column(name)).collect();
        match found[..] {
            [] => Ok(None),
            [only] => Ok(Some(only)),
            _ => {
                let (of, columns) = (self.of.clone(), found.join(", "));
                Err(ColumnError::SeveralColumns { of, field: field.name(), columns })
            }
        }
    }

    /// The column that `--map` names: in its spelling, or else in another case of letters.
    fn named(&self, field: Field, column: &str) -> Result<&'a str, ColumnError> {
        let exact = self.names.iter().find(|name| **name == column);
        let mut folded = self.names.iter().filter(|name| name.to_lowercase() == column.to_lowercase());
        let found = exact.or_else(|| folded.next().filter(|_| folded.next().is_none()));
        found.copied().ok_or_else(|| {
            let (of, column, columns) = (self.of.clone(), column.to_owned(), self.list());
            ColumnError::NoSuchColumn { of, field: field.name(), column, columns }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn choose(names: &[&'static str], map: &[&str]) -> Result<BTreeMap<Field, &'static str>, String> {
        let columns = ColumnNames { of: "the file".to_owned(), names: names.to_vec() };
        let map: Vec<ColumnOverride> = map.iter().map(|text| text.parse().unwrap()).collect();
        columns.choose(&map).map_err(|error| error.to_string())
    }

    #[test]
    fn a_column_is_found_by_its_name_or_by_the_map() {
        let chosen = choose(&["Mail", "TELEFON", "note"], &["phone=telefon"]).unwrap();
        assert_eq!(chosen, BTreeMap::from([(Field::Email, "Mail"), (Field::PhoneNumber, "TELEFON")]));
        assert_eq!(choose(&["email"], &["email="]).unwrap(), BTreeMap::new());
        assert_eq!(choose(&["a", "A"], &["email=A"]).unwrap(), BTreeMap::from([(Field::Email, "A")]));
    }

    #[test]
    fn each_error_names_the_place_and_the_flag() {
        for (names, map, said) in [
            (&["email", "mail"][..], &[][..], "the columns email, mail of the file could each be email"),
            (&["email"], &["phone=tel"], "--map phoneNumber=tel: the file has no such column (it has email)"),
            (&["a", "A"], &["email=á"], "--map email=á: the file has no such column (it has a, A)"),
            (&["email"], &["phone=email"], "the column email cannot hold both email and phoneNumber"),
            (&["email"], &["email=email", "email=email"], "--map: email is given twice"),
        ] {
            let error = choose(names, map).unwrap_err();
            assert!(error.contains(said), "{error}");
        }
        let columns = ColumnNames { of: "the table contact".to_owned(), names: vec!["id", "name"] };
        let missing = "the table contact has no column for email: name it by --map email=COLUMN (it has id, name)";
        assert_eq!(columns.missing("email", "email").to_string(), missing);
    }
}
