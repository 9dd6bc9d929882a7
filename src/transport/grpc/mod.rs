//! The gRPC API: `identity.v1`, health and reflection.

mod convert;
mod end_on_shutdown;
mod errors;
mod health;
mod message_limit;
mod service;
mod services;
mod stream;

use std::sync::Arc;

use tokio::sync::Semaphore;
use tonic_health::pb::health_server::HealthServer;

pub use self::errors::{reply, restate};
use self::health::Health;
use self::message_limit::ByMethod;
pub use self::message_limit::message_limit;
use self::service::IdentityApi;
use self::services::Services;
pub use self::services::StartError;
use crate::proto::FILE_DESCRIPTOR_SET;
use crate::proto::identity::v1::identity_service_server::{IdentityServiceServer, SERVICE_NAME};
use crate::resolver;
use crate::settings::{IdentifierSettings, LimitSettings};
use crate::transport::{Readiness, RouteTable, batch_body_limit};

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
}

/// The API's services over `resolver`.
///
/// # Errors
/// [`StartError`] when a descriptor set cannot be read: a fault of the build.
pub fn routes<R: resolver::Identify>(
    resolver: R,
    readiness: Readiness,
    settings: GrpcSettings,
) -> Result<RouteTable, StartError> {
    let stream_places = Arc::new(Semaphore::new(settings.stream_items.clamp(1, Semaphore::MAX_PERMITS)));
    let api = Arc::new(IdentityApi { resolver, settings, readiness: readiness.clone(), stream_places });
    let with_limit = |bytes| IdentityServiceServer::from_arc(Arc::clone(&api)).max_decoding_message_size(bytes);
    let identity = ByMethod {
        single: with_limit(settings.limits.http_body_limit),
        batch: with_limit(batch_body_limit(settings.limits.http_body_limit)),
    };
    let health = HealthServer::new(Health::new(readiness.clone(), &[SERVICE_NAME]));

    let mut services = Services::default();
    services.add(identity, FILE_DESCRIPTOR_SET);
    services.add_probe(health, tonic_health::pb::FILE_DESCRIPTOR_SET);
    services.into_routes(settings.reflection.then_some(readiness))
}
