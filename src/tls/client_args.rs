use std::path::PathBuf;

use clap::Args;

/// How a command speaks TLS to the service.
#[derive(Clone, Debug, Default, Args)]
pub struct ClientTlsArgs {
    /// Speak TLS, and trust the certificate authorities in this PEM file. Without it, TLS is spoken if --tls-cert is
    /// set: `bench` then accepts that certificate alone, `healthcheck` any, because a probe sends no secret
    #[arg(long, value_name = "FILE")]
    pub ca: Option<PathBuf>,

    /// The name in the service's certificate, if it is not the host of the address
    #[arg(long, value_name = "NAME", requires = "ca")]
    pub server_name: Option<String>,

    /// The certificate of this client and those that lead to its authority, a PEM file
    #[arg(long, value_name = "FILE", requires = "client_key")]
    pub client_cert: Option<PathBuf>,

    /// The private key of that certificate, a PEM file
    #[arg(long, value_name = "FILE", requires = "client_cert")]
    pub client_key: Option<PathBuf>,
}
