//! In which time zone the dates of an old table are, where its columns do not say it.
//!
//! `--time-zone` decides. Without it, dates are in UTC if the table shows that one of these systems wrote them:
//!
//! - Prisma: each such column has three digits behind the second. Besides, there is a table `_prisma_migrations`, or
//!   the columns are in camel case and `updatedAt` has no default, because Prisma's client sets it.
//! - Rails: there is a table `ar_internal_metadata`, and the columns are in snake case and have no default. UTC is the
//!   default of its setting `default_timezone`.
//! - Sequelize: there is a table `SequelizeMeta` in MySQL, and the columns are in camel case and have no default.
//!   UTC is the default of its setting `timezone`. On PostgreSQL it makes columns that say their zone.
//! - Systems in JavaScript on SQLite: the columns are in camel case. Prisma, TypeORM, Sequelize and `CURRENT_TIMESTAMP`
//!   write UTC there. Django and SQLAlchemy can write local time, in columns in snake case.
//!
//! TypeORM's `timestamp` on PostgreSQL has six digits, and the local time of the server or the client. For it, as for
//! each table that shows nothing, `--time-zone` must be given.

use std::fmt::{Display, Formatter};

use super::column_type::{DateForm, precision};
use super::names::Field;
use super::time_zone::OldTimeZone;
use crate::store::sql::Engine;

/// A column of dates.
#[derive(Clone, Copy, Debug)]
pub(super) struct DateColumn<'a> {
    pub(super) field: Field,
    pub(super) name: &'a str,
    pub(super) sql_type: &'a str,
    pub(super) form: DateForm,
    pub(super) has_default: bool,
}

/// The zone of dates that do not say theirs, and how it is known.
#[derive(Clone, Debug)]
pub(super) struct DateZone {
    pub(super) zone: OldTimeZone,
    pub(super) reason: ZoneReason,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ZoneReason {
    /// By `--time-zone`.
    Given,
    /// Each date says it.
    NotNeeded,
    Prisma,
    Rails,
    Sequelize,
    JavaScript,
}

impl Display for ZoneReason {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(match self {
            Self::Given => "by --time-zone",
            Self::NotNeeded => "each date says its zone",
            Self::Prisma => "Prisma writes dates in UTC",
            Self::Rails => "Rails writes dates in UTC, unless it is configured otherwise: then give --time-zone",
            Self::Sequelize => {
                "Sequelize writes dates in UTC, unless it is configured otherwise: then give --time-zone"
            }
            Self::JavaScript => "systems in JavaScript write UTC to SQLite: otherwise give --time-zone",
        })
    }
}

