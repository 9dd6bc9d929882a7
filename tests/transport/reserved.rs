//! The places in the queue that calls take by their heads, with the resolver of the service.

use std::sync::Arc;
use std::time::Duration;

use identity::listener::{FixedLimits, Listeners, serve};
use identity::metrics::Metrics;
use identity::proto::identity::v1::identity_service_client::IdentityServiceClient;
use identity::proto::identity::v1::{BatchIdentifyRequest, IdentifyRequest};
use identity::resolver::Resolver;
use identity::settings::Settings;
use identity::traces::Traces;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::faulty_store::FaultyStore;

/// A handler that does not take the place of its call asks for a second one.
#[tokio::test]
async fn every_call_is_answered_in_the_place_that_it_took_by_its_head() {
    let settings = Settings::from_flags(["--queue-limit", "1"]).unwrap();
    let store = FaultyStore::slow(Duration::from_millis(1), Duration::from_millis(1));
    let resolver = Resolver::start(store, settings.queue, settings.cache);
    let bind = async || TcpListener::bind("127.0.0.1:0").await.unwrap();
    let listeners = Listeners {
        grpc: bind().await,
        http: bind().await,
        metrics: None,
        tls: None,
        callers: None,
        traces: Traces::default(),
        json: Vec::new(),
    };
    let [grpc, http] = [&listeners.grpc, &listeners.http].map(|listener| listener.local_addr().unwrap());
    let shutdown = CancellationToken::new();
    let _until_the_end = shutdown.clone().drop_guard();
    let (database, settings) = (resolver.database_state(), Arc::new(settings));
    tokio::spawn(async move {
        serve(listeners, resolver, &settings, FixedLimits::default(), database, &Metrics::default(), shutdown).await
    });
    let mut client = IdentityServiceClient::connect(format!("http://{grpc}")).await.unwrap();
    let request = || IdentifyRequest { email: Some("known1@x.de".into()), ..Default::default() };
    let json = reqwest::Client::new();
    let post = async |path: &str, body: &'static str| {
        json.post(format!("http://{http}{path}")).body(body).send().await.unwrap().status()
    };
    client.identify(request()).await.unwrap();
    client.batch_identify(BatchIdentifyRequest { requests: vec![request()] }).await.unwrap();
    assert_eq!(post("/identify", r#"{"email":"known1@x.de"}"#).await, 200);
    assert_eq!(post("/identify:batch", r#"{"requests":[{"email":"known1@x.de"}]}"#).await, 200);
}
