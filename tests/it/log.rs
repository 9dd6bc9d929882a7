//! The log never harms the service: its reader may be gone, stalled, or a full disk. And fatal errors are one line.

use std::fs::File;
use std::io::{BufRead, BufReader, PipeReader};
use std::process::Stdio;
use std::time::Duration;

use identity::proto::identity::v1::IdentifyRequest;
use identity::proto::identity::v1::identity_service_client::IdentityServiceClient;
use serde_json::Value;
use tonic::Code;
use tonic::transport::Endpoint;

use crate::harness::{Api, Backend, Process, Suite, TestDatabase, binary, register};

pub fn register(suite: &mut Suite) {
    register!(suite.plain():
        a_reader_that_goes_away_ends_nothing,
        a_full_disk_ends_nothing,
        a_stalled_reader_holds_up_neither_calls_nor_the_end,
        a_slow_reader_learns_how_many_lines_were_lost,
        a_fatal_error_is_json_if_the_log_is,
        tokens_are_never_logged,
    );
    register!(suite.on(&Backend::SERVERS): a_wrong_password_is_said_once);
}

/// More lines than a pipe and the queue of the log hold, in few calls.
const LOUD: (&str, &str) = ("RUST_LOG", "trace");

const MEMORY: (&str, &str) = ("DATABASE_URL", "sqlite::memory:");

/// Starts the service with a log that goes through a pipe, which the test may read.
async fn start_with_pipe(variables: &[(&str, &str)]) -> (Process, PipeReader) {
    let (reader, writer) = std::io::pipe().expect("a pipe");
    let log = move || Stdio::from(writer.try_clone().expect("another writer"));
    (Process::start_with_log_to(log, variables).await, reader)
}

async fn call(process: &Process, calls: usize) {
    let caller = process.caller();
    for number in 0..calls {
        let email = format!("{number}@x.de");
        for api in Api::BOTH {
            let call = caller.identify(api, Some(&email), None);
            tokio::time::timeout(Duration::from_secs(30), call).await.expect("an answer in time").expect("an answer");
        }
    }
}

async fn drains(process: &mut Process) {
    process.signal("-TERM");
    let status = process.end().await;
    assert_eq!(status.code(), Some(0), "{status}");
}

async fn a_reader_that_goes_away_ends_nothing() {
    let (mut process, reader) = start_with_pipe(&[MEMORY]).await;
    call(&process, 1).await;
    drop(reader);
    call(&process, 5).await;
    // The thread of the log has met the broken pipe by then.
    rests(&process).await;
    call(&process, 5).await;
    drains(&mut process).await;
}

async fn a_full_disk_ends_nothing() {
    let full = || Stdio::from(File::options().write(true).open("/dev/full").expect("/dev/full"));
    let mut process = Process::start_with_log_to(full, &[MEMORY]).await;
    call(&process, 5).await;
    rests(&process).await;
    call(&process, 5).await;
    drains(&mut process).await;
}

/// Waits a second, in which the process has nothing to do: it must not try again and again to write its log.
async fn rests(process: &Process) {
    let before = process.cpu_time();
    tokio::time::sleep(Duration::from_secs(1)).await;
    let worked = process.cpu_time() - before;
    assert!(worked < Duration::from_millis(150), "{worked:?}");
}

async fn a_stalled_reader_holds_up_neither_calls_nor_the_end() {
    let (mut process, _reader) = start_with_pipe(&[MEMORY]).await;
    call(&process, 300).await; // A pipe takes some 170 lines.
    drains(&mut process).await;
}

async fn a_slow_reader_learns_how_many_lines_were_lost() {
    let (mut process, reader) = start_with_pipe(&[MEMORY, LOUD]).await;
    // Nothing is read. The log of a call takes some 10 KiB at this level, and the queue 4 MiB.
    call(&process, 600).await;
    let (send, mut lines) = tokio::sync::mpsc::unbounded_channel();
    std::thread::spawn(move || {
        BufReader::new(reader).lines().map_while(Result::ok).for_each(|line| {
            let line: Value = serde_json::from_str(&line).expect("a line of JSON");
            let _ = send.send(line);
        });
    });
    let lost = loop {
        let line = lines.recv().await.expect("a report");
        if line["message"] == "lines of the log were lost" {
            break line["lost_lines_total"].as_u64().expect("a number");
        }
    };
    assert!(lost > 0);
    drains(&mut process).await;
    let mut last = Value::Null;
    while let Some(line) = lines.recv().await {
        last = line;
    }
    assert_eq!(last["message"], "lines of the log were lost", "{last}");
    assert!(last["lost_lines_total"].as_u64().is_some_and(|total| total >= lost), "{last}");
}

