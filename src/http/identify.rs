use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use http::{HeaderName, HeaderValue};

use super::HttpOptions;
use super::reply::{JSON, reply};
use super::request::IdentifyFields;
use super::{answer, body};
use crate::api::{Deadline, Fault, outcome_name, parse};
use crate::resolver::{Identify, IdentifyError};

/// The header that carries the outcome.
const OUTCOME: HeaderName = HeaderName::from_static("identity-outcome");

/// `identity.v1.IdentityService/Identify` as JSON.
#[derive(Debug)]
pub(super) struct IdentifyDoor<R> {
    pub(super) resolver: R,
    pub(super) options: HttpOptions,
}

impl<R: Identify> IdentifyDoor<R> {
    pub(super) async fn call(&self, request: Request) -> Response {
        self.answer(request).await.unwrap_or_else(|fault| reply(&fault))
    }

    async fn answer(&self, request: Request) -> Result<Response, Fault> {
        // The server sets a deadline on every call; without one this is a fault of the wiring.
        let Some(&Deadline(deadline)) = request.extensions().get() else { return Err(IdentifyError::Internal.into()) };
        let body = body::read(request.into_body(), self.options.body_limit, self.options.body_timeout).await?;
        let fields = IdentifyFields::read(&body)?;
        let observation = parse(fields.email.as_deref(), fields.phone_number.as_deref(), self.options.region)
            .map_err(Fault::Invalid)?;
        let answer = self.resolver.identify(observation, deadline).await?;

        let body = answer::json(&answer.identity, self.options.spelling).map_err(|_| IdentifyError::Internal)?;
        let outcome = (OUTCOME, HeaderValue::from_static(outcome_name(answer.outcome)));
        let mut response = ([JSON, outcome], body).into_response();
        response.extensions_mut().insert(answer.outcome);
        Ok(response)
    }
}
