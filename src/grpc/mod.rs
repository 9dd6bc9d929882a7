//! The gRPC door: `identity.v1`, health and reflection.

mod health;
mod identity;
mod item;
mod message_limit;
mod reply;
mod services;
mod stream;
mod until_drained;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tonic_health::pb::health_server::HealthServer;

use self::health::Health;
use self::identity::IdentityDoor;
use self::message_limit::ByMethod;
pub use self::message_limit::message_limit;
pub use self::reply::{reply, restate};
use self::services::Services;
pub use self::services::StartError;
use crate::api::{Readiness, Surface, batch_body_limit};
use crate::domain::Region;
use crate::proto::FILE_DESCRIPTOR_SET;
use crate::proto::identity::v1::identity_service_server::{IdentityServiceServer, SERVICE_NAME};
use crate::resolver::Identify;

/// What the gRPC door can be told.
#[derive(Clone, Copy, Debug)]
pub struct GrpcOptions {
    /// The most bytes a request message may have; a batch, 16 times as many.
    pub body_limit: usize,
    /// Whose dialling rules complete a phone number.
    pub region: Option<Region>,
    /// Whether callers may ask for the API's description.
    pub reflection: bool,
    /// How long an item of a stream may take.
    pub item_timeout: Duration,
    /// The most items of all streams under way.
    pub stream_items: usize,
}

/// The door's services over `resolver`.
///
/// # Errors
/// [`StartError`] when a descriptor set cannot be read: a fault of the build.
pub fn surface<R: Identify>(resolver: R, readiness: Readiness, options: GrpcOptions) -> Result<Surface, StartError> {
    let stream_places = Arc::new(Semaphore::new(options.stream_items.clamp(1, Semaphore::MAX_PERMITS)));
    let door = Arc::new(IdentityDoor { resolver, options, readiness: readiness.clone(), stream_places });
    let with_limit = |bytes| IdentityServiceServer::from_arc(Arc::clone(&door)).max_decoding_message_size(bytes);
    let identity =
        ByMethod { single: with_limit(options.body_limit), batch: with_limit(batch_body_limit(options.body_limit)) };
    let health = HealthServer::new(Health::new(readiness.clone(), &[SERVICE_NAME]));

    let mut services = Services::default();
    services.add(identity, FILE_DESCRIPTOR_SET);
    services.add_probe(health, tonic_health::pb::FILE_DESCRIPTOR_SET);
    services.into_surface(options.reflection.then_some(readiness))
}
