//! The look-up of identities by their identifiers.

use sea_orm::Statement;

use super::{Engine, KeyLookup, ROOT, lookup_columns, lookup_limit};
use crate::domain::Identifier;

impl Engine {
    /// The identities that own these identifiers, soft-deleted contacts included, and how many contacts a row has.
    ///
    /// It is one statement, so one consistent read. There is a limit, [`lookup_limit`]: with so many rows the result is
    /// not complete. SQLite reads what [`Self::lookup_large`] reads: a row for each contact. The others read a row for
    /// each identifier and each secondary of its identity, or one row without a secondary. Then the columns of
    /// `LookupColumn` come twice: for the root, and for the secondary. Such joins need no temporary table, so MySQL
    /// takes two thirds of the time for one customer. But an identity that owns several of the identifiers comes
    /// several times, and SQLite would read twice as many pages.
    pub(in crate::store) fn lookup(self, identifiers: &[Identifier]) -> (Statement, usize) {
        let limit = lookup_limit(identifiers.len());
        match self {
            Self::Mysql | Self::Mariadb | Self::Postgres => (self.lookup_joined(identifiers, limit), 2),
            Self::Sqlite => {
                let mut statement = self.lookup_large(identifiers);
                statement.sql += &format!(" LIMIT {limit}");
                (statement, 1)
            }
        }
    }

    fn lookup_joined(self, identifiers: &[Identifier], limit: usize) -> Statement {
        let KeyLookup { from, filter, params } = self.owned_rows(identifiers);
        let contact_join = self.contact_join();
        let root = contact_join("r", "id", ROOT, None);
        let secondaries = contact_join("s", "linkedId", ROOT, Some("Contact_linkedId"));
        let columns = self.with_read_only_column(&[lookup_columns("r"), lookup_columns("s")].join(", "));
        let sql = format!(
            "SELECT {columns} FROM {from}\n            {root}\n            {secondaries} WHERE {filter} LIMIT {limit}"
        );
        self.with_own_parameters(sql, params)
    }

    /// The identities that own these identifiers, however many contacts they have: a row for each contact, soft-deleted
    /// ones included.
    ///
    /// Its two halves look contacts up by `id` and by `linkedId`; with an `OR` instead, no database uses both indexes.
    /// The optimizer gets no choice: `linkedId` is null on most rows, and statistics take null for one value that
    /// nearly all rows have.
    pub(in crate::store) fn lookup_large(self, identifiers: &[Identifier]) -> Statement {
        let KeyLookup { from, filter, params } = self.owned_rows(identifiers);
        let contacts = self.contacts_of_roots();
        let sql = format!(
            r#"WITH roots AS (SELECT DISTINCT {ROOT} AS root FROM {from} WHERE {filter} AND o."id" IS NOT NULL)
        {contacts}"#
        );
        self.with_own_parameters(sql, params)
    }
}
