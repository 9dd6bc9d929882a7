//! The status of an RPC as JSON.

use prost::Message;
use prost_reflect::{DescriptorError, DescriptorPool, DynamicMessage};
use serde::Serialize;
use serde_json::Value;
use tonic::Status;

use crate::proto::FILE_DESCRIPTOR_SET;

/// The files with the messages that any error can have as details, after those that they import.
const DETAILS: [&str; 3] =
    ["google/protobuf/any.proto", "google/protobuf/duration.proto", "google/rpc/error_details.proto"];

/// Adds the messages that any error can have as details to the descriptors of a service.
///
/// # Errors
/// If the descriptors have other messages of these names.
pub(super) fn with_details(mut pool: DescriptorPool) -> Result<DescriptorPool, DescriptorError> {
    let known = DescriptorPool::decode(FILE_DESCRIPTOR_SET)?;
    for name in DETAILS {
        let file = known.get_file_by_name(name).filter(|_| pool.get_file_by_name(name).is_none());
        if let Some(file) = file {
            pool.add_file_descriptor_proto(file.file_descriptor_proto().clone())?;
        }
    }
    Ok(pool)
}

/// A status in proto3 JSON.
#[derive(Serialize)]
pub(super) struct StatusBody<'a> {
    code: i32,
    message: &'a str,
    details: Vec<Value>,
}

impl<'a> StatusBody<'a> {
    /// Takes a status, with all details that the descriptors of its service have. JSON cannot express others.
    pub(super) fn new(status: &'a Status, pool: &DescriptorPool) -> Self {
        let any = pool.get_message_by_name("google.protobuf.Any");
        let details = tonic_types::pb::Status::decode(status.details()).map(|status| status.details);
        let details = details.unwrap_or_default().into_iter().filter_map(|detail| {
            let any = DynamicMessage::decode(any.clone()?, &detail.encode_to_vec()[..]).ok()?;
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
