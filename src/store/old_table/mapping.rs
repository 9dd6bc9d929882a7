//! Which column of an old table holds what.

use std::collections::BTreeMap;
use std::fmt::{Display, Formatter};

use super::column_choice::ColumnNames;
use super::column_override::ColumnOverride;
use super::column_type::{DateForm, date_form, is_identifier, is_integer};
use super::date_rule::{self, DateColumn, DateZone};
use super::error::OldFormError;
use super::names::{Field, is_deletion_mark};
use super::time_zone::OldTimeZone;
use crate::store::catalogue::{FoundColumn, FoundIndex, FoundTable};
use crate::store::sql::Engine;

/// Which table and columns are read, and in which time zone. It prints as several lines, for the operator to check.
#[derive(Clone, Debug)]
pub struct Mapping {
    pub(super) engine: Engine,
    pub(super) schema: Option<String>,
    pub(super) table: String,
    pub(super) columns: BTreeMap<Field, MappedColumn>,
    pub(super) zone: DateZone,
    /// Whether it is read from a server that repeats the writes of another one.
    pub(super) is_replica: bool,
}

/// A column that holds a field.
#[derive(Clone, Debug)]
pub(super) struct MappedColumn {
    pub(super) name: String,
    pub(super) sql_type: String,
    /// How it holds dates, if it does.
    pub(super) date_form: Option<DateForm>,
}

/// A table as the database describes it.
#[derive(Clone, Copy, Debug)]
pub(super) struct TableForm<'a> {
    pub(super) engine: Engine,
    /// The schema or database, where it is not that of the connection.
    pub(super) schema: Option<&'a str>,
    pub(super) name: &'a str,
    pub(super) found: &'a FoundTable,
    /// The tables beside it.
    pub(super) neighbours: &'a [&'a str],
}

impl<'a> TableForm<'a> {
    fn columns(&self) -> ColumnNames<'a> {
        let names = self.found.columns.iter().map(|column| column.name.as_str()).collect();
        ColumnNames { of: format!("the table {}", self.name), names }
    }

    /// Whether no two rows have the same value in this column, and each has one.
    fn is_key(&self, column: &FoundColumn) -> bool {
        let is_alone = |names: &[String]| matches!(names, [name] if *name == column.name);
        let is_key = |index: &FoundIndex| index.is_unique && !index.is_partial && is_alone(&index.columns);
        is_alone(&self.found.primary_key) || !column.is_nullable && self.found.indexes.iter().any(is_key)
    }

    /// Fails if the column cannot hold the field.
    fn check(&self, field: Field, column: &FoundColumn) -> Result<MappedColumn, OldFormError> {
        let (table, name, sql_type) = (self.name.to_owned(), column.name.clone(), column.sql_type.clone());
        let date_form = date_form(self.engine, &sql_type).filter(|_| Field::DATES.contains(&field));
        let is_right = match field {
            Field::Id | Field::LinkedId if !is_integer(self.engine, &sql_type) => {
                return Err(OldFormError::TextIds { table, column: name, sql_type });
            }
            Field::Id if !self.is_key(column) => return Err(OldFormError::NoKey { table, column: name }),
            Field::Id | Field::LinkedId | Field::LinkPrecedence => true,
            Field::Email | Field::PhoneNumber => is_identifier(self.engine, &sql_type),
            Field::CreatedAt | Field::UpdatedAt | Field::DeletedAt => date_form.is_some(),
        };
        if !is_right {
            return Err(OldFormError::ColumnType { table, column: name, sql_type, field: field.name() });
        }
        Ok(MappedColumn { name, sql_type, date_form })
    }
}

impl Mapping {
    /// Finds the columns of a table.
    pub(super) fn detect(
        form: TableForm<'_>,
        overrides: &[ColumnOverride],
        time_zone: Option<&OldTimeZone>,
    ) -> Result<Self, OldFormError> {
        let mut columns: BTreeMap<Field, MappedColumn> = BTreeMap::new();
        let mut dates = Vec::new();
        for (field, name) in form.columns().choose(overrides)? {
            let Some(column) = form.found.columns.iter().find(|column| column.name == name) else { continue };
            let mapped = form.check(field, column)?;
            if let Some(date_form) = mapped.date_form {
                let (name, sql_type, has_default) = (&*column.name, &*column.sql_type, column.has_default);
                dates.push(DateColumn { field, name, sql_type, form: date_form, has_default });
            }
            columns.insert(field, mapped);
        }
        require_columns(form, overrides, &columns)?;
        let zone = date_rule::decide(form.engine, time_zone, &dates, form.neighbours).ok_or_else(|| {
            let without = dates.iter().filter(|column| column.form.needs_zone());
            let described = without.map(|column| format!("{} {}", column.name, column.sql_type));
            OldFormError::NoTimeZone { table: form.name.to_owned(), columns: described.collect::<Vec<_>>().join(", ") }
        })?;
        let (schema, table) = (form.schema.map(str::to_owned), form.name.to_owned());
        Ok(Self { engine: form.engine, schema, table, columns, zone, is_replica: false })
    }

