use super::value;

/// The limits of the request queue, of one transaction and of one identity.
#[derive(Clone, Copy, Debug, clap::Args)]
#[command(next_help_heading = "Limits")]
pub struct QueueSettings {
    /// Maximum queued requests; each batch or stream item counts as one. Above it, calls fail with
    /// RESOURCE_EXHAUSTED; streams use at most half of it and wait instead
    #[arg(long, env, value_name = "COUNT", default_value = "4096")]
    #[arg(value_parser = value::whole::<usize, 1, 1_000_000>())]
    pub queue_limit: usize,

    /// Maximum requests in one transaction. Smaller transactions are slower; some databases prefer them
    #[arg(long, env, value_name = "COUNT", default_value = "256")]
    #[arg(value_parser = value::whole::<usize, 1, 256>())]
    pub transaction_size: usize,

    /// Maximum contacts of an identity. A request that would exceed it writes nothing and fails with
    /// FAILED_PRECONDITION; an identity that is larger already is still answered
    #[arg(long, env, value_name = "COUNT", default_value = "10000")]
    #[arg(value_parser = value::whole::<usize, 1, 1_000_000_000>())]
    pub max_contacts: usize,
}
