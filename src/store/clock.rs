//! The database's clock.

use chrono::Utc;
use sea_orm::QueryResult;

use super::error::{Cause, StoreError};
use super::rows::{check_is_primary, moment};
use super::sql::Engine;
use crate::domain::Timestamp;

/// The time of the database's clock, and the step from one automatic id of a statement to the next.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock {
    pub(super) now: Timestamp,
    /// 0 if the ids of one statement do not rise evenly. Only MySQL's matters: the others return each id.
    pub(super) id_step: i64,
}

/// The columns of [`Engine::clock_columns`] of MySQL, in order.
#[derive(Clone, Copy)]
enum MysqlClockColumn {
    Now,
    IdStep,
    ReadOnly,
}

/// The columns of [`Engine::clock_columns`] of MariaDB, in order.
#[derive(Clone, Copy)]
enum MariadbClockColumn {
    Now,
    ReadOnly,
}

impl Clock {
    /// The clock in a row that has [`Engine::clock_columns`] from this position on. Fails if the server is no primary.
    pub(super) fn from_row(engine: Engine, row: &QueryResult, first: usize) -> Result<Self, StoreError> {
        let now_at = |position| moment(row, position)?.ok_or_else(|| StoreError::Rejected(Cause::new("no clock")));
        match engine {
            Engine::Sqlite => Ok(Self::of_this_process()),
            Engine::Postgres => Ok(Self { now: now_at(first)?, id_step: 1 }),
            Engine::Mariadb => {
                check_is_primary(engine, row, first + MariadbClockColumn::ReadOnly as usize)?;
                Ok(Self { now: now_at(first + MariadbClockColumn::Now as usize)?, id_step: 1 })
            }
            Engine::Mysql => {
                check_is_primary(engine, row, first + MysqlClockColumn::ReadOnly as usize)?;
                let id_step: u64 = row.try_get_by_index(first + MysqlClockColumn::IdStep as usize)?;
                Ok(Self { now: now_at(first + MysqlClockColumn::Now as usize)?, id_step: id_step.cast_signed() })
            }
        }
    }

    /// The clock in the one row of a statement for it alone.
    pub(super) fn from_rows(engine: Engine, rows: &[QueryResult]) -> Result<Self, StoreError> {
        Self::from_row(engine, rows.first().ok_or_else(|| StoreError::Rejected(Cause::new("no clock")))?, 0)
    }

    /// SQLite is in this process, and so is its clock (its own one counts milliseconds).
    pub(super) fn of_this_process() -> Self {
        Self { now: Timestamp(Utc::now().timestamp_micros()), id_step: 1 }
    }
}
