//! The JSON API: a gateway in the manner of grpc-gateway, driven by the `google.api.http` options of the proto, in the
//! same process.

mod about;
mod batch;
mod batch_items;
mod body;
mod content;
mod errors;
mod gateway;
mod gzip;
mod identify;
mod metrics;
mod origin;
mod probes;
mod request;
mod response;
mod settings;

use std::sync::Arc;
use std::time::Duration;

use self::batch::BatchHandler;
pub use self::errors::error_response;
pub use self::gateway::BindingError;
use self::gateway::Gateway;
pub use self::gateway::GatewayError;
use self::identify::IdentifyHandler;
pub use self::metrics::metrics_routes;
pub use self::origin::{OriginRules, OriginVerdict, permit, share};
use self::settings::HttpSettings;
use crate::proto::FILE_DESCRIPTOR_SET;
use crate::resolver;
use crate::settings::{IdentifierSettings, LimitSettings};
use crate::transport::errors::ApiError;
use crate::transport::gunzip::TextRoom;
use crate::transport::readiness::Readiness;
use crate::transport::routes::RouteTable;

/// Returns the paths of the API over a resolver.
///
/// # Errors
/// [`GatewayError`] if the proto has a path that nothing here serves: a bug in the build.
pub fn routes<R: resolver::Identify>(
    resolver: R,
    readiness: Readiness,
    identify: IdentifierSettings,
    limits: LimitSettings,
    body_timeout: Duration,
    room: TextRoom,
) -> Result<RouteTable, GatewayError> {
    let settings = HttpSettings { identify, limits, body_timeout };
    let identify = Arc::new(IdentifyHandler { resolver: resolver.clone(), settings, room: room.clone() });
    let batch = Arc::new(BatchHandler { resolver, settings, room });
    let mut gateway = Gateway::default();
    gateway.handle("identity.v1.IdentityService/Identify", move |request| {
        let identify = Arc::clone(&identify);
        async move { identify.call(request).await }
    });
    gateway.handle("identity.v1.IdentityService/BatchIdentify", move |request| {
        let batch = Arc::clone(&batch);
        async move { batch.call(request).await }
    });
    let mut table = gateway.into_routes(FILE_DESCRIPTOR_SET)?;
    probes::add(&mut table, readiness);
    about::add(&mut table);
    let RouteTable { router, routes } = table;
    // Last, because the answer to a wrong method is for the existing paths.
    let router = router
        .fallback(async || error_response(&ApiError::UnknownPath))
        .method_not_allowed_fallback(async || error_response(&ApiError::WrongHttpMethod));
    Ok(RouteTable { router, routes })
}
