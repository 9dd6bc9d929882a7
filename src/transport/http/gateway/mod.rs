//! Joins the `google.api.http` rules of the proto with what serves them.
//!
//! An RPC has a handler of its own, if its JSON has a form of its own, as `Identify` has. Any other RPC with a rule is
//! translated: `request.rs` makes its message from path, query and body, `handler.rs` calls the service of the gRPC API
//! in this process, `response.rs` and `stream.rs` write its answers.

mod bindings;
mod field_path;
mod frame;
mod handler;
mod json_body;
mod known_fields;
mod query;
mod request;
mod response;
mod status;
mod stream;
mod text_value;
mod value_rules;

use std::collections::HashMap;
use std::convert::Infallible;
use std::fmt;
use std::sync::Arc;

use axum::extract::Request;
use axum::response::Response;
use axum::routing::{MethodFilter, MethodRouter, on};
use http::header::ALLOW;
use http::{HeaderValue, Method};
use prost_reflect::{DescriptorPool, ServiceDescriptor};
use tonic::body::Body;
use tonic::server::NamedService;
use tower::Service;
use tower::util::BoxCloneSyncService;

pub use self::bindings::BindingError;
use self::bindings::{Binding, BodyRule};
use self::handler::{RpcHandler, RpcService};
use super::errors::error_response;
use super::gzip;
use super::settings::HttpSettings;
use crate::transport::errors::ApiError;
use crate::transport::gunzip::TextRoom;
use crate::transport::readiness::Readiness;
use crate::transport::routes::{Route, RouteTable, RpcType};
use crate::transport::template::{Found, HttpMethod, TemplateTable};

/// The API cannot be built, because proto and code do not match.
#[derive(Debug, thiserror::Error)]
pub enum GatewayError {
    /// The options cannot be read.
    #[error(transparent)]
    Binding(#[from] BindingError),
    /// The proto gives a path to an RPC that nothing serves.
    #[error("{rpc} has an http rule but no handler")]
    NoHandler {
        /// The RPC.
        rpc: String,
    },
    /// There is a handler for an RPC without a path in the proto.
    #[error("{rpc} has a handler but no http rule")]
    NoRule {
        /// The RPC.
        rpc: &'static str,
    },
    /// Two rules have the same method and path, or a handler of its own serves neither this method nor this path.
    #[error("the gateway cannot serve {path} of {rpc}")]
    Path {
        /// The RPC.
        rpc: String,
        /// The path.
        path: String,
    },
    /// A handler of its own has the path, so no request would reach the RPC.
    #[error("a handler of its own hides {path} of {rpc}")]
    Hidden {
        /// The RPC.
        rpc: String,
        /// The path.
        path: String,
    },
}

/// A service of the gRPC API whose RPCs the JSON API serves by their `google.api.http` rules.
#[derive(Clone)]
pub struct JsonService {
    descriptor: ServiceDescriptor,
    service: RpcService,
}

impl JsonService {
    /// Takes a service and the descriptors that have it, with their imports and their options.
    ///
    /// # Errors
    /// [`BindingError`] if the descriptors cannot be read or lack the service.
    pub fn new<S>(service: S, descriptors: &[u8]) -> Result<Self, GatewayError>
    where
        S: Service<http::Request<Body>, Response = http::Response<Body>, Error = Infallible>,
        S: NamedService + Clone + Send + Sync + 'static,
        S::Future: Send + 'static,
    {
        let pool = DescriptorPool::decode(descriptors).and_then(status::with_details).map_err(BindingError::from)?;
        let descriptor =
            pool.get_service_by_name(S::NAME).ok_or_else(|| BindingError::NoService(S::NAME.to_owned()))?;
        Ok(Self { descriptor, service: BoxCloneSyncService::new(service) })
    }
}

impl fmt::Debug for JsonService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("JsonService").field(&self.descriptor.full_name()).finish()
    }
}

type Mount = Box<dyn Fn(MethodFilter) -> MethodRouter>;

