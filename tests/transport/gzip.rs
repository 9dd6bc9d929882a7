use std::io::{Read, Write};
use std::time::{Duration, Instant};

use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use futures::StreamExt;
use futures::future::join_all;
use identity::domain::Outcome;
use identity::proto::identity::v1 as pb;
use identity::proto::identity::v1::identity_service_client::IdentityServiceClient;
use reqwest::{Client, Response};
use serde_json::{Value, json};
use tonic::codec::CompressionEncoding;
use tonic::transport::Channel;
use tonic::{Code, Request};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;
use tonic_types::StatusExt;

use crate::harness::{Script, Server, ServerSettings};

const OK: Script = Script::Answer(Outcome::Linked);

fn gzip(text: &str) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(text.as_bytes()).unwrap();
    encoder.finish().unwrap()
}

async fn post(server: &Server, path: &str, encoding: &str, body: Vec<u8>) -> Response {
    Client::new().post(server.url(path)).header("content-encoding", encoding).body(body).send().await.unwrap()
}

async fn reason(response: Response) -> String {
    response.json::<Value>().await.unwrap()["details"][0]["reason"].as_str().unwrap().to_owned()
}

fn batch(items: usize) -> String {
    json!({"requests": vec![json!({"email": "doc@hillvalley.edu"}); items]}).to_string()
}

async fn gzip_client(server: &Server) -> IdentityServiceClient<Channel> {
    let client = server.client().await;
    client.send_compressed(CompressionEncoding::Gzip).accept_compressed(CompressionEncoding::Gzip)
}

