use std::time::{Duration, Instant};

use identity::domain::Outcome;
use identity::proto::identity::v1::IdentifyRequest;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tonic::Code;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use crate::harness::{Script, Server};

fn request() -> IdentifyRequest {
    IdentifyRequest { email: Some("a@b.co".into()), ..Default::default() }
}

#[tokio::test]
async fn calls_under_way_finish_and_nobody_new_is_let_in() {
    let server = Server::start(Script::Slow(Duration::from_millis(600))).await;
    let _watch = HealthClient::new(server.channel().await).watch(HealthCheckRequest::default()).await.unwrap();
    let mut idle = TcpStream::connect(server.http).await.unwrap();
    let mut client = server.client().await;
    let grpc = tokio::spawn(async move { client.identify(request()).await });
    let url = server.url("/identify");
    let json = tokio::spawn(async move { reqwest::Client::new().post(url).body(r#"{"email":"a@b.co"}"#).send().await });
    server.until_begun(2).await;

    let start = Instant::now();
    server.shutdown.cancel();
    assert_eq!(timeout(Duration::from_millis(300), idle.read(&mut [0])).await.unwrap().unwrap(), 0);
    for api in [server.grpc, server.http] {
        crate::harness::until(|| std::net::TcpStream::connect(api).is_err()).await;
    }
    grpc.await.unwrap().unwrap();
    assert_eq!(json.await.unwrap().unwrap().status(), 200);
    timeout(Duration::from_secs(1), server.task).await.unwrap().unwrap();
    assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
}

#[tokio::test]
async fn during_the_drain_delay_calls_are_taken_and_health_says_no() {
    let server = Server::with(Script::Answer(Outcome::Matched), |options| {
        options.settings.limits.drain_delay = Duration::from_secs(3_600);
    })
    .await;
    let mut watch =
        HealthClient::new(server.channel().await).watch(HealthCheckRequest::default()).await.unwrap().into_inner();
    let mut next = async || watch.message().await.unwrap().unwrap().status();
    assert_eq!(next().await, ServingStatus::Serving);
    server.shutdown.cancel();
    assert_eq!(next().await, ServingStatus::NotServing);

    let health = HealthClient::new(server.channel().await).check(HealthCheckRequest::default()).await.unwrap();
    assert_eq!(health.get_ref().status(), ServingStatus::NotServing);
    let probe = reqwest::get(server.url("/readyz")).await.unwrap();
    assert_eq!(probe.status(), 503);
    let body = probe.text().await.unwrap();
    assert!(body.contains("SHUTTING_DOWN") && body.contains("the service is shutting down"), "{body}");
    server.client().await.identify(request()).await.unwrap();
    assert_eq!(server.post(r#"{"email":"a@b.co"}"#).await.status(), 200);
    // The stream stays open: a client would only ask again.
    assert!(timeout(Duration::from_millis(50), next()).await.is_err());
}

#[tokio::test]
async fn after_the_drain_delay_the_listeners_close() {
    let server = Server::with(Script::Answer(Outcome::Matched), |options| {
        options.settings.limits.drain_delay = Duration::from_millis(100);
    })
    .await;
    let mut watch =
        HealthClient::new(server.channel().await).watch(HealthCheckRequest::default()).await.unwrap().into_inner();
    server.shutdown.cancel();
    timeout(Duration::from_secs(10), async { while watch.message().await.unwrap().is_some() {} }).await.unwrap();
    for api in [server.grpc, server.http] {
        crate::harness::until(|| std::net::TcpStream::connect(api).is_err()).await;
    }
    timeout(Duration::from_secs(10), server.task).await.unwrap().unwrap();
}

#[tokio::test]
async fn what_takes_too_long_is_cut() {
    let server = Server::with(Script::Slow(Duration::from_secs(20)), |options| {
        options.settings.limits.drain_timeout = Duration::from_millis(200);
    })
    .await;
    let mut client = server.client().await;
    let grpc = tokio::spawn(async move { client.identify(request()).await });
    let url = server.url("/identify");
    let json = tokio::spawn(async move { reqwest::Client::new().post(url).body(r#"{"email":"a@b.co"}"#).send().await });
    server.until_begun(2).await;

    server.shutdown.cancel();
    timeout(Duration::from_secs(1), server.task).await.unwrap().unwrap();
    assert_ne!(grpc.await.unwrap().unwrap_err().code(), Code::Ok);
    assert!(json.await.unwrap().is_err());
    crate::harness::until(|| server.resolver.dropped.load(std::sync::atomic::Ordering::SeqCst) == 2).await;
}

#[tokio::test]
async fn a_server_that_is_dropped_cuts_everything() {
    let server = Server::start(Script::Slow(Duration::from_secs(20))).await;
    let mut client = server.client().await;
    let grpc = tokio::spawn(async move { client.identify(request()).await });
    server.until_begun(1).await;
    server.task.abort();
    assert!(timeout(Duration::from_secs(1), grpc).await.unwrap().unwrap().is_err());
}
