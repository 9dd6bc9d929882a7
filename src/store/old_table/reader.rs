//! Reading an old table, page by page.

use sea_orm::{ConnectionTrait, DatabaseConnection, Statement};
use sqlx::{AssertSqlSafe, Row};

use super::column_override::ColumnOverride;
use super::connection::{OldConnection, Source};
use super::decode::{DecodeError, Decoder, DriverRow};
use super::error::{OldFormError, OldTableError};
use super::look_alike::{candidates, could_hold_contacts};
use super::mapping::{Mapping, TableForm};
use super::names::is_contact_table;
use super::row::OldRow;
use super::select::all_columns_sql;
use super::time_zone::OldTimeZone;
use crate::settings::OldDatabaseUrl;
use crate::store::catalogue::Catalogue;
use crate::store::classify;
use crate::store::sql::Engine;

/// What the operator says of an old table.
#[derive(Clone, Debug, Default)]
pub struct OldTableOptions {
    /// Its name, `NAME` or `SCHEMA.NAME` (on MySQL `DATABASE.NAME`).
    pub table: Option<String>,
    /// Columns that hold another field than their names say.
    pub map: Vec<ColumnOverride>,
    /// The time zone of dates that do not say theirs.
    pub time_zone: Option<OldTimeZone>,
}

/// A value that the driver of each database can read.
trait OfEachDriver:
    for<'r> sqlx::Decode<'r, sqlx::MySql>
    + for<'r> sqlx::Decode<'r, sqlx::Postgres>
    + for<'r> sqlx::Decode<'r, sqlx::Sqlite>
    + sqlx::Type<sqlx::MySql>
    + sqlx::Type<sqlx::Postgres>
    + sqlx::Type<sqlx::Sqlite>
{
}

impl OfEachDriver for i64 {}

impl OfEachDriver for String {}

/// The table in which another system keeps its contacts. Other programs may write to it meanwhile: each call reads the
/// table as it is at that moment. Clones share the connections.
#[derive(Clone, Debug)]
pub struct OldTable {
    connection: OldConnection,
    mapping: Mapping,
    decoder: Decoder,
}

impl OldTable {
    /// A good number of rows for one page: so many that the round trip costs little, and a few MB at most.
    pub const PAGE_SIZE: u64 = 5_000;

    /// Connects to the database of this URL, and finds the table and its columns. SELECT is enough.
    ///
    /// # Errors
    /// [`OldTableError`]: also if an id is not above zero.
    pub async fn open(url: &str, options: &OldTableOptions) -> Result<Self, OldTableError> {
        let url = OldDatabaseUrl::parse(url).map_err(OldTableError::Url)?;
        let mut connection = OldConnection::open(&url, url.schema.as_deref()).await?;
        let (mut schema, mut table) = (url.schema.clone(), options.table.as_deref());
        // A dot can be a part of the name.
        if let Some((before, behind)) = table.and_then(|table| table.split_once('.'))
            && !has_table(&connection, table.unwrap_or_default()).await?
        {
            if !connection.engine.is_one_file() {
                connection.close().await;
                connection = OldConnection::open(&url, Some(before)).await?;
                schema = Some(before.to_owned());
            } else if !before.eq_ignore_ascii_case("main") {
                return Err(OldFormError::NoSuchTable(table.unwrap_or_default().to_owned()).into());
            }
            table = Some(behind);
        }
        let mapping = loop {
            let source = connection.source();
            let mapping = detect(&connection, &source, schema.as_deref(), table, options).await;
            if connection.is_valid(source).await? {
                break mapping?;
            }
        };
        let decoder = Decoder::new(&mapping);
        let old = Self { connection, mapping, decoder };
        old.numbers::<0>(&old.mapping.rights_sql()).await?;
        match old.texts(&old.mapping.bad_id_sql()).await? {
            Some(id) => Err(old.bad_id(id)),
            None => Ok(old),
        }
    }

    /// Returns which columns are read.
    pub fn mapping(&self) -> &Mapping {
        &self.mapping
    }

    /// Returns the number of rows.
    ///
    /// # Errors
    /// [`OldTableError`].
    pub async fn count(&self) -> Result<u64, OldTableError> {
        let [count] = self.numbers(&self.mapping.count_sql()).await?;
        Ok(count.unwrap_or_default().unsigned_abs())
    }

