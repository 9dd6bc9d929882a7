//! Clients as users have them: a gRPC client and an HTTP client, behind one interface, so that a behaviour
//! is tested through both apis by one test.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use identity::proto::identity::v1::batch_identify_result::Result as OfBatch;
use identity::proto::identity::v1::graph_service_client::GraphServiceClient;
use identity::proto::identity::v1::identity_service_client::IdentityServiceClient;
use identity::proto::identity::v1::stream_identify_response::Result as OfStream;
use identity::proto::identity::v1::{
    BatchIdentifyRequest, Identifier, IdentifyRequest, IdentifyResponse, Identity, LookupIdentitiesRequest, Outcome,
    StreamIdentifyRequest,
};
use prost::Message;
use reqwest::header::{AUTHORIZATION, HeaderMap};
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status};
use tonic_types::StatusExt;

use super::Event;

/// One of the two ways in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Api {
    Grpc,
    Http,
}

impl Api {
    pub const BOTH: [Self; 2] = [Self::Grpc, Self::Http];
}

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    pub outcome: &'static str,
    pub primary: i64,
    pub emails: Vec<String>,
    pub phones: Vec<String>,
    pub secondaries: Vec<i64>,
}

/// An error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    pub code: Code,
    /// The reason of `ErrorInfo`.
    pub reason: String,
    pub message: String,
    /// The fields that `BadRequest` names.
    pub fields: Vec<String>,
    /// Whether `RetryInfo` says that a retry helps.
    pub retry: bool,
}

impl Refusal {
    /// While the database is away a call says that a retry helps, or that its deadline passed. (Tonic's client says
    /// that it cancelled the call, when it is the first to notice.)
    pub fn assert_of_an_outage(&self) {
        let is_cancelled_here = self.code == Code::Cancelled && self.message == "Timeout expired";
        assert!(self.retry || self.code == Code::DeadlineExceeded || is_cancelled_here, "{self:?}");
    }
}

/// Adds the token of a caller to its calls, if it has one.
#[derive(Clone)]
pub struct Bearer(Option<MetadataValue<Ascii>>);

impl Interceptor for Bearer {
    fn call(&mut self, mut request: tonic::Request<()>) -> Result<tonic::Request<()>, Status> {
        if let Some(token) = &self.0 {
            request.metadata_mut().insert("authorization", token.clone());
        }
        Ok(request)
    }
}

/// The connection of a caller to the gRPC API. Any client can use it.
pub type Connection = InterceptedService<Channel, Bearer>;

/// A client of both APIs.
#[derive(Clone)]
pub struct Caller {
    grpc: IdentityServiceClient<Connection>,
    connection: Connection,
    http: reqwest::Client,
    url: String,
}

impl Caller {
    pub fn new(grpc: SocketAddr, http: SocketAddr) -> Self {
        Self::with_token(grpc, http, None)
    }

    pub fn with_token(grpc: SocketAddr, http: SocketAddr, token: Option<&str>) -> Self {
        let bearer = token.map(|token| format!("Bearer {token}"));
        let headers = bearer.iter().map(|value| (AUTHORIZATION, value.parse().expect("a header")));
        let headers: HeaderMap = headers.collect();
        let bearer = Bearer(bearer.map(|value| value.parse().expect("metadata")));
        let channel = Endpoint::from_shared(format!("http://{grpc}")).expect("an address").connect_lazy();
        let connection = InterceptedService::new(channel, bearer);
        Self {
            grpc: IdentityServiceClient::new(connection.clone()),
            connection,
            http: reqwest::Client::builder().default_headers(headers).build().expect("a client"),
            url: format!("http://{http}"),
        }
    }

    /// Its connection to the gRPC API.
    pub fn connection(&self) -> Connection {
        self.connection.clone()
    }

    /// Calls with a deadline far off.
    pub async fn identify(&self, api: Api, email: Option<&str>, phone: Option<&str>) -> Result<Reply, Refusal> {
        self.identify_within(Duration::from_secs(60), api, email, phone).await
    }

    pub async fn identify_within(
        &self,
        deadline: Duration,
        api: Api,
        email: Option<&str>,
        phone: Option<&str>,
    ) -> Result<Reply, Refusal> {
        let (email, phone_number) = (email.map(str::to_owned), phone.map(str::to_owned));
        self.send_within(deadline, api, &IdentifyRequest { email, phone_number, ..Default::default() }).await
    }

    /// Calls with any fields, and with a deadline far off.
    pub async fn send(&self, api: Api, request: &IdentifyRequest) -> Result<Reply, Refusal> {
        self.send_within(Duration::from_secs(60), api, request).await
    }

