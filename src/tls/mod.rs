//! TLS of the two APIs: the configuration of the server, made from files that can change, and the client of the
//! commands.
//!
//! rustls with ring: TLS 1.2 and 1.3, no older version.

mod client;
mod client_args;
mod pem;
mod server;
mod unchained;
mod validity;

pub use client::{ClientTls, ClientTlsError, WithoutAuthority, connect_grpc};
pub use client_args::ClientTlsArgs;
#[cfg(feature = "bench")]
pub(crate) use pem::ALPN_HTTP1;
pub use server::{ServerTls, TlsConfigs, TlsFiles};