    /// Returns the name of the table, with its schema if that was given.
    pub fn table(&self) -> String {
        self.schema.as_ref().map_or_else(|| self.table.clone(), |schema| format!("{schema}.{}", self.table))
    }

    /// Returns all that decides what is read, in one line without secrets. A run that goes on where another one ended
    /// must have the same.
    pub fn fingerprint(&self) -> String {
        let columns = self.columns.iter().map(|(field, column)| format!("{field}={}", column.name));
        let columns = columns.collect::<Vec<_>>().join(" ");
        format!("table={} {columns} time-zone={}", self.table(), self.zone.zone)
    }
}

/// Fails if a column is missing that is needed.
fn require_columns(
    form: TableForm<'_>,
    overrides: &[ColumnOverride],
    columns: &BTreeMap<Field, MappedColumn>,
) -> Result<(), OldFormError> {
    let has = |field: Field| columns.contains_key(&field);
    for field in [Field::Id, Field::LinkedId] {
        if !has(field) {
            return Err(form.columns().missing(field.name(), field.name()).into());
        }
    }
    if !has(Field::Email) && !has(Field::PhoneNumber) {
        return Err(form.columns().missing("email or phoneNumber", "email").into());
    }
    let is_mapped = |field| overrides.iter().any(|given| given.field == field);
    if !has(Field::CreatedAt) && !is_mapped(Field::CreatedAt) {
        return Err(OldFormError::NoAge { table: form.name.to_owned(), columns: form.columns().list() });
    }
    let is_used = |column: &FoundColumn| columns.values().any(|mapped| mapped.name == column.name);
    let mark = form.found.columns.iter().find(|column| is_deletion_mark(&column.name) && !is_used(column));
    match mark.filter(|_| !has(Field::DeletedAt) && !is_mapped(Field::DeletedAt)) {
        Some(mark) => Err(OldFormError::DeletionMark { table: form.name.to_owned(), column: mark.name.clone() }),
        None => Ok(()),
    }
}

impl Display for Mapping {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> std::fmt::Result {
        writeln!(formatter, "table           {} ({})", self.table(), self.engine.system_name())?;
        for field in Field::ALL {
            match self.columns.get(&field) {
                Some(column) => writeln!(formatter, "{:<15} {} ({})", field.name(), column.name, column.sql_type)?,
                None => writeln!(formatter, "{:<15} (no column)", field.name())?,
            }
        }
        write!(formatter, "time zone       {} ({})", self.zone.zone, self.zone.reason)?;
        if self.is_replica {
            let advice = "a replica, or read-only: before the last pass, give the URL of the server that takes writes";
            write!(formatter, "\nserver          {advice}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::column_choice::ColumnError;
    use super::*;

    fn column(name: &str, sql_type: &str) -> FoundColumn {
        FoundColumn {
            name: name.to_owned(),
            sql_type: sql_type.to_owned(),
            is_nullable: true,
            has_default: false,
            is_automatic: false,
        }
    }

    /// A table with the primary key `id`. Columns are `name type`.
    fn table(columns: &[&str]) -> FoundTable {
        let columns = columns.iter().map(|column| column.split_once(' ').unwrap());
        let columns = columns.map(|(name, sql_type)| column(name, sql_type)).collect();
        FoundTable { columns, primary_key: vec!["id".to_owned()], indexes: Vec::new() }
    }

    fn detect(found: &FoundTable, map: &[&str]) -> Result<Mapping, OldFormError> {
        let form =
            TableForm { engine: Engine::Postgres, schema: None, name: "contact", found, neighbours: &["contact"] };
        let map: Vec<ColumnOverride> = map.iter().map(|text| text.parse().unwrap()).collect();
        Mapping::detect(form, &map, None)
    }

    fn refused(columns: &[&str], map: &[&str]) -> String {
        let error = detect(&table(columns), map).unwrap_err().to_string();
        assert!(!error.contains('\n'));
        error
    }

    const SNAKE: [&str; 5] =
        ["id bigint", "email text", "phone_number text", "linked_id bigint", "created_at timestamp with time zone"];

    fn snake_and<'a>(more: &[&'a str]) -> Vec<&'a str> {
        SNAKE.iter().chain(more).copied().collect()
    }

    #[test]
    fn columns_are_found_by_name_and_printed() {
        let mapping = detect(&table(&SNAKE), &[]).unwrap();
        let expected = "table           contact (postgresql)
id              id (bigint)
email           email (text)
phoneNumber     phone_number (text)
linkedId        linked_id (bigint)
linkPrecedence  (no column)
createdAt       created_at (timestamp with time zone)
updatedAt       (no column)
deletedAt       (no column)
time zone       UTC (each date says its zone)";
        assert_eq!(mapping.to_string(), expected);
        let on_replica = Mapping { is_replica: true, ..mapping.clone() };
        assert!(on_replica.to_string().contains("a replica, or read-only: before the last pass"));
        assert_eq!(on_replica.fingerprint(), mapping.fingerprint());
        let fingerprint = "table=contact id=id email=email phoneNumber=phone_number linkedId=linked_id \
                           createdAt=created_at time-zone=UTC";
        assert_eq!(mapping.fingerprint(), fingerprint);
    }

