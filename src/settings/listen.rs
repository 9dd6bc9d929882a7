use super::sources::Sources;
use super::{ListenAddr, value};

/// Where the service listens and what it shows there.
#[derive(Clone, Debug)]
pub struct Listen {
    /// gRPC. Default `127.0.0.1:50051`.
    pub grpc_addr: ListenAddr,
    /// JSON over HTTP. Default `127.0.0.1:3000`.
    pub http_addr: ListenAddr,
    /// Whether gRPC reflection answers. Default true.
    pub reflection: bool,
}

#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Listening")]
pub(super) struct ListenArgs {
    /// Where gRPC listens; port 0 picks a free one
    #[arg(long, env, value_name = "HOST:PORT", default_value = "127.0.0.1:50051")]
    #[arg(value_parser = value::from_str::<ListenAddr>())]
    grpc_addr: ListenAddr,

    /// Where JSON over HTTP listens; port 0 picks a free one
    #[arg(long, env, value_name = "HOST:PORT", default_value = "127.0.0.1:3000")]
    #[arg(value_parser = value::from_str::<ListenAddr>())]
    http_addr: ListenAddr,

    /// Port for JSON over HTTP, at the host of --http-addr. An --http-addr that is given in the same
    /// place (flag, environment, file), or in one that comes before it, wins
    #[arg(long, env, value_parser = value::whole::<u16, 0, 65535>())]
    port: Option<u16>,

    /// Whether gRPC reflection answers
    #[arg(long, env, value_name = "BOOL", default_value = "true", value_parser = value::boolean())]
    #[arg(action = clap::ArgAction::Set)]
    reflection: bool,
}

impl ListenArgs {
    pub(super) fn settle(self, sources: &Sources) -> Listen {
        let Self { grpc_addr, http_addr, port, reflection } = self;
        let http_addr = match port {
            Some(port) if sources.origin("port") > sources.origin("http_addr") => http_addr.with_port(port),
            _ => http_addr,
        };
        Listen { grpc_addr, http_addr, reflection }
    }
}
