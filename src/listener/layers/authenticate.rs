//! Who calls, and whether it may.

use std::sync::Arc;
use std::task::{Context, Poll};

use http::header::AUTHORIZATION;
use http::{Request, Response};
use tower::Service;

use super::admitted::{ResponseFuture, call_if_admitted};
use crate::auth::{AccessControl, Credentials, Permission, bearer};
use crate::listener::call::Call;
use crate::listener::outgoing::Outgoing;
use crate::resolver::IdentifyError;
use crate::transport::access::{Access, needed_access};
use crate::transport::connection::ConnectionStreams;
use crate::transport::errors::ApiError;

/// Finds out who calls, and refuses calls without the scope that they need, and calls beyond the caller's rate. Probes
/// need no caller.
///
/// The layers below find the caller in the extensions of the request, and the permission of a stream, which can be
/// withdrawn. They do not get the token.
#[derive(Clone)]
pub(crate) struct Authenticate<S> {
    inner: S,
    /// `None` if callers need no credentials.
    access: Option<Arc<AccessControl>>,
}

impl<S> Authenticate<S> {
    pub(crate) fn new(inner: S, access: Option<Arc<AccessControl>>) -> Self {
        Self { inner, access }
    }

    fn admit<B>(&self, request: &mut Request<B>) -> Result<(), ApiError> {
        let Some(access) = &self.access else { return Ok(()) };
        let extensions = request.extensions();
        let needed = needed_access(extensions.get().and_then(|call: &Call| Some(&***call.route.as_ref()?)));
        if needed == Access::Open {
            return Ok(());
        }
        let outgoing: &Arc<Outgoing> = extensions.get().ok_or(IdentifyError::Internal)?;
        let certificate_names = outgoing.connection.certificate_names();
        let credentials = Credentials { token: bearer(request.headers()), certificate_names };
        let caller = access.authenticate(&credentials)?;
        outgoing.set_caller(Arc::clone(&caller));
        let scope = match needed {
            Access::Open | Access::AnyCaller => None,
            Access::Scope(scope) => Some(scope),
            Access::Nobody => return Err(IdentifyError::Internal.into()),
        };
        access.permit(&caller, scope)?;
        // Other calls end soon by themselves.
        let is_stream = extensions.get::<ConnectionStreams>().is_some();
        let permission = is_stream.then(|| Permission::new(Arc::clone(access), &caller, &credentials, scope));
        let extensions = request.extensions_mut();
        permission.map(|permission| extensions.insert(permission));
        extensions.insert(caller);
        Ok(())
    }
}

impl<S, B, R> Service<Request<B>> for Authenticate<S>
where
    S: Service<Request<B>, Response = Response<R>, Error = ApiError>,
{
    type Response = Response<R>;
    type Error = ApiError;
    type Future = ResponseFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ApiError>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let admitted = self.admit(&mut request);
        request.headers_mut().remove(AUTHORIZATION);
        if admitted.is_err()
            && let Some(outgoing) = request.extensions().get::<Arc<Outgoing>>()
        {
            outgoing.refuse();
        }
        call_if_admitted(admitted, &mut self.inner, request)
    }
}
