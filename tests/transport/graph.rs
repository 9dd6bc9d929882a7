//! `GraphService` over a resolver with scripted answers: scopes, limits and sizes. `tests/it/graph/` has the rest.

use std::time::Duration;

use identity::domain::Outcome;
use identity::proto::identity::v1 as pb;
use identity::proto::identity::v1::graph_service_client::GraphServiceClient;
use identity::resolver::IdentifyError;
use tonic::metadata::MetadataValue;
use tonic::{Code, Request, Status};
use tonic_types::StatusExt;

use crate::callers::Guarded;
use crate::harness::{Script, Server};

fn reason(status: &Status) -> String {
    status.get_error_details().error_info().unwrap().reason.clone()
}

const METHODS: usize = 7;

/// The code and the reason of each method.
async fn all(server: &Server, token: Option<&str>) -> Vec<(Code, String)> {
    let mut client = GraphServiceClient::new(server.channel().await);
    fn with<M>(message: M, token: Option<&str>) -> Request<M> {
        let mut request = Request::new(message);
        if let Some(token) = token {
            let value: MetadataValue<_> = format!("Bearer {token}").parse().unwrap();
            request.metadata_mut().insert("authorization", value);
        }
        request
    }
    let name = || "identities/1".to_owned();
    let identifiers = vec![pb::Identifier { kind: "email".into(), value: "a@b.co".into() }];
    let get = client.get_identity(with(pb::GetIdentityRequest { name: name(), read_time: None }, token)).await.err();
    let look_up =
        client.lookup_identities(with(pb::LookupIdentitiesRequest { identifiers, read_time: None }, token)).await.err();
    let list = client.list_identities(with(pb::ListIdentitiesRequest::default(), token)).await.err();
    let contacts = pb::ListContactsRequest { parent: name(), ..Default::default() };
    let contacts = client.list_contacts(with(contacts, token)).await.err();
    let evidence = pb::ListEvidenceRequest { parent: name(), ..Default::default() };
    let evidence = client.list_evidence(with(evidence, token)).await.err();
    let revisions = pb::ListRevisionsRequest { parent: name(), ..Default::default() };
    let revisions = client.list_revisions(with(revisions, token)).await.err();
    let explain = pb::ExplainIdentityRequest { name: name(), ..Default::default() };
    let explain = client.explain_identity(with(explain, token)).await.err();
    let one = |status: Option<Status>| match status {
        Some(status) => (status.code(), reason(&status)),
        None => (Code::Ok, String::new()),
    };
    [get, look_up, list, contacts, evidence, revisions, explain].map(one).into()
}

#[tokio::test]
async fn each_method_needs_the_scope_read() {
    let file = |scope: &str| {
        let token = identity::auth::Token::generate().unwrap();
        let hash = token.hash().hex();
        (
            format!("[[caller]]\nname = 'one'\ntoken_sha256 = '{hash}'\nscopes = ['{scope}']\n"),
            token.expose().to_owned(),
        )
    };
    for (scope, code, why) in [("read", Code::Ok, ""), ("identify", Code::PermissionDenied, "SCOPE_MISSING")] {
        let (text, token) = file(scope);
        let guarded = Guarded::start(&text).await;
        assert_eq!(all(&guarded.server, Some(&token)).await, vec![(code, why.to_owned()); METHODS]);
        let unknown = vec![(Code::Unauthenticated, "UNAUTHENTICATED".to_owned()); METHODS];
        assert_eq!(all(&guarded.server, None).await, unknown);
    }
}

#[tokio::test]
async fn errors_of_the_service_are_those_of_identify() {
    for (error, code, why) in [
        (IdentifyError::Unavailable, Code::Unavailable, "DATABASE_UNAVAILABLE"),
        (IdentifyError::Overloaded, Code::ResourceExhausted, "OVERLOADED"),
        (IdentifyError::DeadlineExceeded, Code::DeadlineExceeded, "DEADLINE_EXCEEDED"),
        (IdentifyError::Internal, Code::Internal, "INTERNAL"),
    ] {
        let server = Server::start(Script::Fail(error)).await;
        assert_eq!(all(&server, None).await, vec![(code, why.to_owned()); METHODS]);
    }
    let full = Server::start(Script::Full).await;
    assert_eq!(
        all(&full, None).await,
        vec![(Code::ResourceExhausted, "OVERLOADED".to_owned()); METHODS],
        "by its head"
    );
    let slow = Server::with(Script::Slow(Duration::from_secs(60)), |options| {
        options.settings.limits.request_timeout = Duration::from_millis(50);
    });
    assert_eq!(all(&slow.await, None).await, vec![(Code::DeadlineExceeded, "DEADLINE_EXCEEDED".to_owned()); METHODS]);
}

/// A look-up whose identifiers are encoded already.
#[derive(Clone, prost::Message)]
struct EncodedLookUp {
    #[prost(bytes = "vec", repeated, tag = "1")]
    identifiers: Vec<Vec<u8>>,
}

