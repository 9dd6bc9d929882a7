use std::time::Duration;

use super::value;

/// The cache of identities.
#[derive(Clone, Copy, Debug, clap::Args)]
#[command(next_help_heading = "Cache")]
pub struct CacheSettings {
    /// Maximum bytes of identities that are kept in memory; 0 keeps none. No answer comes from memory without a look at
    /// the database
    #[arg(long, env, value_name = "BYTES", default_value = "67108864")]
    #[arg(value_parser = value::integer::<usize, 0, 4_294_967_295>())]
    pub cache_size: usize,

    /// The longest that a copy of an identity is used; 0s keeps none. Contacts that somebody deletes by SQL without a
    /// later updatedAt of their primary are seen within this time
    #[arg(long, env, value_name = "TIME", default_value = "60s", value_parser = value::duration())]
    pub cache_max_age: Duration,
}
