//! Snapshots of the statements of `up` of the migrations, so that a change of one is seen in review.

use sea_orm_migration::sea_orm::{DbBackend, StatementBuilder};

use crate::dialect::Dialect;
use crate::{
    m20261121_000001_contact as contact, m20261121_000002_identifier as identifier,
    m20261121_000003_contact_merge as contact_merge, m20261127_000004_contact_flags as contact_flags,
    m20261127_000010_adopted_contact as adopted_contact, m20261127_000011_adoption as adoption,
    m20261127_000030_evidence as evidence, m20261127_000031_merge_index as merge_index,
    m20261127_000032_evidence_state as evidence_state, m20261127_000033_evidence_note as evidence_note,
};

/// The statements of `up` for one database, in the order of the migrations.
fn statements(dialect: Dialect, backend: DbBackend) -> String {
    let mut texts = Vec::new();
    let mut add = |text: String| texts.push(text);
    if dialect == Dialect::Postgres {
        add(sql(backend, &contact::find_precedence_type()));
        add(sql(backend, &contact::precedence_type()));
    }
    add(sql(backend, &contact::table(dialect)));
    if dialect != Dialect::Mysql {
        add(sql(backend, &contact::linked_id_index()));
    }
    add(sql(backend, &identifier::table(dialect)));
    add(sql(backend, &contact_merge::table(dialect)));
    add(sql(backend, &contact_flags::add_column()));
    add(sql(backend, &adopted_contact::table(dialect)));
    add(sql(backend, &adoption::table(dialect)));
    add(sql(backend, &evidence::table(dialect)));
    if dialect != Dialect::Mysql {
        add(sql(backend, &evidence::set_key_index()));
        add(sql(backend, &evidence::contact_index()));
    }
    add(sql(backend, &merge_index::index()));
    add(sql(backend, &evidence_state::table(dialect)));
    add(sql(backend, &evidence_note::table(dialect)));
    texts.join(";\n")
}

fn sql(backend: DbBackend, statement: &impl StatementBuilder) -> String {
    StatementBuilder::build(statement, &backend).sql
}

#[test]
fn the_statements_of_up_are_as_the_snapshots_show() {
    for (name, dialect, backend) in [
        ("mysql", Dialect::Mysql, DbBackend::MySql),
        ("postgres", Dialect::Postgres, DbBackend::Postgres),
        ("sqlite", Dialect::Sqlite, DbBackend::Sqlite),
    ] {
        insta::assert_snapshot!(name, statements(dialect, backend));
    }
}
