//! Notes: `source`, `external_ref` and `occurred_time` of a request, kept with the set of its identifiers.

use chrono::{DateTime, NaiveDateTime};
use identity::proto::identity::v1::{self as pb, IdentifyRequest};
use identity::store::entity::{evidence, evidence_note};
use prost_reflect::prost_types::Timestamp;
use sea_orm::{DatabaseConnection, EntityTrait, QueryOrder};
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tonic::Code;

use crate::graph::{evidence as evidence_of, explain, question, tables};
use crate::harness::{Api, Process, Service, Suite, TestDatabase, execute, register};
use crate::ignored::{TILL, ignore};
use crate::verify::clean;

pub fn register(suite: &mut Suite) {
    register!(suite.on_all():
        a_note_is_kept_with_the_set_that_its_request_brought,
        one_identifier_alone_is_no_evidence_and_has_no_note,
        whatever_can_be_kept_comes_back,
        malformed_notes_are_refused_and_name_their_field,
        batches_and_streams_have_notes,
        of_many_callers_the_note_is_that_of_the_one_who_brought_the_set,
        a_note_goes_with_its_set,
        lists_of_evidence_have_the_notes,
        an_explanation_has_the_notes_of_its_path,
        notes_are_never_logged,
    );
}

fn request(email: &str, phone: &str) -> IdentifyRequest {
    let given = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    IdentifyRequest { email: given(email), phone_number: given(phone), ..Default::default() }
}

fn noted(email: &str, phone: &str, external_ref: &str) -> IdentifyRequest {
    let occurred_time = Some(Timestamp { seconds: 1_700_000_000, nanos: 123_456_789 });
    let (source, external_ref) = ("shop-de".to_owned(), external_ref.to_owned());
    IdentifyRequest { source, external_ref, occurred_time, ..request(email, phone) }
}

async fn rows(tables: &DatabaseConnection) -> Vec<evidence_note::Model> {
    let find = evidence_note::Entity::find().order_by_asc(evidence_note::Column::Evidence);
    find.all(tables).await.unwrap()
}

/// The sets that have a note, each with what its source calls it.
async fn notes(tables: &DatabaseConnection) -> Vec<(String, String)> {
    rows(tables).await.into_iter().map(|row| (row.evidence, row.external_ref.unwrap_or_default())).collect()
}

fn pairs(expected: &[(&str, &str)]) -> Vec<(String, String)> {
    expected.iter().map(|(set, reference)| ((*set).to_owned(), (*reference).to_owned())).collect()
}

async fn a_note_is_kept_with_the_set_that_its_request_brought(database: TestDatabase) {
    let service = Service::start(&database).await;
    let (caller, rows_of) = (service.caller(), database.raw().await);
    let requests = [
        (Api::Grpc, noted("a@x.de", "1000", "created")),
        (Api::Http, noted("b@x.de", "1000", "linked")),
        (Api::Grpc, noted("a@x.de", "1000", "the same set again")),
        (Api::Http, request("b@x.de", "2000")), // Contact 3, without a note.
        (Api::Grpc, noted("a@x.de", "2000", "matched")),
        (Api::Http, noted("c@x.de", "3000", "")),
        (Api::Http, noted("c@x.de", "1000", "merged")),
        (Api::Grpc, noted("b@x.de", "2000", "too late")),
    ];
    for (api, request) in &requests {
        caller.send(*api, &IdentifyRequest { validate_only: true, ..request.clone() }).await.unwrap();
        caller.send(*api, request).await.unwrap();
    }
    let sets = evidence::Entity::find().order_by_asc(evidence::Column::Id).all(&rows_of).await.unwrap();
    let [matched, merged] = [0, 1].map(|place: usize| format!("e{}", sets[place].id));
    let expected = [("c1", "created"), ("c2", "linked"), ("c4", ""), (&matched, "matched"), (&merged, "merged")];
    assert_eq!(notes(&rows_of).await, pairs(&expected));
    let all = rows(&rows_of).await;
    let moment = DateTime::from_timestamp(1_700_000_000, 123_456_000).unwrap().naive_utc();
    assert!(all.iter().all(|row| row.source.as_deref() == Some("shop-de") && row.occurred_at == Some(moment)));
    assert_eq!((all[2].external_ref.as_deref(), all[4].created_at), (None, sets[1].created_at));

    // The second time nothing, whatever the notes say.
    let before = tables(&database).await;
    for (api, request) in requests {
        let again = IdentifyRequest { source: "another".to_owned(), ..request };
        assert_eq!(caller.send(api, &again).await.unwrap().outcome, "matched");
    }
    assert_eq!(tables(&database).await, before);
    clean(&database);
    rows_of.close().await.unwrap();
    service.stop().await;
}

