//! The tables as the database describes them.

use sea_orm::{ConnectionTrait, DbErr, QueryResult, Statement, Value};

use super::sql::Engine;

/// The names of the tables of a database.
#[derive(Debug)]
pub(super) struct Catalogue {
    engine: Engine,
    /// Name, and whether its rows may be read.
    tables: Vec<(String, bool)>,
    /// Whether names that differ only by upper and lower case are one.
    folds_case: bool,
}

/// The columns of [`Engine::tables_sql`], in order.
#[derive(Clone, Copy)]
enum TableColumn {
    Name,
    IsReadable,
    FoldsCase,
}

/// The columns of [`Engine::tables_of_all_schemas_sql`], in order.
#[derive(Clone, Copy)]
enum SchemaTableColumn {
    Schema,
    Name,
}

/// The columns of [`Engine::columns_sql`], in order: they describe a column of a table.
#[derive(Clone, Copy)]
enum DescribedColumn {
    Name,
    SqlType,
    IsNullable,
    HasDefault,
    IsAutomatic,
}

/// The columns of [`Engine::indexes_sql`], in order: they describe a column of an index.
#[derive(Clone, Copy)]
enum IndexColumn {
    IndexName,
    IsUnique,
    IsPrimaryKey,
    /// Null for an expression.
    ColumnName,
    IsPartial,
}

/// A table.
#[derive(Clone, Debug)]
pub(super) struct FoundTable {
    pub(super) columns: Vec<FoundColumn>,
    pub(super) primary_key: Vec<String>,
    /// The other indexes.
    pub(super) indexes: Vec<FoundIndex>,
}

#[derive(Clone, Debug)]
pub(super) struct FoundColumn {
    pub(super) name: String,
    /// Its type, in the database's words.
    pub(super) sql_type: String,
    pub(super) is_nullable: bool,
    pub(super) has_default: bool,
    /// Whether the database numbers it.
    pub(super) is_automatic: bool,
}

#[derive(Clone, Debug)]
pub(super) struct FoundIndex {
    pub(super) name: String,
    pub(super) is_unique: bool,
    /// Whether it is of some rows only, or not complete.
    pub(super) is_partial: bool,
    pub(super) columns: Vec<String>,
}

impl Catalogue {
    /// Reads the names of the tables.
    pub(super) async fn read(connection: &impl ConnectionTrait, engine: Engine) -> Result<Self, DbErr> {
        let sql = engine.tables_sql();
        let (mut tables, mut folds_case) = (Vec::new(), engine.folds_table_names());
        for row in connection.query_all_raw(engine.statement(sql.to_owned(), Vec::new())).await? {
            let name = row.try_get_by_index(TableColumn::Name as usize)?;
            tables.push((name, flag(&row, TableColumn::IsReadable as usize)?));
            folds_case = flag(&row, TableColumn::FoldsCase as usize)?;
        }
        Ok(Self { engine, tables, folds_case })
    }

    /// Returns the name of a table as the database spells it, if there is one.
    pub(super) fn table_named(&self, name: &str) -> Option<&str> {
        let is_it = |one: &&str| if self.folds_case { one.eq_ignore_ascii_case(name) } else { *one == name };
        self.names().find(is_it)
    }

    /// The same in any case of letters, if no other table differs by that alone.
    pub(super) fn table_in_any_case(&self, name: &str) -> Option<&str> {
        let mut folded = self.names().filter(|one| one.eq_ignore_ascii_case(name));
        self.table_named(name).or_else(|| folded.next().filter(|_| folded.next().is_none()))
    }

    /// Returns the name of this service's own table of contacts, if it seems to be here: the two tables that the
    /// service alone has are beside it.
    pub(super) fn own_contact_table(&self) -> Option<&str> {
        let has_own = ["Identifier", "ContactMerge"].iter().all(|name| self.table_named(name).is_some());
        self.table_named("Contact").filter(|_| has_own)
    }

    /// Reads schema and name of all tables that the user can see, where there are schemas.
    pub(super) async fn tables_of_all_schemas(
        connection: &impl ConnectionTrait,
        engine: Engine,
    ) -> Result<Vec<(String, String)>, DbErr> {
        let Some(sql) = engine.tables_of_all_schemas_sql() else { return Ok(Vec::new()) };
        let rows = connection.query_all_raw(engine.statement(sql.to_owned(), Vec::new())).await?;
        let text = |row: &QueryResult, column: SchemaTableColumn| row.try_get_by_index(column as usize);
        rows.iter()
            .map(|row| Ok((text(row, SchemaTableColumn::Schema)?, text(row, SchemaTableColumn::Name)?)))
            .collect()
    }

    /// Whether the rows of a table, one of these names, may be read: at least one column of them.
    pub(super) fn is_readable(&self, name: &str) -> bool {
        self.tables.iter().any(|(one, is_readable)| one == name && *is_readable)
    }

