//! The differences between a table of the database and the one that a migration makes.

use std::collections::BTreeSet;

use super::expected::{ColumnKind, Index, Table};
use crate::store::catalogue::{FoundColumn, FoundIndex, FoundTable};
use crate::store::sql::Engine;

/// How a table must resemble the one that a migration makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Strictness {
    /// Exactly. The table is there, but no migration is recorded as its maker.
    Exact,
    /// It is this service's: a newer version, or its operator, may have added what does not disturb.
    Own,
}

/// Returns the differences, in words. Without any, the table is this service's. `applied` are the migrations that the
/// database has: a column that another one adds need not be there.
pub(super) fn differences(
    engine: Engine,
    table: &Table,
    found: &FoundTable,
    strictness: Strictness,
    applied: &BTreeSet<String>,
) -> Vec<String> {
    let mut differences = Vec::new();
    for column in table.columns {
        let name = column.name;
        let Some(there) = found.columns.iter().find(|there| is_same(engine, &there.name, name)) else {
            if column.added_by.is_none_or(|migration| applied.contains(migration)) {
                differences.push(format!("column {name} is missing"));
            }
            continue;
        };
        let expected = column.kind.type_name(engine);
        if there.sql_type != expected {
            differences.push(format!("column {name} is {}, not {expected}", there.sql_type));
        } else if there.is_nullable != column.is_nullable {
            let is = if there.is_nullable { "can" } else { "cannot" };
            differences.push(format!("column {name} {is} be null"));
        } else if column.kind == ColumnKind::AutomaticId && !there.is_automatic {
            differences.push(format!("column {name} gets no automatic value"));
        }
    }
    let is_known = |there: &FoundColumn| table.columns.iter().any(|column| is_same(engine, &there.name, column.name));
    for there in found.columns.iter().filter(|there| !is_known(there)) {
        if strictness == Strictness::Exact || !(there.is_nullable || there.has_default) {
            differences.push(format!("column {} is not known", there.name));
        }
    }
    let has_key = found.primary_key.len() == table.primary_key.len()
        && found.primary_key.iter().zip(table.primary_key).all(|(there, column)| is_same(engine, there, column));
    if !has_key {
        differences.push(format!("its primary key is not {}", table.primary_key.join(", ")));
    }
    let is_it =
        |there: &FoundIndex, index: &Index| is_same(engine, &there.name, index.name) && there.columns == index.columns;
    for index in table.indexes {
        let is_due = index.added_by.is_none_or(|migration| applied.contains(migration));
        match found.indexes.iter().find(|there| is_it(there, index)) {
            None if is_due => differences.push(format!("index {} is missing", index.name)),
            Some(there) if index.is_unique && !there.is_unique => {
                differences.push(format!("index {} is not unique", index.name));
            }
            None | Some(_) => {}
        }
    }
    for there in found.indexes.iter().filter(|there| there.is_unique) {
        if !table.indexes.iter().any(|index| index.is_unique && is_it(there, index)) {
            differences.push(format!("index {} is unique", there.name));
        }
    }
    differences
}

/// Whether two names of columns or indexes are one. Only PostgreSQL distinguishes upper and lower case.
fn is_same(engine: Engine, one: &str, other: &str) -> bool {
    match engine {
        Engine::Postgres => one == other,
        Engine::Mysql | Engine::Mariadb | Engine::Sqlite => one.eq_ignore_ascii_case(other),
    }
}

#[cfg(test)]
mod tests {
    use super::super::expected::{FLAGS_MIGRATION, TABLES};
    use super::*;
    const ENGINES: [Engine; 4] = [Engine::Mysql, Engine::Mariadb, Engine::Postgres, Engine::Sqlite];

