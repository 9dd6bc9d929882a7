use std::fmt;
use std::sync::Arc;

use secrecy::{ExposeSecret, SecretString};

use super::access_control::{AccessControl, Refusal};
use super::authenticator::Credentials;
use super::known_caller::KnownCaller;
use super::scope::Scope;

/// The permission of a call that stays open, such as a stream.
///
/// It keeps the caller and the credentials that the call was let in with. When callers change, it asks again whose the
/// credentials are, and what they permit.
#[derive(Clone)]
pub struct Permission {
    access: Arc<AccessControl>,
    caller_id: u64,
    token: Option<SecretString>,
    certificate_names: Arc<[String]>,
    scope: Option<Scope>,
}

impl Permission {
    /// This caller was let in with these credentials and for this scope.
    pub fn new(
        access: Arc<AccessControl>,
        caller: &KnownCaller,
        credentials: &Credentials<'_>,
        scope: Option<Scope>,
    ) -> Self {
        let Credentials { token, certificate_names } = *credentials;
        let token = token.map(SecretString::from);
        Self { access, caller_id: caller.id(), token, certificate_names: certificate_names.into(), scope }
    }

    /// Resolves when a new call with the same credentials would be refused, or be another caller's, with the reason.
    /// The caller's rate does not count.
    pub async fn withdrawn(self) -> Refusal {
        loop {
            // Before the question, so that no change between them is missed.
            let changed = self.access.changed();
            let token = self.token.as_ref().map(ExposeSecret::expose_secret);
            let credentials = Credentials { token, certificate_names: &self.certificate_names };
            if let Err(refusal) = self.access.check(self.caller_id, &credentials, self.scope) {
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
