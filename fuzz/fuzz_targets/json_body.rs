//! Any body, posted to `/identify` and to `/identify:batch`.

#![no_main]

use std::sync::LazyLock;
use std::time::{Duration, Instant};

use axum::body::{Body, to_bytes};
use axum::http::Request;
use identity::domain::{Answer, Contact, ContactId, Identity, Link, Outcome, Timestamp};
use identity::metrics::WorkMetrics;
use identity::resolver::{DatabaseState, Identify, IdentifyError, IdentifyRequest};
use identity::settings::Settings;
use identity::transport::deadline::Deadlines;
use identity::transport::gunzip::TextRoom;
use identity::transport::http::{HttpSettings, routes};
use identity::transport::readiness::Readiness;
use libfuzzer_sys::fuzz_target;
use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

/// Everybody is customer 1.
#[derive(Clone)]
struct Echo;

impl Identify for Echo {
    async fn identify(&self, request: IdentifyRequest, _deadline: Instant) -> Result<Answer, IdentifyError> {
        let contact = Contact::new(ContactId(1), request.observation.identifiers(), Timestamp(1), Link::Primary);
        let identity = Identity::new(vec![contact]).expect("one contact");
        Ok(Answer { outcome: Outcome::Created, identity: identity.into(), ignored: Vec::new() })
    }
}

static RUNTIME: LazyLock<Runtime> =
    LazyLock::new(|| tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime"));

static ROUTER: LazyLock<axum::Router> = LazyLock::new(|| {
    let (_database, state) = tokio::sync::watch::channel(DatabaseState::Usable);
    let settings = Settings::from_flags([] as [&str; 0]).expect("the defaults");
    let readiness = Readiness::new(state, CancellationToken::new(), CancellationToken::new());
    let room = TextRoom::new(1 << 24, 1 << 20, WorkMetrics::default());
    let Settings { identify, limits, .. } = settings;
    let settings = HttpSettings { identify, limits, body_timeout: Duration::from_secs(5) };
    routes(Echo, readiness, settings, room, true, Vec::new()).expect("routes").router
});

fuzz_target!(|body: &[u8]| {
    for path in ["/identify", "/identify:batch"] {
        let deadlines = Deadlines { call: Instant::now() + Duration::from_secs(10), requested: None };
        let request = Request::post(path).extension(deadlines);
        let request = request.body(Body::from(body.to_vec())).expect("a request");
        let (status, answer) = RUNTIME.block_on(async {
            let answer = ROUTER.clone().oneshot(request).await.expect("an answer");
            (answer.status(), to_bytes(answer.into_body(), usize::MAX).await.expect("a body"))
        });
        let answer: serde_json::Value = serde_json::from_slice(&answer).expect("JSON");
        match status.as_u16() {
            200 => assert!(answer["contact"].is_object() || answer["results"].is_array()),
            400 | 413 => assert!(answer["code"] == 3 && answer["details"].is_array()),
            other => panic!("{other}"),
        }
    }
});
