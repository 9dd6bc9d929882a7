//! The clients of the load generator: one file for each way to call the service.
//!
//! To add one: a file here with an [`ApiClient`], a variant of `ApiKind` in `args.rs`, and a line of `run_load`.

mod api_client;
mod authorized_channel;
mod batch;
mod grpc;
mod health;
mod json;
mod look_up;
mod service_address;
mod stream;

pub(super) use api_client::{ApiClient, CallResult};
pub(super) use authorized_channel::AuthorizedChannel;
pub(super) use batch::BatchClient;
pub(super) use grpc::GrpcClient;
pub(super) use health::HealthCheckClient;
pub(super) use json::JsonClient;
pub(super) use look_up::LookUpClient;
pub(super) use service_address::ServiceAddress;
pub(super) use stream::StreamClient;
