use std::time::Duration;

use super::value;

/// Limits on callers.
#[derive(Clone, Copy, Debug, clap::Args)]
#[command(next_help_heading = "Limits")]
pub struct LimitSettings {
    /// Maximum bytes of a JSON body or a gRPC message; a batch may have 16 times as many
    #[arg(long, env, value_name = "BYTES", default_value = "65536")]
    #[arg(value_parser = value::integer::<usize, 1, 1_073_741_824>())]
    pub http_body_limit: usize,

    /// Maximum bytes of an answer, at least 1 MiB. A single answer lists as many contacts as fit; an item of a batch
    /// that does not fit fails with RESOURCE_EXHAUSTED after it was carried out
    #[arg(long, env, value_name = "BYTES", default_value = "4194304")]
    #[arg(value_parser = value::integer::<usize, 1_048_576, 1_073_741_824>())]
    pub answer_limit: usize,

    /// Time limit for a request, and for each item of a stream. A caller's own deadline applies if it is shorter
    #[arg(long, env, value_name = "TIME", default_value = "10s", value_parser = value::timeout())]
    pub request_timeout: Duration,

    /// How long the service still takes new calls after SIGTERM or SIGINT, while health already says NOT_SERVING
    #[arg(long, env, value_name = "TIME", default_value = "0s", value_parser = value::duration())]
    pub drain_delay: Duration,

    /// How long calls in flight may take after SIGTERM or SIGINT and the drain delay
    #[arg(long, env, value_name = "TIME", default_value = "10s", value_parser = value::duration())]
    pub drain_timeout: Duration,

    /// How long the service waits for a client that reads nothing of its answer. After that it resets the call or
    /// closes the connection
    #[arg(long, env, value_name = "TIME", default_value = "30s", value_parser = value::timeout())]
    pub send_timeout: Duration,

    /// Maximum client connections, for gRPC and for HTTP each
    #[arg(long, env, value_name = "COUNT", default_value = "10000")]
    #[arg(value_parser = value::integer::<usize, 1, 1_000_000>())]
    pub max_connections: usize,

    /// Maximum connections of one client address (IPv6: of its /64), for gRPC and for HTTP each; without it, three
    /// quarters of --max-connections
    #[arg(long, env, value_name = "COUNT", value_parser = value::integer::<usize, 1, 1_000_000>())]
    pub max_connections_per_peer: Option<usize>,

    /// Age at which a connection is closed gracefully, a tenth more or less; 0s is never. Behind a layer-4 load
    /// balancer it spreads HTTP/2 clients over new replicas
    #[arg(long, env, value_name = "TIME", default_value = "0s", value_parser = value::duration())]
    pub max_connection_age: Duration,
}
