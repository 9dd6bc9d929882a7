use anyhow::Context;
use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HOST};
use http::{HeaderValue, Request};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use serde::{Deserialize, Serialize};
use tonic::Code;

use super::api_client::{ApiClient, CallResult};
use super::service_address::ServiceAddress;
use crate::proto::identity::v1::{IdentifyRequest, Outcome};

/// Sends JSON over HTTP/1.1. Each caller keeps its own connection open.
#[derive(Debug)]
pub(in crate::bench) struct JsonClient {
    address: ServiceAddress,
    host: HeaderValue,
    connection: Option<SendRequest<Full<Bytes>>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct JsonRequest<'a> {
    email: Option<&'a str>,
    phone_number: Option<&'a str>,
}

#[derive(Deserialize)]
struct JsonError {
    code: i32,
}

impl ApiClient for JsonClient {
    async fn open(address: &ServiceAddress, callers: u32) -> anyhow::Result<Vec<Self>> {
        let mut clients = Vec::new();
        for _ in 0..callers {
            let connection = connect(address).await;
            let connection =
                connection.with_context(|| format!("cannot reach the service at {} (HTTP)", address.http()))?;
            let host = HeaderValue::try_from(address.http().to_string())?;
            clients.push(Self { address: address.clone(), host, connection: Some(connection) });
        }
        Ok(clients)
    }

    async fn send(&mut self, requests: Vec<IdentifyRequest>) -> Vec<CallResult> {
        let mut answers = Vec::with_capacity(requests.len());
        for request in requests {
            let answer = self.post(&request).await;
            // An error without an HTTP answer means that the connection is gone.
            answers.push(answer.unwrap_or_else(|_| {
                self.connection = None;
                Err(Code::Unavailable)
            }));
        }
        answers
    }
}

impl JsonClient {
    async fn post(&mut self, request: &IdentifyRequest) -> anyhow::Result<CallResult> {
        let connection = match &mut self.connection {
            Some(connection) => connection,
            gone => gone.insert(connect(&self.address).await?),
        };
        let body = JsonRequest { email: request.email.as_deref(), phone_number: request.phone_number.as_deref() };
        let mut post = Request::post("/identify").header(HOST, &self.host).header(CONTENT_TYPE, "application/json");
        if let Some(authorization) = self.address.authorization() {
            post = post.header(AUTHORIZATION, authorization);
        }
        let post = post.body(Full::from(serde_json::to_vec(&body)?))?;
        connection.ready().await?;
        let response = connection.send_request(post).await?;
        let outcome = response.headers().get("identity-outcome").and_then(outcome);
        let body = response.into_body().collect().await?.to_bytes();
        Ok(match outcome {
            Some(outcome) => Ok(outcome),
            None => Err(serde_json::from_slice(&body).map_or(Code::Unknown, |JsonError { code }| code.into())),
        })
    }
}

fn outcome(header: &HeaderValue) -> Option<Outcome> {
    match header.as_bytes() {
        b"created" => Some(Outcome::Created),
        b"matched" => Some(Outcome::Matched),
        b"linked" => Some(Outcome::Linked),
        b"merged" => Some(Outcome::Merged),
        _ => None,
    }
}

async fn connect(address: &ServiceAddress) -> anyhow::Result<SendRequest<Full<Bytes>>> {
    let (sender, connection) = handshake(TokioIo::new(address.connect_http().await?)).await?;
    tokio::spawn(connection); // The request in flight gets the same error.
    Ok(sender)
}