    async fn send_within(&self, deadline: Duration, api: Api, request: &IdentifyRequest) -> Result<Reply, Refusal> {
        match api {
            Api::Grpc => {
                let mut call = tonic::Request::new(request.clone());
                call.set_timeout(deadline);
                let response = self.grpc.clone().identify(call).await.map_err(|status| refused(&status))?;
                Ok(reply(response.into_inner()))
            }
            Api::Http => self.http(deadline, &in_json(request)).await,
        }
    }

    /// Asks who owns an identifier, by `LookupIdentities`. The outcome of somebody who is found is `found`.
    pub async fn look_up_within(&self, deadline: Duration, kind: &str, value: &str) -> Result<Option<Reply>, Refusal> {
        let identifiers = vec![Identifier { kind: kind.to_owned(), value: value.to_owned() }];
        let mut call = tonic::Request::new(LookupIdentitiesRequest { identifiers, read_time: None });
        call.set_timeout(deadline);
        let found = GraphServiceClient::new(self.connection()).lookup_identities(call).await;
        let found = found.map_err(|status| refused(&status))?.into_inner();
        assert_eq!(found.identities.len() + found.unknown.len(), 1, "the owner of one identifier");
        Ok(found.identities.into_iter().next().map(|identity| shown("found", identity)))
    }

    /// Calls `BatchIdentify`.
    pub async fn batch(&self, api: Api, events: &[Event]) -> Result<Vec<Result<Reply, Refusal>>, Refusal> {
        self.send_batch(api, events.iter().map(request).collect()).await
    }

    /// Calls `BatchIdentify` with any fields.
    pub async fn send_batch(
        &self,
        api: Api,
        requests: Vec<IdentifyRequest>,
    ) -> Result<Vec<Result<Reply, Refusal>>, Refusal> {
        match api {
            Api::Grpc => {
                let request = BatchIdentifyRequest { requests };
                let answer = self.grpc.clone().batch_identify(request).await.map_err(|status| refused(&status))?;
                let results = answer.into_inner().results.into_iter().map(|result| result.result.expect("a result"));
                let read = |result| match result {
                    OfBatch::Response(response) => Ok(reply(response)),
                    OfBatch::Error(error) => Err(refused(&item_status(&error))),
                };
                Ok(results.map(read).collect())
            }
            Api::Http => {
                let body = json!({"requests": requests.iter().map(in_json).collect::<Vec<_>>()}).to_string();
                let response = self.http.post(format!("{}/identify:batch", self.url)).body(body).send().await;
                let response = response.expect("an HTTP answer");
                let ok = response.status().is_success();
                let body: Value = response.json().await.expect("a JSON body");
                if !ok {
                    return Err(refusal(&body));
                }
                let read = |result: &Value| match result.get("error") {
                    Some(error) => Err(refusal(error)),
                    None => Ok(contact(&result["response"]["contact"], &result["response"]["outcome"])),
                };
                Ok(body["results"].as_array().expect("results").iter().map(read).collect())
            }
        }
    }

    /// Calls `StreamIdentify` and sends without waiting; the answers in the order of the events.
    pub async fn stream(&self, events: &[Event]) -> Vec<Result<Reply, Refusal>> {
        self.send_stream(events.iter().map(request).collect()).await
    }

    /// The same with any fields.
    pub async fn send_stream(&self, requests: Vec<IdentifyRequest>) -> Vec<Result<Reply, Refusal>> {
        let count = requests.len();
        let item = |(number, request): (usize, IdentifyRequest)| StreamIdentifyRequest {
            correlation_id: number.to_string(),
            request: Some(request),
        };
        let items: Vec<_> = requests.into_iter().enumerate().map(item).collect();
        let call = self.grpc.clone().stream_identify(futures::stream::iter(items)).await;
        let mut answers = call.expect("a stream").into_inner();
        let mut results = BTreeMap::new();
        while let Some(answer) = answers.message().await.expect("no error ends the stream") {
            let result = match answer.result.expect("a result") {
                OfStream::Response(response) => Ok(reply(response)),
                OfStream::Error(error) => Err(refused(&item_status(&error))),
            };
            let number: usize = answer.correlation_id.parse().expect("the caller's own");
            assert!(results.insert(number, result).is_none(), "two answers to one item");
        }
        assert_eq!(results.len(), count);
        results.into_values().collect()
    }

    /// Posts any body to `/identify`.
    pub async fn http(&self, deadline: Duration, body: &Value) -> Result<Reply, Refusal> {
        let request = self.http.post(format!("{}/identify", self.url)).header("grpc-timeout", millis(deadline));
        let response = request.body(body.to_string()).send().await.expect("an HTTP answer");
        let ok = response.status().is_success();
        let outcome = response.headers().get("identity-outcome").cloned();
        let body: Value = response.json().await.expect("a JSON body");
        if !ok {
            return Err(refusal(&body));
        }
        let outcome = outcome.expect("the header Identity-Outcome");
        Ok(contact(&body["contact"], &json!(outcome.to_str().expect("text"))))
    }

