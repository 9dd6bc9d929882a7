//! Tables of contacts as other systems make them, with the damage that years of use leave in them.
//!
//! [`OldKind::create`] runs the statements that the system itself runs. [`damaged_rows`] makes the rows, the same for
//! the same seed. [`OldKind::stored`] says what of them the system's table can hold.

mod damage;
mod statements;

use std::collections::BTreeSet;

use chrono::DateTime;
use identity::store::old_table::OldTableOptions;
use sea_orm::{ConnectionTrait, DatabaseConnection, TransactionTrait};

use crate::harness::{Backend, TestDatabase};

pub use damage::damaged_rows;

/// A system that keeps contacts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OldKind {
    /// `prisma migrate`: an enum, and the table of the migrations.
    Prisma,
    /// `prisma db push`: a text, unique e-mail addresses and phone numbers, no other table.
    PrismaUnique,
    /// Statements of a person, for MySQL.
    Plain,
    /// `synchronize: true`. The clocks of its server are those of Berlin.
    TypeOrm,
    /// `sync()`.
    Sequelize,
    Django,
    Rails,
    /// `AutoMigrate` of Go's GORM.
    Gorm,
    /// Python's, with naive dates on the clocks of Kolkata.
    SqlAlchemy,
    /// Migrations of Rust's sqlx, with `DateTime<Utc>`.
    Sqlx,
}

/// A row. Dates are microseconds since 1970.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MadeRow {
    pub id: i64,
    pub email: Option<String>,
    pub phone_number: Option<String>,
    pub linked_id: Option<i64>,
    pub is_secondary: bool,
    pub created_at: Option<i64>,
    pub updated_at: Option<i64>,
    pub deleted_at: Option<i64>,
}

const SECOND: i64 = 1_000_000;
const DAY: i64 = 86_400 * SECOND;

/// 1 April 2023. Until October no clock of [`OldKind`] is changed.
pub const BEGINNING: i64 = 1_680_307_200 * SECOND;

/// Behind today, and before the last moment of MySQL's TIMESTAMP: 1 June 2037.
pub const FUTURE: i64 = 2_127_427_200 * SECOND;

/// Rows per INSERT.
const ROWS_PER_INSERT: usize = 500;

impl OldKind {
    pub const ALL: [Self; 10] = [
        Self::Prisma,
        Self::PrismaUnique,
        Self::Plain,
        Self::TypeOrm,
        Self::Sequelize,
        Self::Django,
        Self::Rails,
        Self::Gorm,
        Self::SqlAlchemy,
        Self::Sqlx,
    ];