/// Joins the paths of the proto with their handlers, by the name of the RPC.
pub(super) struct Gateway {
    handlers: HashMap<&'static str, Mount>,
    services: Vec<JsonService>,
    settings: HttpSettings,
    room: TextRoom,
    readiness: Readiness,
}

impl Gateway {
    /// Serves these services, but for the RPCs with handlers of their own. The streams end when `readiness` says so.
    pub(super) fn new(
        services: Vec<JsonService>,
        settings: HttpSettings,
        room: TextRoom,
        readiness: Readiness,
    ) -> Self {
        Self { handlers: HashMap::new(), services, settings, room, readiness }
    }

    /// Adds the handler of the RPC `package.Service/Method`, for all its paths in the proto.
    pub(super) fn handle<H, F>(&mut self, rpc: &'static str, handler: H)
    where
        H: Fn(Request) -> F + Clone + Send + Sync + 'static,
        F: Future<Output = Response> + Send + 'static,
    {
        let compressed = move |request: Request| {
            let is_accepted = gzip::is_accepted(request.headers());
            gzip::negotiate(is_accepted, handler(request))
        };
        self.handlers.insert(rpc, Box::new(move |method| on(method, compressed.clone())));
    }

    /// Returns the handlers of all paths in the proto, and of those of further services.
    pub(super) fn into_routes(self, descriptors: &[u8]) -> Result<(RouteTable, Translated), GatewayError> {
        let pool = DescriptorPool::decode(descriptors).map_err(BindingError::from)?;
        let has_own = |binding: &Binding| self.handlers.contains_key(&*bindings::name(&binding.rpc));
        let mut all = Vec::new();
        for service in pool.services() {
            let is_given = self.services.iter().any(|given| given.descriptor.full_name() == service.full_name());
            all.extend(bindings::read(&service)?.into_iter().filter(|binding| has_own(binding) || !is_given));
        }
        for service in &self.services {
            all.extend(bindings::read(&service.descriptor)?.into_iter().filter(|binding| !has_own(binding)));
        }
        if let Some(rpc) = self.handlers.keys().find(|rpc| !all.iter().any(|of| bindings::name(&of.rpc) == **rpc)) {
            return Err(GatewayError::NoRule { rpc });
        }
        let (mut table, mut handlers, mut literal) = (RouteTable::default(), TemplateTable::default(), Vec::new());
        for binding in all {
            let (rpc, path) = (bindings::name(&binding.rpc), binding.template.to_string());
            let route = Route {
                rpc_method: Some(rpc.clone()),
                http_route: Some(path.clone()),
                rpc_type: RpcType::new(false, binding.rpc.is_server_streaming()),
                is_translated: !self.handlers.contains_key(&*rpc),
                ..Route::default()
            };
            let is_added = if let Some(mount) = self.handlers.get(&*rpc) {
                let filter = simple_method(&binding).filter(|filter| !literal.contains(&(*filter, path.clone())));
                if let Some(filter) = filter {
                    table.add(&path, mount(filter), &route);
                    literal.push((filter, path.clone()));
                }
                filter.is_some()
            } else {
                let parent = binding.rpc.parent_service();
                let service = self.services.iter().find(|service| service.descriptor == *parent);
                let Some(service) = service else { return Err(GatewayError::NoHandler { rpc }) };
                let service = service.service.clone();
                let (method, template) = (binding.method.clone(), binding.template.clone());
                let (room, readiness) = (self.room.clone(), self.readiness.clone());
                let handler = RpcHandler { binding, service, settings: self.settings, room, readiness };
                table.templates.add(method.clone(), template.clone(), route)
                    && handlers.add(method, template, Arc::new(handler))
            };
            if !is_added {
                return Err(GatewayError::Path { rpc, path });
            }
        }
        Ok((table, Translated(Arc::new(handlers))))
    }
}

/// Checks that no path of a handler hides a translated one.
///
/// # Errors
/// [`GatewayError::Hidden`].
pub(super) fn check_nothing_is_hidden(table: &RouteTable) -> Result<(), GatewayError> {
    let Some(Route { rpc_method, http_route, .. }) = table.find_hidden() else { return Ok(()) };
    let text = |name: &Option<String>| name.clone().unwrap_or_default();
    Err(GatewayError::Hidden { rpc: text(rpc_method), path: text(http_route) })
}

/// The method of a rule that a handler of its own can serve: it reads the body alone.
fn simple_method(binding: &Binding) -> Option<MethodFilter> {
    let HttpMethod::One(method) = &binding.method else { return None };
    let is_simple = binding.body == BodyRule::All && !binding.template.has_wildcards();
    MethodFilter::try_from(method.clone()).ok().filter(|_| is_simple)
}

/// The handlers of the RPCs that are translated.
#[derive(Clone, Debug)]
pub(super) struct Translated(Arc<TemplateTable<Arc<RpcHandler>>>);

impl Translated {
    /// Answers a request whose path no other handler has.
    pub(super) async fn call(&self, request: Request) -> Response {
        let path = request.uri().path().to_owned();
        match self.0.find(request.method(), &path) {
            Found::Match(handler, captures) => handler.call(request, &captures).await,
            Found::WrongMethod(allowed) => {
                let mut response = error_response(&ApiError::WrongHttpMethod);
                let allowed = allowed.into_iter().map(Method::as_str).collect::<Vec<_>>().join(",");
                // Names of methods are always valid in a header.
                response.headers_mut().extend(HeaderValue::try_from(allowed).ok().map(|allowed| (ALLOW, allowed)));
                response
            }
            Found::Nothing => error_response(&ApiError::UnknownPath),
        }
    }
}

/// A service of the product that nobody calls.
#[cfg(test)]
pub(super) fn never_called(name: &str) -> JsonService {
    let pool = DescriptorPool::decode(crate::proto::FILE_DESCRIPTOR_SET).unwrap();
    let service = tower::service_fn(async |_| Ok(http::Response::default()));
    JsonService { descriptor: pool.get_service_by_name(name).unwrap(), service: BoxCloneSyncService::new(service) }
}

#[cfg(test)]
mod tests {
    use tokio::sync::watch;

