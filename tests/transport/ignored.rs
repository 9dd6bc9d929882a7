use futures::StreamExt;
use identity::domain::Outcome;
use identity::proto::identity::v1 as pb;
use identity::proto::identity::v1::batch_identify_result::Result as OfBatch;
use identity::proto::identity::v1::stream_identify_response::Result as OfStream;
use identity::settings::InvalidIdentifiers;
use serde_json::{Value, json};
use tonic::Code;

use crate::harness::{Script, Server};

const OK: Script = Script::Answer(Outcome::Linked);

async fn lenient() -> Server {
    Server::with(OK, |options| options.settings.identify.invalid_identifiers = InvalidIdentifiers::Ignore).await
}

fn request(email: &str, phone_number: &str) -> pb::IdentifyRequest {
    pb::IdentifyRequest { email: Some(email.into()), phone_number: Some(phone_number.into()), ..Default::default() }
}

/// The kinds that were left out; and each is as it must be.
fn ignored(response: &pb::IdentifyResponse) -> Vec<&str> {
    let kind = |one: &'_ pb::Ignored| {
        assert_eq!((one.reason(), one.primary_contact_id), (pb::IgnoredReason::Malformed, 0));
        assert_eq!(one.identifier.as_ref().unwrap().value, "", "the value is not quoted");
    };
    response.ignored.iter().for_each(kind);
    response.ignored.iter().map(|one| one.identifier.as_ref().unwrap().kind.as_str()).collect()
}

#[tokio::test]
async fn a_good_identifier_is_not_lost_with_a_malformed_one() {
    let mut client = lenient().await.client().await;
    for phone in ["N/A", "555-0100 ext 5", "4915123456781.0"] {
        let answer = client.identify(request("a@b.co", phone)).await.unwrap().into_inner();
        assert_eq!(ignored(&answer), ["phone"]);
        let contact = answer.contact.unwrap();
        assert_eq!((&contact.emails[0][..], contact.phone_numbers.len()), ("a@b.co", 0));
    }
    let answer = client.identify(request("nobody", "1")).await.unwrap().into_inner();
    assert_eq!(ignored(&answer), ["email"]);
    let answer = client.identify(request("a@b.co", "1")).await.unwrap().into_inner();
    assert_eq!(ignored(&answer), [""; 0]);

    let status = client.identify(request("nobody", "N/A")).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
    let status = client.identify(request("nobody", "")).await.unwrap_err();
    assert_eq!(status.message(), "email must have one @ with something on both sides");
}

#[tokio::test]
async fn json_names_the_field_in_a_header() {
    let server = lenient().await;
    for (body, field) in [
        (r#"{"email":"a@b.co","phoneNumber":"N/A"}"#, Some("phoneNumber")),
        (r#"{"email":"a@b.co","phone_number":"N/A"}"#, Some("phoneNumber")),
        (r#"{"email":"a@b.co","phoneNumber":4915123456781.0}"#, Some("phoneNumber")),
        (r#"{"email":"a@b.co","phoneNumber":true}"#, Some("phoneNumber")),
        (r#"{"email":["a@b.co"],"phoneNumber":"1"}"#, Some("email")),
        (r#"{"email":"a@b.co","phoneNumber":0}"#, None),
        (r#"{"email":"a@b.co","phoneNumber":" "}"#, None),
    ] {
        let response = server.post(body).await;
        assert_eq!(response.status(), 200, "{body}");
        assert_eq!(response.headers().get("identity-ignored").map(|value| value.to_str().unwrap()), field, "{body}");
        assert_eq!(response.json::<Value>().await.unwrap().as_object().unwrap().len(), 1, "the body stays as it is");
    }
    for body in [r#"{"email":"nobody","phoneNumber":"N/A"}"#, r#"{"phoneNumber":-1}"#] {
        let response = server.post(body).await;
        assert_eq!(response.status(), 400, "{body}");
        assert!(!response.headers().contains_key("identity-ignored"));
    }
}

#[tokio::test]
async fn items_say_what_was_left_out_of_them() {
    let server = lenient().await;
    let requests = vec![request("a@b.co", "N/A"), request("a@b.co", "1"), request("nobody", "N/A"), request("no", "2")];
    let mut client = server.client().await;
    let batch = pb::BatchIdentifyRequest { requests: requests.clone() };
    let results = client.batch_identify(batch).await.unwrap().into_inner().results;
    let kinds: Vec<_> = results
        .iter()
        .map(|result| match result.result.as_ref().unwrap() {
            OfBatch::Response(response) => ignored(response),
            OfBatch::Error(_) => vec!["error"],
        })
        .collect();
    assert_eq!(kinds, [vec!["phone"], vec![], vec!["error"], vec!["email"]]);

    let items = requests.into_iter().enumerate();
    let items = items.map(|(id, one)| pb::StreamIdentifyRequest { correlation_id: id.to_string(), request: Some(one) });
    let items: Vec<_> = items.collect();
    let answers = client.stream_identify(futures::stream::iter(items)).await.unwrap().into_inner();
    let mut answers: Vec<_> = answers.map(Result::unwrap).collect().await;
    answers.sort_by(|one, other| one.correlation_id.cmp(&other.correlation_id));
    let streamed: Vec<_> = answers
        .iter()
        .map(|answer| match answer.result.as_ref().unwrap() {
            OfStream::Response(response) => ignored(response),
            OfStream::Error(_) => vec!["error"],
        })
        .collect();
    assert_eq!(streamed, kinds);

    let body = r#"{"requests":[{"email":"a@b.co","phoneNumber":"N/A"},{"email":"a@b.co"},{"email":"no"},
        {"email":"no","phoneNumber":2}]}"#;
    let call = reqwest::Client::new().post(server.url("/identify:batch")).body(body).send().await.unwrap();
    let answer: Value = call.json().await.unwrap();
    let fields: Vec<_> = (0..4).map(|item| &answer["results"][item]["response"]["ignored"]).collect();
    assert_eq!(fields, [&json!(["phoneNumber"]), &Value::Null, &Value::Null, &json!(["email"])]);
    assert!(answer["results"][1]["response"].get("ignored").is_none());
    assert_eq!(answer["results"][2]["error"]["code"], 3);
}

#[tokio::test]
async fn by_default_a_malformed_one_is_refused() {
    let server = Server::start(OK).await;
    let status = server.client().await.identify(request("a@b.co", "N/A")).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
    assert_eq!(server.post(r#"{"email":"a@b.co","phoneNumber":"N/A"}"#).await.status(), 400);
}
