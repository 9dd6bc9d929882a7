//! `identity serve`: binds the addresses, connects to the database, migrates it, serves, and drains.

use std::net::SocketAddr;

use anyhow::{Context, bail};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::listener::{self, FixedLimits, Listeners};
use crate::resolver::Resolver;
use crate::settings::{ListenAddr, Settings};
use crate::store::Database;

/// A service that is ready to serve: its addresses are bound and its database is connected and migrated.
#[derive(Debug)]
pub struct App {
    listeners: Listeners,
    settings: Settings,
    resolver: Resolver,
    grpc_addr: SocketAddr,
    http_addr: SocketAddr,
}

impl App {
    /// Binds both addresses, connects to the database, and migrates it if the settings say so.
    ///
    /// # Errors
    /// One line for the operator.
    pub async fn start(settings: &Settings) -> anyhow::Result<Self> {
        let grpc = bind(&settings.listen.grpc_addr, "GRPC_ADDR").await?;
        let http = bind(&settings.listen.http_addr, "HTTP_ADDR").await?;
        let (grpc_addr, http_addr) = (grpc.local_addr()?, http.local_addr()?);
        let database = Database::wait_and_connect(&settings.database).await?;
        if settings.database.migrate {
            database.migrate_up().await?;
        } else if !database.is_migrated().await? {
            bail!("the database lacks migrations and MIGRATE is false: run `identity migrate up`");
        } else {
            database.check_schema().await?;
        }
        let resolver = Resolver::start(database, settings.queue);
        let listeners = Listeners { grpc, http };
        Ok(Self { listeners, settings: settings.clone(), resolver, grpc_addr, http_addr })
    }

    /// Returns the bound address of the gRPC API.
    pub fn grpc_addr(&self) -> SocketAddr {
        self.grpc_addr
    }

    /// Returns the bound address of the JSON API.
    pub fn http_addr(&self) -> SocketAddr {
        self.http_addr
    }

    /// Serves until the token is cancelled, then drains.
    ///
    /// # Errors
    /// When an API cannot be built from the proto.
    pub async fn run(self, shutdown: CancellationToken) -> anyhow::Result<()> {
        let reachable = self.resolver.reachable();
        let Self { listeners, resolver, settings, .. } = self;
        listener::serve(listeners, resolver, &settings, FixedLimits::default(), reachable, shutdown).await?;
        Ok(())
    }
}

/// Serves until SIGTERM or SIGINT, then drains and returns. A second signal ends the process at once.
///
/// # Errors
/// One line for the operator.
pub async fn serve(settings: Settings) -> anyhow::Result<()> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let shutdown = CancellationToken::new();
    let stop = shutdown.clone();
    let mut next_signal = async move || {
        tokio::select! {
            _ = terminate.recv() => "SIGTERM",
            _ = interrupt.recv() => "SIGINT",
        }
    };
    tokio::spawn(async move {
        let first = next_signal().await;
        tracing::info!(signal = first, "draining");
        stop.cancel();
        let second = next_signal().await;
        tracing::warn!(signal = second, "second signal: the process ends without draining");
        std::process::exit(1);
    });
    let app = tokio::select! {
        app = App::start(&settings) => app?,
        () = shutdown.cancelled() => return Ok(()), // There are no connections yet.
    };
    tracing::info!(
        grpc.address = %app.grpc_addr,
        http.address = %app.http_addr,
        database = settings.database.scheme(),
        "serving"
    );
    app.run(shutdown).await?;
    tracing::info!("drained");
    Ok(())
}

async fn bind(address: &ListenAddr, setting: &str) -> anyhow::Result<TcpListener> {
    let bound = TcpListener::bind((address.host(), address.port())).await;
    bound.with_context(|| format!("cannot listen at {address} ({setting})"))
}
