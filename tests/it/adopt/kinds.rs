//! Each kind of old table on each of its databases, with damaged rows.

use std::collections::{BTreeMap, BTreeSet};

use identity::store::entity::contact::LinkPrecedence;
use serde_json::json;

use super::model::{Model, TILL, values};
use super::{Old, Tables, run};
use crate::harness::{Api, Service, Suite, TestDatabase, register};
use crate::old_tables::{MadeRow, OldKind, damaged_rows};
use crate::verify;

pub fn register(suite: &mut Suite) {
    register!(suite.on_all():
        damaged_tables_are_adopted_as_by_brute_force,
        an_accepted_identifier_joins_and_an_ignored_one_does_not,
    );
}

async fn damaged_tables_are_adopted_as_by_brute_force(target: TestDatabase) {
    for (seed, kind) in (1..).zip(OldKind::on(target.backend)) {
        let own = TestDatabase::create(target.backend).await;
        let old = Old::make(target.backend, kind, &damaged_rows(seed, row_count())).await;
        let before = old.content().await;
        adopt_and_check(&old, &own).await;
        assert!(old.content().await == before, "{kind:?}: the old table changed");
        old.drop().await;
        own.drop().await;
    }
}

/// How many rows the tables have.
fn row_count() -> usize {
    std::env::var("ADOPT_ROWS").map_or(200, |text| text.parse().expect("a number"))
}

async fn adopt_and_check(old: &Old, target: &TestDatabase) {
    let kind = old.kind;
    let ignore = old.file("ignore");
    let flags = ["--ignore", ignore.as_str()];
    let (status, dry) = run(&mut old.adopt(target, &flags));
    assert_eq!((status, &dry["end"]), (0, &json!("dry_run")), "{kind:?}: {dry}");
    let (status, applied) = run(&mut old.adopt(target, &[&flags[..], &["--apply"]].concat()));
    assert_eq!((status, &applied["end"]), (0, &json!("done")), "{kind:?}: {applied}");
    assert_eq!(dry["report"], applied["report"], "{kind:?}");
    assert_eq!(applied["report"]["rows"], json!(old.rows.len()));
    let tables = Tables::of(target).await;
    check_tables(kind, &old.rows, &tables, true);
    verify::clean(target);
    next_identify_answers_with_the_old_primary(old, target, &tables).await;
}

/// Compares the tables with what the old rows say.
pub fn check_tables(kind: OldKind, rows: &[MadeRow], tables: &Tables, ignores_till: bool) {
    let model = Model::new(rows, ignores_till);
    let contacts: BTreeMap<i64, _> =
        tables.contacts.iter().filter(|contact| contact.flags & 4 == 0).map(|contact| (contact.id, contact)).collect();
    assert_eq!(contacts.keys().collect::<Vec<_>>(), model.primary.keys().collect::<Vec<_>>(), "{kind:?}: ids");
    let micros = |moment: chrono::NaiveDateTime| moment.and_utc().timestamp_micros();
    let originals: BTreeMap<i64, _> = tables.originals.iter().map(|original| (original.id, original)).collect();
    for row in rows {
        let (id, contact) = (row.id, contacts[&row.id]);
        let primary = model.primary[&id];
        assert_eq!(contact.linked_id, (primary != id).then_some(primary), "{kind:?}: the link of {id}");
        assert_eq!(contact.link_precedence == LinkPrecedence::Primary, primary == id, "{kind:?}: {id}");
        assert_eq!(micros(contact.created_at), model.created(id), "{kind:?}: createdAt of {id}");
        assert_eq!(micros(contact.updated_at), row.updated_at.unwrap_or(model.created(id)), "{kind:?}: {id}");
        assert_eq!(contact.deleted_at.map(micros), row.deleted_at, "{kind:?}: deletedAt of {id}");
        let (email, phone) = values(row);
        assert_eq!((&contact.email, &contact.phone_number), (&email, &phone), "{kind:?}: values of {id}");
        let is_ignored = ignores_till && phone.as_deref() == Some(TILL);
        assert_eq!(contact.flags != 0, is_ignored, "{kind:?}: flags of {id}");
        let was_changed = (&row.email, &row.phone_number, row.linked_id) != (&email, &phone, contact.linked_id)
            || row.created_at.is_none()
            || row.updated_at.is_none()
            || is_ignored
            || (row.deleted_at.is_none() && email.is_none() && phone.is_none())
            || row.is_secondary != (primary != id);
        assert_eq!(originals.contains_key(&id), was_changed, "{kind:?}: AdoptedContact of {id}");
        if let Some(original) = originals.get(&id) {
            let kept = (&original.email, &original.phone_number, original.linked_id);
            assert_eq!(kept, (&row.email, &row.phone_number, row.linked_id), "{kind:?}: {id}");
        }
    }
    let mut owners = BTreeMap::new();
    for id in model.primary.keys() {
        for key in model.carried(*id) {
            let age = (model.created(*id), *id);
            owners.entry(key).and_modify(|oldest: &mut (i64, i64)| *oldest = age.min(*oldest)).or_insert(age);
        }
    }
    let found: BTreeMap<_, i64> = tables
        .identifiers
        .iter()
        .filter(|row| contacts.contains_key(&row.contact_id))
        .map(|row| ((row.kind.clone(), String::from_utf8(row.value.clone()).expect("UTF-8")), row.contact_id))
        .collect();
    let owners: BTreeMap<_, i64> =
        owners.into_iter().map(|((kind, value), (_, id))| ((kind.to_owned(), value), id)).collect();
    assert!(found == owners, "{kind:?}: who owns which identifier");
    let till = tables.identifiers.iter().filter(|row| row.value == TILL.as_bytes() && row.kind == "phone");
    assert!(till.count() == 1, "{kind:?}: the number of the till has an owner, or a holder");
    // Two rows without a link were two customers: if they are one now, a merge says so.
    let alone = |row: &&MadeRow| row.linked_id.is_none() && row.deleted_at.is_none() && !row.is_secondary;
    let absorbed: BTreeSet<i64> = tables.merges.iter().map(|merge| merge.absorbed_id).collect();
    assert!(!absorbed.is_empty(), "{kind:?}: no merge");
    let mut of_primary: BTreeMap<i64, usize> = BTreeMap::new();
    for row in rows.iter().filter(alone) {
        *of_primary.entry(model.primary[&row.id]).or_default() += 1;
    }
    let mut merges_into: BTreeMap<i64, usize> = BTreeMap::new();
    tables.merges.iter().for_each(|merge| *merges_into.entry(merge.survivor_id).or_default() += 1);
    for (primary, count) in of_primary {
        let merges = merges_into.get(&primary).copied().unwrap_or_default();
        assert!(merges + 1 >= count, "{kind:?}: {count} old customers of {primary}, and {merges} merges");
    }
    let mut members: BTreeMap<i64, Vec<i64>> = BTreeMap::new();
    model.primary.iter().for_each(|(id, primary)| members.entry(*primary).or_default().push(*id));
    for merge in &tables.merges {
        let [survivor, absorbed] = [merge.survivor_id, merge.absorbed_id];
        assert_eq!(model.primary[&absorbed], survivor, "{kind:?}: merge {}", merge.id);
        assert!(!merge.cause.0.is_empty(), "{kind:?}: merge {} has no cause", merge.id);
        for cause in merge.cause.0.iter().filter(|cause| cause.kind != "link") {
            let carriers = members[&survivor].iter().filter(|id| {
                model.carried(**id).iter().any(|(kind, value)| (*kind, value) == (&cause.kind, &cause.value))
            });
            assert!(carriers.count() > 1, "{kind:?}: merge {}: {} is shared", merge.id, cause.kind);
        }
    }
}

