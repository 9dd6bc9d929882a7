use super::value;

/// The limits of the request queue and of one transaction.
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
}
