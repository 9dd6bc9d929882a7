//! The locks that reads take where several servers take writes.

use sea_orm::{Statement, Value};

use super::{Engine, KeyLookup, mysql};
use crate::domain::Identifier;
use crate::store::flags;

impl Engine {
    /// Locks the next roots after an id, up to another one, in the order of their ids. The columns are those of
    /// [`LockedRootColumn`](super::LockedRootColumn). An index has no rows for the expression, so the optimizer takes
    /// the primary key.
    pub(in crate::store) fn lock_roots_after(self, after: i64, up_to: i64, limit: usize) -> Statement {
        let columns = self.with_read_only_column(r#"c."id""#);
        let (index, holder) = (self.force_index("PRIMARY"), flags::HOLDER);
        let sql = format!(
            r#"SELECT {columns} FROM "Contact" c {index} WHERE c."id" > ? AND c."id" <= ?
        AND COALESCE(c."linkedId", 0) = 0 AND c."flags" & {holder} = 0 ORDER BY c."id" LIMIT {limit} FOR UPDATE"#
        );
        self.statement(sql, vec![Value::from(after), Value::from(up_to)])
    }

    /// Locks the rows of these identifiers. It waits for a commit under way that inserts one of them. `None` if this
    /// database never has several servers that take writes.
    pub(in crate::store) fn lock_identifiers(self, identifiers: &[Identifier]) -> Option<Statement> {
        let KeyLookup { from, filter, params } = match self {
            Self::Mysql | Self::Mariadb => mysql::identifier_rows(identifiers),
            Self::Postgres | Self::Sqlite => return None,
        };
        let sql = format!("SELECT i.`kind` FROM {from} WHERE {filter} ORDER BY i.`kind`, i.`value` FOR UPDATE");
        Some(self.with_own_parameters(sql, params))
    }
}