    /// Returns the names of all tables, as the database spells them.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.tables.iter().map(|(name, _)| name.as_str())
    }

    /// Whether a table, one of these names, has rows.
    pub(super) async fn has_rows(&self, connection: &impl ConnectionTrait, table: &str) -> Result<bool, DbErr> {
        let sql = first_row_sql(self.table_named(table).unwrap_or(table));
        Ok(connection.query_one_raw(self.engine.statement(sql, Vec::new())).await?.is_some())
    }

    /// Whether a live contact carries something while no identifier has an owner. One statement, so one consistent
    /// read: a service may be writing its first customer.
    pub(super) async fn lacks_identifiers(&self, connection: &impl ConnectionTrait) -> Result<bool, DbErr> {
        let statement = self.engine.statement(LACKS_IDENTIFIERS.to_owned(), Vec::new());
        Ok(connection.query_one_raw(statement).await?.is_some())
    }

    /// Whether the table of another system is being taken over, and not all of it is here yet.
    pub(super) async fn has_unfinished_adoption(&self, connection: &impl ConnectionTrait) -> Result<bool, DbErr> {
        let statement = self.engine.statement(UNFINISHED_ADOPTION.to_owned(), Vec::new());
        Ok(connection.query_one_raw(statement).await?.is_some())
    }

    /// Whether a row of `Contact` has flags: it holds an ignored identifier, or shows one that joins nobody. False if
    /// the column is gone already.
    pub(super) async fn has_flags(&self, connection: &impl ConnectionTrait) -> Result<bool, DbErr> {
        let Some(contact) = self.table_named("Contact") else { return Ok(false) };
        if self.describe(connection, contact).await?.columns.iter().all(|column| column.name != "flags") {
            return Ok(false);
        }
        let statement = self.engine.statement(first_flagged_sql(contact), Vec::new());
        Ok(connection.query_one_raw(statement).await?.is_some())
    }

    /// Reads the form of a table.
    pub(super) async fn describe(&self, connection: &impl ConnectionTrait, table: &str) -> Result<FoundTable, DbErr> {
        let mut columns = Vec::new();
        for row in connection.query_all_raw(about_table(self.engine, self.engine.columns_sql(), table)).await? {
            columns.push(FoundColumn {
                name: row.try_get_by_index(DescribedColumn::Name as usize)?,
                sql_type: normalised(&row.try_get_by_index::<String>(DescribedColumn::SqlType as usize)?),
                is_nullable: flag(&row, DescribedColumn::IsNullable as usize)?,
                has_default: flag(&row, DescribedColumn::HasDefault as usize)?,
                is_automatic: flag(&row, DescribedColumn::IsAutomatic as usize)?,
            });
        }
        let (mut primary_key, mut indexes) = (Vec::new(), Vec::<FoundIndex>::new());
        for row in connection.query_all_raw(about_table(self.engine, self.engine.indexes_sql(), table)).await? {
            let name: String = row.try_get_by_index(IndexColumn::IndexName as usize)?;
            let column: Option<String> = row.try_get_by_index(IndexColumn::ColumnName as usize)?;
            let column = column.unwrap_or_default();
            if flag(&row, IndexColumn::IsPrimaryKey as usize)? {
                primary_key.push(column);
            } else if let Some(index) = indexes.last_mut().filter(|index| index.name == name) {
                index.columns.push(column);
            } else {
                let is_unique = flag(&row, IndexColumn::IsUnique as usize)?;
                let is_partial = flag(&row, IndexColumn::IsPartial as usize)?;
                indexes.push(FoundIndex { name, is_unique, is_partial, columns: vec![column] });
            }
        }
        Ok(FoundTable { columns, primary_key, indexes })
    }
}

/// One row if a live contact carries something while no identifier has an owner.
pub(super) const LACKS_IDENTIFIERS: &str = r#"SELECT 1 FROM "Contact" WHERE "deletedAt" IS NULL
            AND ("email" IS NOT NULL OR "phoneNumber" IS NOT NULL)
            AND NOT EXISTS (SELECT 1 FROM "Identifier") LIMIT 1"#;

/// One row if the table of another system is being taken over, and not all of it is here yet.
pub(super) const UNFINISHED_ADOPTION: &str = r#"SELECT 1 FROM "Adoption" WHERE "phase" <> 'done'"#;

/// One row if the table has rows.
pub(super) fn first_row_sql(table: &str) -> String {
    format!(r#"SELECT 1 FROM "{table}" LIMIT 1"#)
}

/// One row if a row of this table, which is that of contacts, has flags.
pub(super) fn first_flagged_sql(contact: &str) -> String {
    format!(r#"SELECT 1 FROM "{contact}" WHERE "flags" <> 0 LIMIT 1"#)
}

/// A statement whose parameters are all the name of a table.
pub(super) fn about_table(engine: Engine, sql: &str, table: &str) -> Statement {
    engine.statement(sql.to_owned(), vec![Value::from(table); sql.matches('?').count()])
}

/// A number that stands for yes or no.
fn flag(row: &QueryResult, index: usize) -> Result<bool, DbErr> {
    Ok(row.try_get_by_index::<i64>(index)? != 0)
}

/// MariaDB, and MySQL before 8.0.19, print integers with a width that means nothing.
fn normalised(sql_type: &str) -> String {
    sql_type.to_ascii_lowercase().replace("bigint(20)", "bigint").replace("smallint(6)", "smallint")
}
