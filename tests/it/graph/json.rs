//! `GraphService` over JSON: the answers of gRPC, in proto3 JSON.

use std::io::Read;

use chrono::{DateTime, SecondsFormat, TimeDelta};
use flate2::read::GzDecoder;
use identity::proto::FILE_DESCRIPTOR_SET;
use identity::proto::identity::v1 as pb;
use prost::Message;
use prost_reflect::prost_types::Timestamp;
use prost_reflect::{DescriptorPool, DynamicMessage, SerializeOptions};
use serde_json::{Value, json};

use super::{contacts, evidence, explain, get, get_at, identifier, identify, page, question, revisions, tables};
use crate::harness::{Backend, Service, Suite, TestDatabase, execute, register};

pub fn register(suite: &mut Suite) {
    register!(suite.on_all():
        both_apis_answer_the_same,
        both_apis_tell_the_same_history,
        ids_beyond_the_numbers_of_json_are_texts,
        what_is_wrong_has_the_status_of_its_code,
    );
}

/// A message of gRPC, as proto3 JSON with all fields.
pub(super) fn as_json(name: &str, message: &impl Message) -> Value {
    let pool = DescriptorPool::decode(FILE_DESCRIPTOR_SET).unwrap();
    let descriptor = pool.get_message_by_name(&format!("identity.v1.{name}")).unwrap();
    let message = DynamicMessage::decode(descriptor, &message.encode_to_vec()[..]).unwrap();
    let options = SerializeOptions::new().skip_default_fields(false);
    message.serialize_with_options(serde_json::value::Serializer, &options).unwrap()
}

/// The status and the body of a call. With `body` it is a POST.
pub(super) async fn call(service: &Service, path: &str, body: Option<Value>) -> (u16, Value) {
    let client = reqwest::Client::new();
    let url = format!("http://{}{path}", service.http);
    let request = match body {
        Some(body) => client.post(url).json(&body),
        None => client.get(url),
    };
    let response = request.send().await.unwrap();
    (response.status().as_u16(), response.json().await.unwrap())
}

/// The answer of a call that succeeds.
pub(super) async fn ok(service: &Service, path: &str, body: Option<Value>) -> Value {
    let (status, answer) = call(service, path, body).await;
    assert_eq!(status, 200, "{answer}");
    answer
}

async fn both_apis_answer_the_same(database: TestDatabase) {
    let service = Service::start(&database).await;
    identify(&service, "lorraine@hillvalley.edu", "123456").await;
    identify(&service, "mcfly@hillvalley.edu", "123456").await;
    identify(&service, "george@hillvalley.edu", "919191").await;
    identify(&service, "biffsucks@hillvalley.edu", "717171").await;
    identify(&service, "george@hillvalley.edu", "717171").await;
    let before = tables(&database).await;

    let identity = as_json("Identity", &get(&service, "identities/4").await.unwrap());
    assert_eq!(identity["primaryContactId"], "3", "ids are texts");
    for path in ["/v1/identities/4", "/v1/identities/4/", "/v1/identities%2F4", "/v1/identities/%34"] {
        let (status, answer) = call(&service, path, None).await;
        if path.contains("%2F") {
            assert_eq!(status, 404, "an encoded slash is no separator");
        } else {
            assert_eq!((status, &answer["identity"]), (200, &identity), "{path}");
        }
    }

    let asked = json!({"identifiers": [
        {"kind": "phone", "value": "717171"},
        {"kind": "email", "value": "new@hillvalley.edu"},
        {"kind": "email", "value": " George@HillValley.edu"},
    ]});
    let found = ok(&service, "/v1/identities:lookup", Some(asked)).await;
    let unknown = as_json("Identifier", &identifier("new@hillvalley.edu"));
    assert_eq!((&found["identities"], &found["unknown"]), (&json!([identity]), &json!([unknown])));

    let all = as_json("ListIdentitiesResponse", &page(&service, 0, "").await.unwrap());
    assert_eq!(ok(&service, "/v1/identities", None).await, all);
    let first = ok(&service, "/v1/identities?pageSize=1", None).await;
    let token = first["nextPageToken"].as_str().unwrap();
    let second = ok(&service, &format!("/v1/identities?page_size=1&pageToken={token}"), None).await;
    let listed: Vec<_> = [&first, &second].iter().map(|page| page["identities"][0].clone()).collect();
    assert_eq!(all["identities"], json!(listed));

    let rows = as_json("ListContactsResponse", &contacts(&service, "identities/3", 1, "").await.unwrap());
    assert_eq!(ok(&service, "/v1/identities/3/contacts?pageSize=1", None).await, rows);
    assert_eq!(tables(&database).await, before);
    service.stop().await;
}

