//! `GraphService` over JSON: the answers of gRPC, in proto3 JSON.

use identity::proto::FILE_DESCRIPTOR_SET;
use prost::Message;
use prost_reflect::{DescriptorPool, DynamicMessage, SerializeOptions};
use serde_json::{Value, json};

use super::{contacts, get, identifier, identify, page, tables};
use crate::harness::{Service, Suite, TestDatabase, register};

pub fn register(suite: &mut Suite) {
    register!(suite.on_all():
        both_apis_answer_the_same,
        what_is_wrong_has_the_status_of_its_code,
    );
}

/// A message of gRPC, as proto3 JSON with all fields.
fn as_json(name: &str, message: &impl Message) -> Value {
    let pool = DescriptorPool::decode(FILE_DESCRIPTOR_SET).unwrap();
    let descriptor = pool.get_message_by_name(&format!("identity.v1.{name}")).unwrap();
    let message = DynamicMessage::decode(descriptor, &message.encode_to_vec()[..]).unwrap();
    let options = SerializeOptions::new().skip_default_fields(false);
    message.serialize_with_options(serde_json::value::Serializer, &options).unwrap()
}

/// The status and the body of a call. With `body` it is a POST.
async fn call(service: &Service, path: &str, body: Option<Value>) -> (u16, Value) {
    let client = reqwest::Client::new();
    let url = format!("http://{}{path}", service.http);
    let request = match body {
        Some(body) => client.post(url).json(&body),
        None => client.get(url),
    };
    let response = request.send().await.unwrap();
    (response.status().as_u16(), response.json().await.unwrap())
}

async fn ok(service: &Service, path: &str, body: Option<Value>) -> Value {
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
