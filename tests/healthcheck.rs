//! `identity healthcheck` against a real server.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

#[path = "shared/certificates.rs"]
mod certificates;
#[path = "shared/running_service.rs"]
mod running_service;

use std::net::SocketAddr;
use std::process::{Command, Output};

use certificates::{Authority, Files};
use identity::settings::Settings;
use identity::tls::{ClientTls, ClientTlsArgs, WithoutAuthority, connect_grpc};
use running_service::RunningService;

use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::transport::Server;
use tonic_health::ServingStatus;

/// A server with this health, at every interface.
async fn serve(status: ServingStatus) -> u16 {
    let (reporter, service) = tonic_health::server::health_reporter();
    reporter.set_service_status("", status).await;
    let listener = TcpListener::bind("0.0.0.0:0").await.expect("a port");
    let port = listener.local_addr().expect("bound").port();
    tokio::spawn(Server::builder().add_service(service).serve_with_incoming(TcpListenerStream::new(listener)));
    port
}

async fn run_healthcheck(addr: SocketAddr) -> Output {
    let run = move || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_identity"));
        command.env_clear().env("GRPC_ADDR", addr.to_string()).args(["healthcheck", "--timeout", "1s"]).output()
    };
    tokio::task::spawn_blocking(run).await.expect("no panic").expect("runs")
}

#[tokio::test]
async fn says_nothing_of_a_service_that_serves() {
    let port = serve(ServingStatus::Serving).await;
    let output = run_healthcheck(([0, 0, 0, 0], port).into()).await;
    assert_eq!((output.status.code(), output.stdout, output.stderr), (Some(0), vec![], vec![]));
}

#[tokio::test]
async fn says_on_one_line_why_a_service_is_unhealthy() {
    let stopping = serve(ServingStatus::NotServing).await;
    let nobody = { TcpListener::bind("127.0.0.1:0").await.expect("a port").local_addr().expect("bound").port() };
    let silent = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    for (port, why) in [
        (stopping, format!("127.0.0.1:{stopping} says NOT_SERVING\n")),
        (nobody, format!("cannot reach 127.0.0.1:{nobody}: ")),
        (silent.local_addr().expect("bound").port(), "no answer from 127.0.0.1:".to_owned()),
        (0, "port 0 of the gRPC address".to_owned()),
    ] {
        let output = run_healthcheck(([127, 0, 0, 1], port).into()).await;
        let line = String::from_utf8(output.stderr).expect("UTF-8");
        assert_eq!(output.status.code(), Some(1), "{line}");
        assert!(line.starts_with(&format!("identity: {why}")) && line.matches('\n').count() == 1, "{line}");
    }
}