async fn both_apis_tell_the_same_history(database: TestDatabase) {
    let service = Service::start(&database).await;
    identify(&service, "george@hillvalley.edu", "919191").await;
    identify(&service, "biffsucks@hillvalley.edu", "717171").await;
    identify(&service, "george@hillvalley.edu", "717171").await;
    for n in 0..40 {
        identify(&service, &format!("george{n}@hillvalley.edu"), "919191").await;
    }
    let before = tables(&database).await;
    let name = "identities/2";

    let sets = as_json("ListEvidenceResponse", &evidence(&service, name, 2, "").await.unwrap());
    assert_eq!(ok(&service, "/v1/identities/2/evidence?pageSize=2", None).await, sets);
    let token = sets["nextPageToken"].as_str().unwrap();
    let sets = as_json("ListEvidenceResponse", &evidence(&service, name, 100, token).await.unwrap());
    assert_eq!(ok(&service, &format!("/v1/identities/2/evidence?pageToken={token}"), None).await, sets);

    let changes = as_json("ListRevisionsResponse", &revisions(&service, name, 100, "").await.unwrap());
    assert_eq!(ok(&service, "/v1/identities/2/revisions", None).await, changes);
    assert!(changes["revisions"].as_array().unwrap().len() > 2, "{changes}");

    let between = ["george@hillvalley.edu", "biffsucks@hillvalley.edu"].map(identifier);
    let explained = explain(&service, pb::ExplainIdentityRequest { between: between.to_vec(), ..question(name) });
    let explained = as_json("ExplainIdentityResponse", &explained.await.unwrap());
    let asked = json!({"between": between.map(|one| json!({"kind": one.kind, "value": one.value}))});
    assert_eq!(ok(&service, "/v1/identities/2:explain", Some(asked)).await, explained);
    assert!(explained["path"].as_array().unwrap().len() > 1, "{explained}");

    // Before the merge.
    let created = get(&service, "identities/1").await.unwrap().create_time.unwrap();
    let past = as_json("GetIdentityResponse", &get_at(&service, "identities/1", created).await.unwrap());
    let moment = past["identity"]["createTime"].as_str().unwrap();
    assert_eq!(ok(&service, &format!("/v1/identities/1?readTime={moment}"), None).await, past);
    assert_eq!(past["identity"]["contactCount"], 1);
    let asked = json!({"identifiers": [{"kind": "phone", "value": "717171"}], "readTime": moment});
    let found = ok(&service, "/v1/identities:lookup", Some(asked)).await;
    assert_eq!(found["unknown"], json!([{"kind": "phone", "value": "717171"}]));

    // The absorbed identity, a microsecond before the merge: it was alone.
    let merged =
        changes["revisions"].as_array().unwrap().iter().find(|one| one["change"]["kind"] == "CHANGE_KIND_MERGED");
    let merged = merged.unwrap()["change"]["time"].as_str().unwrap();
    let last = DateTime::parse_from_rfc3339(merged).unwrap() - TimeDelta::microseconds(1);
    let at = |moment: &DateTime<_>| moment.to_utc().to_rfc3339_opts(SecondsFormat::Micros, true);
    let alone = ok(&service, &format!("/v1/identities/2?readTime={}", at(&last)), None).await;
    let identity = &alone["identity"];
    assert_eq!((&identity["name"], &identity["contactCount"]), (&json!("identities/2"), &json!(1)));
    assert_eq!(identity["emails"], json!(["biffsucks@hillvalley.edu"]));
    let asked = Timestamp { seconds: last.timestamp(), nanos: i32::try_from(last.timestamp_subsec_nanos()).unwrap() };
    assert_eq!(alone, as_json("GetIdentityResponse", &get_at(&service, name, asked).await.unwrap()));
    let joined = ok(&service, &format!("/v1/identities/2?readTime={merged}"), None).await;
    assert_eq!((&joined["identity"]["name"], &joined["identity"]["contactCount"]), (&json!("identities/1"), &json!(2)));

    let call = reqwest::Client::new().get(format!("http://{}/v1/identities/2", service.http));
    let response = call.header("accept-encoding", "gzip").send().await.unwrap();
    assert_eq!(response.headers()["content-encoding"], "gzip");
    let (bytes, mut text) = (response.bytes().await.unwrap(), String::new());
    GzDecoder::new(&bytes[..]).read_to_string(&mut text).unwrap();
    let whole = as_json("Identity", &get(&service, name).await.unwrap());
    assert_eq!(serde_json::from_str::<Value>(&text).unwrap()["identity"], whole);
    assert_eq!(tables(&database).await, before);
    service.stop().await;
}

