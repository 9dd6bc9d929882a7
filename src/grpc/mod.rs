//! The gRPC door: `identity.v1`, health and reflection.

mod health;
mod identity;
mod reply;
mod services;
mod until_drained;

use tonic_health::pb::health_server::HealthServer;

use self::health::Health;
use self::identity::IdentityDoor;
pub use self::reply::{reply, restate};
use self::services::Services;
pub use self::services::StartError;
use crate::api::{Readiness, Surface};
use crate::domain::Region;
use crate::proto::FILE_DESCRIPTOR_SET;
use crate::proto::identity::v1::identity_service_server::{IdentityServiceServer, SERVICE_NAME};
use crate::resolver::Identify;

/// What the gRPC door can be told.
#[derive(Clone, Copy, Debug)]
pub struct GrpcOptions {
    /// The most bytes a request message may have.
    pub body_limit: usize,
    /// Whose dialling rules complete a phone number.
    pub region: Option<Region>,
    /// Whether callers may ask for the API's description.
    pub reflection: bool,
}

/// The door's services over `resolver`.
///
/// # Errors
/// [`StartError`] when a descriptor set cannot be read: a fault of the build.
pub fn surface<R: Identify>(resolver: R, readiness: Readiness, options: GrpcOptions) -> Result<Surface, StartError> {
    let identity = IdentityServiceServer::new(IdentityDoor { resolver, region: options.region })
        .max_decoding_message_size(options.body_limit);
    let health = HealthServer::new(Health::new(readiness.clone(), &[SERVICE_NAME]));

    let mut services = Services::default();
    services.add(identity, FILE_DESCRIPTOR_SET);
    services.add_probe(health, tonic_health::pb::FILE_DESCRIPTOR_SET);
    services.into_surface(options.reflection.then_some(readiness))
}