/// At the level that shows most, on both APIs: tokens that are known, and others.
async fn tokens_are_never_logged() {
    let folder = tempfile::tempdir().expect("a folder");
    let (file, database) = (folder.path().join("tokens.toml"), folder.path().join("identity.db"));
    let mut new = binary();
    new.args(["token", "new", "shop", "--scope", "identify", "--tokens-file"]).arg(&file);
    let made = new.output().expect("the binary runs");
    assert!(made.status.success(), "{made:?}");
    let known = String::from_utf8(made.stdout).expect("text").trim().to_owned();
    let unknown = known.chars().rev().collect::<String>();
    let (url, file) = (format!("sqlite://{}", database.display()), file.to_str().expect("text"));
    let variables = [("DATABASE_URL", url.as_str()), ("TOKENS_FILE", file), ("RUST_LOG", "trace")];
    let mut process = Process::start(&variables).await;
    let channel = Endpoint::from_shared(format!("http://{}", process.grpc)).expect("an address").connect_lazy();
    let mut client = IdentityServiceClient::new(channel);
    for (token, code, status) in [(&known, None, 200), (&unknown, Some(Code::Unauthenticated), 401)] {
        let bearer = format!("Bearer {token}");
        let request = IdentifyRequest { email: Some("a@x.de".to_owned()), ..Default::default() };
        let mut request = tonic::Request::new(request);
        request.metadata_mut().insert("authorization", bearer.parse().expect("a header"));
        let refusal = client.identify(request).await.err();
        assert_eq!(refusal.as_ref().map(tonic::Status::code), code);
        assert!(refusal.is_none_or(|refusal| !format!("{refusal:?}").contains(token.as_str())));
        let post = reqwest::Client::new().post(format!("http://{}/identify", process.http)).bearer_auth(token);
        let answer = post.body(r#"{"email":"a@x.de"}"#).send().await.expect("an answer");
        assert_eq!(answer.status(), status);
        assert!(!answer.text().await.expect("text").contains(token.as_str()));
    }
    process.signal("-TERM");
    process.end().await;
    let log = process.log_at_its_end();
    assert!(log.contains("UNAUTHENTICATED") && !log.contains(&known) && !log.contains(&unknown), "{log}");
}

fn fatal(variables: &[(&str, &str)]) -> (Option<i32>, String) {
    let done = binary().envs(variables.iter().copied()).output().expect("the binary runs");
    (done.status.code(), String::from_utf8(done.stderr).expect("UTF-8"))
}

async fn a_fatal_error_is_json_if_the_log_is() {
    let nowhere = [("DATABASE_URL", "mysql://root:secret@127.0.0.1:1/identity"), ("DATABASE_WAIT", "0s")];
    let (status, line) = fatal(&[&nowhere[..], &[("LOG_FORMAT", "json")]].concat());
    let parsed: Value = serde_json::from_str(&line).unwrap_or_else(|_| panic!("not one line of JSON: {line}"));
    assert_eq!((status, &parsed["level"]), (Some(3), &"ERROR".into()), "{line}");
    assert!(parsed["message"].as_str().is_some_and(|text| text.contains("does not answer")), "{line}");
    assert!(parsed["timestamp"].is_string(), "{line}");

    let (_, line) = fatal(&[&nowhere[..], &[("LOG_FORMAT", "text")]].concat());
    assert!(line.starts_with("identity: the database does not answer") && line.lines().count() == 1, "{line}");

    let (status, line) = fatal(&[("LOG_FORMAT", "json"), ("QUEUE_LIMIT", "none")]);
    let parsed: Value = serde_json::from_str(&line).unwrap_or_else(|_| panic!("not one line of JSON: {line}"));
    assert_eq!(status, Some(2));
    assert!(parsed["message"].as_str().is_some_and(|text| text.starts_with("QUEUE_LIMIT (environment)")), "{line}");
    let (_, line) = fatal(&[("LOG_FORMAT", "json"), ("IDENTITY_LOG_FORMAT", "text"), ("QUEUE_LIMIT", "none")]);
    assert!(line.starts_with("identity: QUEUE_LIMIT"), "the prefix wins, also before the log starts: {line}");
}

async fn a_wrong_password_is_said_once(database: TestDatabase) {
    let mut url = url::Url::parse(&database.url).expect("a URL");
    url.set_password(Some("not the secret")).expect("a URL with a password");
    let server = format!("{}:{}", url.host_str().expect("a host"), url.port().expect("a port"));
    let url = url.as_str().replace(&server, &format!("{server},{server},{server}"));
    for format in ["text", "json"] {
        let (status, line) = fatal(&[("DATABASE_URL", url.as_str()), ("LOG_FORMAT", format), ("DATABASE_WAIT", "0s")]);
        assert_eq!((status, line.lines().count()), (Some(3), 1), "{line}");
        for word in ["password", "denied", "authentication", "refuses"] {
            assert!(line.matches(word).count() <= 1, "{word} is said again: {line}");
        }
    }
}