/// Decides the zone of the dates of a table. `None` if nothing shows it. `neighbours` are the tables beside it.
pub(super) fn decide(
    engine: Engine,
    given: Option<&OldTimeZone>,
    columns: &[DateColumn<'_>],
    neighbours: &[&str],
) -> Option<DateZone> {
    let without: Vec<_> = columns.iter().filter(|column| column.form.needs_zone()).collect();
    let in_utc = |reason| Some(DateZone { zone: OldTimeZone::utc(), reason });
    if without.is_empty() {
        return in_utc(ZoneReason::NotNeeded);
    }
    if let Some(zone) = given {
        return Some(DateZone { zone: zone.clone(), reason: ZoneReason::Given });
    }
    // The frameworks that keep clock times, each on the databases where it does so without a zone.
    let (form, is_of_javascript, is_of_sequelize) = match engine {
        Engine::Mysql | Engine::Mariadb => (DateForm::Clock, false, true),
        Engine::Postgres => (DateForm::Clock, false, false),
        Engine::Sqlite => (DateForm::Any, true, true),
    };
    if without.iter().any(|column| column.form != form) {
        return None;
    }
    let has = |name: &str| neighbours.iter().any(|neighbour| neighbour.eq_ignore_ascii_case(name));
    let is_in_camel_case =
        without.iter().all(|column| column.name.contains(char::is_uppercase) && !column.name.contains('_'));
    let is_in_snake_case = without.iter().all(|column| !column.name.contains(char::is_uppercase));
    let has_no_default = without.iter().all(|column| !column.has_default);
    let is_set_by_client = |column: &&DateColumn<'_>| column.field == Field::UpdatedAt && !column.has_default;
    let is_of_prisma = without.iter().all(|column| precision(column.sql_type) == Some(3))
        && (has("_prisma_migrations") || is_in_camel_case && without.iter().any(is_set_by_client));
    if is_of_prisma {
        in_utc(ZoneReason::Prisma)
    } else if has("ar_internal_metadata") && is_in_snake_case && has_no_default {
        in_utc(ZoneReason::Rails)
    } else if is_of_javascript && is_in_camel_case {
        in_utc(ZoneReason::JavaScript)
    } else if has("SequelizeMeta") && is_of_sequelize && is_in_camel_case && has_no_default {
        in_utc(ZoneReason::Sequelize)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::old_table::column_type::date_form;

    /// Columns `createdAt`, and `updatedAt`. The first has a default, if not on the table of Rails or Sequelize.
    fn reason(
        engine: Engine,
        sql_type: &str,
        (created, updated): (&str, &str),
        has_default: bool,
        beside: &[&str],
    ) -> Option<ZoneReason> {
        let form = date_form(engine, sql_type).unwrap();
        let created_default = has_default || beside.is_empty() || beside == ["_prisma_migrations"];
        let column = |field, name, has_default| DateColumn { field, name, sql_type, form, has_default };
        let columns =
            [column(Field::CreatedAt, created, created_default), column(Field::UpdatedAt, updated, has_default)];
        let by_name = decide(engine, None, &columns, beside).map(|zone| zone.reason);
        let berlin: OldTimeZone = "Europe/Berlin".parse().unwrap();
        let given = decide(engine, Some(&berlin), &columns, beside).unwrap();
        let is_needed = by_name != Some(ZoneReason::NotNeeded);
        assert_eq!(given.zone.to_string(), if is_needed { "Europe/Berlin" } else { "UTC" });
        by_name
    }

    const CAMEL: (&str, &str) = ("createdAt", "updatedAt");
    const SNAKE: (&str, &str) = ("created_at", "updated_at");
    const CLOCK: &str = "timestamp without time zone";
    const CLOCK_3: &str = "timestamp(3) without time zone";

    #[test]
    fn prisma_is_distinguished_from_typeorm() {
        let prisma = Some(ZoneReason::Prisma);
        let on = Engine::Postgres;
        assert_eq!(reason(on, CLOCK_3, CAMEL, false, &[]), prisma, "db push leaves no table beside it");
        assert_eq!(reason(on, CLOCK_3, CAMEL, true, &["_prisma_migrations"]), prisma);
        assert_eq!(reason(on, CLOCK_3, SNAKE, true, &["_prisma_migrations"]), prisma, "@map");
        assert_eq!(reason(Engine::Mysql, "datetime(3)", CAMEL, false, &[]), prisma);
        assert_eq!(reason(on, CLOCK, CAMEL, true, &["typeorm_metadata"]), None);
        assert_eq!(reason(on, CLOCK, CAMEL, true, &["_prisma_migrations"]), None, "another program's table");
        assert_eq!(reason(on, "timestamp(6) without time zone", CAMEL, true, &[]), None);
        assert_eq!(reason(on, CLOCK_3, CAMEL, true, &[]), None, "a server sets updatedAt");
        assert_eq!(reason(Engine::Mysql, "datetime(3)", SNAKE, false, &[]), None, "GORM, in any zone");
    }

    #[test]
    fn a_zone_is_not_needed_or_is_known_by_what_is_beside_the_table() {
        let on = Engine::Postgres;
        assert_eq!(reason(on, "timestamp with time zone", SNAKE, true, &[]), Some(ZoneReason::NotNeeded));
        assert_eq!(reason(Engine::Mysql, "timestamp", CAMEL, true, &[]), Some(ZoneReason::NotNeeded));
        assert_eq!(reason(on, "bigint", SNAKE, true, &[]), Some(ZoneReason::NotNeeded));
        assert_eq!(reason(Engine::Sqlite, "datetime", CAMEL, true, &[]), Some(ZoneReason::JavaScript));
        assert_eq!(reason(Engine::Sqlite, "datetime", SNAKE, true, &[]), None, "Django, SQLAlchemy");
        let rails: &[&str] = &["ar_internal_metadata"];
        assert_eq!(reason(on, CLOCK, SNAKE, false, rails), Some(ZoneReason::Rails));
        assert_eq!(reason(Engine::Sqlite, "datetime(6)", SNAKE, false, rails), Some(ZoneReason::Rails));
        assert_eq!(reason(on, CLOCK, SNAKE, true, rails), None, "Rails gives no default");
        assert_eq!(reason(on, CLOCK, CAMEL, true, rails), None, "TypeORM beside Rails");
        assert_eq!(reason(on, CLOCK, CAMEL, false, &["SequelizeMeta"]), None, "its columns say their zone");
        assert_eq!(reason(Engine::Mysql, "datetime", CAMEL, true, &["SequelizeMeta"]), None, "TypeORM beside it");
        assert_eq!(reason(Engine::Mysql, "datetime", SNAKE, false, &["SequelizeMeta"]), None);
        assert_eq!(reason(Engine::Mysql, "datetime", CAMEL, false, &["SequelizeMeta"]), Some(ZoneReason::Sequelize));
        assert_eq!(reason(Engine::Mysql, "datetime(6)", SNAKE, true, &["django_migrations"]), None);
        assert_eq!(reason(on, "text", CAMEL, false, &["_prisma_migrations"]), None, "a text can be anything");
        assert_eq!(reason(on, "date", SNAKE, true, &["ar_internal_metadata"]), None);
    }
}
