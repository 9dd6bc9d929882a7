use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use identity::domain::Outcome;
use identity::proto::identity::v1 as pb;
use identity::resolver::IdentifyError;
use tokio::time::timeout;
use tonic::{Code, Request, Status};
use tonic_types::{ErrorDetails, StatusExt};

use crate::harness::{Script, Server, until};
use crate::raw::{BATCH, H2Client, IDENTIFY, framed};

fn request(email: &str, phone_number: &str) -> pb::IdentifyRequest {
    let given = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    pb::IdentifyRequest { email: given(email), phone_number: given(phone_number), ..Default::default() }
}

async fn fail(server: &Server, request: pb::IdentifyRequest) -> (Status, ErrorDetails) {
    let status = server.client().await.identify(request).await.unwrap_err();
    let details = status.get_error_details();
    (status, details)
}

#[tokio::test]
async fn the_answer_is_the_whole_identity() {
    for (outcome, expected) in [
        (Outcome::Created, pb::Outcome::Created),
        (Outcome::Matched, pb::Outcome::Matched),
        (Outcome::Linked, pb::Outcome::Linked),
        (Outcome::Merged, pb::Outcome::Merged),
    ] {
        let server = Server::start(Script::Answer(outcome)).await;
        let answer =
            server.client().await.identify(request(" Doc@HillValley.edu", "12-34")).await.unwrap().into_inner();
        assert_eq!(answer.outcome(), expected);
        let identity = pb::Identity {
            primary_contact_id: 1,
            emails: vec!["doc@hillvalley.edu".into(), "mcfly@hillvalley.edu".into()],
            phone_numbers: vec!["1234".into()],
            secondary_contact_ids: vec![23],
            truncated: false,
            contact_count: 2,
            ..pb::Identity::default()
        };
        assert_eq!(answer.contact, Some(identity));
    }
}

/// The caller would believe that the second message was carried out.
#[tokio::test]
async fn a_call_of_one_message_is_refused_if_it_has_two() {
    let server = Server::start(Script::Answer(Outcome::Matched)).await;
    let mut client = H2Client::connect(server.grpc, 65_535).await;
    let single = framed(&request("doc@b.co", ""));
    let batch = framed(&pb::BatchIdentifyRequest { requests: vec![request("doc@b.co", "")] });
    for (path, message) in [(IDENTIFY, single), (BATCH, batch)] {
        for (messages, code) in [(1, None), (2, Some("3"))] {
            let (response, mut body) = client.call(path).await;
            body.send_data(message.repeat(messages).into(), true).unwrap();
            let response = timeout(Duration::from_secs(5), response).await.unwrap().unwrap();
            let sent = response.headers().get("grpc-status").map(|code| code.to_str().unwrap());
            assert_eq!(sent, code, "{path}");
            if let Some(status) = code.and(Status::from_header_map(response.headers())) {
                assert_eq!(status.get_error_details().error_info().unwrap().reason, "REQUEST_MALFORMED");
            }
        }
    }
    assert_eq!(server.resolver.begun.load(Ordering::SeqCst), 2, "one for each call that has one message");
}

