//! A path of an API, with the handles of its metrics.

use std::collections::HashMap;
use std::ops::Deref;
use std::sync::Arc;

use http::Method;

use super::api::Api;
use crate::metrics::{GrpcMethod, HttpRoute, Metrics};
use crate::transport::methods;
use crate::transport::routes::{Route, RpcType};
use crate::transport::template::{Found, TemplateTable};

/// All paths of an API.
pub(super) struct Endpoints {
    pub(super) paths: HashMap<String, Arc<Endpoint>>,
    /// The paths that the gateway translates.
    pub(super) templates: TemplateTable<Arc<Endpoint>>,
}

impl Endpoints {
    /// Returns the endpoint of a request. A path that the gateway translates has one for each of its methods, because
    /// each is another RPC with another scope.
    pub(super) fn find(&self, method: &Method, path: &str) -> Option<Arc<Endpoint>> {
        if let Some(endpoint) = self.paths.get(path) {
            return Some(Arc::clone(endpoint));
        }
        match self.templates.find(method, path) {
            Found::Match(endpoint, _) => Some(Arc::clone(endpoint)),
            Found::WrongMethod(_) | Found::Nothing => None,
        }
    }
}

/// A path of an API, with the handles of its metrics.
#[derive(Debug)]
pub(super) struct Endpoint {
    route: Route,
    /// Whether its calls need a place in the queue: the resolver handles them, and they do not wait for places.
    pub(super) takes_place: bool,
    /// Whether its messages are batches, which may be large.
    pub(super) takes_batch: bool,
    /// `None` without metrics.
    pub(super) metrics: Option<EndpointMetrics>,
}

impl Endpoint {
    pub(super) fn new(api: Api, route: Route, metrics: &Metrics) -> Self {
        let identifies = route.rpc_method.as_deref().is_some_and(methods::identifies);
        let handles = CallHandles::new(api, Some(&route), metrics);
        let takes_batch = route.rpc_method.as_deref().is_some_and(|rpc| methods::takes_batch(&format!("/{rpc}")));
        let needs_places = route.rpc_method.as_deref().is_some_and(methods::needs_places);
        let takes_place = needs_places && !route.rpc_type.is_stream();
        let metrics = handles.map(|calls| EndpointMetrics { calls, identifies, all: metrics.clone() });
        Self { route, takes_place, takes_batch, metrics }
    }

    /// The handles of all unknown paths together.
    pub(super) fn unknown(api: Api, metrics: &Metrics) -> Option<EndpointMetrics> {
        let calls = CallHandles::new(api, None, metrics)?;
        Some(EndpointMetrics { calls, identifies: false, all: metrics.clone() })
    }
}

impl Deref for Endpoint {
    type Target = Route;

    fn deref(&self) -> &Route {
        &self.route
    }
}

/// The handles of the metrics of a path.
#[derive(Clone, Debug)]
pub(super) struct EndpointMetrics {
    pub(super) calls: CallHandles,
    /// Whether its calls have requests to identify.
    pub(super) identifies: bool,
    pub(super) all: Metrics,
}

/// Where the calls of a path are counted.
#[derive(Clone, Debug)]
pub(super) enum CallHandles {
    Grpc(GrpcMethod),
    Http(HttpRoute),
}

impl CallHandles {
    fn new(api: Api, route: Option<&Route>, metrics: &Metrics) -> Option<Self> {
        match api {
            Api::Grpc => {
                let kind = route.map_or(RpcType::Unary, |route| route.rpc_type).name();
                metrics.grpc_method(kind, route.and_then(|route| route.rpc_method.as_deref())).map(Self::Grpc)
            }
            Api::Http => metrics.http_route(route.and_then(|route| route.http_route.as_deref())).map(Self::Http),
        }
    }

    /// The handles of a gRPC method, to count its messages.
    pub(super) fn grpc(&self) -> Option<&GrpcMethod> {
        match self {
            Self::Grpc(method) => Some(method),
            Self::Http(_) => None,
        }
    }
}
