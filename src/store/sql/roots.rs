//! The list of all roots, page by page; and the locks of identifiers that a read takes.

use sea_orm::{Statement, Value};

use super::{Engine, KeyLookup, mysql};
use crate::domain::Identifier;
use crate::store::flags;

impl Engine {
    /// The next roots after an id, in the order of their ids: the id, and [`Engine::read_only_column`]. Holders of
    /// ignored identifiers are none.
    ///
    /// It reads along the primary key. The optimizer gets no other choice: an index has no rows for an expression.
    pub(in crate::store) fn roots_after(self, after: i64, limit: usize) -> Statement {
        let columns = self.with_read_only_column(r#"c."id""#);
        let index = self.force_index("PRIMARY");
        let sql = format!(
            r#"SELECT {columns} FROM "Contact" c {index} WHERE c."id" > ? AND COALESCE(c."linkedId", 0) = 0
        AND c."flags" & {} = 0 ORDER BY c."id" LIMIT {limit}"#,
            flags::HOLDER
        );
        self.statement(sql, vec![Value::from(after)])
    }

    /// The same, and locks these rows.
    pub(in crate::store) fn lock_roots_after(self, after: i64, limit: usize) -> Statement {
        let mut statement = self.roots_after(after, limit);
        statement.sql += " FOR UPDATE";
        statement
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