    /// Begins any request to the JSON API.
    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, format!("{}{path}", self.url))
    }

    /// Gets a path; the status. The answer is read to its end, so that the call succeeds.
    pub async fn get(&self, path: &str) -> u16 {
        send_for_status(self.request(Method::GET, path)).await
    }
}

/// Sends a request and reads all of its answer. Returns the status.
pub async fn send_for_status(request: RequestBuilder) -> u16 {
    let answer = request.send().await.expect("an HTTP answer");
    let status = answer.status().as_u16();
    answer.bytes().await.expect("a whole body");
    status
}

fn millis(duration: Duration) -> String {
    format!("{}m", duration.as_millis())
}

/// An event as a request.
fn request(event: &Event) -> IdentifyRequest {
    IdentifyRequest { email: event.email.clone(), phone_number: event.phone.clone(), ..Default::default() }
}

/// A request as the JSON of its body.
fn in_json(request: &IdentifyRequest) -> Value {
    let mut body = json!({"email": request.email, "phoneNumber": request.phone_number});
    if request.validate_only {
        body["validateOnly"] = json!(true);
    }
    for (field, text) in [("source", &request.source), ("externalRef", &request.external_ref)] {
        if !text.is_empty() {
            body[field] = json!(text);
        }
    }
    if let Some(time) = &request.occurred_time {
        body["occurredTime"] = json!(time.to_string()); // As RFC 3339.
    }
    body
}

/// An answer of the gRPC api.
fn reply(response: IdentifyResponse) -> Reply {
    let outcome = match response.outcome() {
        Outcome::Created => "created",
        Outcome::Matched => "matched",
        Outcome::Linked => "linked",
        Outcome::Merged => "merged",
        Outcome::Unspecified => panic!("an answer without an outcome"),
    };
    shown(outcome, response.contact.expect("an identity"))
}

fn shown(outcome: &'static str, identity: Identity) -> Reply {
    Reply {
        outcome,
        primary: identity.primary_contact_id,
        emails: identity.emails,
        phones: identity.phone_numbers,
        secondaries: identity.secondary_contact_ids,
    }
}

/// An answer of the JSON api.
fn contact(contact: &Value, outcome: &Value) -> Reply {
    let outcome = ["created", "matched", "linked", "merged"].into_iter().find(|known| outcome == known);
    let strings = |list: &Value| -> Vec<String> {
        list.as_array().expect("a list").iter().map(|one| one.as_str().expect("text").to_owned()).collect()
    };
    Reply {
        outcome: outcome.expect("a known outcome"),
        primary: contact["primaryContactId"].as_i64().expect("a number"),
        emails: strings(&contact["emails"]),
        phones: strings(&contact["phoneNumbers"]),
        secondaries: contact["secondaryContactIds"]
            .as_array()
            .expect("a list")
            .iter()
            .map(|id| id.as_i64().expect("a number"))
            .collect(),
    }
}

/// An error of an item, as the status that a call would end with.
fn item_status(error: &tonic_types::pb::Status) -> Status {
    Status::with_details(Code::from_i32(error.code), &error.message, error.encode_to_vec().into())
}

fn refused(status: &Status) -> Refusal {
    let details = status.get_error_details();
    let violations = details.bad_request().map(|bad| bad.field_violations.clone()).unwrap_or_default();
    Refusal {
        code: status.code(),
        reason: details.error_info().map(|info| info.reason.clone()).unwrap_or_default(),
        message: status.message().to_owned(),
        fields: violations.into_iter().map(|violation| violation.field).collect(),
        retry: details.retry_info().is_some(),
    }
}

fn refusal(body: &Value) -> Refusal {
    let details = body["details"].as_array().expect("details");
    let of =
        |kind: &str| details.iter().find(|detail| detail["@type"].as_str().is_some_and(|name| name.ends_with(kind)));
    let violations = of("google.rpc.BadRequest").and_then(|bad| bad["fieldViolations"].as_array());
    let field = |violation: &Value| violation["field"].as_str().expect("a field").to_owned();
    Refusal {
        code: Code::from_i32(i32::try_from(body["code"].as_i64().expect("a code")).expect("a small code")),
        reason: of("google.rpc.ErrorInfo")
            .map(|info| info["reason"].as_str().expect("text").to_owned())
            .unwrap_or_default(),
        message: body["message"].as_str().expect("a message").to_owned(),
        fields: violations.map(|violations| violations.iter().map(field).collect()).unwrap_or_default(),
        retry: of("google.rpc.RetryInfo").is_some(),
    }
}
