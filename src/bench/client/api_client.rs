use tonic::Code;

use super::service_address::ServiceAddress;
use crate::proto::identity::v1::{IdentifyRequest, Outcome};

/// The outcome of a request, or the code of its error.
pub(in crate::bench) type CallResult = Result<Outcome, Code>;

/// How one caller of the load generator sends its requests.
pub(in crate::bench) trait ApiClient: Sized + Send + 'static {
    /// Opens connections and returns one client for each caller.
    fn open(address: &ServiceAddress, callers: u32) -> impl Future<Output = anyhow::Result<Vec<Self>>> + Send;

    /// Sends the requests and waits for all answers. Returns one result for each request, in order.
    fn send(&mut self, requests: Vec<IdentifyRequest>) -> impl Future<Output = Vec<CallResult>> + Send;
}
