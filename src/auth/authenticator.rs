use std::fmt;
use std::sync::Arc;

use futures::future::BoxFuture;

use super::known_caller::KnownCaller;

/// What a caller shows of itself.
#[derive(Clone, Copy)]
pub struct Credentials<'a> {
    /// Its bearer token.
    pub token: Option<&'a str>,
    /// The URIs and host names in its certificate, which TLS has checked.
    pub certificate_names: &'a [String],
}

/// Why it is not known who calls. The caller does not learn which of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unauthenticated {
    /// It shows nothing.
    #[error("no token and no client certificate")]
    Missing,
    /// It shows something that is not known.
    #[error("an unknown token or client certificate")]
    Unknown,
}

/// Finds out who calls: the one place where credentials become a caller.
pub trait Authenticator: fmt::Debug + Send + Sync + 'static {
    /// Returns the caller.
    ///
    /// # Errors
    /// [`Unauthenticated`].
    fn authenticate(&self, credentials: &Credentials<'_>) -> Result<Arc<KnownCaller>, Unauthenticated>;

    /// Resolves when credentials can mean another caller, or none, than at the time of this call.
    fn changed(&self) -> BoxFuture<'static, ()>;
}
