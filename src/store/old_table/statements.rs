//! Snapshots of the statements that read the table of another system.

use super::column_type::DateForm;
use super::connection::{IS_REPLICA_OF_MYSQL, PROBE_OF_POSTGRES, session_of_mysql};
use super::date_rule::{DateZone, ZoneReason};
use super::mapping::{MappedColumn, Mapping};
use super::names::Field;
use super::select::all_columns_sql;
use super::time_zone::OldTimeZone;
use crate::store::sql::Engine;
use crate::store::statements::snapshot::{ENGINES, StatementList};

/// A table whose name and columns need quotes, with one column of each form.
fn mapping(engine: Engine) -> Mapping {
    let (text, number) = match engine {
        Engine::Mysql | Engine::Mariadb => ("varchar(255) utf8mb4", "bigint unsigned"),
        Engine::Postgres => ("character varying(255)", "integer"),
        Engine::Sqlite => ("text", "integer"),
    };
    let columns = [
        (Field::Id, "id", number, None),
        (Field::Email, "e-mail", text, None),
        (Field::PhoneNumber, "phone", number, None),
        (Field::LinkedId, "linked_id", number, None),
        (Field::CreatedAt, "created_at", "timestamp", Some(DateForm::Moment)),
        (Field::UpdatedAt, "updated_at", "datetime", Some(DateForm::Clock)),
        (Field::DeletedAt, "deleted_at", number, Some(DateForm::Number)),
    ];
    let columns = columns.into_iter().map(|(field, name, sql_type, date_form)| {
        (field, MappedColumn { name: name.to_owned(), sql_type: sql_type.to_owned(), date_form })
    });
    Mapping {
        engine,
        schema: None,
        table: "old `contact\"".to_owned(),
        columns: columns.collect(),
        zone: DateZone { zone: OldTimeZone::utc(), reason: ZoneReason::Given },
        is_replica: false,
    }
}

fn statements(engine: Engine) -> String {
    let mapping = mapping(engine);
    let mut list = StatementList::new(engine);
    match engine {
        Engine::Mysql | Engine::Mariadb => {
            list.add_text("session", &session_of_mysql(None));
            list.add_text("session in another database", &session_of_mysql(Some("old")));
            list.add_text("is it a replica", IS_REPLICA_OF_MYSQL);
        }
        Engine::Postgres => list.add_text("is it read only, is it a replica", PROBE_OF_POSTGRES),
        Engine::Sqlite => {}
    }
    list.add_text("all columns", &all_columns_sql(engine, "contact"));
    list.add_text("rights", &mapping.rights_sql());
    list.add_text("page", &mapping.page_sql());
    list.add_text("rows by id", &mapping.rows_sql(&[1, 2, 3]));
    list.add_text("count", &mapping.count_sql());
    list.add_text("range of ids", &mapping.id_range_sql());
    list.add_text("bad id", &mapping.bad_id_sql());
    list.into_text()
}

#[test]
fn every_statement_about_an_old_table_is_as_the_snapshots_show() {
    for (name, engine) in ENGINES {
        insta::assert_snapshot!(name, statements(engine));
    }
}
