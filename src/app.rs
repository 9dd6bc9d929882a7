//! Wiring: from settings to a running service.

use std::io::Write;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::api::Timeouts;
use crate::cli::MigrateCommand;
use crate::resolver::{Limits, Resolver};
use crate::server::{self, Listeners, ServerOptions};
use crate::settings::{self, ListenAddr, Settings};
use crate::store::{ConnectOptions, Database};

/// How long to wait between two attempts to reach the database at start.
const CONNECT_EVERY: Duration = Duration::from_millis(500);

/// A service that is bound, connected and migrated, and not yet serving.
#[derive(Debug)]
pub struct App {
    listeners: Listeners,
    options: ServerOptions,
    resolver: Resolver,
    grpc_addr: SocketAddr,
    http_addr: SocketAddr,
}

impl App {
    /// Binds both addresses, reaches the database, and brings its schema up to date if it is told to.
    ///
    /// # Errors
    /// One line for the operator, whichever of these fails.
    pub async fn start(settings: &Settings) -> anyhow::Result<Self> {
        let grpc = bind(&settings.listen.grpc_addr, "GRPC_ADDR").await?;
        let http = bind(&settings.listen.http_addr, "HTTP_ADDR").await?;
        let (grpc_addr, http_addr) = (grpc.local_addr()?, http.local_addr()?);
        let database = connect(&settings.database).await?;
        if settings.database.migrate {
            database.migrate_up().await?;
        } else if !database.is_migrated().await? {
            bail!("the database lacks migrations, and MIGRATE is false: run `identity migrate up`");
        }
        let resolver = Resolver::start(
            database,
            Limits { queue: settings.limits.queue_limit, transaction_size: settings.limits.transaction_size },
        );
        let options = server_options(settings);
        Ok(Self { listeners: Listeners { grpc, http }, options, resolver, grpc_addr, http_addr })
    }

    /// Where gRPC listens.
    pub fn grpc_addr(&self) -> SocketAddr {
        self.grpc_addr
    }

    /// Where JSON over HTTP listens.
    pub fn http_addr(&self) -> SocketAddr {
        self.http_addr
    }

    /// Serves until the token is cancelled, and then until what is in flight is done.
    ///
    /// # Errors
    /// When the doors cannot be built.
    pub async fn run(self, shutdown: CancellationToken) -> anyhow::Result<()> {
        let reachable = self.resolver.reachable();
        server::serve(self.listeners, self.resolver, &self.options, reachable, shutdown).await?;
        Ok(())
    }
}

fn server_options(settings: &Settings) -> ServerOptions {
    let longest = settings.limits.request_timeout;
    ServerOptions {
        body_limit: settings.limits.http_body_limit,
        spelling: settings.identify.primary_id_field,
        region: settings.identify.phone_region,
        reflection: settings.listen.reflection,
        timeouts: Timeouts { default: longest, max: longest },
        drain_timeout: settings.limits.drain_timeout,
        max_connections: settings.limits.max_connections,
        stream_items: (settings.limits.queue_limit / 2).max(1),
        ..ServerOptions::default()
    }
}

/// `identity serve`: serves until SIGTERM or SIGINT, drains, and returns; a second signal ends the process
/// at once.
///
/// # Errors
/// One line for the operator.
pub async fn serve(settings: Settings) -> anyhow::Result<()> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let shutdown = CancellationToken::new();
    let stop = shutdown.clone();
    let mut any = async move || {
        tokio::select! {
            _ = terminate.recv() => "SIGTERM",
            _ = interrupt.recv() => "SIGINT",
        }
    };
    tokio::spawn(async move {
        let first = any().await;
        tracing::info!(signal = first, "draining");
        stop.cancel();
        let second = any().await;
        tracing::warn!(signal = second, "ending without draining");
        std::process::exit(1);
    });
    let app = tokio::select! {
        app = App::start(&settings) => app?,
        () = shutdown.cancelled() => return Ok(()), // Nothing was accepted yet.
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

/// `identity migrate up|down|status`.
///
/// # Errors
/// One line for the operator.
pub async fn migrate(settings: Settings, command: MigrateCommand) -> anyhow::Result<()> {
    let database = connect(&settings.database).await?;
    match command {
        MigrateCommand::Up => database.migrate_up().await?,
        MigrateCommand::Down(down) => database.migrate_down(down.limit()).await?,
        MigrateCommand::Status => {}
    }
    let mut out = std::io::stdout();
    for migration in database.migration_status().await? {
        let state = if migration.applied { "applied" } else { "pending" };
        writeln!(out, "{state}  {}", migration.name)?;
    }
    Ok(())
}

async fn bind(address: &ListenAddr, setting: &str) -> anyhow::Result<TcpListener> {
    let bound = TcpListener::bind((address.host(), address.port())).await;
    bound.with_context(|| format!("cannot listen at {address} ({setting})"))
}

/// Connects, for as long as the settings say to wait for a database that does not answer yet.
pub(crate) async fn connect(settings: &settings::Database) -> anyhow::Result<Database> {
    let begun = Instant::now();
    let mut told = false;
    loop {
        let options = ConnectOptions {
            urls: settings.server_urls(),
            max_connections: settings.connections,
            statement_timeout: settings.timeout,
        };
        match Database::connect(options).await {
            Ok(database) => return Ok(database),
            Err(error) if !error.is_lasting() && begun.elapsed() < settings.wait => {
                if !std::mem::replace(&mut told, true) {
                    tracing::warn!(wait_s = settings.wait.as_secs(), "waiting for the database");
                }
                tokio::time::sleep(CONNECT_EVERY).await;
            }
            Err(error) => return Err(error.into()),
        }
    }
}