    /// The databases that it is used with.
    pub fn backends(self) -> &'static [Backend] {
        match self {
            Self::Plain => &[Backend::Mariadb, Backend::Mysql],
            Self::TypeOrm => &[Backend::Sqlite, Backend::Postgres],
            Self::Prisma
            | Self::PrismaUnique
            | Self::Sequelize
            | Self::Django
            | Self::Rails
            | Self::Gorm
            | Self::SqlAlchemy
            | Self::Sqlx => &Backend::ALL,
        }
    }

    /// The kinds that are used with a database.
    pub fn on(backend: Backend) -> impl Iterator<Item = Self> {
        Self::ALL.into_iter().filter(move |kind| kind.backends().contains(&backend))
    }

    /// The zone of its dates, where the table does not say it: what `--time-zone` needs.
    pub fn time_zone(self, backend: Backend) -> Option<&'static str> {
        match (self, backend) {
            (Self::TypeOrm, Backend::Postgres) => Some("Europe/Berlin"),
            (Self::SqlAlchemy, _) => Some("Asia/Kolkata"),
            (Self::Gorm | Self::Django, Backend::Mariadb | Backend::Mysql | Backend::Sqlite) => Some("UTC"),
            (Self::Sqlx, Backend::Sqlite) => Some("UTC"),
            _ => None,
        }
    }

    /// What an operator says of it.
    pub fn options(self, backend: Backend) -> OldTableOptions {
        let time_zone = self.time_zone(backend).map(|zone| zone.parse().expect("a zone"));
        OldTableOptions { time_zone, ..OldTableOptions::default() }
    }

    pub fn table(self) -> &'static str {
        match self {
            Self::Prisma | Self::PrismaUnique | Self::Plain => "Contact",
            Self::TypeOrm => "contact",
            Self::Sequelize => "Contacts",
            Self::Django | Self::Rails | Self::Gorm | Self::SqlAlchemy | Self::Sqlx => "contacts",
        }
    }

    fn is_camel_case(self) -> bool {
        self.table() != "contacts"
    }

    /// The columns in the order of [`MadeRow`].
    pub fn columns(self) -> [&'static str; 8] {
        if self.is_camel_case() {
            ["id", "email", "phoneNumber", "linkedId", "linkPrecedence", "createdAt", "updatedAt", "deletedAt"]
        } else {
            ["id", "email", "phone_number", "linked_id", "link_precedence", "created_at", "updated_at", "deleted_at"]
        }
    }

    /// The unit of its dates, in microseconds.
    fn precision(self, backend: Backend) -> i64 {
        match self {
            Self::Plain => SECOND,
            Self::Sequelize | Self::SqlAlchemy if backend.is_mysql() => SECOND,
            Self::Prisma | Self::PrismaUnique | Self::Sequelize => 1_000,
            Self::TypeOrm if backend == Backend::Sqlite => 1_000,
            Self::Gorm if backend.is_mysql() => 1_000,
            Self::TypeOrm | Self::Django | Self::Rails | Self::Gorm | Self::SqlAlchemy | Self::Sqlx => 1,
        }
    }

    /// How far its clocks are before UTC from April to October.
    fn clock_offset(self, backend: Backend) -> i64 {
        match self.time_zone(backend) {
            Some("Europe/Berlin") => 2 * 3_600 * SECOND,
            Some("Asia/Kolkata") => 5 * 3_600 * SECOND + 1_800 * SECOND,
            _ => 0,
        }
    }

    /// Whether `createdAt` and `updatedAt` can be null.
    fn has_null_dates(self) -> bool {
        matches!(self, Self::Plain | Self::Gorm | Self::SqlAlchemy)
    }

    /// Returns these rows as its table can hold them.
    pub fn stored(self, backend: Backend, rows: &[MadeRow]) -> Vec<MadeRow> {
        let ids: BTreeSet<i64> = rows.iter().map(|row| row.id).collect();
        let mut seen: BTreeSet<(bool, String)> = BTreeSet::new();
        let mut stored = rows.to_vec();
        for row in &mut stored {
            let unit = self.precision(backend);
            for date in [&mut row.created_at, &mut row.updated_at, &mut row.deleted_at] {
                *date = date.map(|micros| micros - micros.rem_euclid(unit));
            }
            if !self.has_null_dates() {
                let any = row.created_at.or(row.updated_at).unwrap_or(BEGINNING);
                row.created_at.get_or_insert(any);
                row.updated_at.get_or_insert(any);
            }
            if self == Self::PrismaUnique {
                for (is_phone, value) in [(false, &mut row.email), (true, &mut row.phone_number)] {
                    // Collations of MySQL ignore case, accents and spaces at the end.
                    let mut is_new =
                        |text: &str| seen.insert((is_phone, text.trim().to_lowercase().replace('\u{301}', "")));
                    if value.as_deref().is_some_and(|text| !is_new(text)) {
                        *value = None;
                    }
                }
            }
            if self == Self::Django {
                row.linked_id = row.linked_id.filter(|linked| ids.contains(linked));
            }
        }
        stored
    }

    /// Creates its table.
    pub async fn create(self, backend: Backend, tables: &DatabaseConnection) {
        for sql in self.statements(backend) {
            tables.execute_unprepared(&sql).await.unwrap_or_else(|error| panic!("{self:?}: {error}: {sql}"));
        }
    }

    /// Creates its table, with these rows as it can hold them. Returns them.
    pub async fn make(self, database: &TestDatabase, rows: &[MadeRow]) -> Vec<MadeRow> {
        let tables = database.raw().await;
        self.create(database.backend, &tables).await;
        let stored = self.stored(database.backend, rows);
        self.insert(database.backend, &tables, &stored).await;
        tables.close().await.expect("closed");
        stored
    }

    /// Inserts rows, which [`Self::stored`] has returned, in one transaction.
    pub async fn insert(self, backend: Backend, tables: &DatabaseConnection, rows: &[MadeRow]) {
        let transaction = tables.begin().await.expect("BEGIN");
        // MySQL checks each row at once. The system itself changes links of rows that are there.
        let is_checked = self == Self::Django && backend.is_mysql();
        if is_checked {
            transaction.execute_unprepared("SET foreign_key_checks = 0").await.expect("SET");
        }
        let quote = if backend.is_mysql() { '`' } else { '"' };
        let quoted = |name: &str| format!("{quote}{name}{quote}");
        let columns = self.columns().map(quoted).join(", ");
        for part in rows.chunks(ROWS_PER_INSERT) {
            let values: Vec<String> = part.iter().map(|row| self.values(backend, row)).collect();
            let sql = format!("INSERT INTO {} ({columns}) VALUES {}", quoted(self.table()), values.join(", "));
            transaction.execute_unprepared(&sql).await.unwrap_or_else(|error| panic!("{self:?}: {error}"));
        }
        if is_checked {
            transaction.execute_unprepared("SET foreign_key_checks = 1").await.expect("SET");
        }
        transaction.commit().await.expect("COMMIT");
    }

    /// `(1, 'a@x.de', …)`.
    fn values(self, backend: Backend, row: &MadeRow) -> String {
        let text = |value: &Option<String>| {
            value.as_ref().map_or_else(|| "NULL".to_owned(), |text| format!("'{}'", text.replace('\'', "''")))
        };
        let number = |value: Option<i64>| value.map_or_else(|| "NULL".to_owned(), |number| number.to_string());
        let date = |value: Option<i64>| value.map_or_else(|| "NULL".to_owned(), |micros| self.date(backend, micros));
        let precedence = if row.is_secondary { "'secondary'" } else { "'primary'" };
        let values = [
            row.id.to_string(),
            text(&row.email),
            text(&row.phone_number),
            number(row.linked_id),
            precedence.to_owned(),
            date(row.created_at),
            date(row.updated_at),
            date(row.deleted_at),
        ];
        format!("({})", values.join(", "))
    }

    /// A date as the system writes it.
    fn date(self, backend: Backend, micros: i64) -> String {
        if backend == Backend::Sqlite && matches!(self, Self::Prisma | Self::PrismaUnique) {
            return (micros / 1_000).to_string();
        }
        let clock = DateTime::from_timestamp_micros(micros + self.clock_offset(backend)).expect("a date");
        let format = match (self, backend) {
            (Self::Sequelize, Backend::Sqlite) => "%F %T%.3f +00:00",
            (Self::Sequelize, Backend::Postgres) => "%F %T%.3f+00",
            (Self::Gorm, Backend::Sqlite) => "%F %T%.6f+00:00",
            (Self::Gorm | Self::Django | Self::Sqlx, Backend::Postgres) => "%F %T%.6f+00",
            (Self::Sqlx, Backend::Sqlite) => "%FT%T%.6f+00:00",
            _ if self.precision(backend) == SECOND => "%F %T",
            _ if self.precision(backend) == 1_000 => "%F %T%.3f",
            _ => "%F %T%.6f",
        };
        format!("'{}'", clock.format(format))
    }
}
