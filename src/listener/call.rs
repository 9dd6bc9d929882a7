//! What the layers of one request share.

use std::sync::Arc;
use std::time::Instant;

use super::api::Api;
use super::endpoint::Endpoint;
use crate::traces::CallTrace;
use crate::transport::request_id::RequestId;

/// What the layers of one request share: an extension of the request, made by the first of them.
#[derive(Clone)]
pub(super) struct Call {
    pub(super) api: Api,
    pub(super) id: RequestId,
    /// `None` for an unknown path.
    pub(super) route: Option<Arc<Endpoint>>,
    /// When the request's head was complete.
    pub(super) received: Instant,
    pub(super) trace: CallTrace,
}
