//! `BatchIdentify` as JSON.

use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::value::RawValue;

use super::body;
use super::errors::{ErrorBody, JSON, error_response};
use super::request::{IdentifyFields, batch_items};
use super::response::{self, Body};
use super::settings::{HttpSettings, deadline};
use crate::resolver::{Identify, IdentifyError};
use crate::settings::Spelling;
use crate::transport::batch::{ItemCounts, ItemResult, identify_batch};
use crate::transport::batch_size::{BatchSize, batch_body_limit};
use crate::transport::errors::ApiError;
use crate::transport::parse::{FieldNames, Parsed};
use crate::transport::peer::caller;

/// `identity.v1.IdentityService/BatchIdentify` as JSON.
#[derive(Debug)]
pub(super) struct BatchHandler<R> {
    pub(super) resolver: R,
    pub(super) settings: HttpSettings,
}

#[derive(Serialize)]
struct Results<'a> {
    results: Vec<ResultBody<'a>>,
}

/// What became of an item: `{"response": …}` or `{"error": …}`.
#[derive(Serialize)]
#[serde(rename_all = "lowercase")]
enum ResultBody<'a> {
    Response(Body<'a>),
    Error(ErrorBody),
}

impl<R: Identify> BatchHandler<R> {
    pub(super) async fn call(&self, request: Request) -> Response {
        self.answer(request).await.unwrap_or_else(|error| error_response(&error))
    }

    async fn answer(&self, request: Request) -> Result<Response, ApiError> {
        let deadline = deadline(&request)?;
        let resolver = self.resolver.for_caller(caller(request.extensions()));
        let limit = batch_body_limit(self.settings.limits.http_body_limit);
        let body = body::read(request, limit, self.settings.body_timeout).await?;
        let items = batch_items(&body)?;
        BatchSize::check(items.len())?; // Before the work of reading them.
        let items = items.into_iter().map(|item| self.parsed(item)).collect();
        let results = identify_batch(&resolver, items, deadline).await?;

        let body = json(&results, self.settings.identify.primary_id_field).map_err(|_| IdentifyError::Internal)?;
        let mut response = ([JSON], body).into_response();
        response.extensions_mut().insert(ItemCounts::from_results(&results));
        Ok(response)
    }

    fn parsed(&self, item: &RawValue) -> Result<Parsed, ApiError> {
        IdentifyFields::read_item(item)?.parse(&self.settings.identify)
    }
}

fn json(results: &[ItemResult], spelling: Spelling) -> Result<Vec<u8>, serde_json::Error> {
    let results = results.iter().map(|result| match result {
        Ok(answered) => ResultBody::Response(response::batch_item(answered, spelling)),
        Err(error) => ResultBody::Error(ErrorBody::from_status(&error.status(FieldNames::Json))),
    });
    serde_json::to_vec(&Results { results: results.collect() })
}
