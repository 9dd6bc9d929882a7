//! `identity serve`: binds the addresses, connects to the database, migrates it, serves, and drains.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::signals::Signals;
use super::unfinished::{UNFINISHED_ADOPTION, check_adoption};
use crate::auth::{CallerFile, Callers};
use crate::listener::{self, FixedLimits, Listeners};
use crate::metrics::Metrics;
use crate::resolver::Resolver;
use crate::settings::{ListenAddr, Settings};
use crate::store::{Database, Store};
use crate::telemetry;
use crate::tls::TlsFiles;
use crate::traces::Traces;

/// A service that is ready to serve: its addresses are bound and its database is connected and migrated.
#[derive(Debug)]
pub struct App {
    listeners: Listeners,
    settings: Settings,
    resolver: Resolver,
    database: Database,
    grpc_addr: SocketAddr,
    http_addr: SocketAddr,
    metrics_addr: Option<SocketAddr>,
    metrics: Metrics,
}

impl App {
    /// Binds the addresses, connects to the database, and migrates it if the settings say so.
    ///
    /// # Errors
    /// One line for the operator.
    pub async fn start(settings: &Settings) -> anyhow::Result<Self> {
        settings.check_access()?;
        let tls = TlsFiles::load(&settings.tls)?.map(Arc::new);
        let callers = settings.access.tokens_file.as_deref().map(|path| Callers::load(CallerFile::new(path)));
        let callers = callers.transpose()?.map(Arc::new);
        if callers.is_some() && tls.is_none() {
            tracing::warn!("tokens are taken without TLS: put a proxy in front that speaks TLS, or set TLS_CERT");
        }
        if settings.sends_scrapes_in_plain_text() {
            tracing::warn!("METRICS_ADDR speaks without TLS: scrapes send their token in plain text over your network");
        }
        let grpc = bind(&settings.listen.grpc_addr, "GRPC_ADDR").await?;
        let http = bind(&settings.listen.http_addr, "HTTP_ADDR").await?;
        let (grpc_addr, http_addr) = (grpc.local_addr()?, http.local_addr()?);
        let page = match &settings.listen.metrics_addr {
            Some(address) => Some(bind(address, "METRICS_ADDR").await?),
            None => None,
        };
        let metrics_addr = page.as_ref().map(TcpListener::local_addr).transpose()?;
        let metrics = if page.is_some() { Metrics::on() } else { Metrics::default() };
        let traces = Traces::start(&settings.traces, &metrics)?;
        let database = Database::wait_and_connect(&settings.database).await?;
        check_adoption(&database).await?;
        if settings.database.migrate {
            database.migrate_up().await?;
        } else if !database.is_migrated().await? {
            bail!("the database lacks migrations and MIGRATE is false: run `identity migrate up`");
        } else {
            database.check_schema().await?;
        }
        let ping = database.ping().await;
        database.measure_by(&metrics);
        let resolver = Resolver::start_after(ping, database.clone(), settings.queue, settings.cache, &metrics);
        let state = resolver.database_state();
        metrics.read_database_up(move || state.borrow().is_usable());
        metrics.read_log(telemetry::lost_lines, telemetry::panics);
        let listeners = Listeners { grpc, http, tls, callers, metrics: page, traces, json: Vec::new() };
        let settings = settings.clone();
        Ok(Self { listeners, settings, resolver, database, grpc_addr, http_addr, metrics_addr, metrics })
    }

    /// Returns the bound address of the gRPC API.
    pub fn grpc_addr(&self) -> SocketAddr {
        self.grpc_addr
    }

    /// Returns the bound address of the JSON API.
    pub fn http_addr(&self) -> SocketAddr {
        self.http_addr
    }

    /// Returns the bound address of the metrics, if there are any.
    pub fn metrics_addr(&self) -> Option<SocketAddr> {
        self.metrics_addr
    }

    /// Serves until the token is cancelled, then drains and closes the database.
    ///
    /// # Errors
    /// When an API cannot be built from the proto, or an adoption begins.
    pub async fn run(self, shutdown: CancellationToken) -> anyhow::Result<()> {
        let state = self.resolver.database_state();
        let Self { listeners, resolver, settings, database, metrics, .. } = self;
        let traces = listeners.traces.clone();
        let limits = FixedLimits::default();
        tokio::select! {
            served = listener::serve(listeners, resolver, &settings, limits, state, &metrics, shutdown) => served?,
            // At once: what it would still answer may be lost.
            () = until_adoption_begins(&database) => bail!("{UNFINISHED_ADOPTION}"),
        }
        database.close().await;
        traces.close().await;
        Ok(())
    }
}

/// How long a process may take to end after its drain: connections are cut, and tasks see it.
const END_WITHIN: Duration = Duration::from_secs(5);

/// Serves until SIGTERM or SIGINT, then drains and returns. A second signal ends the process at once, and so does a
/// drain that goes on for 5 s longer than the settings allow.
///
/// # Errors
/// One line for the operator.
pub async fn serve(mut settings: Settings, signals: &Signals) -> anyhow::Result<()> {
    settings.traces = settings.traces.with_standard_variables(|name| std::env::var(name).ok())?;
    let limit = settings.limits.drain_delay + settings.limits.drain_timeout + END_WITHIN;
    let shutdown = signals.drain_within(limit).context("signals cannot be handled")?;
    let app = tokio::select! {
        app = App::start(&settings) => app?,
        () = shutdown.cancelled() => return Ok(()), // There are no connections yet.
    };
    tracing::info!(
        grpc.address = %app.grpc_addr,
        http.address = %app.http_addr,
        metrics.address = app.metrics_addr.map(|address| address.to_string()),
        tls = settings.tls.tls_cert.is_some(),
        database = settings.database.scheme(),
        traces = settings.traces.otlp_endpoint.is_some(),
        "serving"
    );
    app.run(shutdown).await?;
    tracing::info!("drained");
    Ok(())
}

/// How often a running service sees whether an adoption has begun. `identity adopt` waits for longer.
const ADOPTION_EVERY: Duration = Duration::from_millis(500);

/// Returns when an adoption begins. A database that does not answer is no sign of one.
async fn until_adoption_begins(database: &Database) {
    while !database.has_unfinished_adoption().await.unwrap_or(false) {
        tokio::time::sleep(ADOPTION_EVERY).await;
    }
}

async fn bind(address: &ListenAddr, setting: &str) -> anyhow::Result<TcpListener> {
    let mut bound = TcpListener::bind((address.host(), address.port())).await;
    if let Err(error) = &bound
        && ![ErrorKind::AddrInUse, ErrorKind::PermissionDenied].contains(&error.kind())
        && let Some(ipv4) = address.without_ipv6()
    {
        bound = TcpListener::bind((ipv4.host(), ipv4.port())).await;
    }
    bound.with_context(|| format!("cannot listen at {address} ({setting})"))
}
