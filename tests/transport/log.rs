use std::io;
use std::sync::{Arc, Mutex, Once};
use std::time::Duration;

use futures::StreamExt;
use identity::domain::Outcome;
use identity::proto::identity::v1::{BatchIdentifyRequest, IdentifyRequest, StreamIdentifyRequest};
use identity::resolver::IdentifyError;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpSocket;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tracing::instrument::WithSubscriber;
use tracing_subscriber::fmt::MakeWriter;

use crate::harness::{Script, Server, talk, until};
use crate::raw::{H2Client, IDENTIFY, end_of};

#[derive(Clone, Default)]
pub(crate) struct Lines(Arc<Mutex<Vec<u8>>>);

impl io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Lines {
    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }

    /// The lines that are events with this message.
    pub(crate) fn with_message(&self, message: &str) -> Vec<serde_json::Value> {
        let log = self.text();
        let lines = log.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
        lines.filter(|line| line["fields"]["message"] == message).collect()
    }
}

/// Collects what this thread logs, as lines of JSON, until the guard is dropped.
pub(crate) fn collect() -> (Lines, tracing::subscriber::DefaultGuard) {
    let lines = Lines::default();
    let writer = lines.clone();
    (lines, log_to(move || writer.clone()))
}

/// Writes what this thread logs, as lines of JSON, until the guard is dropped.
pub(crate) fn log_to(
    writer: impl for<'writer> MakeWriter<'writer> + Send + Sync + 'static,
) -> tracing::subscriber::DefaultGuard {
    // With one subscriber in the process, tracing asks the subscriber of the current thread whether it wants an event,
    // and keeps the answer. The thread of another test has none, so the event would stay disabled for all threads. A
    // second subscriber prevents this.
    static OF_ALL_THREADS: Once = Once::new();
    OF_ALL_THREADS.call_once(|| tracing_subscriber::fmt().with_writer(io::sink).init());
    tracing::subscriber::set_default(tracing_subscriber::fmt().json().with_writer(writer).finish())
}

#[test]
fn a_flood_of_reset_calls_is_sampled_and_counted() {
    const RESETS: usize = 1_000;
    let (lines, _guard) = collect();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(
        async {
            let server = Server::start(Script::Slow(Duration::from_secs(3_600))).await;
            let client = server.client().await;
            let mut calls = tokio::task::JoinSet::new();
            for _ in 0..RESETS {
                let mut client = client.clone();
                let call = IdentifyRequest { email: Some("a@b.co".into()), ..Default::default() };
                calls.spawn(async move { client.identify(call).await });
            }
            server.until_begun(RESETS).await;
            calls.shutdown().await;
            let written = || lines.with_message("call").len();
            let left_out = || {
                let reports = lines.with_message("failed calls left out of the log");
                reports.iter().map(|line| line["fields"]["calls"].as_u64().unwrap()).sum::<u64>()
            };
            until(|| written() + usize::try_from(left_out()).unwrap() == RESETS).await;
            assert!(written() >= 100 && left_out() > 0, "{} written, {} left out", written(), left_out());
            assert!(lines.with_message("call").iter().all(|line| line["level"] == "INFO"), "its caller left");
            let report = &lines.with_message("failed calls left out of the log")[0]["fields"];
            assert_eq!((&report["api"], &report["rpc.response.status_code"]), (&json!("grpc"), &json!("CANCELLED")));
        }
        .with_current_subscriber(),
    );
}

/// The shutdown ended the stream, and its client gets that status.
#[test]
fn a_reflection_stream_that_the_shutdown_ends_has_the_code_that_was_sent() {
    let (lines, _guard) = collect();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(
        async {
            let server = Server::with(Script::Answer(Outcome::Linked), |options| {
                options.settings.listen.reflection = true;
            })
            .await;
            let open = async || {
                let requests = futures::stream::pending();
                let mut client = ServerReflectionClient::new(server.channel().await);
                client.server_reflection_info(requests).await.unwrap().into_inner()
            };
            let mut stream = open().await;
            server.shutdown.cancel();
            let status = stream.message().await.unwrap_err();
            assert_eq!(status.code(), tonic::Code::Unavailable, "{status}");
            until(|| lines.with_message("call").len() == 1).await;
        }
        .with_current_subscriber(),
    );
    let call = &lines.with_message("call")[0]["fields"];
    assert_eq!(call["rpc.method"], "grpc.reflection.v1.ServerReflection/ServerReflectionInfo");
    assert_eq!(call["rpc.response.status_code"], "UNAVAILABLE");
}

