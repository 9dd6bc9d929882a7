//! How large answers and batches may be.

use identity::domain::{IdentityTooLarge, Outcome};
use identity::proto::identity::v1 as pb;
use identity::proto::identity::v1::batch_identify_result::Result as OfBatch;
use identity::proto::identity::v1::stream_identify_response::Result as OfStream;
use identity::resolver::IdentifyError;
use prost::Message;
use serde_json::{Value, json};
use tonic::{Code, Status};
use tonic_types::StatusExt;

use crate::harness::{Script, Server};

const LIMIT: usize = 4 * 1024 * 1024;

/// Contacts of an identity that is larger than an answer.
const TOO_MANY: i64 = 30_000;

fn item(phone_number: &str) -> pb::IdentifyRequest {
    pb::IdentifyRequest { phone_number: Some(phone_number.to_owned()), ..Default::default() }
}

/// The code, the reason and the metadata of the error of an item.
fn error(result: &OfBatch) -> (Code, String, Vec<(String, String)>) {
    let OfBatch::Error(error) = result else { panic!("an answer") };
    let code = Code::from_i32(error.code);
    let status = Status::with_details(code, &error.message, error.encode_to_vec().into());
    let details = status.get_error_details();
    assert!(details.retry_info().is_none(), "a retry does not help");
    let info = details.error_info().unwrap();
    (code, info.reason.clone(), info.metadata.clone().into_iter().collect())
}

async fn batch(server: &Server, requests: Vec<pb::IdentifyRequest>) -> pb::BatchIdentifyResponse {
    // A client with the default limit, 4 MiB.
    server.client().await.batch_identify(pb::BatchIdentifyRequest { requests }).await.unwrap().into_inner()
}

fn results(response: pb::BatchIdentifyResponse) -> Vec<OfBatch> {
    response.results.into_iter().map(|result| result.result.unwrap()).collect()
}

fn assert_truncated(identity: &pb::Identity) {
    assert!(identity.truncated);
    assert_eq!(i64::from(identity.contact_count), TOO_MANY);
    let listed = identity.emails.len();
    assert!((15_500..17_000).contains(&listed), "as many as fit: {listed}");
    assert_eq!(identity.secondary_contact_ids, (2..=listed as i64).collect::<Vec<_>>(), "the oldest");
    assert_eq!((&identity.phone_numbers[..], identity.primary_contact_id), (&["0".to_owned()][..], 1));
}

