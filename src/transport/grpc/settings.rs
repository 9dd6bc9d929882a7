//! The settings of the gRPC API.

use crate::settings::{Identify, Limits};

/// The settings of the gRPC API.
#[derive(Clone, Copy, Debug)]
pub struct GrpcSettings {
    /// What identifiers mean.
    pub identify: Identify,
    /// Bounds on callers.
    pub limits: Limits,
    /// Whether callers may ask for the API's description.
    pub reflection: bool,
    /// Maximum items under way of all streams together; more wait.
    pub stream_items: usize,
}
