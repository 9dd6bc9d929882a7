//! The paths of an API, with what the log calls them.

use std::collections::HashMap;
use std::mem;

use axum::routing::MethodRouter;

use super::template::TemplateTable;

/// The handlers and paths of an API.
#[derive(Debug, Default)]
pub struct RouteTable {
    /// The handlers. The log reads the extensions of a response: a
    /// [`CallOutcome`](super::call_outcome::CallOutcome), the [`ItemCounts`](super::batch::ItemCounts) of a batch, the
    /// [`StreamItemCounts`](super::batch::StreamItemCounts) of a stream and, on the JSON API, a
    /// [`Code`](tonic::Code) and an [`ErrorReason`](super::errors::ErrorReason).
    pub router: axum::Router,
    /// Every path of the handlers. Other paths are never logged: they can hold anything.
    pub routes: HashMap<String, Route>,
    /// The paths of the JSON API that the gateway translates. They can have variables.
    pub templates: TemplateTable<Route>,
}

impl RouteTable {
    /// Adds a path of the JSON API, in every spelling that clients have for it.
    pub(crate) fn add(&mut self, path: &str, handler: MethodRouter, route: &Route) {
        for spelling in spellings(path) {
            self.router = mem::take(&mut self.router).route(&spelling, handler.clone());
            self.routes.insert(spelling, route.clone());
        }
    }

    /// Returns the route of a template that no request reaches: a handler has its path.
    pub(crate) fn find_hidden(&self) -> Option<&Route> {
        self.routes.keys().find_map(|path| self.templates.at_literal(path))
    }
}

/// The spellings of a path: as it is, with the `:` of a verb encoded, and with a slash at its end.
fn spellings(path: &str) -> Vec<String> {
    let mut all = vec![path.to_owned()];
    if path.contains(':') {
        all.extend(["%3A", "%3a"].map(|colon| path.replace(':', colon)));
    }
    if !path.ends_with('/') {
        let slashed: Vec<_> = all.iter().map(|path| format!("{path}/")).collect();
        all.extend(slashed);
    }
    all
}

/// What the log says about a path.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Route {
    /// `package.Service/Method`, if an RPC serves the path.
    pub rpc_method: Option<String>,
    /// The path, on the JSON API.
    pub http_route: Option<String>,
    /// Whether machines call it every few seconds, so that the log shows it at debug level only.
    pub is_probe: bool,
    /// Whether everybody may read it, although it is no probe: its answers are part of the binary. They tell nothing of
    /// an installation but the version and the spelling in force.
    pub is_public: bool,
    /// Which side sends a stream of messages.
    pub rpc_type: RpcType,
    /// Whether the gateway translates the path. Then the route is that of one HTTP method. Any other RPC is called by
    /// POST alone.
    pub is_translated: bool,
}

/// Which side of an RPC sends a stream of messages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RpcType {
    /// Neither.
    #[default]
    Unary,
    /// The caller.
    ClientStream,
    /// The service.
    ServerStream,
    /// Both.
    BidiStream,
}

impl RpcType {
    /// Returns the type by which sides send a stream.
    pub(crate) fn new(is_client_streaming: bool, is_server_streaming: bool) -> Self {
        match (is_client_streaming, is_server_streaming) {
            (false, false) => Self::Unary,
            (true, false) => Self::ClientStream,
            (false, true) => Self::ServerStream,
            (true, true) => Self::BidiStream,
        }
    }

    /// Returns whether any side sends a stream.
    pub(crate) fn is_stream(self) -> bool {
        self != Self::Unary
    }

    /// Its name in metrics, as go-grpc-middleware has it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Unary => "unary",
            Self::ClientStream => "client_stream",
            Self::ServerStream => "server_stream",
            Self::BidiStream => "bidi_stream",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_has_few_spellings() {
        assert_eq!(spellings("/"), ["/"]);
        assert_eq!(spellings("/identify"), ["/identify", "/identify/"]);
        let batch = ["/identify:batch", "/identify%3Abatch", "/identify%3abatch"];
        assert_eq!(spellings("/identify:batch"), [batch, batch.map(|path| format!("{path}/").leak() as &str)].concat());
    }
}
