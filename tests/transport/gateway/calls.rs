//! What a call passes before it reaches its RPC.

use identity::domain::Outcome;
use identity::listener::StartError;
use identity::transport::http::{GatewayError, JsonService};
use reqwest::Client;

use super::Served;
use crate::callers::{Guarded, MAY_IDENTIFY, entry, token};
use crate::forms::{HIDDEN_DESCRIPTORS, Hidden, SCOPED_DESCRIPTORS, Scoped};
use crate::harness::{Script, Server, until};

#[tokio::test]
async fn calls_are_measured_by_their_template() {
    let served = Served::start().await;
    served.asked("GET", "/v1/shelves/7", "").await;
    served.send("GET", "/v1/shelves/fail", "").await;
    served.send("GET", "/v1/shelves:watch?name=fail", "").await.text().await.unwrap();
    let page = || served.server.counted.scrape(identity::metrics::ScrapeFormat::Text);
    let has = |status: u16| {
        let labels = format!(
            r#"http_request_method="GET",http_route="/v1/{{name=shelves/*}}",http_response_status_code="{status}""#
        );
        page().lines().any(|line| line.contains(&labels))
    };
    until(|| has(200) && has(400)).await;
}

#[tokio::test]
async fn a_route_has_the_scope_of_its_rpc() {
    let (reader, other) = (token(), token());
    let callers = entry("reader", &reader, MAY_IDENTIFY) + &entry("other", &other, "scopes = ['metrics']");
    let json = JsonService::new(Scoped, SCOPED_DESCRIPTORS).unwrap();
    let Guarded { server, files: _files } = Guarded::with(&callers, |options, _| options.json = vec![json]).await;
    for (method, token, expected) in [
        ("GET", None, 401),
        ("GET", Some(&other), 403),
        ("GET", Some(&reader), 409),
        ("POST", None, 401),
        ("POST", Some(&other), 405),
    ] {
        let call = Client::new().request(method.parse().unwrap(), server.url("/v1/scoped/7"));
        let call = match token {
            Some(token) => call.bearer_auth(token.expose()),
            None => call,
        };
        assert_eq!(call.send().await.unwrap().status(), expected, "{method} {}", token.is_some());
    }
}

/// Its requests would get 405, or the answer of something else.
#[tokio::test]
async fn a_rule_with_the_path_of_a_handler_makes_the_start_fail() {
    let json = JsonService::new(Hidden, HIDDEN_DESCRIPTORS).unwrap();
    let server = Server::with(Script::Answer(Outcome::Matched), |options| options.json = vec![json]).await;
    let error = server.start_error().await;
    let Some(StartError::Http(GatewayError::Hidden { rpc, path })) = error else { panic!("{error:?}") };
    assert_eq!((&rpc[..], &path[..]), ("hidden.v1.HiddenService/Hide", "/docs"));
}
