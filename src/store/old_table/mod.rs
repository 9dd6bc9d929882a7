//! The table in which another system keeps the contacts that `identity adopt` takes over: finding it, and reading it.
//!
//! Nothing here writes: each session can only read.
//!
//! | file | what it holds |
//! | --- | --- |
//! | `names` | the names that other systems give to the table and to its columns |
//! | `look_alike` | tables that could hold contacts of another system, for `migrate up` and `serve` too |
//! | `column_choice`, `column_type`, `mapping`, `column_override` | which column holds what, and `--map` |
//! | `date_rule`, `time_zone` | the time zone of dates that do not say theirs, and `--time-zone` |
//! | `date_text` | dates as text and as numbers |
//! | `connection`, `unused_file` | connections that cannot write, and do not create a file beside that of SQLite |
//! | `dialect`, `select`, `decode`, `row` | the statements and their rows |
//! | `reader` | pages of rows |
//! | `error` | why a table cannot be read, and what to do |
//!
//! To add a system: its names in `names`, the zone of its dates in `date_rule`, and a kind in `tests/it/old_tables.rs`.

mod column_choice;
mod column_override;
mod column_type;
mod connection;
mod date_rule;
mod date_text;
mod decode;
mod dialect;
mod error;
mod look_alike;
mod mapping;
mod names;
mod reader;
mod row;
mod select;
#[cfg(test)]
mod statements;
mod time_zone;
mod unused_file;

pub use column_choice::ColumnError;
pub(crate) use column_choice::ColumnNames;
pub use column_override::{ColumnOverride, InvalidOverride};
pub(crate) use date_text::OldDate;
pub use error::{OldFormError, OldTableError};
pub(super) use look_alike::{could_hold_contacts, first_look_alike};
pub use mapping::Mapping;
pub(super) use names::is_contact_table;
pub(crate) use names::{Field, is_deletion_mark};
pub use reader::{OldTable, OldTableOptions};
pub use row::{OldPrecedence, OldRow, Unreadable};
pub use time_zone::{InvalidTimeZone, OldTimeZone};
