use std::path::PathBuf;
use std::str::FromStr;

use super::value;

/// The certificates of the two APIs.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(next_help_heading = "TLS")]
pub struct TlsSettings {
    /// The service's certificate and those that lead to its authority, a PEM file; both APIs then speak TLS 1.2 and
    /// 1.3. The file is loaded again when it changes, as are the others
    #[arg(long, env, value_name = "FILE")]
    pub tls_cert: Option<PathBuf>,

    /// The private key of that certificate, a PEM file
    #[arg(long, env, value_name = "FILE")]
    pub tls_key: Option<PathBuf>,

    /// The certificate authorities of client certificates, a PEM file; without it, clients need no certificate
    #[arg(long, env, value_name = "FILE")]
    pub tls_client_ca: Option<PathBuf>,

    /// Whether a client must have a certificate, if --tls-client-ca is set: optional or required
    #[arg(long, env, value_name = "RULE", default_value = "required", value_parser = value::from_str::<ClientAuth>())]
    pub tls_client_auth: ClientAuth,
}

/// Whether clients must have a certificate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ClientAuth {
    /// A client may have a certificate, and then a valid one.
    Optional,
    /// A client without a valid certificate gets no connection.
    #[default]
    Required,
}

impl FromStr for ClientAuth {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "optional" => Ok(Self::Optional),
            "required" => Ok(Self::Required),
            _ => Err("must be optional or required"),
        }
    }
}
