//! What a caller needs to make a call: the one table of scopes.

use std::future::pending;

use super::errors::ApiError;
use super::routes::Route;
use crate::auth::{Permission, Refusal, Scope};

/// What a caller needs to make a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Nothing: a probe, or a page that is public.
    Open,
    /// To be known.
    AnyCaller,
    /// To be known, and to have a scope.
    Scope(Scope),
    /// Nobody may make it: [`RPCS`] lacks the RPC, which is a bug that a test finds.
    Nobody,
}

/// What each RPC needs, on both APIs. Health needs nothing, because it is a probe.
const RPCS: [(&str, Access); 12] = [
    ("identity.v1.IdentityService/Identify", Access::Scope(Scope::Identify)),
    ("identity.v1.IdentityService/BatchIdentify", Access::Scope(Scope::Identify)),
    ("identity.v1.IdentityService/StreamIdentify", Access::Scope(Scope::Identify)),
    ("identity.v1.GraphService/GetIdentity", Access::Scope(Scope::Read)),
    ("identity.v1.GraphService/LookupIdentities", Access::Scope(Scope::Read)),
    ("identity.v1.GraphService/ListIdentities", Access::Scope(Scope::Read)),
    ("identity.v1.GraphService/ListContacts", Access::Scope(Scope::Read)),
    ("identity.v1.GraphService/ListEvidence", Access::Scope(Scope::Read)),
    ("identity.v1.GraphService/ListRevisions", Access::Scope(Scope::Read)),
    ("identity.v1.GraphService/ExplainIdentity", Access::Scope(Scope::Read)),
    ("grpc.reflection.v1.ServerReflection/ServerReflectionInfo", Access::AnyCaller),
    ("grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo", Access::AnyCaller),
];

/// Returns what a call of a path needs. `None` is a path that does not exist: only known callers learn that.
pub(crate) fn needed_access(route: Option<&Route>) -> Access {
    let Some(route) = route else { return Access::AnyCaller };
    if route.is_probe || route.is_public {
        return Access::Open;
    }
    let Some(rpc) = &route.rpc_method else { return Access::AnyCaller };
    RPCS.iter().find(|(name, _)| name == rpc).map_or(Access::Nobody, |(_, access)| *access)
}

/// Resolves when the caller of a stream with these request extensions may not go on, with the reason: its token, its
/// certificate's name or its scope is no longer in the file of callers, or stands there for another caller.
pub(crate) fn permission_withdrawn(extensions: &http::Extensions) -> impl Future<Output = ApiError> + Send + 'static {
    let permission = extensions.get::<Permission>().cloned();
    async {
        match permission {
            Some(permission) => permission.withdrawn().await.into(),
            None => pending().await,
        }
    }
}

impl From<Refusal> for ApiError {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Unauthenticated => Self::Unauthenticated,
            Refusal::Scope(scope) => Self::ScopeMissing(scope),
            Refusal::Rate(wait) => Self::RateLimited(wait),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::FILE_DESCRIPTOR_SET;

    #[test]
    fn every_rpc_is_in_the_table_and_nothing_else() {
        use tonic_reflection::pb::{v1, v1alpha};
        let mut expected = Vec::new();
        for descriptors in [FILE_DESCRIPTOR_SET, v1::FILE_DESCRIPTOR_SET, v1alpha::FILE_DESCRIPTOR_SET] {
            let pool = prost_reflect::DescriptorPool::decode(descriptors).unwrap();
            for method in pool.services().flat_map(|service| service.methods().collect::<Vec<_>>()) {
                expected.push(format!("{}/{}", method.parent_service().full_name(), method.name()));
            }
        }
        let mut listed: Vec<_> = RPCS.iter().map(|(name, _)| (*name).to_owned()).collect();
        expected.sort();
        listed.sort();
        assert_eq!(listed, expected);
    }

    #[test]
    fn probes_and_public_pages_are_open_and_nothing_else_is() {
        let rpc = |name: &str| Route { rpc_method: Some(name.to_owned()), ..Route::default() };
        let page = Route { http_route: Some("/openapi.yaml".to_owned()), ..Route::default() };
        let probe = Route { is_probe: true, ..rpc("grpc.health.v1.Health/Check") };
        let public = Route { is_public: true, ..page.clone() };
        assert_eq!((needed_access(Some(&probe)), needed_access(Some(&public))), (Access::Open, Access::Open));
        assert_eq!(needed_access(Some(&rpc(RPCS[0].0))), Access::Scope(Scope::Identify));
        assert_eq!(needed_access(Some(&rpc("identity.v1.IdentityService/New"))), Access::Nobody);
        assert_eq!((needed_access(Some(&page)), needed_access(None)), (Access::AnyCaller, Access::AnyCaller));
    }
}
