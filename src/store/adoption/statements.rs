//! Snapshots of the statements of an adoption. Counters of ids, statistics and the emptying of tables are in
//! `src/store/statements.rs`.

use sea_orm::QueryTrait;

use super::state::{AdoptionPhase, AdoptionRun, AdoptionState, RunToken};
use super::{contacts, evidence, finish, holders, identifiers, state};
use crate::domain::{IdentifierKind, Timestamp};
use crate::store::rows;
use crate::store::sql::Engine;
use crate::store::statements::snapshot::{ENGINES, StatementList};

const NOW: Timestamp = Timestamp(1_700_000_000_000_000);

fn statements(engine: Engine) -> String {
    let token = RunToken::new([7; 16]);
    let run = AdoptionRun { token: token.clone(), last_contact_id: 5, last_merge_id: 6, started_at: NOW };
    let mut list = StatementList::new(engine);
    let before = AdoptionState {
        options: serde_json::Value::Null,
        phase: AdoptionPhase::Contacts,
        last_contact_id: 0,
        last_merge_id: 0,
        content: String::new(),
        started_at: NOW,
        run: "another".to_owned(),
    };
    let take = state::take_statement(&before, AdoptionPhase::Contacts, &token);
    list.add_built("take the adoption", &take.into_query());
    list.add_built("progress", &state::progress_statement(&run, AdoptionPhase::Merges, 7).into_query());
    list.add_built("end", &state::end_statement(&run, AdoptionPhase::Done, 5, "digest").into_query());
    list.add_built("forget", &state::delete_statement(&run).into_query());
    list.add_built("contacts", &contacts::page_of_contacts(7, 1_000, false).into_query());
    list.add_built("contacts and holders", &contacts::page_of_contacts(7, 1_000, true).into_query());
    list.add_built("originals", &contacts::originals_between(7, 1_007).into_query());
    list.add_built("contact above", &finish::contact_above(7).into_query());
    list.add_built("merge above", &finish::merge_above(7).into_query());
    for kind in IdentifierKind::ALL {
        list.add_sql(&format!("carried, {}", kind.name()), &identifiers::carried_sql(engine, kind));
    }
    let page = |after| identifiers::page_of_identifiers(IdentifierKind::Email, after, 1_000).into_query();
    list.add_built("first identifiers", &page(None));
    list.add_built("next identifiers", &page(Some(b"a@b.co")));
    list.add_built("holders", &holders::all_holders().into_query());
    list.add_built("sets", &evidence::page_of_sets(7, 1_000).into_query());
    list.add_built(
        "move completeSince forward",
        &evidence::move_complete_since_forward(rows::to_naive(NOW).unwrap()).into_query(),
    );
    list.into_text()
}

#[test]
fn every_statement_of_an_adoption_is_as_the_snapshots_show() {
    for (name, engine) in ENGINES {
        insta::assert_snapshot!(name, statements(engine));
    }
}