async fn ids_beyond_the_numbers_of_json_are_texts(database: TestDatabase) {
    let service = Service::start(&database).await;
    identify(&service, "a@x.de", "1000").await;
    let raw = database.raw().await;
    let insert = r#"INSERT INTO "Contact" ("id", "email", "linkPrecedence", "createdAt", "updatedAt", "deletedAt")
        SELECT 9007199254740992, 'gone@x.de', "linkPrecedence", "createdAt", "updatedAt", "createdAt" FROM "Contact""#;
    execute(&raw, insert).await;
    if database.backend == Backend::Postgres {
        execute(&raw, r#"SELECT setval(pg_get_serial_sequence('"Contact"', 'id'), 9007199254740992)"#).await;
    }
    raw.close().await.unwrap();
    for (email, phone) in [("big@x.de", "2000"), ("bigger@x.de", "2000")] {
        identify(&service, email, phone).await;
    }
    let before = tables(&database).await;
    let name = "identities/9007199254740994";
    let answer = ok(&service, &format!("/v1/{name}"), None).await;
    assert_eq!(answer["identity"]["primaryContactId"], "9007199254740993");
    assert_eq!(answer["identity"]["secondaryContactIds"], json!(["9007199254740994"]));
    assert_eq!(answer["identity"], as_json("Identity", &get(&service, name).await.unwrap()));
    let rows = ok(&service, &format!("/v1/{name}/contacts"), None).await;
    assert_eq!(rows["contacts"][1]["id"], "9007199254740994");
    let listed = ok(&service, "/v1/identities?pageSize=1", None).await;
    let token = listed["nextPageToken"].as_str().unwrap();
    let listed = ok(&service, &format!("/v1/identities?pageToken={token}"), None).await;
    assert_eq!(listed["identities"][0]["name"], "identities/9007199254740993");
    assert_eq!(get(&service, name).await.unwrap().primary_contact_id, 9_007_199_254_740_993);
    assert_eq!(tables(&database).await, before, "nothing is written");
    service.stop().await;
}

async fn what_is_wrong_has_the_status_of_its_code(database: TestDatabase) {
    let service = Service::start(&database).await;
    identify(&service, "a@x.de", "1000").await;
    let before = tables(&database).await;
    let unknown = "9007199254740993"; // Beyond what a JSON number holds.
    for (path, body, status, reason) in [
        (&format!("/v1/identities/{unknown}")[..], None, 404, "IDENTITY_UNKNOWN"),
        ("/v1/identities/9223372036854775808", None, 400, "NAME_INVALID"),
        ("/v1/identities/a@x.de", None, 400, "NAME_INVALID"),
        ("/v1/identities/0/contacts", None, 400, "NAME_INVALID"),
        ("/v1/identities?pageSize=-1", None, 400, "PAGE_SIZE_INVALID"),
        ("/v1/identities?pageSize=x", None, 400, "REQUEST_MALFORMED"),
        ("/v1/identities?pageToken=x", None, 400, "PAGE_TOKEN_INVALID"),
        ("/v1/identities?filter=a", None, 400, "REQUEST_MALFORMED"),
        ("/v1/identities/1?name=identities/2", None, 400, "REQUEST_MALFORMED"),
        ("/v1/identities:lookup", None, 405, "HTTP_METHOD_NOT_ALLOWED"),
        ("/v1/identities:other", None, 404, "PATH_UNKNOWN"),
        ("/v1/identity/1", None, 404, "PATH_UNKNOWN"),
        ("/v1/identities/1", Some(json!({})), 405, "HTTP_METHOD_NOT_ALLOWED"),
        ("/v1/identities:lookup", Some(json!({})), 400, "IDENTIFIER_MISSING"),
        ("/v1/identities:lookup", Some(json!([])), 400, "REQUEST_MALFORMED"),
        ("/v1/identities:lookup", Some(json!({"identifiers": ["a@x.de"]})), 400, "REQUEST_MALFORMED"),
        (
            "/v1/identities:lookup",
            Some(json!({"identifiers": [{"kind": "device", "value": "secret"}]})),
            400,
            "IDENTIFIER_INVALID",
        ),
        (
            "/v1/identities:lookup",
            Some(json!({"identifiers": vec![json!({"kind": "email", "value": "a@x.de"}); 1_001]})),
            400,
            "IDENTIFIERS_TOO_MANY",
        ),
    ] {
        let (found, answer) = call(&service, path, body).await;
        assert_eq!((found, &answer["details"][0]["reason"]), (status, &json!(reason)), "{path} {answer}");
        let text = answer.to_string();
        assert!(!text.contains("secret") && !text.contains("a@x.de"), "{text}");
    }
    assert_eq!(tables(&database).await, before, "nothing is written");
    service.stop().await;
}
