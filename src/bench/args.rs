use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};

use crate::settings::value;

/// What to measure.
#[derive(Clone, Debug, Subcommand)]
pub enum BenchCommand {
    /// Fill the database with customers, which must have none yet
    Seed(Seed),
    /// Put load on the service at the gRPC and HTTP addresses
    Run(Run),
    /// Measure how fast the disk makes 4 KiB durable
    Fsync(Fsync),
}

/// How to fill the database.
#[derive(Clone, Debug, Args)]
pub struct Seed {
    /// How many customers, of one contact each, with an e-mail address and a phone number
    #[arg(long, value_name = "COUNT", value_parser = value::whole::<u32, 1, 1_000_000_000>())]
    #[arg(default_value = "100000")]
    pub contacts: u32,
}

/// What load, for how long.
#[derive(Clone, Debug, Args)]
pub struct Run {
    /// What is asked for
    #[arg(long, value_enum, default_value = "known")]
    pub scenario: ScenarioKind,

    /// How it is asked for
    #[arg(long, value_enum, default_value = "grpc")]
    pub api: ApiKind,

    /// How many ask at once. Each waits for its answer before it asks again; with --rate, the most that
    /// may wait
    #[arg(long, value_name = "COUNT", default_value = "32", value_parser = value::whole::<u32, 1, 100_000>())]
    pub callers: u32,

    /// How many requests a caller sends at once through a api that takes several: it waits for all answers
    /// before it goes on, and each request is timed until then
    #[arg(long, value_name = "COUNT", default_value = "1", value_parser = value::whole::<u32, 1, 1_000>())]
    pub per_call: u32,

    /// Requests a second, due at fixed times whatever the answers do, and timed from when they were due.
    /// Without it every caller asks as soon as it has its answer
    #[arg(long, value_name = "COUNT", value_parser = value::whole::<u32, 1, 10_000_000>())]
    pub rate: Option<u32>,

    /// How long to measure
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = value::timeout())]
    pub duration: Duration,

    /// How long to go on before that
    #[arg(long, value_name = "TIME", default_value = "2s", value_parser = value::duration())]
    pub warmup: Duration,

    /// How many customers `identity bench seed` made
    #[arg(long, value_name = "COUNT", default_value = "100000")]
    #[arg(value_parser = value::whole::<u32, 100, 1_000_000_000>())]
    pub customers: u32,

    /// Connections for all callers, and at least one a thread. JSON takes one a caller
    #[arg(long, value_name = "COUNT", default_value = "4", value_parser = value::whole::<u32, 1, 10_000>())]
    pub connections: u32,

    /// Threads of the load generator, which takes from the service what it needs for itself
    #[arg(long, value_name = "COUNT", default_value = "1", value_parser = value::whole::<u32, 1, 1_024>())]
    pub threads: u32,

    /// Decides which customers are asked for
    #[arg(long, value_name = "NUMBER", default_value = "1", value_parser = value::whole::<u32, 0, { u32::MAX }>())]
    pub seed: u32,

    /// How the result is printed
    #[arg(long, value_enum, default_value = "table")]
    pub format: Format,
}

/// Where to measure the disk.
#[derive(Clone, Debug, Args)]
pub struct Fsync {
    /// A folder on the disk in question
    #[arg(long, value_name = "PATH", default_value = ".")]
    pub folder: PathBuf,

    /// How long to measure
    #[arg(long, value_name = "TIME", default_value = "3s", value_parser = value::timeout())]
    pub duration: Duration,

    /// How the result is printed
    #[arg(long, value_enum, default_value = "table")]
    pub format: Format,
}

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ScenarioKind {
    /// Customers that are there already
    Known,
    /// Brand-new customers
    New,
    /// 70 % known, 20 % a new contact of a known customer, 10 % brand new
    Mixed,
    /// Half joins two identities, half is known
    Merge,
    /// Half is about ten customers, half is mixed
    Hot,
    /// No identification but the health of the service: a call that does nothing
    Health,
}

/// How it is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ApiKind {
    /// gRPC, a unary call for each request
    Grpc,
    /// JSON over HTTP/1.1
    Json,
    /// BatchIdentify, a unary call for --per-call requests
    Batch,
    /// StreamIdentify, a stream a connection that its callers share
    Stream,
}

impl ApiKind {
    /// Whether a caller may ask several requests at once.
    pub(super) fn takes_many(self) -> bool {
        match self {
            Self::Grpc | Self::Json => false,
            Self::Batch | Self::Stream => true,
        }
    }
}

/// How a result is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people
    Table,
    /// One JSON object on one line
    Json,
}

/// The name on the command line.
pub(super) fn name(value: impl ValueEnum) -> String {
    value.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
}
