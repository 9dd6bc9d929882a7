//! Joins the `google.api.http` rules of the proto with handlers.

mod bindings;

use std::collections::HashMap;

use axum::Router;
use axum::extract::Request;
use axum::response::Response;
use axum::routing::{MethodFilter, MethodRouter, on};
use http::Method;

use self::bindings::Binding;
pub use self::bindings::BindingError;
use crate::transport::routes::{Route, RouteTable};

/// The API cannot be built, because proto and code do not match.
#[derive(Debug, thiserror::Error)]
pub enum GatewayError {
    /// The options cannot be read.
    #[error(transparent)]
    Binding(#[from] BindingError),
    /// The proto gives a path to an RPC that has no handler.
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
    /// Two rules have the same method and path, or a path cannot be routed.
    #[error("the gateway cannot serve {method} {path}")]
    Path {
        /// The HTTP method.
        method: Method,
        /// The path.
        path: String,
    },
}

type Mount = Box<dyn Fn(MethodFilter) -> MethodRouter>;

/// Joins the paths of the proto with their handlers, by the name of the RPC.
#[derive(Default)]
pub(super) struct Gateway {
    handlers: HashMap<&'static str, Mount>,
}

impl Gateway {
    /// Adds the handler of the RPC `package.Service/Method`, for all its paths in the proto.
    pub(super) fn handle<H, F>(&mut self, rpc: &'static str, handler: H)
    where
        H: Fn(Request) -> F + Clone + Send + Sync + 'static,
        F: Future<Output = Response> + Send + 'static,
    {
        self.handlers.insert(rpc, Box::new(move |method| on(method, handler.clone())));
    }

    /// Returns the handlers of all paths in the proto.
    pub(super) fn into_routes(self, descriptors: &[u8]) -> Result<RouteTable, GatewayError> {
        let bindings = bindings::read(descriptors)?;
        if let Some(rpc) = self.handlers.keys().find(|rpc| !bindings.iter().any(|binding| binding.rpc == **rpc)) {
            return Err(GatewayError::NoRule { rpc });
        }
        let mut router = Router::new();
        let mut seen = Vec::new();
        let mut routes = HashMap::new();
        for Binding { rpc, method, path } in bindings {
            let Some(mount) = self.handlers.get(&*rpc) else { return Err(GatewayError::NoHandler { rpc }) };
            let filter = MethodFilter::try_from(method.clone());
            let binding = (method, path);
            let (Ok(filter), false) = (filter, seen.contains(&binding)) else {
                let (method, path) = binding;
                return Err(GatewayError::Path { method, path });
            };
            router = router.route(&binding.1, mount(filter));
            let route = Route { rpc_method: Some(rpc), http_route: Some(binding.1.clone()), ..Route::default() };
            routes.insert(binding.1.clone(), route);
            seen.push(binding);
        }
        Ok(RouteTable { router, routes })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::FILE_DESCRIPTOR_SET;

    fn start(rpcs: &[&'static str]) -> Result<RouteTable, GatewayError> {
        let mut gateway = Gateway::default();
        for rpc in rpcs {
            gateway.handle(rpc, async |_| Response::default());
        }
        gateway.into_routes(FILE_DESCRIPTOR_SET)
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
        assert_eq!(start(&rpcs[..2]).unwrap().routes.len(), 3);
    }
}