    #[test]
    fn a_map_wins_over_names() {
        let found = table(&snake_and(&["Mail text", "note text"]));
        assert!(
            refused(&snake_and(&["Mail text"]), &[]).contains("the columns email, Mail of the table contact could")
        );
        let mapping = detect(&found, &["email=mail", "phone="]).unwrap();
        assert_eq!(mapping.columns[&Field::Email].name, "Mail");
        assert!(!mapping.columns.contains_key(&Field::PhoneNumber));
        let error = detect(&found, &["email=male"]).unwrap_err().to_string();
        assert!(error.starts_with("--map email=male: the table contact has no such column (it has id, "), "{error}");
        let twice = detect(&found, &["email=note", "email=email"]).unwrap_err();
        assert_eq!(twice, OldFormError::Column(ColumnError::FieldTwice("email")));
        let error = detect(&found, &["email=note", "phone=note"]).unwrap_err().to_string();
        assert!(error.contains("note cannot hold both email and phoneNumber"), "{error}");
    }

    #[test]
    fn a_required_column_is_named() {
        assert!(
            refused(&["id bigint", "email text"], &[]).contains("no column for linkedId: name it by --map linkedId")
        );
        let no_identifier = refused(&["id bigint", "linked_id bigint", "name text"], &[]);
        assert!(no_identifier.contains("no column for email or phoneNumber"), "{no_identifier}");
        assert!(no_identifier.contains("(it has id, linked_id, name)"), "{no_identifier}");
        let ageless = ["id bigint", "linked_id bigint", "phone bigint", "created_ts bigint"];
        assert!(refused(&ageless[..3], &[]).contains("no column for createdAt"));
        detect(&table(&ageless), &[]).unwrap();
        detect(&table(&ageless[..3]), &["createdAt="]).unwrap();
    }

    #[test]
    fn ids_must_be_whole_numbers_and_a_key() {
        for sql_type in ["uuid", "text", "character varying(36)"] {
            let columns = [format!("id {sql_type}"), "email text".to_owned(), format!("linked_id {sql_type}")];
            let error = refused(&columns.each_ref().map(String::as_str), &[]);
            assert!(error.contains(&format!("the column id of the table contact is {sql_type}")), "{error}");
            assert!(error.contains("--map linkedId=COLUMN"), "{error}");
        }
        assert!(refused(&["id bigint", "email text", "linked_id text"], &[]).contains("the column linked_id"));
        let mut found = table(&SNAKE);
        found.primary_key = vec!["id".to_owned(), "email".to_owned()];
        let no_key = || OldFormError::NoKey { table: "contact".to_owned(), column: "id".to_owned() };
        assert_eq!(detect(&found, &[]).unwrap_err(), no_key());
        let columns = vec!["id".to_owned()];
        let index = FoundIndex { name: "u".to_owned(), is_unique: true, is_partial: false, columns };
        found.indexes.push(index);
        assert_eq!(detect(&found, &[]).unwrap_err(), no_key(), "it can be null");
        found.columns[0].is_nullable = false;
        detect(&found, &[]).unwrap();
        found.indexes[0].is_partial = true;
        assert_eq!(detect(&found, &[]).unwrap_err(), no_key(), "it is unique among some rows");
    }

    #[test]
    fn a_column_must_be_able_to_hold_its_field() {
        let error = refused(&snake_and(&["deleted_at boolean"]), &[]);
        assert!(error.contains("the column deleted_at of the table contact is boolean, which cannot be deletedAt"));
        assert!(refused(&["id bigint", "email bytea", "linked_id bigint"], &[]).contains("which cannot be email"));
    }

    #[test]
    fn rows_that_are_marked_as_deleted_are_not_taken_for_live_ones() {
        for mark in [
            "is_deleted boolean",
            "deleted boolean",
            "active boolean",
            "archived_at timestamp with time zone",
            "is_removed boolean",
            "status text",
            "disabled integer",
        ] {
            assert!(refused(&snake_and(&[mark]), &[]).contains("--map deletedAt="), "{mark}");
            detect(&table(&snake_and(&[mark])), &["deletedAt="]).unwrap();
            detect(&table(&snake_and(&[mark, "deleted_at date"])), &["deletedAt=created_at", "createdAt="]).unwrap();
        }
    }

    #[test]
    fn a_zone_is_asked_for() {
        let error =
            refused(&["id integer", "email text", "linkedId integer", "createdAt timestamp without time zone"], &[]);
        assert!(error.contains("(createdAt timestamp without time zone)") && error.contains("--time-zone"), "{error}");
    }
}
