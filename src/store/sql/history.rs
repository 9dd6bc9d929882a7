//! The history of one identity, in one statement: it is one consistent read.

use sea_orm::{Statement, Value};

use super::history_rows::{CONTACT, HistoryLimit, LINK, SET, STATE};
use super::{Engine, lookup_columns};

/// The root of the contact that is the parameter, twice. It need not exist.
const ROOT: &str = r#"COALESCE((SELECT r."linkedId" FROM "Contact" r WHERE r."id" = ?), ?)"#;

impl Engine {
    /// All contacts of the identity of a contact, soft-deleted ones included, its stored sets and its merges by a link,
    /// and the state of the evidence. The columns are those of [`HistoryColumn`].
    ///
    /// Each part goes through an index, whatever the optimizer knows of the tables.
    pub(in crate::store) fn history(self, contact: i64, limit: Option<HistoryLimit>) -> Statement {
        let (contacts, sets) = (limit.map(|limit| limit.contacts), limit.map(|limit| limit.sets));
        let contact_columns = format!("{}, NULL, NULL", lookup_columns("c"));
        let set_columns = format!(
            r#"e."id", NULL, NULL, NULL, e."createdAt", NULL, NULL, NULL, e."origin", {}"#,
            self.text_of(r#"e."identifiers""#)
        );
        let cause = self.text_of(r#"m."cause""#);
        let link_columns =
            format!(r#"m."absorbedId", NULL, NULL, m."survivorId", m."createdAt", NULL, NULL, NULL, NULL, {cause}"#);
        let sets_of = self.joined("Evidence", "e", "contactId", "Evidence_contactId");
        let links_of = self.joined("ContactMerge", "m", "absorbedId", "ContactMerge_absorbedId");
        let is_link = format!("{cause} LIKE '%link%'");
        let mut parts = Vec::new();
        for (part, columns, joined, filter, rows) in [
            (CONTACT, &contact_columns, "", "", contacts),
            (SET, &set_columns, &sets_of[..], r#" AND e."retractedBy" IS NULL"#, sets),
            (LINK, &link_columns, &links_of, &format!(" AND {is_link}"), contacts),
        ] {
            for (column, index) in [("id", None), ("linkedId", Some("Contact_linkedId"))] {
                let from = self.contacts_through(index);
                let select = format!(
                    "SELECT '{part}', {columns}{} FROM {from}{joined}\n        WHERE c.\"{column}\" = {ROOT}{filter}",
                    self.no_read_only_column()
                );
                parts.push(self.limited(select, rows));
            }
        }
        parts.push(self.history_state());
        let params = vec![Value::from(contact); 2 * (parts.len() - 1)];
        self.statement(parts.join("\n        UNION ALL "), params)
    }

    /// The row [`STATE`].
    fn history_state(self) -> String {
        let clock = self.clock_columns().map_or("NULL", |columns| columns[0]);
        let read_only = self.with_read_only_column("");
        format!(
            r#"SELECT '{STATE}', 0, NULL, NULL, NULL, {clock},
        (SELECT s."completeSince" FROM "EvidenceState" s WHERE s."id" = 1), NULL, NULL, NULL, NULL{read_only}"#
        )
    }

    /// Contacts `c` through this index, or through the primary key.
    fn contacts_through(self, index: Option<&str>) -> String {
        let index = match (self, index) {
            (Self::Mysql | Self::Mariadb, index) => format!(" FORCE INDEX ({})", index.unwrap_or("PRIMARY")),
            (Self::Sqlite, Some(index)) => format!(r#" INDEXED BY "{index}""#),
            (Self::Sqlite, None) | (Self::Postgres, _) => String::new(),
        };
        format!(r#""Contact" c{index}"#)
    }

    /// Joins the rows of a table that name the contact `c` in this column, through an index.
    fn joined(self, table: &str, name: &str, column: &str, index: &str) -> String {
        match self {
            Self::Mysql | Self::Mariadb => {
                format!(r#" STRAIGHT_JOIN "{table}" {name} FORCE INDEX ({index}) ON {name}."{column}" = c."id""#)
            }
            // OFFSET keeps the planner from a join of another order.
            Self::Postgres => {
                format!(r#", LATERAL (SELECT * FROM "{table}" WHERE "{column}" = c."id" OFFSET 0) {name}"#)
            }
            Self::Sqlite => {
                format!(r#" CROSS JOIN "{table}" {name} INDEXED BY "{index}" ON {name}."{column}" = c."id""#)
            }
        }
    }

    /// A part of a union with so many rows at most. SQLite takes no brackets around it.
    fn limited(self, select: String, rows: Option<usize>) -> String {
        match (self, rows) {
            (_, None) => select,
            (Self::Sqlite, Some(rows)) => format!("SELECT * FROM ({select} LIMIT {rows})"),
            (Self::Mysql | Self::Mariadb | Self::Postgres, Some(rows)) => format!("({select} LIMIT {rows})"),
        }
    }

    /// What stands for [`Engine::read_only_column`] where the row does not say it.
    fn no_read_only_column(self) -> &'static str {
        if self.read_only_column().is_some() { ", NULL" } else { "" }
    }
}
