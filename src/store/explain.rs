use sea_orm::{Statement, StatementBuilder};

use super::{Database, StoreError, convert, dialect, write};
use crate::domain::{ContactId, Identifier, Timestamp};

impl Database {
    /// Every statement of the hot path that looks rows up, with a name and with these values, for tests
    /// that ask the database how it would run them.
    ///
    /// # Errors
    /// When the moment is out of range.
    pub fn hot_path(
        &self,
        identifiers: &[Identifier],
        contacts: &[ContactId],
        now: Timestamp,
    ) -> Result<Vec<(&'static str, Statement)>, StoreError> {
        let backend = self.connection().get_database_backend();
        let ids: Vec<i64> = contacts.iter().map(|id| id.0).collect();
        let links: Vec<(i64, i64)> = ids.iter().map(|id| (*id, ids[0])).collect();
        let now = convert::to_naive(now)?;
        Ok(vec![
            ("find", dialect::find(backend, identifiers)),
            ("owners", dialect::owners(backend, identifiers)),
            ("lock", StatementBuilder::build(&write::lock_rows(backend, &ids), &backend)),
            ("touch", StatementBuilder::build(&write::touch_rows(&ids, now), &backend)),
            ("absorb", StatementBuilder::build(&write::absorb(&links, now), &backend)),
        ])
    }
}
