//! The tables as the migrations make them.

use crate::store::sql::Engine;

/// A table that a migration makes.
#[derive(Debug)]
pub(super) struct Table {
    pub(super) name: &'static str,
    /// The name of the migration.
    pub(super) migration: &'static str,
    pub(super) columns: &'static [Column],
    pub(super) primary_key: &'static [&'static str],
    pub(super) indexes: &'static [Index],
}

/// An index beside the primary key.
#[derive(Debug)]
pub(super) struct Index {
    pub(super) name: &'static str,
    pub(super) columns: &'static [&'static str],
    pub(super) is_unique: bool,
    /// The migration that makes it, if it is not that of its table.
    pub(super) added_by: Option<&'static str>,
}

#[derive(Debug)]
pub(super) struct Column {
    pub(super) name: &'static str,
    pub(super) kind: ColumnKind,
    pub(super) is_nullable: bool,
    /// The migration that adds it, if it is not that of its table.
    pub(super) added_by: Option<&'static str>,
}

/// What a column holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ColumnKind {
    /// An automatic 64-bit integer.
    AutomaticId,
    Integer,
    SmallInteger,
    Text(u16),
    /// Text of any length that the database takes.
    LongText,
    Precedence,
    Moment,
    Bytes(u16),
    Json,
}

impl ColumnKind {
    /// The name of its type, as [`Catalogue`](crate::store::catalogue::Catalogue) reads it.
    pub(super) fn type_name(self, engine: Engine) -> String {
        let (on_mysql, on_postgres, on_sqlite) = match self {
            Self::AutomaticId | Self::Integer => ("bigint", "bigint", "integer"),
            Self::SmallInteger => ("smallint", "smallint", "smallint"),
            Self::Precedence => {
                ("enum('primary','secondary') utf8mb4", "link_precedence (primary, secondary)", "enum_text")
            }
            Self::Moment => ("datetime(6)", "timestamp(6) without time zone", "datetime_text"),
            Self::LongText => ("text utf8mb4", "text", "text"),
            Self::Json => {
                return match engine {
                    Engine::Mysql | Engine::Postgres => "json",
                    Engine::Mariadb => "longtext utf8mb4", // It has no type for it.
                    Engine::Sqlite => "json_text",
                }
                .to_owned();
            }
            Self::Text(size) => {
                return match engine {
                    Engine::Mysql | Engine::Mariadb => format!("varchar({size}) utf8mb4"),
                    Engine::Postgres => format!("character varying({size})"),
                    Engine::Sqlite => format!("varchar({size})"),
                };
            }
            Self::Bytes(size) => {
                return match engine {
                    Engine::Mysql | Engine::Mariadb => format!("varbinary({size})"),
                    Engine::Postgres => "bytea".to_owned(),
                    Engine::Sqlite => format!("varbinary_blob({size})"),
                };
            }
        };
        match engine {
            Engine::Mysql | Engine::Mariadb => on_mysql,
            Engine::Postgres => on_postgres,
            Engine::Sqlite => on_sqlite,
        }
        .to_owned()
    }
}

const fn required(name: &'static str, kind: ColumnKind) -> Column {
    Column { name, kind, is_nullable: false, added_by: None }
}

const fn optional(name: &'static str, kind: ColumnKind) -> Column {
    Column { name, kind, is_nullable: true, added_by: None }
}

/// A column that cannot be null, and that this migration adds to a table that was there before.
const fn added(name: &'static str, kind: ColumnKind, migration: &'static str) -> Column {
    Column { name, kind, is_nullable: false, added_by: Some(migration) }
}