    /// The table as the database would describe it after its migration.
    fn made(engine: Engine, table: &Table) -> FoundTable {
        let column = |column: &super::super::expected::Column| FoundColumn {
            name: column.name.to_owned(),
            sql_type: column.kind.type_name(engine),
            is_nullable: column.is_nullable,
            has_default: column.added_by.is_some(),
            is_automatic: column.kind == ColumnKind::AutomaticId,
        };
        let index = |index: &Index| FoundIndex {
            name: index.name.to_owned(),
            is_unique: index.is_unique,
            is_partial: false,
            columns: index.columns.iter().map(|column| (*column).to_owned()).collect(),
        };
        FoundTable {
            columns: table.columns.iter().map(column).collect(),
            primary_key: table.primary_key.iter().map(|column| (*column).to_owned()).collect(),
            indexes: table.indexes.iter().map(index).collect(),
        }
    }

    /// All migrations.
    fn all() -> BTreeSet<String> {
        let of_table = |table: &Table| {
            let (columns, indexes) = (table.columns.iter(), table.indexes.iter());
            let added = columns.filter_map(|one| one.added_by).chain(indexes.filter_map(|one| one.added_by));
            added.chain([table.migration]).map(str::to_owned).collect::<Vec<_>>()
        };
        TABLES.iter().flat_map(of_table).collect()
    }

    #[test]
    fn a_column_of_a_later_migration_may_be_missing_until_that_is_applied() {
        let mut found = made(Engine::Postgres, &TABLES[0]);
        found.columns.retain(|column| column.name != "flags");
        let differences = |applied| differences(Engine::Postgres, &TABLES[0], &found, Strictness::Own, &applied);
        assert_eq!(differences(all()), ["column flags is missing"]);
        let before = all().into_iter().filter(|name| name != FLAGS_MIGRATION).collect();
        assert_eq!(differences(before), [""; 0]);
    }

    fn changed(change: impl Fn(&mut FoundTable), strictness: Strictness) -> Vec<String> {
        let mut found = made(Engine::Postgres, &TABLES[0]);
        change(&mut found);
        differences(Engine::Postgres, &TABLES[0], &found, strictness, &all())
    }

    #[test]
    fn what_the_migrations_make_is_ours() {
        for engine in ENGINES {
            for table in TABLES {
                for strictness in [Strictness::Exact, Strictness::Own] {
                    assert_eq!(differences(engine, table, &made(engine, table), strictness, &all()), [""; 0]);
                }
            }
        }
    }

    #[test]
    fn another_form_is_not_ours() {
        let both = [Strictness::Exact, Strictness::Own];
        for strictness in both {
            let wrong = |change: fn(&mut FoundTable)| changed(change, strictness).join("; ");
            assert_eq!(wrong(|found| drop(found.columns.remove(1))), "column phoneNumber is missing");
            let other_type = "column id is integer, not bigint";
            assert_eq!(wrong(|found| found.columns[0].sql_type = "integer".to_owned()), other_type);
            assert_eq!(wrong(|found| found.columns[0].is_automatic = false), "column id gets no automatic value");
            assert_eq!(wrong(|found| found.columns[2].is_nullable = false), "column email cannot be null");
            assert_eq!(wrong(|found| found.primary_key.clear()), "its primary key is not id");
            assert_eq!(wrong(|found| found.indexes.clear()), "index Contact_linkedId is missing");
            assert_eq!(wrong(|found| found.indexes[0].is_unique = true), "index Contact_linkedId is unique");
        }
    }

    #[test]
    fn additions_that_disturb_nothing_are_accepted_in_our_own_table() {
        let add = |is_nullable| {
            move |found: &mut FoundTable| {
                let column = FoundColumn { name: "note".to_owned(), is_nullable, ..found.columns[1].clone() };
                found.columns.push(column);
            }
        };
        assert_eq!(changed(add(true), Strictness::Own), [""; 0]);
        assert_eq!(changed(add(true), Strictness::Exact), ["column note is not known"]);
        assert_eq!(changed(add(false), Strictness::Own), ["column note is not known"]);
    }
}
