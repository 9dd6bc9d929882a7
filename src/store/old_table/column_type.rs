//! What the types of columns can hold.

use crate::store::sql::Engine;

/// How a column holds dates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum DateForm {
    /// A moment: its zone is known.
    Moment,
    /// What a clock showed, in a zone that the column does not say.
    Clock,
    /// A day, without a time.
    Day,
    /// A number of seconds or milliseconds since 1970.
    Number,
    /// A text, which may say its zone.
    Text,
    /// SQLite: each row has one of a number and a text.
    Any,
}

impl DateForm {
    /// Whether it takes a time zone to read such dates.
    pub(super) fn needs_zone(self) -> bool {
        match self {
            Self::Clock | Self::Day | Self::Text | Self::Any => true,
            Self::Moment | Self::Number => false,
        }
    }
}

/// How a column of this type holds dates. `None` if it cannot.
pub(super) fn date_form(engine: Engine, sql_type: &str) -> Option<DateForm> {
    let begins = |words: &[&str]| words.iter().any(|word| sql_type.starts_with(word));
    match engine {
        // Marks are kept in these, and no date fits in a number of two or three bytes.
        _ if begins(&["bool", "tinyint", "smallint", "mediumint"]) => None,
        Engine::Sqlite => Some(DateForm::Any),
        _ if is_integer(engine, sql_type) => Some(DateForm::Number),
        Engine::Postgres if begins(&["timestamp"]) => {
            Some(if sql_type.contains("with time zone") { DateForm::Moment } else { DateForm::Clock })
        }
        Engine::Mysql | Engine::Mariadb if begins(&["timestamp"]) => Some(DateForm::Moment),
        Engine::Mysql | Engine::Mariadb if begins(&["datetime"]) => Some(DateForm::Clock),
        _ if sql_type == "date" => Some(DateForm::Day),
        _ if begins(&["varchar", "char", "text", "character", "citext"]) => Some(DateForm::Text),
        Engine::Mysql | Engine::Mariadb | Engine::Postgres => None,
    }
}

/// Whether each value of this type is a whole number. SQLite's types bind nobody: there it is whether the type does not
/// say that values are something else.
pub(super) fn is_integer(engine: Engine, sql_type: &str) -> bool {
    match engine {
        Engine::Postgres => ["smallint", "integer", "bigint"].contains(&sql_type),
        Engine::Mysql | Engine::Mariadb => {
            ["tinyint", "smallint", "mediumint", "int", "bigint"].iter().any(|word| sql_type.starts_with(word))
        }
        Engine::Sqlite => !["char", "clob", "text", "uuid", "blob"].iter().any(|word| sql_type.contains(word)),
    }
}

/// Whether a column of this type can hold an e-mail address or a phone number: a text, its bytes, or a number.
pub(super) fn is_identifier(engine: Engine, sql_type: &str) -> bool {
    let other = match engine {
        Engine::Sqlite => return true,
        Engine::Postgres => {
            ["timestamp", "date", "time", "bytea", "json", "boolean", "uuid", "double", "real", "interval"].as_slice()
        }
        Engine::Mysql | Engine::Mariadb => {
            ["timestamp", "date", "time", "year", "json", "tinyint(1)", "double", "float", "bit", "geometry"].as_slice()
        }
    };
    !other.iter().any(|word| sql_type.starts_with(word)) && !sql_type.ends_with("[]")
}

/// Whether a column of MySQL holds text, which it sends as it is.
pub(super) fn is_mysql_text(sql_type: &str) -> bool {
    ["char", "varchar", "text", "tinytext", "mediumtext", "longtext", "enum", "binary", "varbinary"]
        .iter()
        .any(|word| sql_type.starts_with(word))
        || sql_type.ends_with("blob")
}

/// The digits behind the second of a date. `None` if the type says nothing of them.
pub(super) fn precision(sql_type: &str) -> Option<u8> {
    sql_type.split_once('(')?.1.split_once(')')?.0.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_by_type() {
        for (engine, sql_type, form) in [
            (Engine::Postgres, "timestamp(3) without time zone", Some(DateForm::Clock)),
            (Engine::Postgres, "timestamp without time zone", Some(DateForm::Clock)),
            (Engine::Postgres, "timestamp with time zone", Some(DateForm::Moment)),
            (Engine::Postgres, "timestamp(6) with time zone", Some(DateForm::Moment)),
            (Engine::Postgres, "date", Some(DateForm::Day)),
            (Engine::Postgres, "bigint", Some(DateForm::Number)),
            (Engine::Postgres, "character varying(255)", Some(DateForm::Text)),
            (Engine::Postgres, "boolean", None),
            (Engine::Postgres, "uuid", None),
            (Engine::Mysql, "datetime(3)", Some(DateForm::Clock)),
            (Engine::Mysql, "timestamp", Some(DateForm::Moment)),
            (Engine::Mariadb, "timestamp(6)", Some(DateForm::Moment)),
            (Engine::Mysql, "bigint unsigned", Some(DateForm::Number)),
            (Engine::Mysql, "varchar(30) utf8mb4", Some(DateForm::Text)),
            (Engine::Mysql, "tinyint(1)", None),
            (Engine::Mysql, "tinyint unsigned", None),
            (Engine::Postgres, "smallint", None),
            (Engine::Sqlite, "boolean", None),
            (Engine::Mysql, "time", None),
            (Engine::Sqlite, "datetime", Some(DateForm::Any)),
        ] {
            assert_eq!(date_form(engine, sql_type), form, "{engine:?} {sql_type}");
        }
    }

    #[test]
    fn ids_are_integers() {
        for (engine, sql_type, is_id) in [
            (Engine::Postgres, "integer", true),
            (Engine::Postgres, "uuid", false),
            (Engine::Postgres, "text", false),
            (Engine::Postgres, "numeric(20,0)", false),
            (Engine::Mysql, "int unsigned", true),
            (Engine::Mysql, "bigint", true),
            (Engine::Mariadb, "int(11)", true),
            (Engine::Mysql, "char(36) utf8mb4", false),
            (Engine::Mysql, "binary(16)", false),
            (Engine::Sqlite, "integer", true),
            (Engine::Sqlite, "", true),
            (Engine::Sqlite, "varchar(36)", false),
            (Engine::Sqlite, "text", false),
        ] {
            assert_eq!(is_integer(engine, sql_type), is_id, "{engine:?} {sql_type}");
        }
    }

    #[test]
    fn identifiers_are_texts_or_numbers() {
        for sql_type in ["text", "character varying(9)", "citext", "bigint", "numeric(20,0)", "email_address"] {
            assert!(is_identifier(Engine::Postgres, sql_type), "{sql_type}");
        }
        for sql_type in ["bytea", "jsonb", "text[]", "boolean", "timestamp with time zone", "double precision"] {
            assert!(!is_identifier(Engine::Postgres, sql_type), "{sql_type}");
        }
        for sql_type in ["varchar(191) utf8mb4", "varbinary(255)", "bigint", "decimal(20,0)"] {
            assert!(is_identifier(Engine::Mysql, sql_type), "{sql_type}");
        }
        assert!(!is_identifier(Engine::Mysql, "json") && !is_identifier(Engine::Mysql, "tinyint(1)"));
        assert!(is_mysql_text("varchar(9) latin1") && is_mysql_text("mediumblob") && !is_mysql_text("bigint"));
    }

    #[test]
    fn the_precision_of_a_date() {
        assert_eq!(precision("timestamp(3) without time zone"), Some(3));
        assert_eq!(precision("datetime(6)"), Some(6));
        assert_eq!(precision("timestamp without time zone"), None);
    }
}
