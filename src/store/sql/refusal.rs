//! Whether the data of one request can be why a database refuses a statement.
//!
//! Any other error is a fault of the database: an unknown function, a corrupt index, a right that is missing. The
//! resolver says what becomes of the neighbours of a request that is refused.
//!
//! An error is of one request only if a list here says so. Triggers belong to operators, and may refuse single rows.
//!
//! - SQL standard: classes 22 (data exception), 23 (integrity constraint), 38 and 39 (what a routine in another
//!   language raises), 44 (`WITH CHECK OPTION`), 45 (what a routine raises by `SIGNAL`). It leaves those that begin
//!   with 5 to 9 or I to Z to implementations, so routines raise them too.
//! - <https://www.postgresql.org/docs/current/errcodes-appendix.html>
//! - <https://dev.mysql.com/doc/mysql-errors/en/server-error-reference.html>
//! - <https://mariadb.com/kb/en/mariadb-error-code-reference/>
//! - <https://www.sqlite.org/rescode.html>

use sea_orm::{IdenStatic, Iterable};

use super::super::entity::{contact, contact_merge, evidence, evidence_note, identifier};
use super::super::error::{Cause, StoreError};

/// An error that no other rule knows.
pub(crate) fn refusal(is_of_one_request: bool, cause: Cause) -> StoreError {
    if is_of_one_request { StoreError::Rejected(cause) } else { StoreError::Faulty(cause) }
}

/// Returns whether the service writes a column of this name. Any other column that must have a value, and has no
/// default, lacks one in every row that the service inserts. (MySQL and MariaDB have an error of its own for that.)
fn is_written(column: &str) -> bool {
    contact::Column::iter().any(|own| own.as_str() == column)
        || identifier::Column::iter().any(|own| own.as_str() == column)
        || contact_merge::Column::iter().any(|own| own.as_str() == column)
        || evidence::Column::iter().any(|own| own.as_str() == column)
        || evidence_note::Column::iter().any(|own| own.as_str() == column)
}

/// Returns whether the data of one request, or the amount of it, can be the cause of this SQLSTATE of PostgreSQL.
/// `column` is the one that the error names.
pub(crate) fn is_of_one_request_on_postgres(code: &str, column: Option<&str>) -> bool {
    let Some(class) = code.get(..2) else { return false };
    if code == "23502" {
        return column.is_none_or(is_written);
    }
    match class {
        // No data, triggered action, CASE without a branch, more than one row, data exception, constraint, triggered
        // change, a function without RETURN, routines, check option, a limit of the program (such as the size of a row
        // of an index), PL/pgSQL.
        "02" | "09" | "20" | "21" | "22" | "23" | "27" | "2F" | "38" | "39" | "44" | "45" | "54" | "P0" => true,
        _ => is_of_implementations(class) && !["53", "55", "57", "58", "72", "XX"].contains(&class),
    }
}

fn is_of_implementations(class: &str) -> bool {
    class.starts_with(|first: char| matches!(first, '5'..='9' | 'I'..='Z'))
}

/// Returns whether the data of one request, or the amount of it, can be the cause of this error of MySQL or MariaDB.
pub(crate) fn is_of_one_request_on_mysql(number: u16, sqlstate: &str) -> bool {
    let is_of_data = match sqlstate.get(..2) {
        Some("22" | "23" | "38" | "39" | "44" | "45") => true,
        // The server's own are HY, 70 and XA.
        Some(class) => is_of_implementations(class) && !["70", "XA"].contains(&class),
        None => false,
    };
    is_of_data || MYSQL_NUMBERS.contains(&number)
}

/// Errors of one request whose SQLSTATE is HY000 or says something else.
const MYSQL_NUMBERS: [u16; 36] = [
    // A packet, a row, a transaction, a result that is too large; too much to sort.
    1038, 1118, 1153, 1197, 1301, 1713,
    // A value that is null, cut, wrong, out of range, too long, of another character set.
    1048, 1263, 1264, 1265, 1292, 1300, 1366, 1367, 1406, 1411, 1690, 3140, 3854, 3988,
    // What a regular expression takes too long for.
    3698, 3699, // No partition for a row, or another one.
    1526, 1748, 1863, // More than one row, no row, no branch: in a routine.
    1172, 1242, 1329, 1339, // A view's check; what a routine raises.
    1369, 1643, 1644, // A check, of MySQL and of MariaDB; foreign keys.
    3819, 4025, 1451, 1452,
];

