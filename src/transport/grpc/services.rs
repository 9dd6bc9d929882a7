//! The services of the gRPC API, with reflection.

use std::collections::HashMap;
use std::convert::Infallible;

use http::{Request, Response};
use prost_reflect::DescriptorPool;
use tonic::body::Body;
use tonic::server::NamedService;
use tonic::service::Routes;
use tonic_reflection::server::Builder as Reflection;
use tower::Service;

use super::bounded_streams::{BoundedStreams, StreamBounds};
use super::inflate::Inflate;
use crate::transport::gunzip::TextRoom;
use crate::transport::routes::{Route, RouteTable, RpcType};

/// The API cannot be built, because a descriptor set is broken.
#[derive(Debug, thiserror::Error)]
pub enum DescriptorError {
    /// Reflection refuses it.
    #[error("the API's descriptors cannot be reflected")]
    Reflection(#[from] tonic_reflection::server::Error),
    /// It cannot be decoded.
    #[error("the API's descriptors cannot be read")]
    Descriptors(#[from] prost_reflect::DescriptorError),
}

/// Services, each with its descriptors, so that reflection and the log know all of them. All take gzip.
pub(super) struct Services {
    routes: Routes,
    descriptors: Vec<&'static [u8]>,
    probes: Vec<&'static str>,
    /// The largest message of a single request, in bytes.
    body_limit: usize,
    /// Room for compressed messages.
    room: TextRoom,
}

impl Services {
    pub(super) fn new(body_limit: usize, room: TextRoom) -> Self {
        Self { routes: Routes::default(), descriptors: Vec::new(), probes: Vec::new(), body_limit, room }
    }

    /// Adds a service and its descriptors.
    pub(super) fn add<S>(&mut self, service: S, descriptors: &'static [u8])
    where
        S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>,
        S: NamedService + Clone + Send + Sync + 'static,
        S::Future: Send + 'static,
    {
        let service = Inflate::new(service, self.body_limit, self.room.clone());
        self.routes = std::mem::take(&mut self.routes).add_service(service);
        if !self.descriptors.contains(&descriptors) {
            self.descriptors.push(descriptors); // Services of one package have one set.
        }
    }

    /// Adds a service that machines call every few seconds.
    pub(super) fn add_probe<S>(&mut self, service: S, descriptors: &'static [u8])
    where
        S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>,
        S: NamedService + Clone + Send + Sync + 'static,
        S::Future: Send + 'static,
    {
        self.probes.push(S::NAME);
        self.add(service, descriptors);
    }

    /// Returns the services, with reflection if `reflection` bounds its streams.
    pub(super) fn into_routes(mut self, reflection: Option<StreamBounds>) -> Result<RouteTable, DescriptorError> {
        if let Some(bounds) = reflection {
            self.add_reflection(&bounds)?;
        }
        let mut pool = DescriptorPool::new();
        for descriptors in &self.descriptors {
            pool.decode_file_descriptor_set(*descriptors)?;
        }
        let mut routes = HashMap::new();
        for method in pool.services().flat_map(|service| service.methods().collect::<Vec<_>>()) {
            let service = method.parent_service();
            let name = format!("{}/{}", service.full_name(), method.name());
            let is_probe = self.probes.contains(&service.full_name());
            let rpc_type = RpcType::new(method.is_client_streaming(), method.is_server_streaming());
            routes.insert(format!("/{name}"), Route { rpc_method: Some(name), is_probe, rpc_type, ..Route::default() });
        }
        Ok(RouteTable { router: self.routes.prepare().into_axum_router(), routes, ..RouteTable::default() })
    }

    /// Adds both versions: older tools know only v1alpha.
    fn add_reflection(&mut self, bounds: &StreamBounds) -> Result<(), DescriptorError> {
        use tonic_reflection::pb::{v1, v1alpha};

        self.descriptors.extend([v1::FILE_DESCRIPTOR_SET, v1alpha::FILE_DESCRIPTOR_SET]);
        let all = || {
            let none = Reflection::configure().include_reflection_service(false);
            self.descriptors.iter().fold(none, |all, one| all.register_encoded_file_descriptor_set(one))
        };
        let (v1, v1alpha) = (all().build_v1()?, all().build_v1alpha()?);
        self.routes = std::mem::take(&mut self.routes)
            .add_service(Inflate::new(BoundedStreams::new(v1, bounds.clone()), self.body_limit, self.room.clone()))
            .add_service(Inflate::new(
                BoundedStreams::new(v1alpha, bounds.clone()),
                self.body_limit,
                self.room.clone(),
            ));
        Ok(())
    }
}