async fn one_identifier_alone_is_no_evidence_and_has_no_note(database: TestDatabase) {
    let service = Service::start(&database).await;
    let (caller, rows_of) = (service.caller(), database.raw().await);
    ignore(&database, &["add", "phone", TILL]);
    for request in [noted("a@x.de", "", "alone"), noted("b@x.de", TILL, "beside an ignored one")] {
        for api in Api::BOTH {
            caller.send(api, &request).await.unwrap();
        }
    }
    assert!(notes(&rows_of).await.is_empty());
    caller.send(Api::Grpc, &noted("a@x.de", "1000", "of two")).await.unwrap();
    assert_eq!(notes(&rows_of).await, pairs(&[("c4", "of two")]), "c3 is the holder");
    rows_of.close().await.unwrap();
    service.stop().await;
}

async fn whatever_can_be_kept_comes_back(database: TestDatabase) {
    let service = Service::start(&database).await;
    let (caller, rows_of) = (service.caller(), database.raw().await);
    let moment = |text: &str| NaiveDateTime::parse_from_str(text, "%Y-%m-%dT%H:%M:%S%.f").unwrap();
    let cases = [
        ("x".repeat(64), "y".repeat(128), -62_135_596_800, 0, "0001-01-01T00:00:00"),
        ("ß".repeat(32), "😀".repeat(32), 253_402_300_799, 999_999_999, "9999-12-31T23:59:59.999999"),
        ("'\"\\; DROP TABLE x".to_owned(), "№ 4711 / 2".to_owned(), -1, 1_000, "1969-12-31T23:59:59.000001"),
    ];
    for (number, (source, external_ref, seconds, nanos, expected)) in cases.into_iter().enumerate() {
        for api in Api::BOTH {
            let email = format!("{number}.{api:?}@x.de");
            let occurred_time = Some(Timestamp { seconds, nanos });
            let (source, external_ref) = (source.clone(), external_ref.clone());
            let request = IdentifyRequest { source, external_ref, occurred_time, ..request(&email, "") };
            // A phone number of its own, so that each makes a set.
            let request = IdentifyRequest { phone_number: Some(format!("5{number}{}", api as u8)), ..request };
            caller.send(api, &request).await.unwrap();
            let stored = rows(&rows_of).await.pop().unwrap();
            assert_eq!((stored.source, stored.external_ref), (Some(request.source), Some(request.external_ref)));
            assert_eq!(stored.occurred_at, Some(moment(expected)), "{api:?}");
        }
    }
    rows_of.close().await.unwrap();
    service.stop().await;
}

fn strings(values: &[&str]) -> Vec<String> {
    values.iter().map(|value| (*value).to_owned()).collect()
}

