//! Evidence of an export: what is left out, and that the service goes on with what came back.

use chrono::Utc;
use identity::domain::Timestamp;
use serde_json::{Value, json};

use super::{file, import};
use crate::adopt::{Tables, run, undo};
use crate::harness::{Api, Backend, Service, Suite, TestDatabase, execute, register};
use crate::verify;

pub fn register(suite: &mut Suite) {
    register!(suite.on_all(): sets_come_back_if_they_belong_to_one_identity);
    register!(suite.on(&[Backend::Sqlite]): a_report_for_people_names_what_is_left_out);
}

const AT: &str = "2026-01-01T00:00:00.000001Z";

fn contact(id: i64, email: &str, phone: &str, primary: Option<i64>) -> Value {
    json!({
        "type": "contact", "id": id, "email": email, "phoneNumber": phone, "linkedId": primary,
        "linkPrecedence": if primary.is_some() { "secondary" } else { "primary" }, "createdAt": AT, "updatedAt": AT,
        "deletedAt": null, "ignored": [], "holder": false,
    })
}

fn set(id: i64, contact: i64, origin: &str, identifiers: &[(&str, &str)]) -> Value {
    let identifiers: Vec<Value> =
        identifiers.iter().map(|(kind, value)| json!({"kind": kind, "value": value})).collect();
    json!({
        "type": "evidence", "id": id, "contactId": contact, "origin": origin, "identifiers": identifiers,
        "createdAt": AT,
    })
}

/// One customer with two e-mail addresses and two numbers, and another one.
fn text() -> String {
    let (email, phone) = ("email", "phone");
    let rows = [
        contact(1, "a@x.de", "111", None),
        contact(2, "b@x.de", "111", Some(1)),
        contact(3, "b@x.de", "222", Some(1)),
        contact(4, "c@x.de", "333", None),
        set(11, 3, "match", &[(email, "a@x.de"), (phone, "222")]),
        set(12, 1, "merge", &[(email, "a@x.de"), (phone, "333")]),
        set(13, 1, "match", &[(email, "a@x.de"), (phone, "999")]),
        set(14, 1, "match", &[(email, "a@x.de"), ("passport", "1")]),
        set(15, 1, "match", &[(email, "a@x.de"), (phone, "n/a")]),
        set(16, 1, "match", &[(email, "a@x.de"), (email, "A@x.de")]),
        // Of other rules: spelled otherwise, and the set of a contact, and a contact that is not there.
        set(17, 1, "match", &[(email, "A@X.de "), (phone, "2 22")]),
        set(18, 1, "match", &[(email, "A@x.de"), (phone, "1 11")]),
        set(19, 77, "merge", &[(email, "a@x.de"), (email, "b@x.de")]),
    ];
    let head = json!({"type": "export", "version": 1, "rules": 1, "tables": ["contacts", "evidence"]});
    let end = json!({"type": "end", "rows": rows.len()});
    [&[head][..], &rows, &[end]].concat().iter().map(|line| format!("{line}\n")).collect()
}

async fn sets_come_back_if_they_belong_to_one_identity(target: TestDatabase) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = file(folder.path(), "all.ndjson", text());
    let (_, dry) = run(&mut import(&target, &path, &[]));
    let (status, done) = run(&mut import(&target, &path, &["--apply"]));
    assert_eq!((status, &done["end"]), (0, &json!("done")), "{done}");
    assert_eq!(dry["report"], done["report"]);
    let expected = json!({
        "kept": 3, "carried_by_contacts": 1, "of_several_identities": 1, "of_nobody": 2, "too_small": 2,
        "left_out_first": [12, 13, 14, 15, 16],
    });
    assert_eq!(done["report"]["evidence"], expected);
    let found = |tables: Tables| -> Vec<(i64, i64, String, Value)> {
        let row = |one: &identity::store::entity::evidence::Model| {
            let values = one.identifiers.0.iter().map(|one| one.value.clone()).collect::<Vec<_>>();
            (one.id, one.contact_id, one.origin.clone(), json!(values))
        };
        tables.evidence.iter().map(row).collect()
    };
    let expected = [
        (11, 3, "match".to_owned(), json!(["a@x.de", "222"])),
        (19, 1, "merge".to_owned(), json!(["a@x.de", "b@x.de"])),
    ];
    let tables = Tables::of(&target).await;
    assert_eq!(tables.evidence[0].created_at.and_utc().timestamp_subsec_micros(), 1);
    assert_eq!(found(tables), expected);
    verify::clean(&target);
    // Undone and done again, it is the same; the service then adds to it.
    assert!(undo(&target).output().expect("the binary runs").status.success());
    assert_eq!(Tables::of(&target).await.evidence.len(), 0);
    let begun = Timestamp(Utc::now().timestamp_micros());
    assert_eq!(run(&mut import(&target, &path, &["--apply"])).0, 0);
    let store = target.store().await;
    let since = store.evidence_state().await.expect("a row").complete_since;
    assert!(since.is_some_and(|since| since > begun), "an export does not say since when it is complete");
    let tables = target.raw().await;
    execute(&tables, r#"UPDATE "EvidenceState" SET "completeSince" = NULL"#).await;
    tables.close().await.expect("closed");
    assert_eq!(run(&mut import(&target, &path, &["--apply"])).0, 0);
    let since = store.evidence_state().await.expect("a row").complete_since;
    assert_eq!(since, None, "an older version may still write");
    assert_eq!(found(Tables::of(&target).await), expected);
    let service = Service::start(&target).await;
    let caller = service.caller();
    for (email, phone) in [("a@x.de", "222"), ("c@x.de", "333"), ("c@x.de", "444"), ("d@x.de", "333")] {
        caller.identify(Api::Grpc, Some(email), Some(phone)).await.expect("an answer");
    }
    assert_eq!(Tables::of(&target).await.evidence.len(), 2, "these are stored or carried");
    let new = caller.identify(Api::Grpc, Some("d@x.de"), Some("444")).await.expect("an answer");
    assert_eq!(new.outcome, "matched");
    service.stop().await;
    let evidence = Tables::of(&target).await.evidence;
    assert!(evidence.len() == 3 && evidence[2].id > 19, "{}", evidence[2].id);
    verify::clean(&target);
    assert!(!undo(&target).output().expect("the binary runs").status.success(), "the service has written");
}

async fn a_report_for_people_names_what_is_left_out(target: TestDatabase) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = file(folder.path(), "all.ndjson", text());
    let output = import(&target, &path, &["--report", "text"]).output().expect("the binary runs");
    let said = String::from_utf8(output.stdout).expect("text");
    for line in [
        "sets of identifiers that were seen together, kept: 3",
        "  left out, of several identities: 1",
        "  left out, with an identifier that belongs to nobody: 2",
        "    evidence 12 is left out",
    ] {
        assert!(said.lines().any(|one| one == line), "{line}: {said}");
    }
    assert!(!said.contains("x.de"), "{said}");
}
