use std::time::Duration;

use super::value;

/// The limits of the request queue, of one transaction and of one identity.
#[derive(Clone, Copy, Debug, clap::Args)]
#[command(next_help_heading = "Limits")]
pub struct QueueSettings {
    /// Maximum queued requests; each batch or stream item counts as one. Above it, callers with more than their share
    /// get RESOURCE_EXHAUSTED; streams use at most half of it and wait instead
    #[arg(long, env, value_name = "COUNT", default_value = "4096")]
    #[arg(value_parser = value::integer::<usize, 1, 1_000_000>())]
    pub queue_limit: usize,

    /// Maximum wait of a request in the queue. The service refuses a request at once if it would wait longer, or past
    /// its deadline. While the load is too high, it refuses requests that would wait longer than a twentieth of this
    #[arg(long, env, value_name = "TIME", default_value = "1s", value_parser = value::timeout())]
    pub max_queue_wait: Duration,

    /// Maximum requests in one transaction. Smaller transactions are slower; some databases prefer them
    #[arg(long, env, value_name = "COUNT", default_value = "256")]
    #[arg(value_parser = value::integer::<usize, 1, 256>())]
    pub transaction_size: usize,

    /// Maximum contacts of an identity. A request that would exceed it writes nothing and fails with
    /// FAILED_PRECONDITION; an identity that is larger already is still answered
    #[arg(long, env, value_name = "COUNT", default_value = "10000")]
    #[arg(value_parser = value::integer::<usize, 1, 1_000_000_000>())]
    pub max_contacts: usize,
}
