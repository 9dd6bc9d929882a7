//! The JSON door: a gateway in the manner of grpc-gateway, driven by the `google.api.http` options of
//! the proto, in the same process.

mod answer;
mod batch;
mod bindings;
mod body;
mod gateway;
mod identify;
mod probes;
mod reply;
mod request;

use std::sync::Arc;
use std::time::Duration;

pub use self::answer::Spelling;
use self::batch::BatchDoor;
pub use self::bindings::BindingError;
use self::gateway::Gateway;
pub use self::gateway::StartError;
use self::identify::IdentifyDoor;
pub use self::reply::reply;
use crate::api::{Fault, Readiness, Surface};
use crate::domain::Region;
use crate::proto::FILE_DESCRIPTOR_SET;
use crate::resolver::Identify;

/// What the JSON door can be told.
#[derive(Clone, Copy, Debug)]
pub struct HttpOptions {
    /// The most bytes the body of a request may have; of a batch, 16 times as many.
    pub body_limit: usize,
    /// How long a body may take to arrive.
    pub body_timeout: Duration,
    /// How the first field of an answer is spelled.
    pub spelling: Spelling,
    /// Whose dialling rules complete a phone number.
    pub region: Option<Region>,
}

/// The door's paths over `resolver`.
///
/// # Errors
/// [`StartError`] when the proto asks for a path that nothing here serves: a fault of the build.
pub fn surface<R: Identify>(resolver: R, readiness: Readiness, options: HttpOptions) -> Result<Surface, StartError> {
    let identify = Arc::new(IdentifyDoor { resolver: resolver.clone(), options });
    let batch = Arc::new(BatchDoor { resolver, options });
    let mut gateway = Gateway::default();
    gateway.handle("identity.v1.IdentityService/Identify", move |request| {
        let identify = Arc::clone(&identify);
        async move { identify.call(request).await }
    });
    gateway.handle("identity.v1.IdentityService/BatchIdentify", move |request| {
        let batch = Arc::clone(&batch);
        async move { batch.call(request).await }
    });
    let Surface { router, routes } = probes::add(gateway.into_surface(FILE_DESCRIPTOR_SET)?, readiness);
    // Last: the answer to a wrong method goes to the paths that are there.
    let router = router
        .fallback(async || reply(&Fault::UnknownPath))
        .method_not_allowed_fallback(async || reply(&Fault::WrongHttpMethod));
    Ok(Surface { router, routes })
}
