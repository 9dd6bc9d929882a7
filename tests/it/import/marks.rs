//! What an export says of ignored identifiers, where the rows that say it do not agree, or were written by other rules.

use serde_json::{Value, json};

use super::{file, import};
use crate::adopt::run;
use crate::export::{export, lines, printed};
use crate::harness::{Api, Backend, Service, Suite, TestDatabase, register};
use crate::ignored::{TILL, ignore};
use crate::verify;

pub fn register(suite: &mut Suite) {
    register!(suite.on_all():
        an_identifier_that_counts_again_comes_back_as_it_was,
        a_mark_without_a_holder_hides_no_customer,
    );
    register!(suite.on(&[Backend::Sqlite]): what_is_held_is_read_by_the_rules_of_today);
}

/// A contact of an export. The others of its fields are those of each contact.
fn contact(id: i64, values: Value) -> Value {
    let at = "2026-01-01T00:00:00.000000Z";
    let mut line = json!({
        "type": "contact", "id": id, "email": null, "phoneNumber": null, "linkedId": null,
        "linkPrecedence": "primary", "createdAt": at, "updatedAt": at, "deletedAt": null, "ignored": [],
        "holder": false,
    });
    for (name, value) in values.as_object().expect("an object") {
        line[name] = value.clone();
    }
    line
}

fn text_of(contacts: &[Value]) -> String {
    let head = json!({"type": "export", "version": 1, "rules": 2, "tables": ["contacts"]});
    let end = json!({"type": "end", "rows": contacts.len()});
    [&[head][..], contacts, &[end]].concat().iter().map(|line| format!("{line}\n")).collect()
}

/// After `ignore remove` one customer has the number again. The others show it, and are not joined by it.
async fn an_identifier_that_counts_again_comes_back_as_it_was(database: TestDatabase) {
    let service = Service::start(&database).await;
    let caller = service.caller();
    ignore(&database, &["add", "phone", TILL]);
    for email in ["a@x.de", "b@x.de", "c@x.de"] {
        assert_eq!(caller.identify(Api::Grpc, Some(email), Some(TILL)).await.expect("an answer").outcome, "created");
    }
    ignore(&database, &["remove", "phone", TILL]);
    assert_eq!(caller.identify(Api::Grpc, Some("d@x.de"), Some(TILL)).await.expect("an answer").outcome, "created");
    service.stop().await;
    let text = printed(&mut export(&database, &[]));
    let folder = tempfile::tempdir().expect("a folder");
    let target = TestDatabase::create(database.backend).await;
    let path = file(folder.path(), "all.ndjson", &text);
    let (status, done) = run(&mut import(&target, &path, &["--apply"]));
    assert_eq!((status, &done["end"]), (0, &json!("done")), "{done}");
    assert_eq!(lines(&printed(&mut export(&target, &[]))), lines(&text));
    verify::clean(&target);
    target.drop().await;
}

async fn a_mark_without_a_holder_hides_no_customer(target: TestDatabase) {
    let contacts = [
        contact(1, json!({"email": "a@x.de", "phoneNumber": "4930123456", "ignored": ["phone"]})),
        contact(2, json!({"email": "b@x.de", "phoneNumber": "4930999999"})),
    ];
    let folder = tempfile::tempdir().expect("a folder");
    let path = file(folder.path(), "edited.ndjson", text_of(&contacts));
    let (status, done) = run(&mut import(&target, &path, &["--apply"]));
    assert_eq!((status, &done["report"]["values"]), (0, &json!({"phone_unmarked": 1})), "{done}");
    let service = Service::start(&target).await;
    let found = service.caller().identify(Api::Grpc, None, Some("4930123456")).await.expect("an answer");
    assert_eq!((found.outcome, found.primary), ("matched", 1));
    service.stop().await;
    verify::clean(&target);
}

async fn what_is_held_is_read_by_the_rules_of_today(target: TestDatabase) {
    let contacts = [
        contact(1, json!({"email": "a@x.de", "phoneNumber": "030 123456", "ignored": ["phone"]})),
        contact(2, json!({"email": "b@x.de", "phoneNumber": "+49 30 123456", "ignored": ["phone"]})),
        contact(3, json!({"phoneNumber": "(030) 123-456", "holder": true, "deletedAt": "2026-01-01T00:00:00Z"})),
        contact(4, json!({"phoneNumber": "none", "holder": true, "deletedAt": "2026-01-01T00:00:00Z"})),
    ];
    let folder = tempfile::tempdir().expect("a folder");
    let path = file(folder.path(), "older.ndjson", text_of(&contacts));
    let (status, done) = run(&mut import(&target, &path, &["--phone-region", "DE", "--apply"]));
    assert_eq!((status, &done["report"]["values"]), (0, &json!({"phone_ignored": 2})), "{done}");
    let exported = lines(&printed(&mut export(&target, &["--only", "identifiers"])));
    let held: Vec<&Value> = exported.iter().filter(|line| line["ignored"] == json!(true)).collect();
    assert_eq!(held.len(), 1, "{held:?}");
    assert_eq!(held[0]["value"], json!("+4930123456"));
    let service = Service::start_with(&target.url, &["--phone-region", "DE"]).await;
    let found = service.caller().identify(Api::Grpc, Some("c@x.de"), Some("030 123456")).await.expect("an answer");
    assert_eq!(found.outcome, "created", "the number joins nobody");
    service.stop().await;
}
