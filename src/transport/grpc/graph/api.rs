use crate::transport::grpc::settings::GrpcSettings;

/// What the methods of `identity.v1.GraphService` share.
#[derive(Debug)]
pub(in crate::transport::grpc) struct GraphApi<R> {
    pub(in crate::transport::grpc) resolver: R,
    pub(in crate::transport::grpc) settings: GrpcSettings,
}