#[tokio::test]
async fn json_bodies_may_be_compressed() {
    let server = Server::start(OK).await;
    let response = post(&server, "/identify", "gzip", gzip(r#"{"email":"doc@hillvalley.edu"}"#)).await;
    assert_eq!(response.status(), 200);
    assert_eq!(response.json::<Value>().await.unwrap()["contact"]["emails"][0], "doc@hillvalley.edu");
    assert_eq!(post(&server, "/identify:batch", "x-gzip", gzip(&batch(1000))).await.status(), 200);
    assert_eq!(post(&server, "/identify", "identity", br#"{"email":"a@b.co"}"#.to_vec()).await.status(), 200);

    let response = post(&server, "/identify", "gzip", br#"{"email":"a@b.co"}"#.to_vec()).await;
    assert_eq!((response.status().as_u16(), reason(response).await), (400, "REQUEST_MALFORMED".into()));
    for unknown in ["br", "deflate", "zstd", "gzip, gzip"] {
        let response = post(&server, "/identify", unknown, gzip(r#"{"email":"a@b.co"}"#)).await;
        assert_eq!(response.headers()["accept-encoding"], "gzip");
        assert_eq!((response.status().as_u16(), reason(response).await), (415, "ENCODING_UNKNOWN".into()), "{unknown}");
    }
}

#[tokio::test]
async fn the_limit_is_for_the_bytes_after_decompression() {
    let server = Server::start(OK).await;
    for (path, limit) in [("/identify", 1 << 16), ("/identify:batch", 1 << 20)] {
        for size in [limit + 1, 64 << 20] {
            let bomb = gzip(&" ".repeat(size));
            assert!(bomb.len() < limit);
            let response = post(&server, path, "gzip", bomb).await;
            assert_eq!((response.status().as_u16(), reason(response).await), (413, "REQUEST_TOO_LARGE".into()));
        }
    }
    let padded = format!(r#"{{"email":"a@b.co"{}}}"#, " ".repeat((1 << 16) - 19));
    assert_eq!(post(&server, "/identify", "gzip", gzip(&padded)).await.status(), 200);
}

#[tokio::test]
async fn large_json_answers_are_compressed_for_those_that_ask() {
    let server = Server::start(OK).await;
    let call = async |path: &str, accepts: Option<&str>, body: String| {
        let mut call = Client::new().post(server.url(path)).body(body);
        if let Some(accepts) = accepts {
            call = call.header("accept-encoding", accepts);
        }
        call.send().await.unwrap()
    };
    let plain = call("/identify:batch", None, batch(1000)).await;
    assert!(!plain.headers().contains_key("content-encoding"));
    let plain = plain.bytes().await.unwrap();

    let response = call("/identify:batch", Some("deflate, gzip;q=0.8"), batch(1000)).await;
    assert_eq!(response.headers()["content-encoding"], "gzip");
    assert_eq!(response.headers()["vary"], "accept-encoding");
    let length = response.headers().get("content-length").expect("all is compressed before it is sent").clone();
    let compressed = response.bytes().await.unwrap();
    assert_eq!(length, compressed.len().to_string());
    assert!(compressed.len() < plain.len() / 10, "{} of {}", compressed.len(), plain.len());
    let mut text = Vec::new();
    GzDecoder::new(&compressed[..]).read_to_end(&mut text).unwrap();
    assert_eq!(text, plain);

    for (path, accepts, body) in [
        ("/identify:batch", "gzip;q=0", batch(1000)),
        ("/identify:batch", "br", batch(1000)),
        ("/identify:batch", "gzip", batch(1)),
        ("/identify", "gzip", r#"{"email":"a@b.co"}"#.to_owned()),
    ] {
        let response = call(path, Some(accepts), body).await;
        assert_eq!(response.status(), 200);
        assert!(!response.headers().contains_key("content-encoding"), "{accepts}");
    }
}

#[tokio::test]
async fn grpc_takes_and_sends_gzip() {
    let server = Server::start(OK).await;
    let mut client = gzip_client(&server).await;
    let item = pb::IdentifyRequest { email: Some("doc@hillvalley.edu".into()), ..Default::default() };
    let answer = client.identify(item.clone()).await.unwrap().into_inner();
    assert_eq!(answer.contact.unwrap().emails[0], "doc@hillvalley.edu");
    let requests = vec![item.clone(); 500];
    let answer = client.batch_identify(pb::BatchIdentifyRequest { requests }).await.unwrap();
    assert_eq!(answer.metadata().get("grpc-encoding").unwrap(), "gzip");
    assert_eq!(answer.into_inner().results.len(), 500);
    let items = vec![pb::StreamIdentifyRequest { correlation_id: "1".into(), request: Some(item) }; 3];
    let answers = client.stream_identify(futures::stream::iter(items)).await.unwrap();
    assert!(!answers.metadata().contains_key("grpc-encoding"), "small answers are not worth it");
    let mut answers = answers.into_inner();
    for _ in 0..3 {
        assert!(answers.message().await.unwrap().is_some());
    }
    let health = HealthClient::new(server.channel().await).send_compressed(CompressionEncoding::Gzip);
    health.clone().check(HealthCheckRequest::default()).await.unwrap();
}

/// The frames of an answer as a client that reads gzip gets them: whether each is compressed, and its size.
async fn frames(server: &Server, method: &str, message: &impl prost::Message) -> Vec<(bool, usize)> {
    use http_body_util::{BodyExt, Full};
    let mut bytes = vec![0];
    bytes.extend(u32::try_from(message.encoded_len()).unwrap().to_be_bytes());
    message.encode(&mut bytes).unwrap();
    let io = hyper_util::rt::TokioIo::new(tokio::net::TcpStream::connect(server.grpc).await.unwrap());
    let executor = hyper_util::rt::TokioExecutor::new();
    let (mut sender, connection) = hyper::client::conn::http2::handshake(executor, io).await.unwrap();
    tokio::spawn(connection);
    let call = http::Request::post(format!("http://x/identity.v1.IdentityService/{method}"))
        .header("content-type", "application/grpc")
        .header("grpc-accept-encoding", "identity, deflate, gzip")
        .body(Full::new(bytes::Bytes::from(bytes)))
        .unwrap();
    let body = sender.send_request(call).await.unwrap().into_body().collect().await.unwrap().to_bytes();
    let mut frames = Vec::new();
    let mut rest = &body[..];
    while let [flag, a, b, c, d, more @ ..] = rest {
        let size = u32::from_be_bytes([*a, *b, *c, *d]) as usize;
        frames.push((*flag == 1, size));
        rest = &more[size..];
    }
    frames
}

#[tokio::test]
async fn grpc_compresses_what_is_worth_it() {
    let server = Server::start(OK).await;
    let item = pb::IdentifyRequest { email: Some("doc@hillvalley.edu".into()), ..Default::default() };
    let [(is_compressed, _)] = frames(&server, "Identify", &item).await[..] else { panic!() };
    assert!(!is_compressed, "a small answer");
    let batch = pb::BatchIdentifyRequest { requests: vec![item.clone(); 500] };
    let [(is_compressed, size)] = frames(&server, "BatchIdentify", &batch).await[..] else { panic!() };
    assert!(is_compressed && size < 10_000, "{size}");
    let long = pb::IdentifyRequest { email: Some(format!("{}@b.co", "x".repeat(249))), ..Default::default() };
    let batch = pb::BatchIdentifyRequest { requests: vec![long.clone(); 300] };
    let [(is_compressed, size)] = frames(&server, "BatchIdentify", &batch).await[..] else { panic!() };
    assert!(!is_compressed && size > 64 * 1024, "others would wait for {size} bytes");
    let one = pb::StreamIdentifyRequest { correlation_id: "x".repeat(4096), request: Some(long) };
    let [(is_compressed, _)] = frames(&server, "StreamIdentify", &one).await[..] else { panic!() };
    assert!(!is_compressed, "an answer of a stream");
}

#[tokio::test]
async fn grpc_refuses_bombs_and_unknown_encodings_in_our_shape() {
    let server = Server::start(OK).await;
    let mut client = gzip_client(&server).await;
    let large = |size| pb::IdentifyRequest { email: Some("x".repeat(size)), ..Default::default() };
    let status = client.identify(large(70_000)).await.unwrap_err();
    let details = status.get_error_details();
    assert_eq!(
        (status.code(), &details.error_info().unwrap().reason[..]),
        (Code::InvalidArgument, "REQUEST_TOO_LARGE")
    );
    assert_eq!(details.error_info().unwrap().metadata["limit_bytes"], "65536");
    let items = vec![pb::StreamIdentifyRequest { correlation_id: "1".into(), request: Some(large(8 << 20)) }];
    let mut answers = client.stream_identify(futures::stream::iter(items)).await.unwrap().into_inner();
    let status = answers.message().await.unwrap_err();
    assert_eq!(status.get_error_details().error_info().unwrap().reason, "REQUEST_TOO_LARGE");

    let mut plain = server.client().await;
    let mut call = Request::new(large(1));
    call.metadata_mut().insert("grpc-encoding", "br".parse().unwrap());
    let status = plain.identify(call).await.unwrap_err();
    assert_eq!(status.code(), Code::Unimplemented);
    assert_eq!(status.get_error_details().error_info().unwrap().reason, "ENCODING_UNKNOWN");
    assert_eq!(status.metadata().get("grpc-accept-encoding").unwrap(), "gzip,identity");
}

/// Room for one and a half of the largest batches.
fn little_room(options: &mut ServerSettings) {
    options.fixed.decompressed_bytes = 3 << 19;
}

/// A batch of one small item that is 900 KiB large once it is decompressed.
fn swollen_batch() -> String {
    batch(1) + &" ".repeat(900 << 10)
}

/// The same for gRPC: its item is malformed.
fn swollen_message() -> pb::BatchIdentifyRequest {
    let item = |email: String| pb::IdentifyRequest { email: Some(email), ..Default::default() };
    pb::BatchIdentifyRequest { requests: vec![item("doc@hillvalley.edu".to_owned()), item("x".repeat(900 << 10))] }
}

/// The sum of what is decompressed and not parsed yet has a limit, of both APIs together.
#[tokio::test]
async fn compressed_requests_that_wait_to_be_parsed_take_no_more_than_their_room() {
    let server = Server::with(Script::SlowAdmission(Duration::from_secs(3)), little_room).await;
    let client = gzip_client(&server).await;
    let json = async || {
        let response = post(&server, "/identify:batch", "gzip", gzip(&swollen_batch())).await;
        let status = response.status().as_u16();
        (status == 429, if status == 200 { String::new() } else { reason(response).await })
    };
    let grpc = async || match client.clone().batch_identify(swollen_message()).await {
        Ok(_) => (false, String::new()),
        Err(status) => {
            let reason = status.get_error_details().error_info().unwrap().reason.clone();
            (status.code() == Code::ResourceExhausted, reason)
        }
    };
    for round in 0..2 {
        let (json_calls, grpc_calls) = tokio::join!(join_all((0..6).map(|_| json())), join_all((0..6).map(|_| grpc())));
        let calls = [json_calls, grpc_calls].concat();
        let refused = calls.iter().filter(|call| **call == (true, "OVERLOADED".to_owned())).count();
        let answered = calls.iter().filter(|call| **call == (false, String::new())).count();
        assert_eq!((refused, answered), (11, 1), "round {round}: {calls:?}");
    }
}

/// Once it is parsed, a request no longer has its text.
#[tokio::test]
async fn compressed_requests_that_wait_for_their_answer_need_no_room() {
    let slow = Script::Slow(Duration::from_secs(3));
    let server = Server::with(slow, little_room).await;
    let client = gzip_client(&server).await;
    let json = async |_| {
        let response = post(&server, "/identify:batch", "gzip", gzip(&swollen_batch())).await;
        response.status() == 200
    };
    let grpc = async |_| client.clone().batch_identify(swollen_message()).await.is_ok();
    let padded = gzip(&(r#"{"email":"doc@hillvalley.edu"}"#.to_owned() + &" ".repeat(60 << 10)));
    let single = async |_| post(&server, "/identify", "gzip", padded.clone()).await.status() == 200;
    let batches = async { join_all((0..8).map(json)).await };
    let (json, grpc, single) = tokio::join!(batches, join_all((0..8).map(grpc)), join_all((0..64).map(single)));
    assert!([json, grpc, single].concat().into_iter().all(|is_answered| is_answered));
}

/// Streams stay open for as long as their callers like.
#[tokio::test]
async fn streams_whose_compressed_messages_are_decoded_need_no_room() {
    let server = Server::with(OK, little_room).await;
    let client = gzip_client(&server).await;
    let item = pb::StreamIdentifyRequest {
        correlation_id: " ".repeat(60 << 10),
        request: Some(pb::IdentifyRequest { email: Some("doc@hillvalley.edu".into()), ..Default::default() }),
    };
    let mut streams = Vec::new();
    for _ in 0..64 {
        let items = futures::stream::iter([item.clone()]).chain(futures::stream::pending());
        let mut answers = client.clone().stream_identify(items).await.unwrap().into_inner();
        assert!(answers.message().await.unwrap().is_some());
        streams.push(answers);
    }
}

/// A stream reads no further while too many of its items have no answer.
#[tokio::test]
async fn streams_that_wait_for_their_answers_need_no_room() {
    let server = Server::with(Script::Slow(Duration::from_secs(5)), little_room).await;
    let client = gzip_client(&server).await;
    let item = |correlation_id: String| pb::StreamIdentifyRequest {
        correlation_id,
        request: Some(pb::IdentifyRequest { email: Some("doc@hillvalley.edu".into()), ..Default::default() }),
    };
    let small = (0..63).map(|number: u32| item(number.to_string()));
    let items: Vec<_> = small.chain([item(" ".repeat(60 << 10))]).collect();
    let mut streams = Vec::new();
    for _ in 0..24 {
        let items = futures::stream::iter(items.clone()).chain(futures::stream::pending());
        let mut client = client.clone();
        streams.push(tokio::spawn(async move { client.stream_identify(items).await }));
    }
    tokio::time::sleep(Duration::from_secs(2)).await;
    let begun = Instant::now();
    let body = gzip(&(r#"{"email":"doc@hillvalley.edu"}"#.to_owned() + &" ".repeat(60 << 10)));
    let response = post(&server, "/identify", "gzip", body).await;
    assert_eq!(response.status(), 200, "after {:?}", begun.elapsed());
    streams.iter().for_each(tokio::task::JoinHandle::abort);
}