/// `identity healthcheck` in the environment of the service, with these flags.
async fn check(addr: SocketAddr, cert: &str, flags: &[&str]) -> (Option<i32>, String) {
    let (cert, flags) = (cert.to_owned(), flags.iter().map(|&flag| flag.to_owned()).collect::<Vec<_>>());
    let run = move || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_identity"));
        command.env_clear().env("GRPC_ADDR", addr.to_string()).env("TLS_CERT", cert);
        command.args(["healthcheck", "--timeout", "5s"]).args(flags).output()
    };
    let output = tokio::task::spawn_blocking(run).await.expect("no panic").expect("runs");
    (output.status.code(), String::from_utf8(output.stderr).expect("UTF-8"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn speaks_tls_with_and_without_a_client_certificate() {
    let (authority, clients, files) = (Authority::new(), Authority::new(), Files::new());
    let [cert, key] = files.write_certificate("server", &authority.issue_local());
    let [other, _] = files.write_certificate("other", &authority.issue_local());
    let [client, client_key] = files.write_certificate("client", &clients.issue(&["probe.example"]));
    let (ca, client_ca) = (files.write("ca.pem", &authority.pem), files.write("clients.pem", &clients.pem));
    let tls = ["--tls-cert", text(&cert), "--tls-key", text(&key)];
    let url = format!("sqlite://{}?mode=rwc", text(&files.path("identity.db")));
    let service = RunningService::start(&url, &tls).await.expect("starts");
    assert_eq!(service.metrics, None, "nobody asked for metrics");
    let healthy = (Some(0), String::new());
    for (cert, flags, is_healthy) in [
        (&cert, &[][..], true),
        // The certificate is replaced, and its key is not yet: the old pair is in force.
        (&other, &[], true),
        (&other, &["--ca", text(&ca)], true),
        (&cert, &["--ca", text(&client_ca)], false),
        (&cert, &["--ca", text(&ca), "--server-name", "localhost"], true),
        (&cert, &["--ca", text(&ca), "--server-name", "elsewhere.example"], false),
    ] {
        let (status, line) = check(service.grpc, text(cert), flags).await;
        assert_eq!((status, line.as_str()) == (Some(0), ""), is_healthy, "{flags:?}: {line}");
        assert!(is_healthy || (status == Some(1) && line.matches('\n').count() == 1), "{line}");
    }
    // The port of the JSON API has no health service of gRPC.
    assert_eq!(check(service.http, text(&cert), &[]).await.0, Some(1));
    // A check without TLS, and then one without a client certificate, say what may be missing.
    let output = run_healthcheck(service.grpc).await;
    let line = String::from_utf8(output.stderr).unwrap();
    let expected =
        format!("identity: {} ended the connection without an answer: if the service speaks TLS, ", service.grpc);
    assert!(
        output.status.code() == Some(1) && line.starts_with(&expected) && line.matches('\n').count() == 1,
        "{line}"
    );
    // A command that sends more than a probe accepts that certificate alone.
    for (cert, is_accepted) in [(&cert, true), (&other, false)] {
        let settings = Settings::from_flags(["--tls-cert", text(cert), "--tls-key", text(&key)]).unwrap().tls;
        let tls = ClientTls::new(&ClientTlsArgs::default(), &settings, WithoutAuthority::Own).unwrap();
        let addr = service.grpc.to_string().parse().unwrap();
        assert_eq!(connect_grpc(&addr, tls.as_ref(), |endpoint| endpoint).await.is_ok(), is_accepted);
    }
    service.stop().await.expect("stops");

    let service = RunningService::start(&url, &[&tls[..], &["--tls-client-ca", text(&client_ca)]].concat()).await;
    let service = service.expect("starts");
    let (status, line) = check(service.grpc, text(&cert), &[]).await;
    assert_eq!(status, Some(1), "{line}");
    assert!(line.contains("give --client-cert and --client-key\n") && line.matches('\n').count() == 1, "{line}");
    let [stranger, key] = files.write_certificate("stranger", &authority.issue(&["probe.example"]));
    let (status, line) =
        check(service.grpc, text(&cert), &["--client-cert", text(&stranger), "--client-key", text(&key)]).await;
    assert!(status == Some(1) && line.contains("may not accept the client certificate"), "{line}");
    let flags = ["--client-cert", text(&client), "--client-key", text(&client_key)];
    assert_eq!(check(service.grpc, text(&cert), &flags).await, healthy);
    service.stop().await.expect("stops");
}

#[tokio::test]
async fn a_file_that_is_wrong_is_named() {
    let files = Files::new();
    let [cert, key] = files.write_certificate("server", &Authority::new().issue_local());
    let addr = ([127, 0, 0, 1], 1).into();
    let none = files.path("none.pem");
    for (flags, why) in [
        (&["--ca", text(&none)][..], format!("cannot read {}: ", text(&none))),
        (&["--ca", text(&key)], format!("{} must be a PEM file with a certificate", text(&key))),
        (&["--client-cert", text(&cert), "--client-key", text(&cert)], "must be a PEM file with a private key".into()),
    ] {
        let (status, line) = check(addr, text(&cert), flags).await;
        assert_eq!(status, Some(1), "{line}");
        assert!(line.contains(&why) && line.matches('\n').count() == 1, "{line}");
    }
}

fn text(path: &std::path::Path) -> &str {
    path.to_str().unwrap()
}
