//! Snapshots of the statements that only commands and the start of the service need: the catalogue, migrations, audits
//! and repairs, exports, and the copying of evidence.

use sea_orm::QueryTrait;

use super::snapshot::{ENGINES, StatementList};
use crate::domain::{ContactId, Identifier, IdentifierKind, Timestamp};
use crate::store::audit;
use crate::store::catalogue;
use crate::store::evidence_copy;
use crate::store::flagged;
use crate::store::migrate;
use crate::store::repair_ops;
use crate::store::rows;
use crate::store::schema;
use crate::store::sql::Engine;

const NOW: Timestamp = Timestamp(1_700_000_000_000_000);

fn statements(engine: Engine) -> String {
    let moment = rows::to_naive(NOW).unwrap();
    let phone = Identifier::from_stored(IdentifierKind::Phone, "123456");
    let (first, second) = (ContactId(1), ContactId(2));
    let mut list = StatementList::new(engine);
    list.add_sql("tables", engine.tables_sql());
    list.add_sql("tables of all schemas", engine.tables_of_all_schemas_sql().unwrap_or("none"));
    list.add("columns of a table", &catalogue::about_table(engine, engine.columns_sql(), "Contact"));
    list.add("indexes of a table", &catalogue::about_table(engine, engine.indexes_sql(), "Contact"));
    list.add_sql("first row", &catalogue::first_row_sql("Contact"));
    list.add_sql("first row with flags", &catalogue::first_flagged_sql("Contact"));
    list.add_sql("lacks identifiers", catalogue::LACKS_IDENTIFIERS);
    list.add_sql("unfinished adoption", catalogue::UNFINISHED_ADOPTION);
    list.add_sql("rights on a table", &schema::no_row_sql("Identifier", &["kind", "value", "contactId"]));
    list.add_text("table of migrations", engine.create_migrations_table().unwrap_or("SeaORM's own"));
    list.add_built("applied migrations", &migrate::applied_versions());
    list.add_sql("last contact", &audit::last_id_sql("Contact"));
    list.add_sql("next kind", audit::NEXT_KIND);
    list.add_sql("first identifiers", &audit::identifiers_sql(engine, &audit::page_of_identifiers(false, 1_000)));
    list.add_sql("next identifiers", &audit::identifiers_sql(engine, &audit::page_of_identifiers(true, 1_000)));
    list.add_sql("one identifier", &audit::identifiers_sql(engine, audit::ONE_IDENTIFIER));
    list.add_built("reassign", &repair_ops::reassign_row(&phone, first, second));
    list.add_built("row of an identifier", &repair_ops::identifier_row("phone", b"123456").into_query());
    list.add_built("rewrite", &repair_ops::rewrite_row(first, phone.kind(), Some(&phone), NOW).unwrap());
    list.add_sql("end of a page of flags", &flagged::end_of_page_sql());
    list.add_sql("holders", &flagged::holders_sql());
    list.add_built("merges to copy", &evidence_copy::page_of_merges(7, 500).into_query());
    list.add_built("merges that were copied", &evidence_copy::copied_up_to(7).into_query());
    list.add_built(
        "set completeSince if it is unknown",
        &evidence_copy::set_complete_since_if_unknown(moment).into_query(),
    );
    list.into_text()
}

#[test]
fn every_statement_of_a_command_is_as_the_snapshots_show() {
    for (name, engine) in ENGINES {
        insta::assert_snapshot!(name, statements(engine));
    }
}
