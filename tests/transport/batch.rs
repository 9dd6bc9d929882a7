use std::time::Duration;

use identity::domain::Outcome;
use identity::proto::identity::v1 as pb;
use identity::proto::identity::v1::batch_identify_result::Result as OfBatch;
use identity::resolver::IdentifyError;
use identity::settings::Spelling;
use prost::Message;
use serde_json::{Value, json};
use tonic::{Code, Request, Status};
use tonic_types::StatusExt;

use crate::harness::{Script, Server};

const OK: Script = Script::Answer(Outcome::Linked);

fn item(email: &str, phone_number: &str) -> pb::IdentifyRequest {
    let given = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    pb::IdentifyRequest { email: given(email), phone_number: given(phone_number), ..Default::default() }
}

async fn send(server: &Server, requests: Vec<pb::IdentifyRequest>) -> Result<Vec<OfBatch>, Status> {
    let answer = server.client().await.batch_identify(pb::BatchIdentifyRequest { requests }).await?;
    Ok(answer.into_inner().results.into_iter().map(|result| result.result.unwrap()).collect())
}

async fn post(server: &Server, body: impl Into<reqwest::Body>) -> (u16, Value) {
    let url = server.url("/identify:batch");
    let response = reqwest::Client::new().post(url).body(body).send().await.unwrap();
    assert_eq!(response.headers()["content-type"], "application/json");
    (response.status().as_u16(), response.json().await.unwrap())
}

/// The reason of a failed item, from its details as any client decodes them.
fn reason(result: &OfBatch) -> String {
    let OfBatch::Error(error) = result else { panic!("{result:?}") };
    assert_eq!(error.code, Code::InvalidArgument as i32);
    let status = Status::with_details(Code::InvalidArgument, &error.message, error.encode_to_vec().into());
    let details = status.get_error_details();
    assert_eq!(details.error_info().unwrap().domain, "identity.v1");
    details.error_info().unwrap().reason.clone()
}

#[tokio::test]
async fn bad_items_are_answered_beside_the_good_ones() {
    let server = Server::start(OK).await;
    let requests = vec![item("Doc@b.co", ""), item("nobody", "call me"), item("", " "), item("", "2")];
    let results = send(&server, requests).await.unwrap();
    let emails = |result: &OfBatch| match result {
        OfBatch::Response(response) => response.contact.as_ref().unwrap().emails.clone(),
        OfBatch::Error(error) => panic!("{error:?}"),
    };
    assert_eq!(emails(&results[0]), ["doc@b.co", "mcfly@hillvalley.edu"]);
    assert_eq!((reason(&results[1]), reason(&results[2])), ("IDENTIFIER_INVALID".into(), "IDENTIFIER_MISSING".into()));
    assert_eq!(emails(&results[3]), ["mcfly@hillvalley.edu"]);
    assert_eq!(send(&server, vec![item("nobody", ""); 2]).await.unwrap().len(), 2, "all bad is no failure of the call");

    let body =
        r#"{"requests":[{"email":"Doc@b.co"},{"email":"nobody","phoneNumber":"call me"},[1],{"phone_number":2}]}"#;
    let (status, answer) = post(&server, body).await;
    assert_eq!(status, 200);
    let contact = |emails: &[&str], phones: &[&str]| {
        json!({
            "primaryContactId": 1, "emails": emails, "phoneNumbers": phones, "secondaryContactIds": [23],
        })
    };
    let response = |contact: Value| json!({"response": {"contact": contact, "outcome": "linked"}});
    let results = answer["results"].as_array().unwrap();
    assert_eq!(results[0], response(contact(&["doc@b.co", "mcfly@hillvalley.edu"], &[])));
    assert_eq!(results[1]["error"]["details"][0]["metadata"]["fields"], "email,phoneNumber");
    assert_eq!(results[1]["error"]["code"], 3);
    assert_eq!(results[2]["error"]["message"], "the item is not a JSON object");
    assert_eq!(results[3], response(contact(&["mcfly@hillvalley.edu"], &["2"])));
    assert_eq!(results.len(), 4);
}

