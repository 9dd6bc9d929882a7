use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};

use crate::settings::value;
use crate::tls::ClientTlsArgs;

/// What to measure.
#[derive(Clone, Debug, Subcommand)]
pub enum BenchCommand {
    /// Fill an empty database with customers
    Seed(SeedArgs),
    /// Send load to the service at the gRPC and HTTP addresses
    Run(RunArgs),
    /// Make one customer of many contacts through the API, and measure how long its explanation takes
    Explain(ExplainArgs),
    /// Measure how fast the disk makes a page of 4 KiB durable
    Fsync(FsyncArgs),
}

/// How to fill the database.
#[derive(Clone, Debug, Args)]
pub struct SeedArgs {
    /// Number of customers. Each has one contact with an e-mail address and a phone number
    #[arg(long, value_name = "COUNT", value_parser = value::integer::<u32, 1, 1_000_000_000>())]
    #[arg(default_value = "100000")]
    pub contacts: u32,
}

/// The load and its duration.
#[derive(Clone, Debug, Args)]
pub struct RunArgs {
    /// The requests to send
    #[arg(long, value_enum, default_value = "known")]
    pub scenario: ScenarioKind,

    /// The API to call
    #[arg(long, value_enum, default_value = "grpc")]
    pub api: ApiKind,

    /// Number of callers. Each waits for its answer before its next request; with --rate, the maximum of requests
    /// in flight
    #[arg(long, value_name = "COUNT", default_value = "32", value_parser = value::integer::<u32, 1, 100_000>())]
    pub callers: u32,

    /// Requests that a caller sends at once, for an API that takes several. The caller waits for all answers, and
    /// the latency of each request includes that wait
    #[arg(long, value_name = "COUNT", default_value = "1", value_parser = value::integer::<u32, 1, 1_000>())]
    pub per_call: u32,

    /// Requests a second, due at fixed times. The latency counts from the due time. Without it, each caller sends
    /// its next request as soon as it has its answer
    #[arg(long, value_name = "COUNT", value_parser = value::integer::<u32, 1, 10_000_000>())]
    pub rate: Option<u32>,

    /// How long to measure
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = value::timeout())]
    pub duration: Duration,

    /// How long to send load before the measurement
    #[arg(long, value_name = "TIME", default_value = "2s", value_parser = value::duration())]
    pub warmup: Duration,

    /// Number of customers that `identity bench seed` created
    #[arg(long, value_name = "COUNT", default_value = "100000")]
    #[arg(value_parser = value::integer::<u32, 100, 1_000_000_000>())]
    pub customers: u32,

    /// Connections for all callers, at least one for each thread. JSON uses one for each caller
    #[arg(long, value_name = "COUNT", default_value = "4", value_parser = value::integer::<u32, 1, 10_000>())]
    pub connections: u32,

    /// Threads of the load generator. On one machine it takes processor time from the service
    #[arg(long, value_name = "COUNT", default_value = "1", value_parser = value::integer::<u32, 1, 1_024>())]
    pub threads: u32,

    /// Seed of the random choice of customers
    #[arg(long, value_name = "NUMBER", default_value = "1", value_parser = value::integer::<u32, 0, { u32::MAX }>())]
    pub seed: u32,

    /// How the result is printed
    #[arg(long, value_enum, default_value = "table")]
    pub format: ResultFormat,

    /// How to reach the service.
    #[command(flatten)]
    pub connection: ConnectionArgs,
}

/// What explanation to ask for.
#[derive(Clone, Debug, Args)]
pub struct ExplainArgs {
    /// Contacts of the customer: a chain, in which each shares one identifier with the contact before it
    #[arg(long, value_name = "COUNT", default_value = "1000", value_parser = value::integer::<u32, 4, 10_000>())]
    pub contacts: u32,

    /// How long to measure
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = value::timeout())]
    pub duration: Duration,

    /// How the result is printed
    #[arg(long, value_enum, default_value = "table")]
    pub format: ResultFormat,

    /// How to reach the service.
    #[command(flatten)]
    pub connection: ConnectionArgs,
}

/// How to reach the service.
#[derive(Clone, Debug, Args)]
pub struct ConnectionArgs {
    /// A file with the token of this caller
    #[arg(long, value_name = "FILE")]
    pub token_file: Option<PathBuf>,

    /// How to speak TLS.
    #[command(flatten)]
    pub tls: ClientTlsArgs,
}

/// Where to measure the disk.
#[derive(Clone, Debug, Args)]
pub struct FsyncArgs {
    /// A folder on the disk to measure
    #[arg(long, value_name = "PATH", default_value = ".")]
    pub folder: PathBuf,

    /// How long to measure
    #[arg(long, value_name = "TIME", default_value = "3s", value_parser = value::timeout())]
    pub duration: Duration,

    /// How the result is printed
    #[arg(long, value_enum, default_value = "table")]
    pub format: ResultFormat,
}

/// The requests of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ScenarioKind {
    /// Known customers
    Known,
    /// Brand-new customers
    New,
    /// 70 % known, 20 % a new contact of a known customer, 10 % brand new
    Mixed,
    /// 50 % merge two identities, 50 % are known
    Merge,
    /// 50 % are about ten customers, 50 % are mixed
    Hot,
    /// Calls of the health service, which do no work
    Health,
}

/// The API that a run calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ApiKind {
    /// gRPC, a unary call for each request
    Grpc,
    /// JSON over HTTP/1.1
    Json,
    /// BatchIdentify, a unary call for --per-call requests
    Batch,
    /// GraphService.LookupIdentities, a unary call for each request
    LookUp,
    /// StreamIdentify, one stream for each connection; its callers share it
    Stream,
}

impl ApiKind {
    /// Returns whether one call takes several requests.
    pub(super) fn takes_several(self) -> bool {
        match self {
            Self::Grpc | Self::Json | Self::LookUp => false,
            Self::Batch | Self::Stream => true,
        }
    }
}

/// How a result is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ResultFormat {
    /// For people
    Table,
    /// One JSON object on one line
    Json,
}

/// Returns the name of a value on the command line.
pub(super) fn value_name(value: impl ValueEnum) -> String {
    value.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
}
