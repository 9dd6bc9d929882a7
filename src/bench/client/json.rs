use anyhow::Context;
use bytes::Bytes;
use http::header::{CONTENT_TYPE, HOST};
use http::{HeaderValue, Request};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use serde::{Deserialize, Serialize};
use tonic::Code;

use super::{Answer, Client, Target};
use crate::proto::identity::v1::{IdentifyRequest, Outcome};

/// JSON over HTTP/1.1, on a connection of the caller's own that is kept open.
#[derive(Debug)]
pub(in crate::bench) struct Json {
    target: Target,
    host: HeaderValue,
    connection: Option<SendRequest<Full<Bytes>>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Body<'a> {
    email: Option<&'a str>,
    phone_number: Option<&'a str>,
}

#[derive(Deserialize)]
struct Failure {
    code: i32,
}

impl Client for Json {
    async fn open(target: &Target, callers: u32) -> anyhow::Result<Vec<Self>> {
        let mut clients = Vec::new();
        for _ in 0..callers {
            let connection = connect(target).await;
            let connection =
                connection.with_context(|| format!("cannot reach the service at {} (HTTP)", target.http))?;
            let host = HeaderValue::try_from(target.http.to_string())?;
            clients.push(Self { target: target.clone(), host, connection: Some(connection) });
        }
        Ok(clients)
    }

    async fn ask(&mut self, requests: Vec<IdentifyRequest>) -> Vec<Answer> {
        let mut answers = Vec::with_capacity(requests.len());
        for request in requests {
            let answer = self.post(&request).await;
            // What HTTP has no code for is a connection that is gone.
            answers.push(answer.unwrap_or_else(|_| {
                self.connection = None;
                Err(Code::Unavailable)
            }));
        }
        answers
    }
}

impl Json {
    async fn post(&mut self, request: &IdentifyRequest) -> anyhow::Result<Answer> {
        let connection = match &mut self.connection {
            Some(connection) => connection,
            gone => gone.insert(connect(&self.target).await?),
        };
        let body = Body { email: request.email.as_deref(), phone_number: request.phone_number.as_deref() };
        let post = Request::post("/identify")
            .header(HOST, &self.host)
            .header(CONTENT_TYPE, "application/json")
            .body(Full::from(serde_json::to_vec(&body)?))?;
        connection.ready().await?;
        let response = connection.send_request(post).await?;
        let outcome = response.headers().get("identity-outcome").and_then(outcome);
        let body = response.into_body().collect().await?.to_bytes();
        Ok(match outcome {
            Some(outcome) => Ok(outcome),
            None => Err(serde_json::from_slice(&body).map_or(Code::Unknown, |Failure { code }| code.into())),
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

async fn connect(target: &Target) -> anyhow::Result<SendRequest<Full<Bytes>>> {
    let (sender, connection) = handshake(TokioIo::new(target.http().await?)).await?;
    tokio::spawn(connection); // Its error is that of the request in flight too.
    Ok(sender)
}
