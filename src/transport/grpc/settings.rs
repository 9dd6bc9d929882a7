//! The settings of the gRPC API.

use crate::settings::{IdentifierSettings, LimitSettings};

/// The settings of the gRPC API.
#[derive(Clone, Copy, Debug)]
pub struct GrpcSettings {
    /// What identifiers mean.
    pub identify: IdentifierSettings,
    /// Bounds on callers.
    pub limits: LimitSettings,
    /// Whether callers may ask for the API's description.
    pub reflection: bool,
    /// Maximum items under way of all streams together; more wait.
    pub stream_items: usize,
    /// Maximum health and reflection streams that are open at once.
    pub probe_streams: usize,
}
