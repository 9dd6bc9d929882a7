use super::address::ListenAddr;
use super::origin::{AllowedOrigins, HostNames};
use super::sources::Sources;
use super::value;

/// The addresses that the service listens at.
#[derive(Clone, Debug)]
pub struct ListenSettings {
    /// Address of the gRPC API. Default `127.0.0.1:50051`.
    pub grpc_addr: ListenAddr,
    /// Address of the JSON API. Default `127.0.0.1:3000`.
    pub http_addr: ListenAddr,
    /// Address of the metrics and of health. Default none.
    pub metrics_addr: Option<ListenAddr>,
    /// Origins whose web pages may call the JSON API. Default none.
    pub http_allowed_origins: AllowedOrigins,
    /// Host names under which web pages of the service's own origin reach the JSON API. Default none.
    pub http_host_names: HostNames,
    /// Whether the JSON API has a page to try it, and everybody may read its description. Default true.
    pub http_docs: bool,
    /// Whether the service answers gRPC reflection. Default true.
    pub reflection: bool,
}

#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Listening")]
pub(super) struct ListenArgs {
    /// Address of the gRPC API; port 0 picks a free port
    #[arg(long, env, value_name = "HOST:PORT", default_value = "127.0.0.1:50051")]
    #[arg(value_parser = value::from_str::<ListenAddr>())]
    grpc_addr: ListenAddr,

    /// Address of the JSON API; port 0 picks a free port
    #[arg(long, env, value_name = "HOST:PORT", default_value = "127.0.0.1:3000")]
    #[arg(value_parser = value::from_str::<ListenAddr>())]
    http_addr: ListenAddr,

    /// Port of the JSON API on all addresses, for platforms that choose it. If --http-addr is given, its host stays; an
    /// --http-addr from the same source (flag, environment, file) or from a stronger one wins
    #[arg(long, env, value_parser = value::integer::<u16, 0, 65535>())]
    port: Option<u16>,

    /// Address of `GET /metrics`, /healthz and /readyz; without it there are no metrics
    #[arg(long, env, value_name = "HOST:PORT", value_parser = value::from_str::<ListenAddr>())]
    metrics_addr: Option<ListenAddr>,

    /// Origins whose web pages may call the JSON API, such as https://shop.example, with commas between them; pages of
    /// other origins are refused
    #[arg(long, env, value_name = "ORIGINS", value_parser = value::from_str::<AllowedOrigins>())]
    http_allowed_origins: Option<AllowedOrigins>,

    /// Host names of the JSON API, with commas between them. Web pages of these hosts may call it. Pages of its IP
    /// addresses and of localhost always may
    #[arg(long, env, value_name = "NAMES", value_parser = value::from_str::<HostNames>())]
    http_host_names: Option<HostNames>,

    /// Whether the JSON API has pages for people, `GET /docs` and `GET /graph`, and everybody may read its description,
    /// /openapi.json
    #[arg(long, env, value_name = "BOOL", default_value = "true", value_parser = value::boolean())]
    #[arg(action = clap::ArgAction::Set)]
    http_docs: bool,

    /// Whether the service answers gRPC reflection
    #[arg(long, env, value_name = "BOOL", default_value = "true", value_parser = value::boolean())]
    #[arg(action = clap::ArgAction::Set)]
    reflection: bool,
}

impl ListenArgs {
    /// Returns the section, with `--port` put into the HTTP address.
    pub(super) fn resolve(self, sources: &Sources) -> ListenSettings {
        let Self {
            grpc_addr,
            http_addr,
            port,
            metrics_addr,
            http_allowed_origins,
            http_host_names,
            http_docs,
            reflection,
        } = self;
        let http_addr = match port {
            // A platform reaches the service from outside of its container.
            Some(port) if !sources.is_given("http_addr") => ListenAddr::at_all_addresses(port),
            Some(port) if sources.origin("port") > sources.origin("http_addr") => http_addr.with_port(port),
            _ => http_addr,
        };
        ListenSettings {
            grpc_addr,
            http_addr,
            metrics_addr,
            http_allowed_origins: http_allowed_origins.unwrap_or_default(),
            http_host_names: http_host_names.unwrap_or_default(),
            http_docs,
            reflection,
        }
    }
}
