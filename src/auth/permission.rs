use std::fmt;
use std::sync::Arc;

use secrecy::{ExposeSecret, SecretString};

use super::access_control::{AccessControl, Refusal};
use super::authenticator::Credentials;
use super::scope::Scope;

/// The permission of a call that stays open, such as a stream.
///
/// It keeps the credentials that the call was let in with. When callers change, it asks again what they permit.
#[derive(Clone)]
pub struct Permission {
    access: Arc<AccessControl>,
    token: Option<SecretString>,
    certificate_names: Arc<[String]>,
    scope: Option<Scope>,
}

impl Permission {
    /// The call was let in with these credentials and for this scope.
    pub fn new(access: Arc<AccessControl>, credentials: &Credentials<'_>, scope: Option<Scope>) -> Self {
        let Credentials { token, certificate_names } = *credentials;
        Self { access, token: token.map(SecretString::from), certificate_names: certificate_names.into(), scope }
    }

    /// Resolves when a new call with the same credentials would be refused, with the reason. The caller's rate does not
    /// count.
    pub async fn withdrawn(self) -> Refusal {
        loop {
            // Before the question, so that no change between them is missed.
            let changed = self.access.changed();
            let token = self.token.as_ref().map(ExposeSecret::expose_secret);
            let credentials = Credentials { token, certificate_names: &self.certificate_names };
            if let Err(refusal) = self.access.check(&credentials, self.scope) {
                return refusal;
            }
            changed.await;
        }
    }
}

impl fmt::Debug for Permission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Permission").field("scope", &self.scope).finish_non_exhaustive()
    }
}