#[tokio::test]
async fn a_single_answer_lists_the_oldest_contacts_that_fit() {
    let server = Server::start(Script::Large(TOO_MANY)).await;
    let answer = server.client().await.identify(item("0")).await.unwrap().into_inner();
    assert!(answer.encoded_len() <= LIMIT);
    assert_truncated(&answer.contact.unwrap());

    let response = server.post(r#"{"phoneNumber":"0"}"#).await;
    assert_eq!(response.status().as_u16(), 200);
    assert_eq!(response.headers()["identity-truncated"], "30000");
    let body = response.bytes().await.unwrap();
    assert!((LIMIT * 9 / 10..=LIMIT).contains(&body.len()), "{}", body.len());
    let contact = serde_json::from_slice::<Value>(&body).unwrap()["contact"].take();
    let fields: Vec<&String> = contact.as_object().unwrap().keys().collect();
    assert_eq!(fields, ["emails", "phoneNumbers", "primaryContactId", "secondaryContactIds"], "and nothing else");
    let secondaries = contact["secondaryContactIds"].as_array().unwrap().len();
    assert_eq!(contact["emails"].as_array().unwrap().len(), secondaries + 1);

    let small = server.client().await.identify(item("1")).await.unwrap().into_inner().contact.unwrap();
    assert_eq!((small.truncated, small.contact_count), (false, 2));
    let response = server.post(r#"{"phoneNumber":"1"}"#).await;
    assert!(!response.headers().contains_key("identity-truncated"));
}

#[tokio::test]
async fn an_answer_of_a_stream_is_truncated_like_a_single_one() {
    let server = Server::start(Script::Large(TOO_MANY)).await;
    let request = |correlation_id: String| pb::StreamIdentifyRequest { correlation_id, request: Some(item("0")) };
    // A correlation id counts too.
    let requests = futures::stream::iter([request("x".repeat(60_000)), request(String::new())]);
    let mut answers = server.client().await.stream_identify(requests).await.unwrap().into_inner();
    for _ in 0..2 {
        let answer = answers.message().await.unwrap().unwrap();
        assert!(answer.encoded_len() <= LIMIT);
        let Some(OfStream::Response(response)) = answer.result else { panic!("an error") };
        assert_truncated(&response.contact.unwrap());
    }
}

/// Each identity takes some 260 KB.
#[tokio::test]
async fn an_item_past_the_limit_of_a_batch_was_carried_out_and_says_so() {
    let server = Server::start(Script::Large(1_000)).await;
    let mut requests = vec![item("0"); 999];
    requests.push(item("1"));
    let response = batch(&server, requests).await;
    assert!(response.encoded_len() <= LIMIT);
    assert_eq!(server.resolver.begun.load(std::sync::atomic::Ordering::SeqCst), 1_000, "all were carried out");
    let results = results(response);
    let answered = results.iter().take_while(|result| matches!(result, OfBatch::Response(_))).count();
    assert!((14..=16).contains(&answered), "{answered}");
    for result in &results[answered..999] {
        let metadata = vec![("limit_bytes".to_owned(), LIMIT.to_string())];
        assert_eq!(error(result), (Code::ResourceExhausted, "ANSWER_TOO_LARGE".to_owned(), metadata));
    }
    for result in results[..answered].iter().chain(&results[999..]) {
        let OfBatch::Response(response) = result else { panic!("an error") };
        let contact = response.contact.as_ref().unwrap();
        assert!(!contact.truncated, "an item of a batch is complete");
        let listed = contact.secondary_contact_ids.len() as i32 + 1;
        assert_eq!((listed, response.outcome()), (contact.contact_count, pb::Outcome::Linked));
    }
    assert!(matches!(results[999], OfBatch::Response(_)), "a small answer still fits");
}

#[tokio::test]
async fn a_batch_as_json_has_the_same_limit() {
    let server = Server::start(Script::Large(1_000)).await;
    let mut requests = vec![json!({"phoneNumber": "0"}); 999];
    requests[0] = json!({"email": "nobody"});
    requests.push(json!({"phoneNumber": 1}));
    let post = reqwest::Client::new().post(server.url("/identify:batch"));
    let body = post.body(json!({"requests": requests}).to_string()).send().await.unwrap().bytes().await.unwrap();
    assert!((LIMIT * 9 / 10..=LIMIT).contains(&body.len()), "{}", body.len());
    let answer: Value = serde_json::from_slice(&body).unwrap();
    let results = answer["results"].as_array().unwrap();
    assert_eq!((results.len(), &results[0]["error"]["code"]), (1_000, &json!(3)));
    let reason = |result: &Value| result["error"]["details"][0]["reason"].as_str().map(str::to_owned);
    let too_large = results.iter().filter(|result| reason(result).as_deref() == Some("ANSWER_TOO_LARGE")).count();
    assert!((980..990).contains(&too_large), "{too_large}");
    assert_eq!(results[1]["response"]["contact"]["emails"].as_array().unwrap().len(), 1_000);
    assert_eq!(results[1]["response"], results[2]["response"], "the same identity");
    assert_eq!(results[999]["response"]["outcome"], "linked");
}

/// Also if it is the only item: `Identify` has a truncated answer.
#[tokio::test]
async fn an_identity_larger_than_the_limit_leaves_room_for_the_others() {
    let server = Server::start(Script::Large(TOO_MANY)).await;
    let results = results(batch(&server, vec![item("0"), item("1"), item("0")]).await);
    assert_eq!(error(&results[0]).1, "ANSWER_TOO_LARGE");
    assert!(matches!(results[1], OfBatch::Response(_)));
    assert_eq!(error(&results[2]).1, "ANSWER_TOO_LARGE");
}

#[tokio::test]
async fn an_identity_that_would_be_too_large_is_the_error_of_its_request_alone() {
    let too_large = IdentifyError::IdentityTooLarge(IdentityTooLarge { limit: 7 });
    let server = Server::start(Script::Fail(too_large)).await;
    let status = server.client().await.identify(item("123456")).await.unwrap_err();
    let details = status.get_error_details();
    let info = details.error_info().unwrap();
    assert_eq!((status.code(), &*info.reason), (Code::FailedPrecondition, "IDENTITY_TOO_LARGE"));
    assert_eq!(info.metadata["limit_contacts"], "7");
    assert_eq!(status.message(), "the identity would have more than 7 contacts", "no value");
    let response = server.post(r#"{"phoneNumber":"123456"}"#).await;
    assert_eq!(response.status().as_u16(), 400);
    assert_eq!(response.json::<Value>().await.unwrap()["code"], 9);

    for result in results(batch(&server, vec![item("1"), item("2")]).await) {
        assert_eq!(error(&result).1, "IDENTITY_TOO_LARGE");
    }
}

#[tokio::test]
async fn a_batch_is_parsed_only_when_there_is_room_for_it() {
    let server = Server::start(Script::Fail(IdentifyError::Overloaded)).await;
    let requests = vec![item("call me"); 2];
    let call = server.client().await.batch_identify(pb::BatchIdentifyRequest { requests }).await;
    assert_eq!(call.unwrap_err().code(), Code::ResourceExhausted, "no errors of items");
    let post = reqwest::Client::new().post(server.url("/identify:batch"));
    let response = post.body(r#"{"requests":[[],{"phoneNumber":"call me"}]}"#).send().await.unwrap();
    assert_eq!(response.status().as_u16(), 429);
}

#[tokio::test]
async fn half_a_million_empty_items_are_too_many() {
    let server = Server::start(Script::Answer(Outcome::Linked)).await;
    let requests = vec![pb::IdentifyRequest::default(); 520_000];
    let status = server.client().await.batch_identify(pb::BatchIdentifyRequest { requests }).await.unwrap_err();
    assert_eq!(status.get_error_details().error_info().unwrap().reason, "BATCH_TOO_LONG");
    let body = format!(r#"{{"requests":[{}{{}}]}}"#, "{},".repeat(340_000));
    let response = reqwest::Client::new().post(server.url("/identify:batch")).body(body).send().await.unwrap();
    assert_eq!(response.json::<Value>().await.unwrap()["details"][0]["reason"], "BATCH_TOO_LONG");
}