#[test]
fn a_call_that_writes_nothing_has_an_outcome_of_its_own() {
    let (lines, _guard) = collect();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(
        async {
            let server = Server::start(Script::Answer(Outcome::Created)).await;
            let call = IdentifyRequest { email: Some("a@b.co".into()), validate_only: true, ..Default::default() };
            server.client().await.identify(call).await.unwrap();
            let answer = server.post(r#"{"email":"a@b.co","validateOnly":true}"#).await;
            assert_eq!(answer.headers()["identity-outcome"], "created", "the answer says what would be");
            until(|| lines.with_message("call").len() == 2).await;
        }
        .with_current_subscriber(),
    );
    let outcomes = lines.with_message("call").into_iter().map(|line| line["fields"]["outcome"].clone());
    assert_eq!(outcomes.collect::<Vec<_>>(), ["validated", "validated"]);
}

#[test]
fn every_call_has_one_line_without_personal_data() {
    let (lines, _guard) = collect();
    // One thread, so that the subscriber of this test sees the server's tasks, and only them.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(
        async {
            let server = Server::start(Script::Answer(Outcome::Linked)).await;
            let call = IdentifyRequest {
                email: Some("doc@b.co".into()),
                phone_number: Some("555123".into()),
                ..Default::default()
            };
            server.client().await.identify(call).await.unwrap();
            server.post(r#"{"email":"doc@b.co","phoneNumber":555123}"#).await;
            server.post(r#"{"email":"doc","phoneNumber":555123}"#).await;
            let [good, bad] =
                ["doc@b.co", "doc"].map(|email| IdentifyRequest { email: Some(email.into()), ..Default::default() });
            let requests = vec![good.clone(), bad.clone(), good.clone()];
            server.client().await.batch_identify(BatchIdentifyRequest { requests }).await.unwrap();
            let items =
                [good, bad].map(|one| StreamIdentifyRequest { correlation_id: "doc".into(), request: Some(one) });
            let stream = server.client().await.stream_identify(futures::stream::iter(items)).await.unwrap();
            assert_eq!(stream.into_inner().count().await, 2);
            reqwest::get(server.url("/doc@b.co?phone=555123")).await.unwrap();
            reqwest::get(server.url("/healthz")).await.unwrap();
        }
        .with_current_subscriber(),
    );
    let log = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
    assert!(!log.contains("doc") && !log.contains("555123"), "{log}");
    let calls: Vec<serde_json::Value> = log
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap())
        .filter(|line| line["fields"]["message"] == "call")
        .collect();
    let logged: Vec<_> = calls
        .iter()
        .map(|call| {
            let field = |name: &str| call["fields"][name].as_str().unwrap_or("-").to_owned();
            assert!(call["fields"]["duration_ms"].is_number() && call["fields"]["request.id"].is_string(), "{call}");
            [
                field("api"),
                field("rpc.method"),
                field("http.route"),
                field("rpc.response.status_code"),
                field("outcome"),
            ]
        })
        .collect();
    let rpc = "identity.v1.IdentityService/Identify";
    let [batch, stream] = ["BatchIdentify", "StreamIdentify"].map(|rpc| format!("identity.v1.IdentityService/{rpc}"));
    let (batch, stream) = (batch.as_str(), stream.as_str());
    assert_eq!(
        logged,
        [
            ["grpc", rpc, "-", "OK", "linked"],
            ["http", rpc, "/identify", "OK", "linked"],
            ["http", rpc, "/identify", "INVALID_ARGUMENT", "-"],
            ["grpc", batch, "-", "OK", "-"],
            ["grpc", stream, "-", "OK", "-"],
            ["http", "-", "-", "NOT_FOUND", "-"],
        ]
    );
    let tallies: Vec<_> = calls.iter().map(|call| (&call["fields"]["items"], &call["fields"]["item_errors"])).collect();
    assert_eq!(tallies[3..5], [(&json!(3), &json!(1)), (&json!(2), &json!(1))]);
    assert!(tallies[..3].iter().all(|(items, _)| items.is_null()));
}

#[test]
fn a_line_says_who_called_and_whose_failure_it_is() {
    const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
    let (lines, _guard) = collect();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let scripts = [
        (Script::Fail(IdentifyError::Internal), "INTERNAL", "ERROR"),
        (Script::Fail(IdentifyError::Unavailable), "DATABASE_UNAVAILABLE", "WARN"),
        (Script::Fail(IdentifyError::DeadlineExceeded), "DEADLINE_EXCEEDED", "WARN"),
        (Script::Fail(IdentifyError::Overloaded), "OVERLOADED", "INFO"),
        (Script::Panic, "INTERNAL", "ERROR"),
    ];
    runtime.block_on(
        async {
            for (script, ..) in scripts {
                let server = Server::start(script).await;
                let mut call =
                    tonic::Request::new(IdentifyRequest { email: Some("a@b.co".into()), ..Default::default() });
                let parent = format!("00-{TRACE}-b7ad6b7169203331-00");
                call.metadata_mut().insert("traceparent", parent.parse().unwrap());
                server.client().await.identify(call).await.unwrap_err();
                assert!(!server.post(r#"{"email":"a@b.co"}"#).await.status().is_success());
            }
        }
        .with_current_subscriber(),
    );
    let calls = lines.with_message("call");
    assert_eq!(calls.len(), 2 * scripts.len());
    for (pair, (_, reason, level)) in calls.chunks(2).zip(scripts) {
        for (call, api) in pair.iter().zip(["grpc", "http"]) {
            let fields = &call["fields"];
            assert_eq!((&fields["error.reason"], &call["level"]), (&json!(reason), &json!(level)), "{call}");
            let (system, trace) =
                if api == "grpc" { (json!("grpc"), json!(TRACE)) } else { (json!(null), json!(null)) };
            assert_eq!((&fields["api"], &fields["rpc.system.name"]), (&json!(api), &system), "{call}");
            assert_eq!((&fields["trace_id"], &fields["network.peer.class"]), (&trace, &json!("loopback")), "{call}");
        }
    }
    let log = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
    assert!(!log.contains("127.0.0.1"), "{log}");
}

/// The service missed the deadline: its own, or that of the caller. A stream is open for as long as its caller wanted.
#[test]
fn a_deadline_that_the_service_missed_is_a_warning() {
    let (lines, _guard) = collect();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(
        async {
            let server = Server::with(Script::Slow(Duration::from_secs(3_600)), |options| {
                options.settings.limits.request_timeout = Duration::from_millis(300);
                options.fixed.body_timeout = Duration::from_millis(100);
            })
            .await;
            let call = IdentifyRequest { email: Some("a@b.co".into()), ..Default::default() };
            let logged = async |calls: usize| {
                until(|| lines.with_message("call").len() >= calls).await;
                let line = lines.with_message("call").pop().unwrap();
                let fields = ["rpc.response.status_code", "error.reason"].map(|name| &line["fields"][name]);
                [fields[0], fields[1], &line["level"]].map(|value| value.as_str().unwrap().to_owned())
            };
            server.client().await.identify(call.clone()).await.unwrap_err();
            assert_eq!(logged(1).await, ["DEADLINE_EXCEEDED", "DEADLINE_EXCEEDED", "WARN"], "REQUEST_TIMEOUT");

            let short = reqwest::Client::new().post(server.url("/identify")).header("grpc-timeout", "50m");
            assert_eq!(short.body(r#"{"email":"a@b.co"}"#).send().await.unwrap().status(), 504);
            assert_eq!(logged(2).await, ["DEADLINE_EXCEEDED", "DEADLINE_EXCEEDED", "WARN"], "the caller's");

            let item = StreamIdentifyRequest { correlation_id: "c".into(), request: Some(call) };
            let items = futures::stream::iter([item]).chain(futures::stream::pending());
            let mut stream = tonic::Request::new(items);
            stream.set_timeout(Duration::from_secs(1));
            let mut answers = server.client().await.stream_identify(stream).await.unwrap().into_inner();
            assert_eq!(answers.message().await.unwrap_err().code(), tonic::Code::DeadlineExceeded);
            assert_eq!(logged(3).await, ["DEADLINE_EXCEEDED", "DEADLINE_EXCEEDED", "INFO"], "an open stream");

            let half = "POST /identify HTTP/1.1\r\nhost: x\r\ncontent-length: 19\r\n\r\n{";
            assert!(talk(server.http, half.as_bytes()).await.starts_with(b"HTTP/1.1 408"));
            assert_eq!(logged(4).await, ["DEADLINE_EXCEEDED", "REQUEST_TOO_SLOW", "INFO"], "its body is late");
        }
        .with_current_subscriber(),
    );
}

/// The work is done, so its outcome stands there too.
#[test]
fn an_answer_that_its_caller_does_not_get_is_logged_as_cancelled() {
    let (lines, _guard) = collect();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(
        async {
            let server = Server::with(Script::Large(14_000), |options| {
                options.settings.limits.send_timeout = Duration::from_millis(400);
            })
            .await;
            let call = IdentifyRequest { phone_number: Some("0".into()), ..Default::default() };
            let logged = async |calls: usize| {
                until(|| lines.with_message("call").len() >= calls).await;
                let line = lines.with_message("call").pop().unwrap();
                ["rpc.response.status_code", "outcome"].map(|name| line["fields"][name].as_str().unwrap().to_owned())
            };
            let mut deaf = H2Client::connect(server.grpc, 0).await;
            end_of(&mut deaf.unary(IDENTIFY, &call).await).await.unwrap_err();
            assert_eq!(logged(1).await, ["CANCELLED", "linked"], "cut by SEND_TIMEOUT");

            let mut hasty = H2Client::connect(server.grpc, 1_000).await;
            drop(hasty.unary(IDENTIFY, &call).await);
            assert_eq!(logged(2).await, ["CANCELLED", "linked"], "reset by its caller");

            let socket = TcpSocket::new_v4().unwrap();
            socket.set_recv_buffer_size(4_096).unwrap();
            let mut stream = socket.connect(server.http).await.unwrap();
            let call = "POST /identify HTTP/1.1\r\nhost: x\r\ncontent-length: 19\r\n\r\n{\"phoneNumber\":\"0\"}";
            stream.write_all(call.as_bytes()).await.unwrap();
            stream.read_exact(&mut [0; 100]).await.unwrap();
            drop(stream);
            assert_eq!(logged(3).await, ["CANCELLED", "linked"], "its connection was closed");

            let answer = server.post(r#"{"phoneNumber":"0"}"#).await;
            assert!(answer.bytes().await.unwrap().len() > 3_000_000);
            assert_eq!(logged(4).await, ["OK", "linked"]);
            assert_eq!(lines.with_message("call").len(), 4, "one line for each call");
        }
        .with_current_subscriber(),
    );
}
