use std::time::Duration;

use futures::StreamExt;
use identity::domain::Outcome;
use identity::resolver::DatabaseState;
use identity::store::Outage;
use tonic::Code;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use crate::harness::{Script, Server};

const OK: Script = Script::Answer(Outcome::Matched);

const AWAY: DatabaseState = DatabaseState::Unusable(Outage::Unreachable);

fn of(service: &str) -> HealthCheckRequest {
    HealthCheckRequest { service: service.to_owned() }
}

#[tokio::test]
async fn check_follows_the_database() {
    let server = Server::start(OK).await;
    let mut health = HealthClient::new(server.channel().await);
    for (state, status, ready) in [
        (DatabaseState::Usable, ServingStatus::Serving, 200),
        (AWAY, ServingStatus::NotServing, 503),
        (DatabaseState::Usable, ServingStatus::Serving, 200),
    ] {
        server.database.send_replace(state);
        for service in ["", "identity.v1.IdentityService"] {
            assert_eq!(health.check(of(service)).await.unwrap().get_ref().status(), status);
        }
        let probe = async |path| reqwest::get(server.url(path)).await.unwrap();
        assert_eq!(probe("/readyz").await.status(), ready);
        assert_eq!(probe("/healthz").await.status(), 200);
    }
    assert_eq!(health.check(of("no.Such")).await.unwrap_err().code(), Code::NotFound);
}

#[tokio::test]
async fn readyz_says_why_the_database_cannot_be_used() {
    let server = Server::start(OK).await;
    for (outage, words) in [
        (Outage::Schema, "run `identity migrate up`"),
        (Outage::Rights, "lacks a right"),
        (Outage::ReadOnly, "read-only"),
        (Outage::Refused("the database server is in offline mode"), "offline mode"),
    ] {
        server.database.send_replace(DatabaseState::Unusable(outage));
        let answer = reqwest::get(server.url("/readyz")).await.unwrap();
        assert_eq!(answer.status(), 503);
        let body = answer.text().await.unwrap();
        assert!(body.contains(words) && body.contains("NOT_READY"), "{body}");
    }
}

#[tokio::test]
async fn watch_tells_every_change_and_ends_with_the_drain() {
    let server = Server::start(OK).await;
    let mut health = HealthClient::new(server.channel().await);
    let mut watch = health.watch(of("")).await.unwrap().into_inner();
    let mut unknown = health.watch(of("no.Such")).await.unwrap().into_inner();
    let mut next = async || watch.next().await.map(|status| status.unwrap().status());

    assert_eq!(next().await, Some(ServingStatus::Serving));
    server.database.send_replace(AWAY);
    assert_eq!(next().await, Some(ServingStatus::NotServing));
    server.database.send_replace(DatabaseState::Usable);
    assert_eq!(next().await, Some(ServingStatus::Serving));
    assert_eq!(unknown.next().await.unwrap().unwrap().status(), ServingStatus::ServiceUnknown);

    server.shutdown.cancel();
    assert_eq!(next().await, Some(ServingStatus::NotServing));
    assert_eq!(next().await, None);
    assert!(unknown.next().await.is_none());
    tokio::time::timeout(Duration::from_secs(2), server.task).await.unwrap().unwrap();
}

/// What reflection lists, in the version of that module.
macro_rules! listed {
    ($server:expr, $version:ident) => {{
        use tonic_reflection::pb::$version as pb;
        let list = pb::server_reflection_request::MessageRequest::ListServices(String::new());
        let request = pb::ServerReflectionRequest { host: String::new(), message_request: Some(list) };
        let mut client = pb::server_reflection_client::ServerReflectionClient::new($server.channel().await);
        let requests = futures::stream::iter([request]).chain(futures::stream::pending());
        match client.server_reflection_info(requests).await {
            Err(status) => Err(status),
            Ok(responses) => {
                let mut responses = responses.into_inner();
                let response = responses.next().await.unwrap().unwrap().message_response.unwrap();
                let pb::server_reflection_response::MessageResponse::ListServicesResponse(list) = response else {
                    panic!("not a list: {response:?}")
                };
                let mut names: Vec<_> = list.service.into_iter().map(|service| service.name).collect();
                names.sort();
                Ok((names, responses))
            }
        }
    }};
}

#[tokio::test]
async fn both_reflections_list_everything_and_end_with_the_drain() {
    let server = Server::start(OK).await;
    let all = [
        "grpc.health.v1.Health",
        "grpc.reflection.v1.ServerReflection",
        "grpc.reflection.v1alpha.ServerReflection",
        "identity.v1.GraphService",
        "identity.v1.IdentityService",
    ];
    let (names, mut open) = listed!(server, v1).unwrap();
    assert_eq!(names, all);
    let (names, _also_open) = listed!(server, v1alpha).unwrap();
    assert_eq!(names, all);

    server.shutdown.cancel();
    let end = open.next().await.unwrap().unwrap_err();
    assert_eq!((end.code(), end.message()), (Code::Unavailable, "the service is shutting down"));
    tokio::time::timeout(Duration::from_secs(2), server.task).await.unwrap().unwrap();
}

#[tokio::test]
async fn reflection_can_be_turned_off() {
    let server = Server::with(OK, |options| options.settings.listen.reflection = false).await;
    assert_eq!(listed!(server, v1).unwrap_err().code(), Code::Unimplemented);
    assert_eq!(listed!(server, v1alpha).unwrap_err().code(), Code::Unimplemented);
}
