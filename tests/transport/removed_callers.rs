//! Callers that lose their token, their name or their scope while they have streams and connections open.

use std::sync::atomic::Ordering;
use std::time::Duration;

use futures::StreamExt;
use identity::auth::Token;
use identity::proto::identity::v1 as pb;
use identity::proto::identity::v1::identity_service_client::IdentityServiceClient;
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status, Streaming};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_types::StatusExt;

use crate::callers::{FILE, Guarded, MAY_IDENTIFY, certified, entry, identify, observation, reason, token, with_token};
use crate::certificates::Authority;
use crate::harness::{Script, until};

/// A stream on a connection of its own.
struct OpenStream {
    client: IdentityServiceClient<Channel>,
    send: mpsc::Sender<pb::StreamIdentifyRequest>,
    answers: Streaming<pb::StreamIdentifyResponse>,
}

impl OpenStream {
    async fn open(mut client: IdentityServiceClient<Channel>, token: Option<&Token>) -> Self {
        let (send, items) = mpsc::channel(1);
        let call = with_token(ReceiverStream::new(items), token.map(Token::expose));
        let answers = client.stream_identify(call).await.unwrap().into_inner();
        Self { client, send, answers }
    }

    async fn with_token(guarded: &Guarded, token: &Token) -> Self {
        Self::open(guarded.server.client().await, Some(token)).await
    }

    /// Sends an item. Returns whether the stream takes it.
    async fn send(&self) -> bool {
        let item = pb::StreamIdentifyRequest { correlation_id: String::new(), request: Some(observation()) };
        self.send.send(item).await.is_ok()
    }

    async fn next(&mut self) -> Result<pb::StreamIdentifyResponse, Status> {
        timeout(Duration::from_secs(10), self.answers.next()).await.unwrap().unwrap()
    }

    /// Sends an item and gets its answer.
    async fn goes_on(&mut self) {
        assert!(self.send().await);
        self.next().await.unwrap();
    }

    /// The stream has ended, with this reason.
    async fn ends(&mut self) -> (Code, String) {
        reason(&self.next().await.unwrap_err())
    }
}

/// Writes the file of callers and waits until it is in force.
async fn write(guarded: &Guarded, text: &str) {
    let before = guarded.server.reloads("tokens")[0];
    guarded.files.write(FILE, text);
    until(|| guarded.server.reloads("tokens")[0] == before + 1).await;
}

fn unauthenticated() -> (Code, String) {
    (Code::Unauthenticated, "UNAUTHENTICATED".to_owned())
}

#[tokio::test]
async fn a_removed_token_ends_its_streams_and_later_calls_of_its_connection() {
    let (kept, removed, other) = (token(), token(), token());
    let of = |tokens: &[(&str, &Token)]| -> String {
        tokens.iter().map(|(name, token)| entry(name, token, MAY_IDENTIFY)).collect()
    };
    let guarded = Guarded::start(&of(&[("checkout", &removed), ("checkout", &kept), ("other", &other)])).await;
    let mut idle = OpenStream::with_token(&guarded, &removed).await;
    let mut busy = OpenStream::with_token(&guarded, &removed).await;
    let mut of_kept_token = OpenStream::with_token(&guarded, &kept).await;
    let mut of_other = OpenStream::with_token(&guarded, &other).await;
    busy.goes_on().await;

    write(&guarded, &of(&[("checkout", &kept), ("other", &other)])).await;
    assert_eq!(idle.ends().await, unauthenticated());
    assert_eq!(busy.ends().await, unauthenticated());
    for ended in [&mut idle, &mut busy] {
        let refused = identify(&mut ended.client, Some(removed.expose())).await.unwrap_err();
        assert_eq!(reason(&refused), unauthenticated());
        assert!(timeout(Duration::from_secs(10), ended.answers.next()).await.unwrap().is_none());
        // The connection itself is open: its caller may have another token.
        identify(&mut ended.client, Some(kept.expose())).await.unwrap();
    }
    of_kept_token.goes_on().await;
    of_other.goes_on().await;

    // A change that leaves the others what they have: a caller is new, a rate is set.
    let text =
        of(&[("checkout", &kept), ("new", &removed)]) + &entry("other", &other, "scopes = ['identify']\nrate = 1");
    write(&guarded, &text).await;
    sleep(Duration::from_millis(50)).await;
    of_kept_token.goes_on().await;
    of_other.goes_on().await;
}

#[tokio::test]
async fn a_removed_scope_ends_streams_that_need_it() {
    let caller = token();
    let guarded = Guarded::start(&entry("checkout", &caller, "scopes = ['identify', 'read']")).await;
    let mut stream = OpenStream::with_token(&guarded, &caller).await;
    let mut reflection = ServerReflectionClient::new(guarded.server.channel().await);
    let requests = with_token(futures::stream::pending(), Some(caller.expose()));
    let mut listing = reflection.server_reflection_info(requests).await.unwrap().into_inner();

    write(&guarded, &entry("checkout", &caller, "scopes = ['read']")).await;
    let end = stream.next().await.unwrap_err();
    assert_eq!(reason(&end), (Code::PermissionDenied, "SCOPE_MISSING".into()));
    assert_eq!(end.get_error_details().error_info().unwrap().metadata["scope"], "identify");
    let refused = identify(&mut stream.client, Some(caller.expose())).await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied);

    // Reflection needs a caller, and health needs none.
    let mut health = HealthClient::new(guarded.server.channel().await);
    let watch = with_token(HealthCheckRequest::default(), Some(caller.expose()));
    let mut watch = health.watch(watch).await.unwrap().into_inner();
    watch.next().await.unwrap().unwrap();
    assert!(timeout(Duration::from_millis(100), listing.next()).await.is_err(), "any caller may list");
    write(&guarded, &entry("other", &token(), MAY_IDENTIFY)).await;
    let end = timeout(Duration::from_secs(10), listing.next()).await.unwrap().unwrap().unwrap_err();
    assert_eq!(reason(&end), unauthenticated());
    assert!(timeout(Duration::from_millis(100), watch.next()).await.is_err(), "a probe needs no caller");
}