async fn malformed_notes_are_refused_and_name_their_field(database: TestDatabase) {
    let service = Service::start_with(&database.url, &["--invalid-identifiers=ignore"]).await;
    let caller = service.caller();
    let before = tables(&database).await;
    let time = |seconds, nanos| Some(Timestamp { seconds, nanos });
    let base = || request("a@x.de", "1000");
    for (wrong, of_grpc, of_json) in [
        (IdentifyRequest { source: "secret".repeat(11), ..base() }, "source", "source"),
        (IdentifyRequest { source: "secret\n".to_owned() + "x", ..base() }, "source", "source"),
        (IdentifyRequest { external_ref: "secret".repeat(22), ..base() }, "external_ref", "externalRef"),
        (IdentifyRequest { external_ref: "\u{202e}secret".to_owned(), ..base() }, "external_ref", "externalRef"),
        (IdentifyRequest { occurred_time: time(253_402_300_800, 0), ..base() }, "occurred_time", "occurredTime"),
        (IdentifyRequest { occurred_time: time(-62_135_596_801, 0), ..base() }, "occurred_time", "occurredTime"),
    ] {
        for (api, field) in [(Api::Grpc, of_grpc), (Api::Http, of_json)] {
            for validate_only in [false, true] {
                let refusal = caller.send(api, &IdentifyRequest { validate_only, ..wrong.clone() }).await.unwrap_err();
                assert_eq!((refusal.code, &refusal.reason[..]), (Code::InvalidArgument, "NOTE_INVALID"));
                assert_eq!(refusal.fields, [field]);
                assert!(refusal.message.starts_with(field) && !refusal.message.contains("secret"), "{refusal:?}");
            }
            let items = vec![wrong.clone(), IdentifyRequest { validate_only: true, ..base() }];
            let [refused, other] = caller.send_batch(api, items).await.unwrap().try_into().unwrap();
            assert_eq!((refused.unwrap_err().fields, other.unwrap().outcome), (vec![field.to_owned()], "created"));
        }
        let streamed = caller.send_stream(vec![wrong]).await;
        assert_eq!(streamed[0].as_ref().unwrap_err().reason, "NOTE_INVALID");
    }
    let nanos = IdentifyRequest { occurred_time: time(0, 1_000_000_000), ..base() };
    assert_eq!(caller.send(Api::Grpc, &nanos).await.unwrap_err().fields, ["occurred_time"]);
    for (body, fields) in [
        (json!({"source": 1, "occurredTime": 2}), &["source", "occurredTime"][..]),
        (json!({"externalRef": "a", "external_ref": "a"}), &["externalRef"]),
        (json!({"occurredTime": "tomorrow"}), &["occurredTime"]),
    ] {
        let mut body: Value = body;
        body["email"] = json!("a@x.de");
        let refusal = caller.http(std::time::Duration::from_secs(60), &body).await.unwrap_err();
        assert_eq!((&refusal.reason[..], refusal.fields), ("NOTE_INVALID", strings(fields)));
    }
    assert_eq!(tables(&database).await, before);
    service.stop().await;
}

async fn batches_and_streams_have_notes(database: TestDatabase) {
    let service = Service::start(&database).await;
    let (caller, rows_of) = (service.caller(), database.raw().await);
    let items =
        |from: usize| (from..from + 200).map(|n| noted(&format!("e{n}@x.de"), &format!("1{n}"), &n.to_string()));
    let twice = |from: usize| {
        let again = |mut request: IdentifyRequest| {
            let first = request.clone();
            request.external_ref = "again".to_owned();
            [first, request]
        };
        items(from).flat_map(again).collect::<Vec<_>>()
    };
    for (from, api) in [(0, Api::Grpc), (200, Api::Http)] {
        assert!(caller.send_batch(api, twice(from)).await.unwrap().iter().all(Result::is_ok));
    }
    assert!(caller.send_stream(twice(400)).await.iter().all(Result::is_ok));
    let mut noted: Vec<usize> = notes(&rows_of).await.into_iter().map(|(_, text)| text.parse().unwrap()).collect();
    noted.sort_unstable();
    assert_eq!(noted, (0..600).collect::<Vec<_>>());
    rows_of.close().await.unwrap();
    service.stop().await;
}

