//! The JSON API: a gateway in the manner of grpc-gateway, driven by the `google.api.http` options of
//! the proto, in the same process.

mod batch;
mod response;

mod body;
mod errors;
mod gateway;
mod identify;
mod probes;
mod request;

use std::sync::Arc;
use std::time::Duration;

use self::batch::BatchHandler;
pub use self::errors::reply;
pub use self::gateway::BindingError;
use self::gateway::Gateway;
pub use self::gateway::StartError;
use self::identify::IdentifyHandler;
use crate::proto::FILE_DESCRIPTOR_SET;
use crate::resolver;
use crate::settings::{IdentifierSettings, LimitSettings};
use crate::transport::{ApiError, Readiness, RouteTable};

/// What the handlers of the JSON API share.
#[derive(Clone, Copy, Debug)]
struct HttpSettings {
    identify: IdentifierSettings,
    limits: LimitSettings,
    /// How long a body may take to arrive.
    body_timeout: Duration,
}

/// The API's paths over `resolver`.
///
/// # Errors
/// [`StartError`] when the proto asks for a path that nothing here serves: a fault of the build.
pub fn routes<R: resolver::Identify>(
    resolver: R,
    readiness: Readiness,
    identify: IdentifierSettings,
    limits: LimitSettings,
    body_timeout: Duration,
) -> Result<RouteTable, StartError> {
    let settings = HttpSettings { identify, limits, body_timeout };
    let identify = Arc::new(IdentifyHandler { resolver: resolver.clone(), settings });
    let batch = Arc::new(BatchHandler { resolver, settings });
    let mut gateway = Gateway::default();
    gateway.handle("identity.v1.IdentityService/Identify", move |request| {
        let identify = Arc::clone(&identify);
        async move { identify.call(request).await }
    });
    gateway.handle("identity.v1.IdentityService/BatchIdentify", move |request| {
        let batch = Arc::clone(&batch);
        async move { batch.call(request).await }
    });
    let RouteTable { router, routes } = probes::add(gateway.into_routes(FILE_DESCRIPTOR_SET)?, readiness);
    // Last: the answer to a wrong method goes to the paths that are there.
    let router = router
        .fallback(async || reply(&ApiError::UnknownPath))
        .method_not_allowed_fallback(async || reply(&ApiError::WrongHttpMethod));
    Ok(RouteTable { router, routes })
}