    /// Returns the smallest and the largest id. `None` without rows.
    ///
    /// # Errors
    /// [`OldTableError`].
    pub async fn id_range(&self) -> Result<Option<(i64, i64)>, OldTableError> {
        let [smallest, largest] = self.numbers(&self.mapping.id_range_sql()).await?;
        Ok(smallest.zip(largest))
    }

    /// Returns the rows with an id above this one, in the order of their ids, at most `limit`. Fewer mean that there
    /// are no more.
    ///
    /// # Errors
    /// [`OldTableError`].
    pub async fn rows_after(&self, id: i64, limit: u64) -> Result<Vec<OldRow>, OldTableError> {
        self.read(self.mapping.page_sql(), &[id, limit.cast_signed()]).await
    }

    /// Returns the rows with these ids, in the order of their ids. An id without a row is left out.
    ///
    /// # Errors
    /// [`OldTableError`].
    pub async fn rows_by_id(&self, ids: &[i64]) -> Result<Vec<OldRow>, OldTableError> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        self.read(self.mapping.rows_sql(ids), &[]).await
    }

    /// Closes the connections.
    pub async fn close(self) {
        self.connection.close().await;
    }

    /// Reads the rows of a statement with these parameters.
    async fn read(&self, sql: String, parameters: &[i64]) -> Result<Vec<OldRow>, OldTableError> {
        loop {
            let source = self.connection.source();
            let rows = self.read_once(&source, &sql, parameters).await;
            if self.connection.is_valid(source).await? {
                return rows;
            }
        }
    }

    async fn read_once(&self, source: &Source, sql: &str, parameters: &[i64]) -> Result<Vec<OldRow>, OldTableError> {
        macro_rules! fetch {
            ($pool:ident) => {{
                // A statement with a list of ids is not kept: it is another one each time.
                let query = sqlx::query(AssertSqlSafe(sql.to_owned())).persistent(!parameters.is_empty());
                let query = parameters.iter().fold(query, |query, parameter| query.bind(*parameter));
                let rows = query.fetch_all(source.connection.$pool()).await;
                self.decoded(&rows.map_err(|error| self.failed(&error))?)
            }};
        }
        match self.connection.engine {
            Engine::Mysql | Engine::Mariadb => fetch!(get_mysql_connection_pool),
            Engine::Postgres => fetch!(get_postgres_connection_pool),
            Engine::Sqlite => fetch!(get_sqlite_connection_pool),
        }
    }

    fn decoded<R: DriverRow>(&self, rows: &[R]) -> Result<Vec<OldRow>, OldTableError> {
        let decoded = rows.iter().map(|row| self.decoder.row(row)).collect::<Result<Vec<_>, _>>();
        decoded.map_err(|error| match error {
            DecodeError::BadId(id) => self.bad_id(id.map(|id| id.to_string())),
            DecodeError::BadDeletion(id) => OldTableError::BadDeletion { table: self.mapping.table(), id },
            DecodeError::Driver(error) => self.failed(&error),
        })
    }

    /// Reads a row of numbers. All are `None` if there is no row.
    async fn numbers<const N: usize>(&self, sql: &str) -> Result<[Option<i64>; N], OldTableError> {
        let row = self.first_row(sql).await?;
        Ok(row.unwrap_or([None; N]))
    }

    /// Reads the first column of the first row, if there is one.
    async fn texts(&self, sql: &str) -> Result<Option<Option<String>>, OldTableError> {
        Ok(self.first_row(sql).await?.map(|[text]: [Option<String>; 1]| text))
    }

    async fn first_row<T: OfEachDriver, const N: usize>(
        &self,
        sql: &str,
    ) -> Result<Option<[Option<T>; N]>, OldTableError> {
        loop {
            let source = self.connection.source();
            let row = self.first_row_once(&source, sql).await;
            if self.connection.is_valid(source).await? {
                return row;
            }
        }
    }

    async fn first_row_once<T: OfEachDriver, const N: usize>(
        &self,
        source: &Source,
        sql: &str,
    ) -> Result<Option<[Option<T>; N]>, OldTableError> {
        macro_rules! fetch {
            ($pool:ident) => {{
                let query = sqlx::query(AssertSqlSafe(sql.to_owned())).persistent(false);
                let row = query.fetch_optional(source.connection.$pool()).await;
                let Some(row) = row.map_err(|error| self.failed(&error))? else { return Ok(None) };
                let mut values = [const { None }; N];
                for (index, value) in values.iter_mut().enumerate() {
                    *value = row.try_get_unchecked(index).map_err(|error| self.failed(&error))?;
                }
                Ok(Some(values))
            }};
        }
        match self.connection.engine {
            Engine::Mysql | Engine::Mariadb => fetch!(get_mysql_connection_pool),
            Engine::Postgres => fetch!(get_postgres_connection_pool),
            Engine::Sqlite => fetch!(get_sqlite_connection_pool),
        }
    }

    fn bad_id(&self, id: Option<String>) -> OldTableError {
        let id = id.unwrap_or_else(|| "that is no number".to_owned());
        OldTableError::BadId { table: self.mapping.table(), id }
    }

    fn failed(&self, error: &sqlx::Error) -> OldTableError {
        OldTableError::from_statement(classify::store_error(error), &self.mapping.table())
    }
}