#[tokio::test]
async fn a_removed_name_of_a_certificate_ends_its_streams_and_later_calls_of_its_connection() {
    let (authority, clients) = (Authority::new(), Authority::new());
    let names = ["spiffe://shop.example/checkout", "pos.shop.example"];
    let of = |name: &str| format!("[[caller]]\nname = '{name}'\n{MAY_IDENTIFY}\n");
    let guarded = Guarded::with(&names.map(of).concat(), |options, files| {
        let [cert, key] = files.write_certificate("server", &authority.issue_local());
        let tls = &mut options.settings.tls;
        (tls.tls_cert, tls.tls_key) = (Some(cert), Some(key));
        tls.tls_client_ca = Some(files.write("clients.pem", &clients.pem));
    })
    .await;
    let mut streams = Vec::new();
    for name in names {
        let client = certified(&guarded, &authority, &clients.issue(&[name])).await;
        let mut stream = OpenStream::open(client, None).await;
        stream.goes_on().await;
        streams.push(stream);
    }
    write(&guarded, &of(names[1])).await;
    let [removed, kept] = streams.as_mut_slice() else { panic!("two streams") };
    assert_eq!(removed.ends().await, unauthenticated());
    assert_eq!(reason(&identify(&mut removed.client, None).await.unwrap_err()), unauthenticated());
    kept.goes_on().await;
    identify(&mut kept.client, None).await.unwrap();
}

#[tokio::test]
async fn what_is_under_way_on_a_removed_callers_stream_is_given_up() {
    let caller = token();
    let slow = Script::Slow(Duration::from_secs(60));
    let guarded = Guarded::running(slow, &entry("checkout", &caller, MAY_IDENTIFY), |_, _| {}).await;
    let mut stream = OpenStream::with_token(&guarded, &caller).await;
    assert!(stream.send().await);
    guarded.server.until_begun(1).await;
    write(&guarded, &entry("other", &token(), MAY_IDENTIFY)).await;
    assert_eq!(stream.ends().await, unauthenticated());
    let dropped = &guarded.server.resolver.dropped;
    until(|| dropped.load(Ordering::SeqCst) == 1).await;
}

/// The token stays, so calls go on, but as another caller's.
#[tokio::test]
async fn a_token_that_is_another_callers_now_ends_its_streams() {
    let (token, other) = (token(), token());
    let of = |name: &str| entry(name, &token, MAY_IDENTIFY) + &entry("other", &other, MAY_IDENTIFY);
    let guarded = Guarded::start(&of("checkout")).await;
    let mut stream = OpenStream::with_token(&guarded, &token).await;
    let mut reflection = ServerReflectionClient::new(guarded.server.channel().await);
    let requests = with_token(futures::stream::pending(), Some(token.expose()));
    let mut listing = reflection.server_reflection_info(requests).await.unwrap().into_inner();
    stream.goes_on().await;
    write(&guarded, &of("till")).await;
    assert_eq!(stream.ends().await, unauthenticated());
    let end = timeout(Duration::from_secs(10), listing.next()).await.unwrap().unwrap().unwrap_err();
    assert_eq!(reason(&end), unauthenticated());
    OpenStream::with_token(&guarded, &token).await.goes_on().await;
}

#[tokio::test]
async fn an_entry_that_is_removed_and_added_again_does_not_bring_its_streams_back() {
    let (token, other) = (token(), token());
    let (with, without) = (entry("checkout", &token, MAY_IDENTIFY), entry("other", &other, MAY_IDENTIFY));
    let guarded = Guarded::start(&with).await;
    let mut stream = OpenStream::with_token(&guarded, &token).await;
    stream.goes_on().await;
    write(&guarded, &without).await;
    write(&guarded, &(with + &without)).await;
    assert_eq!(stream.ends().await, unauthenticated());
    OpenStream::with_token(&guarded, &token).await.goes_on().await;
}

#[tokio::test]
async fn answers_that_a_removed_caller_has_not_taken_are_not_sent() {
    const SENT: usize = 64; // So many wait at most for a client that has taken none.
    let caller = token();
    let text = entry("checkout", &caller, MAY_IDENTIFY);
    let guarded = Guarded::running(Script::Large(200), &text, |_, _| {}).await;
    let endpoint = Endpoint::from_shared(format!("http://{}", guarded.server.grpc)).unwrap();
    let channel = endpoint.initial_stream_window_size(65_535).connect().await.unwrap();
    let mut slow = OpenStream::open(IdentityServiceClient::new(channel), Some(&caller)).await;
    let mut idle = OpenStream::with_token(&guarded, &caller).await;
    for _ in 0..SENT {
        // Each answer has 50 KB.
        let request = Some(pb::IdentifyRequest { phone_number: Some("0".into()), ..Default::default() });
        slow.send.send(pb::StreamIdentifyRequest { correlation_id: String::new(), request }).await.unwrap();
    }
    guarded.server.until_begun(SENT).await;
    sleep(Duration::from_millis(100)).await;
    write(&guarded, &entry("other", &token(), MAY_IDENTIFY)).await;
    assert_eq!(idle.ends().await, unauthenticated());
    let mut taken = 0;
    let end = loop {
        match slow.next().await {
            Ok(_) => taken += 1,
            Err(status) => break status,
        }
    };
    assert_eq!(reason(&end), unauthenticated());
    assert!(taken < 10, "{taken}: more than the buffers below have");
}