/// The next id is above those of the old table, and customers are found by what they had.
async fn next_identify_answers_with_the_old_primary(old: &Old, target: &TestDatabase, tables: &Tables) {
    let service = Service::start(target).await;
    let caller = service.caller();
    let model = Model::new(&old.rows, true);
    let last = old.rows.last().expect("rows").id;
    let (mut asked, step) = (0, (tables.contacts.len() / 30).max(1));
    for contact in tables.contacts.iter().filter(|contact| contact.deleted_at.is_none()).step_by(step) {
        let Some(email) = contact.email.as_deref() else { continue };
        let reply = caller.identify(Api::Grpc, Some(email), None).await.expect("an answer");
        let expected = model.primary[&contact.id];
        assert_eq!((reply.outcome, reply.primary), ("matched", expected), "{:?}", old.kind);
        asked += 1;
    }
    assert!(asked > 5);
    let created = caller.identify(Api::Grpc, Some("new@example.org"), Some(TILL)).await.expect("an answer");
    assert_eq!(created.outcome, "created", "{:?}: the till's number joins nobody", old.kind);
    assert!(created.primary > last, "{:?}: {} is no new id", old.kind, created.primary);
    service.stop().await;
    verify::clean(target);
}

async fn an_accepted_identifier_joins_and_an_ignored_one_does_not(target: TestDatabase) {
    let kind = OldKind::Prisma;
    let old = Old::make(target.backend, kind, &damaged_rows(77, 200)).await;
    let (status, undecided) = run(&mut old.adopt(&target, &["--apply"]));
    assert_eq!((status, &undecided["end"]), (1, &json!("decisions_needed")), "{undecided}");
    let hub = &undecided["report"]["over_max_join"][0];
    assert_eq!((&hub["kind"], &hub["accepted"]), (&json!("phone"), &json!(false)));
    assert!(hub["value"].is_null() && hub["contact"].as_i64().is_some(), "{hub}");
    assert!(!undecided.to_string().contains(TILL));
    let (_, shown) = run(&mut old.adopt(&target, &["--show-values"]));
    assert_eq!(shown["report"]["over_max_join"][0]["value"], json!(TILL));
    let accept = old.file("accept");
    let (status, applied) = run(&mut old.adopt(&target, &["--accept", &accept, "--apply"]));
    assert_eq!((status, &applied["end"]), (0, &json!("done")), "{applied}");
    check_tables(kind, &old.rows, &Tables::of(&target).await, false);
    verify::clean(&target);
    old.drop().await;
}
