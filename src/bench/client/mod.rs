//! How a caller asks: one file a api.

use std::time::Duration;

use anyhow::{Context, bail};
use tokio::net::TcpStream;
use tonic::Code;
use tonic::transport::{Channel, Endpoint};

use crate::proto::identity::v1::{IdentifyRequest, Outcome};
use crate::settings::{ListenSettings, ListenAddr};

mod batch;
mod grpc;
mod health;
mod json;
mod stream;

pub(super) use batch::Batch;
pub(super) use grpc::Grpc;
pub(super) use health::Health;
pub(super) use json::Json;
pub(super) use stream::Stream;

/// The outcome, or the code of the error.
pub(super) type Answer = Result<Outcome, Code>;

/// What one caller asks through.
pub(super) trait Client: Sized + Send + 'static {
    /// As many APIs as there are callers, over as many connections as the api thinks right.
    fn open(target: &Target, callers: u32) -> impl Future<Output = anyhow::Result<Vec<Self>>> + Send;

    /// Asks, and waits for the answers: one for each request, in their order.
    fn ask(&mut self, requests: Vec<IdentifyRequest>) -> impl Future<Output = Vec<Answer>> + Send;
}

/// How long a connection may take.
const CONNECT_WITHIN: Duration = Duration::from_secs(5);

/// Where the service is.
#[derive(Clone, Debug)]
pub(super) struct Target {
    grpc: ListenAddr,
    http: ListenAddr,
    /// For all callers of a thread, where a connection can carry many.
    connections: u32,
}

impl Target {
    pub(super) fn new(listen: &ListenSettings, connections: u32) -> anyhow::Result<Self> {
        let (grpc, http) = (listen.grpc_addr.reachable_locally(), listen.http_addr.reachable_locally());
        if grpc.port() == 0 || http.port() == 0 {
            bail!("port 0 says nothing about where the service listens: give --grpc-addr and --http-addr");
        }
        Ok(Self { grpc, http, connections })
    }

    /// The same for one of so many threads.
    pub(super) fn share(&self, threads: u32) -> Self {
        Self { connections: self.connections.div_ceil(threads), ..self.clone() }
    }

    /// A channel for each caller; several callers share a connection.
    async fn channels(&self, callers: u32) -> anyhow::Result<Vec<Channel>> {
        let connections = self.connect(callers).await?;
        Ok(connections.into_iter().cycle().take(usize::try_from(callers)?).collect())
    }

    /// The connections that so many callers share.
    async fn connect(&self, callers: u32) -> anyhow::Result<Vec<Channel>> {
        let endpoint = Endpoint::from_shared(format!("http://{}", self.grpc))?.connect_timeout(CONNECT_WITHIN);
        let mut connections = Vec::new();
        for _ in 0..self.connections.min(callers) {
            let channel = endpoint.connect().await;
            connections.push(channel.with_context(|| format!("cannot reach the service at {} (gRPC)", self.grpc))?);
        }
        Ok(connections)
    }

    async fn http(&self) -> std::io::Result<TcpStream> {
        let stream = tokio::time::timeout(CONNECT_WITHIN, TcpStream::connect((self.http.host(), self.http.port())));
        let stream = stream.await??;
        stream.set_nodelay(true)?;
        Ok(stream)
    }
}
