//! The messages and services of `proto/`, as code.

/// `identity.v1`.
pub mod identity {
    /// Version 1.
    #[allow(clippy::all, clippy::unwrap_used, clippy::wildcard_enum_match_arm, missing_docs, unreachable_pub)]
    pub mod v1 {
        tonic::include_proto!("identity.v1");
    }
}

/// The compiled `proto/` with its comments, imports and options: what reflection serves and the JSON
/// gateway is built from.
pub const FILE_DESCRIPTOR_SET: &[u8] = tonic::include_file_descriptor_set!("identity_descriptor");
