//! `Identify` as JSON.

use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use http::{HeaderName, HeaderValue};

use super::errors::{JSON, error_response};
use super::request::IdentifyFields;
use super::settings::{HttpSettings, deadline};
use super::{body, response};
use crate::resolver::{Identify, IdentifyError};
use crate::transport::errors::ApiError;
use crate::transport::parse::parse;
use crate::transport::peer::caller;
use crate::transport::routes::outcome_name;

/// The response header with the outcome.
const OUTCOME: HeaderName = HeaderName::from_static("identity-outcome");

/// `identity.v1.IdentityService/Identify` as JSON.
#[derive(Debug)]
pub(super) struct IdentifyHandler<R> {
    pub(super) resolver: R,
    pub(super) settings: HttpSettings,
}

impl<R: Identify> IdentifyHandler<R> {
    pub(super) async fn call(&self, request: Request) -> Response {
        self.answer(request).await.unwrap_or_else(|error| error_response(&error))
    }

    async fn answer(&self, request: Request) -> Result<Response, ApiError> {
        let deadline = deadline(&request)?;
        let resolver = self.resolver.for_caller(caller(request.extensions()));
        let body =
            body::read(request.into_body(), self.settings.limits.http_body_limit, self.settings.body_timeout).await?;
        let fields = IdentifyFields::read(&body)?;
        let observation =
            parse(fields.email.as_deref(), fields.phone_number.as_deref(), self.settings.identify.phone_region)
                .map_err(ApiError::Invalid)?;
        let answer = resolver.identify(observation, deadline).await?;

        let body = response::json(&answer.identity, self.settings.identify.primary_id_field)
            .map_err(|_| IdentifyError::Internal)?;
        let outcome = (OUTCOME, HeaderValue::from_static(outcome_name(answer.outcome)));
        let mut response = ([JSON, outcome], body).into_response();
        response.extensions_mut().insert(answer.outcome);
        Ok(response)
    }
}
