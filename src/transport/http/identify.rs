//! `Identify` as JSON.

use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use http::{HeaderName, HeaderValue};

use super::errors::{JSON, error_response};
use super::request::IdentifyFields;
use super::settings::{HttpSettings, deadline};
use super::{body, response};
use crate::resolver::{Identify, IdentifyError};
use crate::transport::answered::Answered;
use crate::transport::call_outcome::{CallOutcome, outcome_name};
use crate::transport::call_place::CallPlace;
use crate::transport::errors::ApiError;
use crate::transport::gunzip::TextRoom;
use crate::transport::parse::Parsed;
use crate::transport::peer::resolver_for;

/// The response header with the outcome.
const OUTCOME: HeaderName = HeaderName::from_static("identity-outcome");

/// The response header with the fields that were left out.
const IGNORED: HeaderName = HeaderName::from_static("identity-ignored");

/// The response header of an answer that lists not all contacts: how many the identity has.
const TRUNCATED: HeaderName = HeaderName::from_static("identity-truncated");

/// `identity.v1.IdentityService/Identify` as JSON.
#[derive(Debug)]
pub(super) struct IdentifyHandler<R> {
    pub(super) resolver: R,
    pub(super) settings: HttpSettings,
    pub(super) room: TextRoom,
}

impl<R: Identify> IdentifyHandler<R> {
    pub(super) async fn call(&self, request: Request) -> Response {
        self.answer(request).await.unwrap_or_else(|error| error_response(&error))
    }

    async fn answer(&self, request: Request) -> Result<Response, ApiError> {
        let deadline = deadline(&request)?;
        let resolver = resolver_for(&self.resolver, request.extensions());
        let place = CallPlace::from_extensions(request.extensions());
        let (limit, timeout_after) = (self.settings.limits.http_body_limit, self.settings.body_timeout);
        let text = body::read(request, limit, timeout_after, &self.room).await?;
        let Parsed { request, malformed } = IdentifyFields::read(&text.bytes)?.parse(&self.settings.identify)?;
        drop(text); // It is not kept during the wait.
        let validate_only = request.validate_only;
        let answer = resolver.identify_reserved(place.take(), request, deadline).await;
        let answered = Answered::new(answer, malformed)?;
        let answer = &answered.answer;

        let (spelling, limit) = (self.settings.identify.primary_id_field, self.settings.limits.answer_limit);
        let (body, is_truncated) = response::encode_body(&answer.identity, spelling, limit, deadline).await?;
        let outcome = (OUTCOME, HeaderValue::from_static(outcome_name(answer.outcome)));
        let mut response = ([JSON, outcome], body).into_response();
        let fields = answered.left_out_in_json();
        if !fields.is_empty() {
            let fields = HeaderValue::try_from(fields.join(",")).map_err(|_| IdentifyError::Internal)?;
            response.headers_mut().insert(IGNORED, fields);
        }
        if is_truncated {
            response.headers_mut().insert(TRUNCATED, HeaderValue::from(answer.identity.contact_count()));
        }
        response.extensions_mut().insert(CallOutcome::new(answer.outcome, validate_only));
        Ok(response)
    }
}