/// Callers of two replicas send the same sets, each with its own note.
async fn of_many_callers_the_note_is_that_of_the_one_who_brought_the_set(database: TestDatabase) {
    let services = [Service::start(&database).await, Service::start(&database).await];
    let rows_of = database.raw().await;
    for (email, phone) in [("a@x.de", "1000"), ("b@x.de", "1000"), ("b@x.de", "2000")] {
        services[0].caller().send(Api::Grpc, &request(email, phone)).await.unwrap();
    }
    let mut calls = JoinSet::new();
    for number in 0..64 {
        let caller = services[number % 2].caller();
        calls.spawn(async move {
            let api = Api::BOTH[number / 2 % 2];
            let new = caller.send(api, &noted("new@x.de", "9000", &format!("new {number}"))).await.unwrap();
            let pair = caller.send(api, &noted("a@x.de", "2000", &format!("pair {number}"))).await.unwrap();
            assert_eq!(pair.outcome, "matched");
            (new.outcome == "created").then_some(number)
        });
    }
    let creators: Vec<usize> = calls.join_all().await.into_iter().flatten().collect();
    let stored = notes(&rows_of).await;
    assert_eq!((creators.len(), stored.len()), (1, 2), "{stored:?}");
    assert_eq!(stored[0].1, format!("new {}", creators[0]));
    assert!(stored[0].0.starts_with('c') && stored[1].0.starts_with('e') && stored[1].1.starts_with("pair "));
    clean(&database);
    rows_of.close().await.unwrap();
    for service in services {
        service.stop().await;
    }
}

