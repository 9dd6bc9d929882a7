//! What is special about single RPCs. A new RPC needs an entry here only if it differs from the rest.

use super::batch_size::batch_body_limit;

/// The RPC that encodes its answer by itself, beside [`BATCH_IDENTIFY`].
const IDENTIFY: &str = "/identity.v1.IdentityService/Identify";

/// The RPC whose messages may be large.
const BATCH_IDENTIFY: &str = "/identity.v1.IdentityService/BatchIdentify";

/// The RPC that looks up many identifiers.
const LOOKUP_IDENTITIES: &str = "/identity.v1.GraphService/LookupIdentities";

/// The RPCs that take many identifiers.
const OF_MANY_IDENTIFIERS: [&str; 2] = [LOOKUP_IDENTITIES, "/identity.v1.GraphService/ExplainIdentity"];

/// The RPC whose answers are many small messages.
const STREAM_IDENTIFY: &str = "/identity.v1.IdentityService/StreamIdentify";

/// Whether the gRPC method at `path` takes a batch, and so larger messages than others.
pub(crate) fn takes_batch(path: &str) -> bool {
    path == BATCH_IDENTIFY || OF_MANY_IDENTIFIERS.contains(&path)
}

/// Whether the gRPC method at `path` is `Identify`.
pub(crate) fn is_identify(path: &str) -> bool {
    path == IDENTIFY
}

/// Whether the gRPC method at `path` looks up identifiers.
pub(crate) fn is_look_up(path: &str) -> bool {
    path == LOOKUP_IDENTITIES
}

/// Whether the gRPC method at `path` answers a stream of messages.
pub(crate) fn answers_a_stream(path: &str) -> bool {
    path == STREAM_IDENTIFY
}

/// Whether the gRPC method at `path` takes a stream of messages; any other takes one.
pub(crate) fn takes_a_stream(path: &str) -> bool {
    path == STREAM_IDENTIFY || path.ends_with("/ServerReflectionInfo")
}

/// Whether the RPC `package.Service/Method` has requests to identify: one, or many.
pub(crate) fn identifies(rpc_method: &str) -> bool {
    rpc_method.starts_with("identity.v1.") && rpc_method.ends_with("Identify")
}

/// Whether the RPC `package.Service/Method` needs places in the queue of the resolver.
pub(crate) fn needs_places(rpc_method: &str) -> bool {
    identifies(rpc_method) || rpc_method.starts_with("identity.v1.GraphService/")
}

/// The largest message of the gRPC method at `path`, in bytes, if one of a single request may have `body_limit`.
pub(crate) fn message_limit(path: &str, body_limit: usize) -> usize {
    if takes_batch(path) { batch_body_limit(body_limit) } else { body_limit }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::FILE_DESCRIPTOR_SET;

    #[test]
    fn the_methods_are_in_the_proto() {
        let pool = prost_reflect::DescriptorPool::decode(FILE_DESCRIPTOR_SET).unwrap();
        for path in [IDENTIFY, BATCH_IDENTIFY, STREAM_IDENTIFY] {
            let (service, method) = path[1..].split_once('/').unwrap();
            let service = pool.get_service_by_name(service).unwrap();
            let method = service.methods().find(|of| of.name() == method).unwrap();
            assert_eq!(method.is_server_streaming(), answers_a_stream(path));
            assert!(identifies(&path[1..]) && !identifies("grpc.health.v1.Health/Check"));
        }
        let graph = pool.get_service_by_name("identity.v1.GraphService").unwrap();
        for method in graph.methods() {
            let name = format!("identity.v1.GraphService/{}", method.name());
            assert!(needs_places(&name) && !identifies(&name) && !needs_places("grpc.health.v1.Health/Check"));
        }
        for path in OF_MANY_IDENTIFIERS {
            assert!(graph.methods().any(|method| path.ends_with(method.name())));
        }
    }

    #[test]
    fn the_methods_that_take_a_stream_are_those_of_the_protos() {
        let reflection =
            [tonic_reflection::pb::v1::FILE_DESCRIPTOR_SET, tonic_reflection::pb::v1alpha::FILE_DESCRIPTOR_SET];
        for descriptors in [[FILE_DESCRIPTOR_SET, tonic_health::pb::FILE_DESCRIPTOR_SET], reflection].concat() {
            let pool = prost_reflect::DescriptorPool::decode(descriptors).unwrap();
            for method in pool.services().flat_map(|service| service.methods().collect::<Vec<_>>()) {
                let path = format!("/{}/{}", method.parent_service().full_name(), method.name());
                assert_eq!(method.is_client_streaming(), takes_a_stream(&path), "{path}");
            }
        }
    }
}
