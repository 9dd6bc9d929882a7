//! PEM files, and what all configurations share.

use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// HTTP/2, in the handshake.
pub(super) const ALPN_HTTP2: &[u8] = b"h2";

/// HTTP/1.1, in the handshake.
pub(crate) const ALPN_HTTP1: &[u8] = b"http/1.1";

/// The cryptography: the one that the connections to the database use.
pub(super) fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// Returns the certificates of a PEM file; `None` if it has none, or if something in it is broken. The reason of the
/// parser could quote the file.
pub(super) fn certificates(pem: &[u8]) -> Option<Vec<CertificateDer<'static>>> {
    let certificates: Vec<_> = CertificateDer::pem_slice_iter(pem).collect::<Result<_, _>>().ok()?;
    (!certificates.is_empty()).then_some(certificates)
}

/// Returns the private key of a PEM file, if there is one.
pub(super) fn private_key(pem: &[u8]) -> Option<PrivateKeyDer<'static>> {
    PrivateKeyDer::from_pem_slice(pem).ok()
}

/// What is wrong with a file of certificates.
pub(super) const NO_CERTIFICATES: &str = "must be a PEM file with a certificate, and no broken one";

/// What is wrong with a file of a key.
pub(super) const NO_KEY: &str = "must be a PEM file with a private key";
