//! The list of all roots, page by page.

use sea_orm::{Statement, Value};

use super::{Engine, ROWS_OF_A_WINDOW};

impl Engine {
    /// The next [`ROWS_OF_A_WINDOW`] rows after an id, in the order of their ids. The columns are those of
    /// [`WindowColumn`](super::WindowColumn).
    ///
    /// It has no condition but the id, so it reads along the primary key and ends after these rows.
    pub(in crate::store) fn rows_after(self, after: i64) -> Statement {
        let columns = self.with_read_only_column(r#"c."id", c."linkedId", c."flags""#);
        let index = self.force_index("PRIMARY");
        let sql = format!(
            r#"SELECT {columns} FROM "Contact" c {index} WHERE c."id" > ? ORDER BY c."id" LIMIT {ROWS_OF_A_WINDOW}"#
        );
        self.statement(sql, vec![Value::from(after)])
    }
}
