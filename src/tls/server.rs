use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use chrono::Utc;
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls::{RootCertStore, ServerConfig};

use super::pem::{ALPN_HTTP1, ALPN_HTTP2, NO_CERTIFICATES, NO_KEY, certificates, private_key, provider};
use super::validity::expires_at;
use crate::metrics::{Metrics, ReloadedFile};
use crate::reload::{FileSource, LoadError, Reloaded, SettingFile};
use crate::settings::{ClientAuth, TlsSettings};

/// The TLS of the two APIs, which follows its files.
pub type ServerTls = Reloaded<TlsFiles>;

/// The files that the configuration is made from.
#[derive(Clone, Debug)]
pub struct TlsFiles {
    /// The certificate, the key and, if clients are to have certificates, the authorities of those.
    files: Vec<SettingFile>,
    client_auth: ClientAuth,
}

/// The configurations of the two APIs. Connections that are open keep the one that they began with.
#[derive(Debug)]
pub struct TlsConfigs {
    /// Of the gRPC API: HTTP/2 alone.
    pub grpc: Arc<ServerConfig>,
    /// Of the JSON API: HTTP/2 and HTTP/1.1.
    pub http: Arc<ServerConfig>,
    /// When the service's certificate expires, in seconds since 1970, for metrics.
    pub expires_at: Option<i64>,
}

impl TlsFiles {
    /// Loads the TLS that the settings ask for; `None` if they ask for none.
    ///
    /// # Errors
    /// [`LoadError`] names the file or the setting that is missing.
    pub fn load(settings: &TlsSettings) -> Result<Option<ServerTls>, LoadError> {
        let TlsSettings { tls_cert, tls_key, tls_client_ca, tls_client_auth } = settings;
        let file = |setting, path: &Path| SettingFile { setting, path: path.to_owned() };
        let mut files = match (tls_cert, tls_key, tls_client_ca) {
            (Some(cert), Some(key), _) => vec![file("TLS_CERT", cert), file("TLS_KEY", key)],
            (None, None, None) => return Ok(None),
            (Some(_), None, _) => return Err(LoadError::new("TLS_CERT is set without TLS_KEY: TLS needs both")),
            (None, ..) => return Err(LoadError::new("TLS_KEY or TLS_CLIENT_CA is set without TLS_CERT")),
        };
        files.extend(tls_client_ca.as_deref().map(|ca| file("TLS_CLIENT_CA", ca)));
        Reloaded::load(Self { files, client_auth: *tls_client_auth }).map(Some)
    }
}

impl FileSource for TlsFiles {
    type Value = TlsConfigs;
    const WHAT: ReloadedFile = ReloadedFile::Certificate;

    fn files(&self) -> &[SettingFile] {
        &self.files
    }

    fn build(&self, contents: &[Vec<u8>], _: Option<&TlsConfigs>) -> Result<TlsConfigs, String> {
        let [cert, key, ca @ ..] = self.files.as_slice() else { return Err("too few files".to_owned()) };
        let [cert_pem, key_pem, ca_pem @ ..] = contents else { return Err("too few files".to_owned()) };
        let chain = certificates(cert_pem).ok_or_else(|| cert.wrong(NO_CERTIFICATES))?;
        let expires_at = chain.first().and_then(|certificate| expires_at(certificate));
        if expires_at.is_some_and(|end| end < Utc::now().timestamp()) {
            tracing::warn!("the certificate of TLS_CERT has expired: clients refuse it");
        }
        let private_key = private_key(key_pem).ok_or_else(|| key.wrong(NO_KEY))?;
        let clients = match (ca, ca_pem) {
            ([ca], [pem]) => self.client_verifier(ca, pem)?,
            _ => WebPkiClientVerifier::no_client_auth(),
        };
        let builder = ServerConfig::builder_with_provider(provider()).with_safe_default_protocol_versions();
        let builder = builder.map_err(|error| error.to_string())?.with_client_cert_verifier(clients);
        // Fails if the certificate does not belong to the key.
        let config = builder.with_single_cert(chain, private_key);
        let config = config.map_err(|error| cert.wrong(&format!("does not go with {key}: {error}")))?;
        let speaking = |protocols: &[&[u8]]| {
            let mut config = config.clone();
            config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
            Arc::new(config)
        };
        Ok(TlsConfigs { grpc: speaking(&[ALPN_HTTP2]), http: speaking(&[ALPN_HTTP2, ALPN_HTTP1]), expires_at })
    }

    fn record(&self, value: &TlsConfigs, _: Option<&TlsConfigs>, metrics: &Metrics) {
        if let Some(seconds) = value.expires_at.and_then(|seconds| u64::try_from(seconds).ok()) {
            metrics.set_certificate_expiry(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds));
        }
    }
}

impl TlsFiles {
    /// Returns what checks the certificates of clients.
    fn client_verifier(&self, ca: &SettingFile, pem: &[u8]) -> Result<Arc<dyn ClientCertVerifier>, String> {
        let mut roots = RootCertStore::empty();
        for certificate in certificates(pem).ok_or_else(|| ca.wrong(NO_CERTIFICATES))? {
            roots
                .add(certificate)
                .map_err(|error| ca.wrong(&format!("has a certificate that cannot be used: {error}")))?;
        }
        let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider());
        let builder = match self.client_auth {
            ClientAuth::Optional => builder.allow_unauthenticated(),
            ClientAuth::Required => builder,
        };
        builder.build().map_err(|error| ca.wrong(&format!("cannot be used: {error}")))
    }
}