/// What is counted is not decoded: the last one cannot be.
#[tokio::test]
async fn identifiers_are_counted_before_they_are_decoded() {
    let server = Server::start(Script::Answer(Outcome::Matched)).await;
    for (count, why) in
        [(1_000, "REQUEST_MALFORMED"), (1_001, "IDENTIFIERS_TOO_MANY"), (400_000, "IDENTIFIERS_TOO_MANY")]
    {
        let mut client = tonic::client::Grpc::new(server.channel().await);
        client.ready().await.unwrap();
        let mut message = EncodedLookUp { identifiers: vec![Vec::new(); count - 1] };
        message.identifiers.push(vec![0xff]);
        let path = http::uri::PathAndQuery::from_static("/identity.v1.GraphService/LookupIdentities");
        let codec = tonic_prost::ProstCodec::<EncodedLookUp, pb::LookupIdentitiesResponse>::default();
        let status = client.unary(Request::new(message), path, codec).await.unwrap_err();
        assert_eq!((status.code(), &reason(&status)[..]), (Code::InvalidArgument, why), "{count}");
    }
}

#[tokio::test]
async fn lists_of_identifiers_may_be_as_large_as_a_batch_and_no_other_call_may() {
    let server = Server::start(Script::Answer(Outcome::Matched)).await;
    let mut client = GraphServiceClient::new(server.channel().await);
    let long = |n: usize| pb::Identifier { kind: "email".into(), value: format!("{n:0>240}@b.co") };
    let request = pb::LookupIdentitiesRequest { identifiers: (0..1_000).map(long).collect(), read_time: None };
    assert_eq!(client.lookup_identities(request).await.unwrap().into_inner().identities.len(), 1);
    let name = "identities/1".to_owned();
    let without_identifiers = (0..1_000).map(long).collect();
    let request = pb::ExplainIdentityRequest { name, without_identifiers, ..Default::default() };
    assert_eq!(reason(&client.explain_identity(request).await.unwrap_err()), "IDENTIFIER_UNKNOWN");
    let request = pb::GetIdentityRequest { name: "x".repeat(100_000), read_time: None };
    let status = client.get_identity(request).await.unwrap_err();
    assert_eq!((status.code(), &reason(&status)[..]), (Code::InvalidArgument, "REQUEST_TOO_LARGE"));
    let two = pb::Identifier { kind: "email".into(), value: " ".repeat(2_000_000) };
    let request = pb::LookupIdentitiesRequest { identifiers: vec![two], read_time: None };
    let status = client.lookup_identities(request).await.unwrap_err();
    assert_eq!(reason(&status), "REQUEST_TOO_LARGE");
}

/// The status of each call over JSON, with this token.
async fn all_json(server: &Server, token: Option<&str>) -> Vec<u16> {
    let client = reqwest::Client::new();
    let mut found = Vec::new();
    for path in ["/v1/identities/1", "/v1/identities:lookup", "/v1/identities", "/v1/identities/1/contacts"] {
        let url = format!("http://{}{path}", server.http);
        let body = r#"{"identifiers": [{"kind": "email", "value": "a@b.co"}]}"#;
        let request = if path.ends_with(":lookup") { client.post(url).body(body) } else { client.get(url) };
        let request = match token {
            Some(token) => request.bearer_auth(token),
            None => request,
        };
        found.push(request.send().await.unwrap().status().as_u16());
    }
    found
}

#[tokio::test]
async fn over_json_the_same_scope_and_the_same_places_are_needed() {
    for (scope, status) in [("read", 200), ("identify", 403)] {
        let token = identity::auth::Token::generate().unwrap();
        let hash = token.hash().hex();
        let text = format!("[[caller]]\nname = 'one'\ntoken_sha256 = '{hash}'\nscopes = ['{scope}']\n");
        let guarded = Guarded::start(&text).await;
        assert_eq!(all_json(&guarded.server, Some(token.expose())).await, [status; 4]);
        assert_eq!(all_json(&guarded.server, None).await, [401; 4]);
    }
    let full = Server::start(Script::Full).await;
    assert_eq!(all_json(&full, None).await, [429; 4]);
    let slow = Server::with(Script::Slow(Duration::from_secs(60)), |options| {
        options.settings.limits.request_timeout = Duration::from_millis(50);
    });
    assert_eq!(all_json(&slow.await, None).await, [504; 4]);
}

#[tokio::test]
async fn over_json_a_look_up_may_be_as_large_as_a_batch() {
    let server = Server::start(Script::Answer(Outcome::Matched)).await;
    let identifiers: Vec<_> = (0..1_000).map(|n| format!(r#"{{"kind":"email","value":"{n:0>240}@b.co"}}"#)).collect();
    let body = format!(r#"{{"identifiers":[{}]}}"#, identifiers.join(","));
    let url = format!("http://{}/v1/identities:lookup", server.http);
    let response = reqwest::Client::new().post(url).body(body).send().await.unwrap();
    assert_eq!(response.status(), 200);
}