#[tokio::test]
async fn bad_input_names_every_field() {
    let server = Server::start(Script::Answer(Outcome::Matched)).await;

    let (status, details) = fail(&server, request("nobody", "call me")).await;
    assert_eq!(status.code(), Code::InvalidArgument);
    assert_eq!(details.error_info().unwrap().reason, "IDENTIFIER_INVALID");
    let fields: Vec<_> = details.bad_request().unwrap().field_violations.iter().map(|v| v.field.as_str()).collect();
    assert_eq!(fields, ["email", "phone_number"]);
    assert!(!status.message().contains("nobody"), "{}", status.message());

    let (status, details) = fail(&server, request("", " ")).await;
    assert_eq!(status.code(), Code::InvalidArgument);
    assert_eq!(status.message(), "email or phone_number must be given");
    assert_eq!(details.error_info().unwrap().reason, "IDENTIFIER_MISSING");
    assert_eq!(server.resolver.begun.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn every_failure_of_the_resolver_has_its_status() {
    for (error, code, reason) in [
        (IdentifyError::Overloaded, Code::ResourceExhausted, "OVERLOADED"),
        (IdentifyError::Unavailable, Code::Unavailable, "DATABASE_UNAVAILABLE"),
        (IdentifyError::DeadlineExceeded, Code::DeadlineExceeded, "DEADLINE_EXCEEDED"),
        (IdentifyError::Internal, Code::Internal, "INTERNAL"),
    ] {
        let server = Server::start(Script::Fail(error)).await;
        let (status, details) = fail(&server, request("a@b.co", "")).await;
        assert_eq!(status.code(), code);
        assert_eq!(details.error_info().unwrap().reason, reason);
        let is_retryable = matches!(code, Code::ResourceExhausted | Code::Unavailable);
        assert_eq!(details.retry_info().is_some(), is_retryable);
    }
}

#[tokio::test]
async fn a_panic_is_internal_and_the_connection_lives_on() {
    let server = Server::start(Script::Panic).await;
    let mut client = server.client().await;
    for _ in 0..2 {
        let status = client.identify(request("a@b.co", "")).await.unwrap_err();
        assert_eq!((status.code(), status.message()), (Code::Internal, "the request could not be handled"));
    }
}

#[tokio::test]
async fn the_callers_deadline_is_answered_before_his_own_timer() {
    let server = Server::start(Script::Slow(Duration::from_secs(60))).await;
    let mut call = Request::new(request("a@b.co", ""));
    call.set_timeout(Duration::from_millis(500));
    let status = server.client().await.identify(call).await.unwrap_err();
    assert_eq!(status.code(), Code::DeadlineExceeded);
    // The status of the caller's own timer has no details.
    assert_eq!(status.get_error_details().error_info().unwrap().reason, "DEADLINE_EXCEEDED");
    assert_eq!(server.resolver.dropped.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn the_request_timeout_is_the_longest_and_the_default() {
    for timeout in [Some("99999999H"), None] {
        let server = Server::with(Script::Slow(Duration::from_secs(60)), |options| {
            options.settings.limits.request_timeout = Duration::from_millis(60);
        })
        .await;
        let mut call = Request::new(request("a@b.co", ""));
        if let Some(timeout) = timeout {
            call.metadata_mut().insert("grpc-timeout", timeout.parse().unwrap());
        }
        let start = Instant::now();
        let status = server.client().await.identify(call).await.unwrap_err();
        assert_eq!(status.code(), Code::DeadlineExceeded);
        assert!(start.elapsed() >= Duration::from_millis(60));
    }
}

#[tokio::test]
async fn a_malformed_timeout_is_refused() {
    let server = Server::start(Script::Answer(Outcome::Matched)).await;
    let mut call = Request::new(request("a@b.co", ""));
    call.metadata_mut().insert("grpc-timeout", "soon".parse().unwrap());
    let status = server.client().await.identify(call).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
    assert_eq!(status.get_error_details().error_info().unwrap().reason, "TIMEOUT_MALFORMED");
}

#[tokio::test]
async fn a_caller_that_leaves_cancels_his_call() {
    let server = Server::start(Script::Slow(Duration::from_secs(60))).await;
    let mut client = server.client().await;
    let call = tokio::spawn(async move { client.identify(request("a@b.co", "")).await });
    server.until_begun(1).await;
    call.abort();
    until(|| server.resolver.dropped.load(Ordering::SeqCst) == 1).await;
}

#[tokio::test]
async fn what_tonic_refuses_has_our_shape() {
    let server =
        Server::with(Script::Answer(Outcome::Matched), |options| options.settings.limits.http_body_limit = 1000).await;

    let (status, details) = fail(&server, request(&"x".repeat(2000), "")).await;
    assert_eq!(status.code(), Code::InvalidArgument);
    assert_eq!(details.error_info().unwrap().metadata["limit_bytes"], "1000");

    let mut raw = tonic::client::Grpc::new(server.channel().await);
    for (path, bytes, code, reason) in [
        ("/identity.v1.IdentityService/Identify", &b"\x0a\x02\xff\xff"[..], Code::InvalidArgument, "REQUEST_MALFORMED"),
        ("/identity.v1.IdentityService/Identify", b"\x0a\x7f", Code::InvalidArgument, "REQUEST_MALFORMED"),
        ("/identity.v1.IdentityService/Nothing", b"", Code::Unimplemented, "METHOD_UNKNOWN"),
        ("/no.Such/Thing", b"", Code::Unimplemented, "METHOD_UNKNOWN"),
    ] {
        raw.ready().await.unwrap();
        let call = raw.unary(Request::new(bytes.to_vec()), path.parse().unwrap(), RawCodec);
        let status = call.await.unwrap_err();
        assert_eq!(status.code(), code, "{status:?}");
        assert_eq!(status.get_error_details().error_info().unwrap().reason, reason);
    }
}

#[tokio::test]
async fn too_many_calls_at_once_are_refused() {
    let server = Server::with(Script::Slow(Duration::from_secs(60)), |options| options.fixed.max_calls = 1).await;
    let mut client = server.client().await;
    let _call = tokio::spawn(async move { client.identify(request("a@b.co", "")).await });
    server.until_begun(1).await;
    let (status, details) = fail(&server, request("a@b.co", "")).await;
    assert_eq!(status.code(), Code::ResourceExhausted);
    assert!(details.retry_info().is_some());
}

#[tokio::test]
async fn the_request_id_comes_back() {
    let server = Server::start(Script::Answer(Outcome::Matched)).await;
    let mut call = Request::new(request("a@b.co", ""));
    call.metadata_mut().insert("x-request-id", "till-7".parse().unwrap());
    let mut client = server.client().await;
    assert_eq!(client.identify(call).await.unwrap().metadata().get("x-request-id").unwrap(), "till-7");
    let fresh = client.identify(request("a@b.co", "")).await.unwrap().metadata().get("x-request-id").unwrap().clone();
    assert_eq!(fresh.to_str().unwrap().len(), 36);
    assert!(client.identify(request("", "")).await.unwrap_err().metadata().contains_key("x-request-id"));
}

/// Sends bytes that need be no message.
struct RawCodec;

impl tonic::codec::Codec for RawCodec {
    type Encode = Vec<u8>;
    type Decode = ();
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl tonic::codec::Encoder for RawCodec {
    type Item = Vec<u8>;
    type Error = Status;

    fn encode(&mut self, item: Vec<u8>, buffer: &mut tonic::codec::EncodeBuf<'_>) -> Result<(), Status> {
        bytes::BufMut::put_slice(buffer, &item);
        Ok(())
    }
}

impl tonic::codec::Decoder for RawCodec {
    type Item = ();
    type Error = Status;

    fn decode(&mut self, _: &mut tonic::codec::DecodeBuf<'_>) -> Result<Option<()>, Status> {
        Ok(Some(()))
    }
}
