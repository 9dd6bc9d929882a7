//! `identity healthcheck` against a real server.

#![expect(clippy::expect_used, reason = "a test fails by panicking")]

use std::net::SocketAddr;
use std::process::{Command, Output};

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
