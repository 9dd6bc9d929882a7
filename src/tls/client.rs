use std::io;
use std::path::Path;
use std::sync::Arc;

use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tonic::transport::{Channel, Endpoint};
use tower::service_fn;

use super::client_args::ClientTlsArgs;
use super::pem::{ALPN_HTTP2, NO_CERTIFICATES, NO_KEY, certificates, private_key, provider};
use super::unchained::UnchainedCertificate;
use crate::reload;
use crate::settings::{ListenAddr, TlsSettings};

/// Why a command cannot speak TLS.
#[derive(Debug, thiserror::Error)]
pub enum ClientTlsError {
    /// A file is missing or wrong.
    #[error("{0}")]
    File(String),
    /// `--server-name` is no name.
    #[error("--server-name: must be a host name or an IP address")]
    Name,
    /// A client certificate is given, and nothing asks for TLS.
    #[error("--client-cert: needs TLS, so give --ca too")]
    NoTls,
    /// rustls refuses the certificates or the key.
    #[error(transparent)]
    Config(#[from] rustls::Error),
}

/// Which certificate a command accepts if it is given no authority.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WithoutAuthority {
    /// The one in the file of `TLS_CERT`.
    Own,
    /// Any. For a command that sends no secret and no personal data. The file can differ from what the service has in
    /// force: it is being replaced.
    Any,
}

/// TLS to the service, for the commands that are its clients.
#[derive(Clone, Debug)]
pub struct ClientTls {
    config: Arc<ClientConfig>,
    /// The name that the certificate must have, if it is not the host of the address.
    name: Option<ServerName<'static>>,
}

impl ClientTls {
    /// Returns the TLS that the arguments and the settings of the service ask for; `None` if they ask for none.
    ///
    /// # Errors
    /// [`ClientTlsError`] names the file or the flag.
    pub fn new(
        args: &ClientTlsArgs,
        settings: &TlsSettings,
        without_authority: WithoutAuthority,
    ) -> Result<Option<Self>, ClientTlsError> {
        let provider = provider();
        let builder =
            ClientConfig::builder_with_provider(Arc::clone(&provider)).with_safe_default_protocol_versions()?;
        let builder = match (&args.ca, &settings.tls_cert) {
            (Some(ca), _) => {
                let mut roots = RootCertStore::empty();
                for certificate in read_certificates(ca)? {
                    roots.add(certificate)?;
                }
                builder.with_root_certificates(roots)
            }
            (None, Some(own)) => {
                let accepted = match without_authority {
                    WithoutAuthority::Own => Some(read_certificates(own)?.swap_remove(0)),
                    WithoutAuthority::Any => None,
                };
                let verifier = UnchainedCertificate::new(accepted, provider);
                builder.dangerous().with_custom_certificate_verifier(Arc::new(verifier))
            }
            (None, None) if args.client_cert.is_some() => return Err(ClientTlsError::NoTls),
            (None, None) => return Ok(None),
        };
        let config = match (&args.client_cert, &args.client_key) {
            (Some(cert), Some(key_file)) => {
                let pem = reload::read(key_file).map_err(ClientTlsError::File)?;
                let key = private_key(&pem).ok_or_else(|| wrong_file(key_file, NO_KEY))?;
                builder.with_client_auth_cert(read_certificates(cert)?, key)?
            }
            _ => builder.with_no_client_auth(),
        };
        let name = args.server_name.clone().map(ServerName::try_from).transpose();
        Ok(Some(Self { config: Arc::new(config), name: name.map_err(|_| ClientTlsError::Name)? }))
    }

    /// Does the handshake on a connection to `host`.
    ///
    /// # Errors
    /// An I/O error, whose source is an error of rustls if the certificate is the reason.
    pub async fn connect(&self, host: &str, stream: TcpStream, alpn: &[u8]) -> io::Result<TlsStream<TcpStream>> {
        let name = match &self.name {
            Some(name) => name.clone(),
            None => ServerName::try_from(host.to_owned()).map_err(|error| io::Error::other(error.to_string()))?,
        };
        let mut config = (*self.config).clone();
        config.alpn_protocols = vec![alpn.to_vec()];
        TlsConnector::from(Arc::new(config)).connect(name, stream).await
    }
}

fn read_certificates(path: &Path) -> Result<Vec<rustls::pki_types::CertificateDer<'static>>, ClientTlsError> {
    let pem = reload::read(path).map_err(ClientTlsError::File)?;
    certificates(&pem).ok_or_else(|| wrong_file(path, NO_CERTIFICATES))
}

fn wrong_file(path: &Path, reason: &str) -> ClientTlsError {
    ClientTlsError::File(format!("{} {reason}", path.display()))
}

/// Opens a connection to the gRPC API at an address, with or without TLS. `endpoint` has its times.
///
/// # Errors
/// When there is no connection.
pub async fn connect_grpc(
    addr: &ListenAddr,
    tls: Option<&ClientTls>,
    configure: impl FnOnce(Endpoint) -> Endpoint,
) -> Result<Channel, tonic::transport::Error> {
    let endpoint = configure(Endpoint::from_shared(format!("http://{addr}"))?);
    let Some(tls) = tls.cloned() else { return endpoint.connect().await };
    // The address says `http`, so that tonic leaves TLS to the connector; the requests say `https`.
    let origin = http::Uri::try_from(format!("https://{addr}"));
    let endpoint = match origin {
        Ok(origin) => endpoint.origin(origin),
        Err(_) => endpoint,
    };
    let addr = addr.clone();
    let connector = service_fn(move |_: http::Uri| {
        let (tls, addr) = (tls.clone(), addr.clone());
        async move {
            let stream = TcpStream::connect((addr.host(), addr.port())).await?;
            stream.set_nodelay(true)?;
            Ok::<_, io::Error>(TokioIo::new(tls.connect(addr.host(), stream, ALPN_HTTP2).await?))
        }
    });
    endpoint.connect_with_connector(connector).await
}