const fn index(name: &'static str, columns: &'static [&'static str]) -> Index {
    Index { name, columns, is_unique: false, added_by: None }
}

/// The column that [`FLAGS_MIGRATION`] adds to [`CONTACT`].
pub(super) const FLAGS: &str = "flags";

/// The migration that adds the flags of contacts.
pub(super) const FLAGS_MIGRATION: &str = "m20261127_000004_contact_flags";

/// The table of the customers, whose name other systems use too.
pub(super) const CONTACT: &str = "Contact";

/// The table of the state of an adoption.
pub(super) const ADOPTION: &str = "Adoption";

/// The migration that makes it.
pub(super) const ADOPTION_MIGRATION: &str = "m20261127_000011_adoption";

/// The table of what is known about the evidence as a whole. Its one row can be made again.
pub(super) const EVIDENCE_STATE: &str = "EvidenceState";

/// The tables, in the order of their migrations.
pub(super) const TABLES: &[Table] = &[
    Table {
        name: CONTACT,
        migration: "m20261121_000001_contact",
        columns: &[
            required("id", ColumnKind::AutomaticId),
            optional("phoneNumber", ColumnKind::Text(255)),
            optional("email", ColumnKind::Text(255)),
            optional("linkedId", ColumnKind::Integer),
            required("linkPrecedence", ColumnKind::Precedence),
            required("createdAt", ColumnKind::Moment),
            required("updatedAt", ColumnKind::Moment),
            optional("deletedAt", ColumnKind::Moment),
            added(FLAGS, ColumnKind::SmallInteger, FLAGS_MIGRATION),
        ],
        primary_key: &["id"],
        indexes: &[index("Contact_linkedId", &["linkedId"])],
    },
    Table {
        name: "Identifier",
        migration: "m20261121_000002_identifier",
        columns: &[
            required("kind", ColumnKind::Text(16)),
            required("value", ColumnKind::Bytes(255)),
            required("contactId", ColumnKind::Integer),
        ],
        primary_key: &["kind", "value"],
        indexes: &[],
    },
    Table {
        name: "ContactMerge",
        migration: "m20261121_000003_contact_merge",
        columns: &[
            required("id", ColumnKind::AutomaticId),
            required("survivorId", ColumnKind::Integer),
            required("absorbedId", ColumnKind::Integer),
            required("cause", ColumnKind::Json),
            required("createdAt", ColumnKind::Moment),
        ],
        primary_key: &["id"],
        indexes: &[Index {
            added_by: Some("m20261127_000031_merge_index"),
            ..index("ContactMerge_absorbedId", &["absorbedId"])
        }],
    },
    Table {
        name: "AdoptedContact",
        migration: "m20261127_000010_adopted_contact",
        columns: &[
            required("id", ColumnKind::Integer),
            optional("email", ColumnKind::LongText),
            optional("phoneNumber", ColumnKind::LongText),
            optional("linkedId", ColumnKind::Integer),
            optional("linkPrecedence", ColumnKind::Text(64)),
            required("reason", ColumnKind::Text(255)),
        ],
        primary_key: &["id"],
        indexes: &[],
    },
    Table {
        name: ADOPTION,
        migration: ADOPTION_MIGRATION,
        columns: &[
            required("id", ColumnKind::Integer),
            required("options", ColumnKind::Json),
            required("phase", ColumnKind::Text(32)),
            required("progress", ColumnKind::Integer),
            required("contacts", ColumnKind::Integer),
            required("lastContactId", ColumnKind::Integer),
            required("lastMergeId", ColumnKind::Integer),
            required("content", ColumnKind::Text(64)),
            required("run", ColumnKind::Text(32)),
            required("startedAt", ColumnKind::Moment),
        ],
        primary_key: &["id"],
        indexes: &[],
    },
    Table {
        name: "Evidence",
        migration: "m20261127_000030_evidence",
        columns: &[
            required("id", ColumnKind::AutomaticId),
            required("setKey", ColumnKind::Bytes(16)),
            required("contactId", ColumnKind::Integer),
            required("origin", ColumnKind::Text(16)),
            required("identifiers", ColumnKind::Json),
            required("createdAt", ColumnKind::Moment),
            optional("retractedBy", ColumnKind::Integer),
        ],
        primary_key: &["id"],
        indexes: &[
            Index { is_unique: true, ..index("Evidence_setKey", &["setKey"]) },
            index("Evidence_contactId", &["contactId"]),
        ],
    },
    Table {
        name: EVIDENCE_STATE,
        migration: "m20261127_000032_evidence_state",
        columns: &[
            required("id", ColumnKind::Integer),
            required("copiedMergeId", ColumnKind::Integer),
            optional("completeSince", ColumnKind::Moment),
        ],
        primary_key: &["id"],
        indexes: &[],
    },
    Table {
        name: "EvidenceNote",
        migration: "m20261127_000033_evidence_note",
        columns: &[
            required("evidence", ColumnKind::Text(24)),
            optional("source", ColumnKind::Text(64)),
            optional("externalRef", ColumnKind::Text(128)),
            optional("occurredAt", ColumnKind::Moment),
            required("createdAt", ColumnKind::Moment),
        ],
        primary_key: &["evidence"],
        indexes: &[],
    },
];

#[cfg(test)]
mod tests {
    use migration::{Migrator, MigratorTrait};

    use super::*;

    #[test]
    fn every_migration_is_known_here() {
        let names: Vec<String> = Migrator::migrations().iter().map(|migration| migration.name().to_owned()).collect();
        let added = |name: &str| {
            let mut columns = TABLES.iter().flat_map(|table| table.columns);
            let mut indexes = TABLES.iter().flat_map(|table| table.indexes);
            columns.any(|column| column.added_by == Some(name)) || indexes.any(|index| index.added_by == Some(name))
        };
        let unknown = names.iter().filter(|name| TABLES.iter().all(|table| table.migration != *name) && !added(name));
        assert_eq!(unknown.collect::<Vec<_>>(), Vec::<&String>::new(), "describe its table or column");
        assert!(TABLES.iter().all(|table| names.iter().any(|name| name == table.migration)));
    }
}