/// A contact is deleted by an operator, and its identifier freed by the next request with it.
async fn a_note_goes_with_its_set(database: TestDatabase) {
    let service = Service::start_with(&database.url, &["--cache-size=0"]).await;
    let (caller, rows_of) = (service.caller(), database.raw().await);
    for (email, phone) in [("a@x.de", "1000"), ("b@x.de", "1000"), ("b@x.de", "2000"), ("a@x.de", "2000")] {
        caller.send(Api::Grpc, &noted(email, phone, email)).await.unwrap();
    }
    assert_eq!(notes(&rows_of).await.len(), 4);
    execute(&rows_of, r#"UPDATE "Contact" SET "deletedAt" = "createdAt" WHERE "id" = 3"#).await;
    assert_eq!(caller.send(Api::Grpc, &request("new@x.de", "2000")).await.unwrap().outcome, "created");
    let left: Vec<String> = notes(&rows_of).await.into_iter().map(|(set, _)| set).collect();
    assert_eq!(left, ["c1", "c2", "c3"], "the row of the deleted contact stays");
    rows_of.close().await.unwrap();
    service.stop().await;
}

/// Over gRPC and JSON, in pages.
async fn lists_of_evidence_have_the_notes(database: TestDatabase) {
    let service = Service::start(&database).await;
    let caller = service.caller();
    caller.send(Api::Grpc, &noted("a@x.de", "1000", "first")).await.unwrap();
    caller.send(Api::Grpc, &request("b@x.de", "1000")).await.unwrap();
    caller.send(Api::Grpc, &noted("c@x.de", "2000", "other")).await.unwrap();
    caller.send(Api::Grpc, &noted("c@x.de", "1000", "merged")).await.unwrap();
    let all = evidence_of(&service, "identities/2", 0, "").await.unwrap();
    let shown = |one: &pb::Evidence| (one.origin(), one.source.clone(), one.external_ref.clone());
    let contact = |source: &str, text: &str| (pb::EvidenceOrigin::Contact, source.to_owned(), text.to_owned());
    let merged = (pb::EvidenceOrigin::Merge, "shop-de".to_owned(), "merged".to_owned());
    let expected = [contact("shop-de", "first"), contact("", ""), contact("shop-de", "other"), merged];
    assert_eq!(all.evidence.iter().map(shown).collect::<Vec<_>>(), expected);
    let moment = Some(Timestamp { seconds: 1_700_000_000, nanos: 123_456_000 });
    assert_eq!(all.evidence.iter().map(|one| one.occurred_time).collect::<Vec<_>>(), [moment, None, moment, moment]);
    let (mut paged, mut token) = (Vec::new(), String::new());
    loop {
        let page = evidence_of(&service, "identities/1", 1, &token).await.unwrap();
        paged.extend(page.evidence);
        token = page.next_page_token;
        if token.is_empty() {
            break;
        }
    }
    assert_eq!(paged, all.evidence);
    let url = format!("http://{}/v1/identities/1/evidence", service.http);
    let body: Value = reqwest::get(url).await.unwrap().json().await.unwrap();
    let first = &body["evidence"][0];
    assert_eq!((&first["source"], &first["externalRef"]), (&json!("shop-de"), &json!("first")));
    assert_eq!(first["occurredTime"], "2023-11-14T22:13:20.123456Z");
    service.stop().await;
}

/// Why two identifiers are of one customer: also by which orders.
async fn an_explanation_has_the_notes_of_its_path(database: TestDatabase) {
    let service = Service::start(&database).await;
    let caller = service.caller();
    caller.send(Api::Grpc, &noted("a@x.de", "1000", "first")).await.unwrap();
    caller.send(Api::Grpc, &request("b@x.de", "2000")).await.unwrap();
    caller.send(Api::Grpc, &noted("a@x.de", "2000", "merged")).await.unwrap();
    let [phone, email] = [("phone", "1000"), ("email", "b@x.de")]
        .map(|(kind, value)| pb::Identifier { kind: kind.to_owned(), value: value.to_owned() });
    let between = pb::ExplainIdentityRequest { between: vec![phone, email], ..question("identities/1") };
    let explained = explain(&service, between).await.unwrap();
    let moment = Some(Timestamp { seconds: 1_700_000_000, nanos: 123_456_000 });
    let shown = |one: &pb::Evidence| (one.source.clone(), one.external_ref.clone(), one.occurred_time);
    let [first, merged] = ["first", "merged"].map(|text| ("shop-de".to_owned(), text.to_owned(), moment));
    let without = (String::new(), String::new(), None);
    assert_eq!(explained.path.iter().map(shown).collect::<Vec<_>>(), [first.clone(), merged.clone(), without.clone()]);
    assert!(!explained.weakest_cut.is_empty());
    for cut in explained.weakest_cut.iter().map(shown) {
        assert!([&first, &merged, &without].contains(&&cut));
    }
    let of_path = explained.path.iter().find(|one| one.name == explained.weakest_cut[0].name);
    assert_eq!(of_path, explained.weakest_cut.first(), "a set is the same in both lists");
    service.stop().await;
}

async fn notes_are_never_logged(database: TestDatabase) {
    let variables = [("DATABASE_URL", database.url.as_str()), ("RUST_LOG", "trace,h2=off,hyper=off,tower=off")];
    let mut process = Process::start(&variables).await;
    let caller = process.caller();
    for api in Api::BOTH {
        for (email, outcome) in [(format!("{api:?}@x.de"), "created"), (format!("{api:?}@x.de"), "matched")] {
            let request = IdentifyRequest {
                source: "unlogged-shop".to_owned(),
                ..noted(&email, api_phone(api), "unlogged-4711")
            };
            assert_eq!(caller.send(api, &request).await.unwrap().outcome, outcome);
        }
        let long = IdentifyRequest { external_ref: "unlogged".repeat(30), ..request("a@x.de", "") };
        caller.send(api, &long).await.unwrap_err();
    }
    process.signal("-TERM");
    process.end().await;
    let log = process.log_at_its_end();
    assert!(log.contains("NOTE_INVALID") && !log.contains("unlogged"), "{log}");
}

fn api_phone(api: Api) -> &'static str {
    match api {
        Api::Grpc => "71000",
        Api::Http => "72000",
    }
}
