use std::time::Duration;

use super::value;

/// Bounds on what callers may ask for.
#[derive(Clone, Copy, Debug, clap::Args)]
#[command(next_help_heading = "Limits")]
pub struct Limits {
    /// The largest body of a JSON request, and message of a gRPC one, in bytes; of a batch, 16 times that
    #[arg(long, env, value_name = "BYTES", default_value = "65536")]
    #[arg(value_parser = value::whole::<usize, 1, 1_073_741_824>())]
    pub http_body_limit: usize,

    /// The longest a request (of a stream: each item) may take, and what a caller without a deadline gets
    #[arg(long, env, value_name = "TIME", default_value = "10s", value_parser = value::timeout())]
    pub request_timeout: Duration,

    /// How long calls in flight may go on after SIGTERM or SIGINT
    #[arg(long, env, value_name = "TIME", default_value = "10s", value_parser = value::duration())]
    pub drain_timeout: Duration,

    /// The most connections of clients, for gRPC and for HTTP each
    #[arg(long, env, value_name = "COUNT", default_value = "10000")]
    #[arg(value_parser = value::whole::<usize, 1, 1_000_000>())]
    pub max_connections: usize,
}
