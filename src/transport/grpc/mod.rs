//! The gRPC API: `identity.v1`, health and reflection.

mod answer_buffer;
mod batch;
mod batch_request;
mod bounded_streams;
mod by_method;
mod bytes_codec;
mod compression;
mod convert;
mod encoded_call;
mod errors;
mod graph;
mod health;
mod identify;
mod identity_api;
mod inflate;
mod one_message;
mod proto_format;
mod service;
mod services;
mod settings;
mod stream;
mod stream_driver;

use std::convert::Infallible;
use std::sync::Arc;

use tokio::sync::Semaphore;
use tonic::body::Body;
use tonic::codec::CompressionEncoding;
use tonic::server::NamedService;
use tonic_health::pb::health_server::HealthServer;
use tower::Service;

use self::batch::BatchService;
use self::bounded_streams::{BoundedStreams, StreamBounds};
use self::by_method::ByMethod;
pub use self::errors::{error_response, replace_tonic_error};
use self::graph::{GraphApi, LookUpService};
use self::health::Health;
use self::identify::IdentifyService;
use self::identity_api::IdentityApi;
pub use self::services::DescriptorError;
use self::services::Services;
pub use self::settings::GrpcSettings;
use crate::metrics::WorkMetrics;
use crate::proto::FILE_DESCRIPTOR_SET;
use crate::proto::identity::v1::graph_service_server::{self, GraphServiceServer};
use crate::proto::identity::v1::identity_service_server;
use crate::resolver::ReadGraph;
use crate::transport::batch_size::batch_body_limit;
use crate::transport::gunzip::TextRoom;
use crate::transport::readiness::Readiness;
use crate::transport::routes::RouteTable;

/// The services whose health callers ask for.
const SERVICES: [&str; 2] = [identity_service_server::SERVICE_NAME, graph_service_server::SERVICE_NAME];

/// Returns the service that reads the graph. The JSON API calls it too.
pub fn graph_service<R: ReadGraph>(
    resolver: R,
    settings: GrpcSettings,
) -> impl Service<http::Request<Body>, Response = http::Response<Body>, Error = Infallible, Future: Send + 'static>
+ NamedService
+ Clone
+ Send
+ Sync
+ 'static {
    let graph = Arc::new(GraphApi { resolver, settings });
    let limit = settings.limits.http_body_limit;
    ByMethod {
        single: GraphServiceServer::from_arc(Arc::clone(&graph))
            .max_decoding_message_size(limit)
            .send_compressed(CompressionEncoding::Gzip),
        batch: LookUpService::new(graph, batch_body_limit(limit)),
    }
}

/// Returns the services of the API over a resolver.
///
/// # Errors
/// [`DescriptorError`] if a descriptor set cannot be read: a bug in the build.
pub fn routes<R: ReadGraph>(
    resolver: R,
    readiness: Readiness,
    settings: GrpcSettings,
    room: TextRoom,
    work: WorkMetrics,
) -> Result<RouteTable, DescriptorError> {
    let stream_places = Arc::new(Semaphore::new(settings.stream_items.clamp(1, Semaphore::MAX_PERMITS)));
    let graph = graph_service(resolver.clone(), settings);
    let api = Arc::new(IdentityApi { resolver, settings, readiness: readiness.clone(), stream_places });
    let limit = settings.limits.http_body_limit;
    let identity = ByMethod {
        single: IdentifyService::new(Arc::clone(&api), limit),
        batch: BatchService::new(api, batch_body_limit(limit)),
    };
    let bounds = StreamBounds::new(settings.probe_streams, work);
    let health = HealthServer::new(Health::new(readiness.clone(), &SERVICES));
    let health = BoundedStreams::new(health, bounds.clone());

    let mut services = Services::new(limit, room);
    services.add(identity, FILE_DESCRIPTOR_SET);
    services.add(graph, FILE_DESCRIPTOR_SET);
    services.add_probe(health, tonic_health::pb::FILE_DESCRIPTOR_SET);
    services.into_routes(settings.reflection.then(|| bounds.end_on_shutdown(readiness)))
}
