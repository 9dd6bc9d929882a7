//! The status of an RPC as JSON.

use std::sync::LazyLock;

use prost::Message;
use prost_reflect::{DescriptorPool, DynamicMessage, MessageDescriptor};
use serde::Serialize;
use serde_json::Value;
use tonic::Status;

use crate::proto::FILE_DESCRIPTOR_SET;

/// `google.protobuf.Any` beside the messages that details can be. `None` if the build has broken descriptors, which is
/// found at the start.
static ANY: LazyLock<Option<MessageDescriptor>> =
    LazyLock::new(|| DescriptorPool::decode(FILE_DESCRIPTOR_SET).ok()?.get_message_by_name("google.protobuf.Any"));

/// A status in proto3 JSON.
#[derive(Serialize)]
pub(super) struct StatusBody<'a> {
    code: i32,
    message: &'a str,
    details: Vec<Value>,
}

impl<'a> StatusBody<'a> {
    /// Takes a status, with all details of known types.
    pub(super) fn new(status: &'a Status) -> Self {
        let details = tonic_types::pb::Status::decode(status.details()).map(|status| status.details);
        let details = details.unwrap_or_default().into_iter().filter_map(|detail| {
            let any = DynamicMessage::decode(ANY.clone()?, &detail.encode_to_vec()[..]).ok()?;
            serde_json::to_value(any).ok()
        });
        let details = details.collect();
        Self { code: status.code().into(), message: status.message(), details }
    }

    /// Returns its text.
    pub(super) fn json(&self) -> Vec<u8> {
        // Values of JSON can always be serialised.
        serde_json::to_vec(self).unwrap_or_default()
    }
}
