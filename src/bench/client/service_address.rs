use std::time::Duration;

use anyhow::{Context, bail};
use http::HeaderValue;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tonic::transport::Endpoint;

use super::authorized_channel::AuthorizedChannel;
use crate::settings::{ListenAddr, ListenSettings};
use crate::tls::{ALPN_HTTP1, ClientTls, connect_grpc};

/// Time limit for a new connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// The addresses of the service, and how many connections to open.
#[derive(Clone, Debug)]
pub(in crate::bench) struct ServiceAddress {
    grpc: ListenAddr,
    http: ListenAddr,
    /// Connections for all callers of a thread, where callers can share a connection.
    connections: u32,
    tls: Option<ClientTls>,
    /// The value of `Authorization`, if the calls have a token.
    authorization: Option<HeaderValue>,
}

/// A connection to the JSON API, with or without TLS.
pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

impl ServiceAddress {
    pub(in crate::bench) fn new(
        listen: &ListenSettings,
        connections: u32,
        tls: Option<ClientTls>,
        authorization: Option<HeaderValue>,
    ) -> anyhow::Result<Self> {
        let (grpc, http) = (listen.grpc_addr.reachable_locally(), listen.http_addr.reachable_locally());
        if grpc.port() == 0 || http.port() == 0 {
            bail!("port 0 does not say where the service listens: give --grpc-addr and --http-addr");
        }
        Ok(Self { grpc, http, connections, tls, authorization })
    }

    /// Returns the address for one of so many threads, with its part of the connections.
    pub(in crate::bench) fn for_one_of(&self, threads: u32) -> Self {
        Self { connections: self.connections.div_ceil(threads), ..self.clone() }
    }

    /// Returns the address of the JSON API.
    pub(super) fn http(&self) -> &ListenAddr {
        &self.http
    }

    /// Returns the value of `Authorization`, if the calls have a token.
    pub(super) fn authorization(&self) -> Option<&HeaderValue> {
        self.authorization.as_ref()
    }

    /// Opens the connections. Returns one channel for each caller; several callers share a connection.
    pub(super) async fn channels(&self, callers: u32) -> anyhow::Result<Vec<AuthorizedChannel>> {
        let connections = self.connect_grpc(callers).await?;
        Ok(connections.into_iter().cycle().take(usize::try_from(callers)?).collect())
    }

    /// Opens the gRPC connections that so many callers share.
    pub(in crate::bench) async fn connect_grpc(&self, callers: u32) -> anyhow::Result<Vec<AuthorizedChannel>> {
        let mut connections = Vec::new();
        for _ in 0..self.connections.min(callers) {
            let within = |endpoint: Endpoint| endpoint.connect_timeout(CONNECT_TIMEOUT);
            let channel = connect_grpc(&self.grpc, self.tls.as_ref(), within).await;
            let channel = channel.with_context(|| format!("cannot reach the service at {} (gRPC)", self.grpc))?;
            connections.push(AuthorizedChannel { channel, authorization: self.authorization.clone() });
        }
        Ok(connections)
    }

    /// Opens a connection to the JSON API.
    pub(super) async fn connect_http(&self) -> std::io::Result<Box<dyn Stream>> {
        let connect = async {
            let stream = TcpStream::connect((self.http.host(), self.http.port())).await?;
            stream.set_nodelay(true)?;
            Ok(match &self.tls {
                Some(tls) => Box::new(tls.connect(self.http.host(), stream, ALPN_HTTP1).await?) as Box<dyn Stream>,
                None => Box::new(stream),
            })
        };
        tokio::time::timeout(CONNECT_TIMEOUT, connect).await?
    }
}