    use super::*;
    use crate::proto::FILE_DESCRIPTOR_SET;
    use crate::resolver::DatabaseState;

    fn start(rpcs: &[&'static str]) -> Result<RouteTable, GatewayError> {
        let settings = crate::settings::Settings::from_flags(<[&str; 0]>::default()).unwrap();
        let settings = HttpSettings {
            identify: settings.identify,
            limits: settings.limits,
            body_timeout: std::time::Duration::ZERO,
        };
        let mut gateway = Gateway::new(
            vec![never_called("identity.v1.GraphService")],
            settings,
            TextRoom::new(0, 0, crate::metrics::WorkMetrics::default()),
            Readiness::new(watch::channel(DatabaseState::Usable).1, Default::default(), Default::default()),
        );
        for rpc in rpcs {
            gateway.handle(rpc, async |_| Response::default());
        }
        gateway.into_routes(FILE_DESCRIPTOR_SET).map(|(table, _)| table)
    }

    #[test]
    fn a_rule_without_a_handler_is_an_error() {
        assert!(matches!(start(&[]), Err(GatewayError::NoHandler { rpc }) if rpc.ends_with("/Identify")));
    }

    #[test]
    fn a_handler_without_a_rule_is_an_error() {
        let rpcs = [
            "identity.v1.IdentityService/Identify",
            "identity.v1.IdentityService/BatchIdentify",
            "identity.v1.IdentityService/Forgotten",
        ];
        assert!(matches!(start(&rpcs), Err(GatewayError::NoRule { rpc }) if rpc == rpcs[2]));
        let RouteTable { routes, .. } = start(&rpcs[..2]).unwrap();
        let mut paths: Vec<_> = routes.values().filter_map(|route| route.http_route.as_deref()).collect();
        paths.sort_unstable();
        paths.dedup();
        assert_eq!(paths, ["/contact/identify", "/identify", "/identify:batch"]);
    }
}
