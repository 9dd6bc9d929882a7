use super::address::ListenAddr;
use super::sources::Sources;
use super::value;

/// The addresses that the service listens at.
#[derive(Clone, Debug)]
pub struct ListenSettings {
    /// Address of the gRPC API. Default `127.0.0.1:50051`.
    pub grpc_addr: ListenAddr,
    /// Address of the JSON API. Default `127.0.0.1:3000`.
    pub http_addr: ListenAddr,
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
    #[arg(long, env, value_parser = value::whole::<u16, 0, 65535>())]
    port: Option<u16>,

    /// Whether the service answers gRPC reflection
    #[arg(long, env, value_name = "BOOL", default_value = "true", value_parser = value::boolean())]
    #[arg(action = clap::ArgAction::Set)]
    reflection: bool,
}

impl ListenArgs {
    /// Returns the section, with `--port` put into the HTTP address.
    pub(super) fn resolve(self, sources: &Sources) -> ListenSettings {
        let Self { grpc_addr, http_addr, port, reflection } = self;
        let http_addr = match port {
            // A platform reaches the service from outside of its container.
            Some(port) if !sources.is_given("http_addr") => ListenAddr::at_all_addresses(port),
            Some(port) if sources.origin("port") > sources.origin("http_addr") => http_addr.with_port(port),
            _ => http_addr,
        };
        ListenSettings { grpc_addr, http_addr, reflection }
    }
}
