//! `BatchIdentify` as JSON.

use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;

use super::body::{self, RequestText};
use super::errors::{JSON, error_response};
use super::request::{IdentifyFields, batch_items};
use super::response::JsonFormat;
use super::settings::{HttpSettings, deadline};
use crate::resolver::Identify;
use crate::transport::batch::identify_batch;
use crate::transport::batch_answer;
use crate::transport::batch_size::batch_body_limit;
use crate::transport::call_place::CallPlace;
use crate::transport::errors::ApiError;
use crate::transport::gunzip::TextRoom;
use crate::transport::parse::Parsed;
use crate::transport::peer::resolver_for;

/// `identity.v1.IdentityService/BatchIdentify` as JSON.
#[derive(Debug)]
pub(super) struct BatchHandler<R> {
    pub(super) resolver: R,
    pub(super) settings: HttpSettings,
    pub(super) room: TextRoom,
}

impl<R: Identify> BatchHandler<R> {
    pub(super) async fn call(&self, request: Request) -> Response {
        self.answer(request).await.unwrap_or_else(|error| error_response(&error))
    }

    async fn answer(&self, request: Request) -> Result<Response, ApiError> {
        let deadline = deadline(&request)?;
        let resolver = resolver_for(&self.resolver, request.extensions());
        let place = CallPlace::from_extensions(request.extensions());
        let limit = batch_body_limit(self.settings.limits.http_body_limit);
        let RequestText { bytes, room } = body::read(request, limit, self.settings.body_timeout, &self.room).await?;
        // The items keep the text, and only until they are parsed: it is not kept during the wait.
        let items = batch_items(&bytes)?.into_iter().map(|item| bytes.slice_ref(item.get().as_bytes()));
        let items: Vec<Bytes> = items.collect();
        drop(bytes);
        let count = items.len();
        let items = items.into_iter().map(move |item| {
            let _until_parsed = &room;
            Ok(self.parsed(&item))
        });
        let results = identify_batch(&resolver, place.take(), count, items, deadline).await?;

        let format = JsonFormat { spelling: self.settings.identify.primary_id_field };
        let (body, counts) =
            batch_answer::encode(&format, &results, self.settings.limits.answer_limit, deadline).await?;
        let mut response = ([JSON], body).into_response();
        response.extensions_mut().insert(counts);
        Ok(response)
    }

    fn parsed(&self, item: &[u8]) -> Result<Parsed, ApiError> {
        IdentifyFields::read_item(item)?.parse(&self.settings.identify)
    }
}