#[tokio::test]
async fn the_first_field_is_spelled_as_set() {
    let server = Server::with(OK, |options| options.settings.identify.primary_id_field = Spelling::Legacy).await;
    let (_, answer) = post(&server, r#"{"requests":[{"email":"a@b.co"}]}"#).await;
    assert_eq!(answer["results"][0]["response"]["contact"]["primaryContatctId"], 1);
}

#[tokio::test]
async fn a_size_that_is_not_served_is_refused_before_anything_is_done() {
    let server = Server::start(OK).await;
    for (items, reason) in [(0, "BATCH_EMPTY"), (1_001, "BATCH_TOO_LONG")] {
        let status = send(&server, vec![item("a@b.co", ""); items]).await.unwrap_err();
        let details = status.get_error_details();
        assert_eq!(status.code(), Code::InvalidArgument);
        assert_eq!(details.error_info().unwrap().reason, reason);
        assert_eq!(details.error_info().unwrap().metadata["limit_items"], "1000");
        assert_eq!(details.bad_request().unwrap().field_violations[0].field, "requests");

        let (status, body) =
            post(&server, json!({"requests": vec![json!({"email": "a@b.co"}); items]}).to_string()).await;
        assert_eq!((status, &body["details"][0]["reason"]), (400, &json!(reason)));
    }
    for body in ["", "[]", "{\"requests\":{}}", "{\"requests\":[1,]}"] {
        let (status, body) = post(&server, body).await;
        assert_eq!((status, &body["details"][0]["reason"]), (400, &json!("REQUEST_MALFORMED")));
    }
    assert_eq!(server.resolver.begun.load(std::sync::atomic::Ordering::SeqCst), 0);
    assert_eq!(send(&server, vec![item("a@b.co", ""); 1_000]).await.unwrap().len(), 1_000);
}

#[tokio::test]
async fn a_thousand_of_the_longest_identifiers_fit_and_there_is_a_limit() {
    let server = Server::start(OK).await;
    let (email, phone) = (format!("{}@b.co", "x".repeat(249)), "1".repeat(32));
    let results = send(&server, vec![item(&email, &phone); 1_000]).await.unwrap();
    assert!(results.iter().all(|result| matches!(result, OfBatch::Response(_))));
    let one = json!({"email": email, "phoneNumber": phone});
    assert_eq!(post(&server, json!({"requests": vec![one; 1_000]}).to_string()).await.0, 200);

    let status = send(&server, vec![item(&"x".repeat(2_000), ""); 1_000]).await.unwrap_err();
    let details = status.get_error_details();
    assert_eq!(status.code(), Code::InvalidArgument);
    assert_eq!(details.error_info().unwrap().metadata["limit_bytes"], "1048576");
    assert_eq!(post(&server, " ".repeat((1 << 20) + 1)).await.0, 413);
    // One request alone may be no larger than before.
    let status = server.client().await.identify(item(&"x".repeat(70_000), "")).await.unwrap_err();
    assert_eq!(status.get_error_details().error_info().unwrap().metadata["limit_bytes"], "65536");
}

#[tokio::test]
async fn an_error_that_all_items_meet_fails_the_call() {
    for (error, code, http) in [
        (IdentifyError::Overloaded, Code::ResourceExhausted, 429),
        (IdentifyError::Unavailable, Code::Unavailable, 503),
        (IdentifyError::DeadlineExceeded, Code::DeadlineExceeded, 504),
        (IdentifyError::Internal, Code::Internal, 500),
    ] {
        let server = Server::start(Script::Fail(error)).await;
        let status = send(&server, vec![item("a@b.co", ""), item("nobody", "")]).await.unwrap_err();
        assert_eq!(status.code(), code);
        assert_eq!(post(&server, r#"{"requests":[{"email":"a@b.co"},{}]}"#).await.0, http);
    }
}

#[tokio::test]
async fn the_callers_deadline_holds_for_the_whole_batch() {
    let server = Server::start(Script::Slow(Duration::from_millis(200))).await;
    let mut call = Request::new(pb::BatchIdentifyRequest { requests: vec![item("a@b.co", ""); 100] });
    call.set_timeout(Duration::from_millis(500));
    let status = server.client().await.batch_identify(call).await.unwrap_err();
    assert_eq!(status.code(), Code::DeadlineExceeded);
}
