//! What is special about single RPCs. A new RPC needs an entry here only if it differs from the rest.

use super::batch_size::batch_body_limit;

/// The RPC whose messages may be large.
const BATCH_IDENTIFY: &str = "/identity.v1.IdentityService/BatchIdentify";

/// Whether the gRPC method at `path` takes a batch, and so larger messages than others.
pub(crate) fn takes_batch(path: &str) -> bool {
    path == BATCH_IDENTIFY
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
        let (service, method) = BATCH_IDENTIFY[1..].split_once('/').unwrap();
        let service = pool.get_service_by_name(service).unwrap();
        assert!(service.methods().any(|of| of.name() == method));
    }
}
