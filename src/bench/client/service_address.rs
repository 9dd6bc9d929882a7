use std::time::Duration;

use anyhow::{Context, bail};
use tokio::net::TcpStream;
use tonic::transport::{Channel, Endpoint};

use crate::settings::{ListenAddr, ListenSettings};

/// Time limit for a new connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// The addresses of the service, and how many connections to open.
#[derive(Clone, Debug)]
pub(in crate::bench) struct ServiceAddress {
    grpc: ListenAddr,
    http: ListenAddr,
    /// Connections for all callers of a thread, where callers can share a connection.
    connections: u32,
}

impl ServiceAddress {
    pub(in crate::bench) fn new(listen: &ListenSettings, connections: u32) -> anyhow::Result<Self> {
        let (grpc, http) = (listen.grpc_addr.reachable_locally(), listen.http_addr.reachable_locally());
        if grpc.port() == 0 || http.port() == 0 {
            bail!("port 0 does not say where the service listens: give --grpc-addr and --http-addr");
        }
        Ok(Self { grpc, http, connections })
    }

    /// Returns the address for one of so many threads, with its part of the connections.
    pub(in crate::bench) fn for_one_of(&self, threads: u32) -> Self {
        Self { connections: self.connections.div_ceil(threads), ..self.clone() }
    }

    /// Returns the address of the JSON API.
    pub(super) fn http(&self) -> &ListenAddr {
        &self.http
    }

    /// Opens the connections. Returns one channel for each caller; several callers share a connection.
    pub(super) async fn channels(&self, callers: u32) -> anyhow::Result<Vec<Channel>> {
        let connections = self.connect_grpc(callers).await?;
        Ok(connections.into_iter().cycle().take(usize::try_from(callers)?).collect())
    }

    /// Opens the gRPC connections that so many callers share.
    pub(super) async fn connect_grpc(&self, callers: u32) -> anyhow::Result<Vec<Channel>> {
        let endpoint = Endpoint::from_shared(format!("http://{}", self.grpc))?.connect_timeout(CONNECT_TIMEOUT);
        let mut connections = Vec::new();
        for _ in 0..self.connections.min(callers) {
            let channel = endpoint.connect().await;
            connections.push(channel.with_context(|| format!("cannot reach the service at {} (gRPC)", self.grpc))?);
        }
        Ok(connections)
    }

    /// Opens a TCP connection to the JSON API.
    pub(super) async fn connect_http(&self) -> std::io::Result<TcpStream> {
        let connect = TcpStream::connect((self.http.host(), self.http.port()));
        let stream = tokio::time::timeout(CONNECT_TIMEOUT, connect).await??;
        stream.set_nodelay(true)?;
        Ok(stream)
    }
}
