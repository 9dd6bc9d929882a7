//! `grpc.health.v1.Health`.

use std::pin::Pin;

use futures::{Stream, StreamExt, stream};
use tonic::{Request, Response, Status};
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse, health_server};

use crate::transport::readiness::Readiness;

/// `grpc.health.v1.Health`: NOT_SERVING while the database cannot be reached, and during shutdown.
///
/// Not the service of `tonic_health`: its Watch streams never end, and so block a graceful shutdown.
#[derive(Debug)]
pub(super) struct Health {
    readiness: Readiness,
    services: &'static [&'static str],
}

type Statuses = Pin<Box<dyn Stream<Item = Result<HealthCheckResponse, Status>> + Send>>;

impl Health {
    /// Speaks for the whole server (`""`) and for these services.
    pub(super) fn new<const N: usize>(readiness: Readiness, services: &'static [&'static str; N]) -> Self {
        Self { readiness, services }
    }

    fn knows(&self, service: &str) -> bool {
        service.is_empty() || self.services.contains(&service)
    }
}

#[tonic::async_trait]
impl health_server::Health for Health {
    async fn check(&self, request: Request<HealthCheckRequest>) -> Result<Response<HealthCheckResponse>, Status> {
        if !self.knows(&request.get_ref().service) {
            return Err(Status::not_found("the service is not known"));
        }
        Ok(Response::new(response(serving(self.readiness.is_ready()))))
    }

    type WatchStream = Statuses;

    async fn watch(&self, request: Request<HealthCheckRequest>) -> Result<Response<Statuses>, Status> {
        let readiness = self.readiness.clone();
        let statuses: Statuses = if self.knows(&request.get_ref().service) {
            Box::pin(readiness.changes().map(|ready| Ok(response(serving(ready)))))
        } else {
            // By the protocol the stream stays open, in case the service comes.
            let unknown = stream::iter([Ok(response(ServingStatus::ServiceUnknown))]);
            Box::pin(unknown.chain(stream::pending()).take_until(readiness.closing()))
        };
        Ok(Response::new(statuses))
    }
}

fn serving(ready: bool) -> ServingStatus {
    if ready { ServingStatus::Serving } else { ServingStatus::NotServing }
}

fn response(status: ServingStatus) -> HealthCheckResponse {
    HealthCheckResponse { status: status.into() }
}