/// Whether a table has this name.
async fn has_table(old: &OldConnection, name: &str) -> Result<bool, OldTableError> {
    loop {
        let source = old.source();
        let catalogue = Catalogue::read(&source.connection, old.engine).await;
        if old.is_valid(source).await? {
            return Ok(catalogue?.table_in_any_case(name).is_some());
        }
    }
}

/// Finds the table and its columns.
async fn detect(
    old: &OldConnection,
    Source { connection, .. }: &Source,
    schema: Option<&str>,
    table: Option<&str>,
    options: &OldTableOptions,
) -> Result<Mapping, OldTableError> {
    let engine = old.engine;
    let catalogue = Catalogue::read(connection, engine).await?;
    let neighbours: Vec<&str> = catalogue.names().collect();
    let own = catalogue.own_contact_table();
    let name = match table {
        Some(name) => {
            let shown = || options.table.clone().unwrap_or_default();
            catalogue.table_in_any_case(name).ok_or_else(|| OldFormError::NoSuchTable(shown()))?
        }
        None => only_candidate(connection, engine, &catalogue, own).await?,
    };
    if own == Some(name) {
        return Err(OldFormError::OwnTable(name.to_owned()).into());
    }
    if !catalogue.is_readable(name) {
        return Err(OldTableError::Rights(name.to_owned()));
    }
    if engine.hides_unreadable_columns() {
        let sql = all_columns_sql(engine, name);
        let read = connection.query_all_raw(Statement::from_string(engine.backend(), sql)).await;
        read.map_err(|error| OldTableError::from_statement(error.into(), name))?;
    }
    let found = catalogue.describe(connection, name).await?;
    let form = TableForm { engine, schema, name, found: &found, neighbours: &neighbours };
    let mut mapping = Mapping::detect(form, &options.map, options.time_zone.as_ref())?;
    mapping.is_replica = old.is_replica;
    Ok(mapping)
}

/// The only table that could hold contacts. A table that is alone in having such a name is taken too: its columns may
/// be named by `--map`.
async fn only_candidate<'a>(
    connection: &DatabaseConnection,
    engine: Engine,
    catalogue: &'a Catalogue,
    own: Option<&'a str>,
) -> Result<&'a str, OldTableError> {
    let named = candidates(catalogue, own);
    let mut able = Vec::new();
    if named.len() > 1 {
        for name in &named {
            if catalogue.is_readable(name) && could_hold_contacts(&catalogue.describe(connection, name).await?) {
                able.push(*name);
            }
        }
    }
    match (&named[..], &able[..], own) {
        ([only], ..) | (_, [only], _) => Ok(*only),
        ([], _, Some(own)) => Ok(own),
        ([], ..) => {
            let elsewhere = tables_elsewhere(connection, engine).await?;
            Err(OldFormError::NoTable { elsewhere }.into())
        }
        _ => {
            let several = if able.is_empty() { named } else { able };
            Err(OldFormError::SeveralTables(several.into_iter().map(str::to_owned).collect()).into())
        }
    }
}

/// Returns the names of tables in other schemas that could be meant, for an error.
async fn tables_elsewhere(connection: &DatabaseConnection, engine: Engine) -> Result<Option<String>, OldTableError> {
    let names = Catalogue::tables_of_all_schemas(connection, engine).await?;
    let names: Vec<String> = names
        .into_iter()
        .filter(|(_, name)| is_contact_table(name))
        .map(|(schema, name)| format!("{schema}.{name}"))
        .collect();
    Ok((!names.is_empty()).then(|| names.join(", ")))
}