/// Returns whether the data of one request can be the cause of this extended result code of SQLite. Functions have no
/// code of their own for what they refuse, so the message is compared.
pub(crate) fn is_of_one_request_on_sqlite(code: u32, message: &str) -> bool {
    match code & 0xff {
        // NOT NULL: "NOT NULL constraint failed: Contact.email".
        _ if code == 1299 => message.rsplit_once('.').is_none_or(|(_, column)| is_written(column)),
        // TOOBIG, CONSTRAINT (RAISE in a trigger as well), MISMATCH.
        18..=20 => true,
        1 => ["integer overflow", "malformed JSON", "bad JSON path", "LIKE or GLOB pattern too complex"]
            .iter()
            .any(|text| message.starts_with(text)),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_of_one_request_can_break_a_rule_of_postgresql() {
        for code in [
            "22001", "22003", "22P02", "23502", "23514", "44000", "54000", "P0001", "P0002", "21000", "MY001", "38000",
            "39001", "45000", "2F005",
        ] {
            assert!(is_of_one_request_on_postgres(code, None), "{code}");
        }
        assert!(is_of_one_request_on_postgres("23502", Some("phoneNumber")), "some requests have none");
        assert!(!is_of_one_request_on_postgres("23502", Some("added")), "no request has one");
        for code in ["42883", "42704", "42P07", "0A000", "XX000", "XX001", "XX002", "F0000", "25001", "72000", "", "ä"]
        {
            assert!(!is_of_one_request_on_postgres(code, None), "{code}");
        }
    }

    #[test]
    fn data_of_one_request_can_break_a_rule_of_mysql_and_mariadb() {
        let data = [
            (1406, "22001"),
            (1264, "22003"),
            (1048, "23000"),
            (4025, "23000"),
            (1366, "HY000"),
            (1265, "01000"),
            (3819, "HY000"),
            (1644, "45000"),
            (1644, "MY001"),
            (30_001, "MY001"),
            (30_001, "38000"),
            (3854, "HY000"),
            (30_001, "45000"),
            (1153, "08S01"),
        ];
        for (number, sqlstate) in data {
            assert!(is_of_one_request_on_mysql(number, sqlstate), "{number}");
        }
        // A column that somebody added without a default, a trigger that changes its table, a view, a wrong number of
        // values, an index, a syntax, an automatic id.
        let faults = [
            (1364, "HY000"),
            (1442, "HY000"),
            (1356, "HY000"),
            (1136, "21S01"),
            (1712, "HY000"),
            (1034, "HY000"),
            (1064, "42000"),
            (1467, "HY000"),
            (1317, "70100"),
            (1400, "XAE07"),
            (1105, ""),
        ];
        for (number, sqlstate) in faults {
            assert!(!is_of_one_request_on_mysql(number, sqlstate), "{number}");
        }
    }

    #[test]
    fn data_of_one_request_can_break_a_rule_of_sqlite() {
        for (code, message) in [
            (19, ""),
            (1811, "no"),
            (275, ""),
            (1299, ""),
            (18, ""),
            (20, ""),
            (1, "integer overflow"),
            (1, "bad JSON path: 'x'"),
        ] {
            assert!(is_of_one_request_on_sqlite(code, message), "{code}");
        }
        assert!(is_of_one_request_on_sqlite(1299, "NOT NULL constraint failed: Contact.phoneNumber"));
        assert!(!is_of_one_request_on_sqlite(1299, "NOT NULL constraint failed: Contact.added"));
        for (code, message) in [(1, "no such function: f"), (1, ""), (11, ""), (267, ""), (26, ""), (3, ""), (21, "")] {
            assert!(!is_of_one_request_on_sqlite(code, message), "{code}");
        }
    }

    #[test]
    fn what_no_list_has_is_no_fault_of_one_request() {
        assert!(matches!(refusal(true, Cause::new("1")), StoreError::Rejected(_)));
        assert!(matches!(refusal(false, Cause::new("1")), StoreError::Faulty(_)));
    }
}
