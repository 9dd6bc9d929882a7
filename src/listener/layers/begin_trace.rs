//! Traces of calls.

use std::task::{Context, Poll};

use http::Request;
use tower::Service;

use crate::listener::call::Call;
use crate::traces::Traces;

/// Begins the trace of each call: that of its caller, or a new one. The span of a sampled call ends with its log line.
/// Probes have none.
///
/// The layers below find the trace in the [`Call`], and handlers in the extensions of a request that is sampled.
#[derive(Clone)]
pub(crate) struct BeginTrace<S> {
    inner: S,
    traces: Traces,
}

impl<S> BeginTrace<S> {
    pub(crate) fn new(inner: S, traces: Traces) -> Self {
        Self { inner, traces }
    }
}

impl<S, B> Service<Request<B>> for BeginTrace<S>
where
    S: Service<Request<B>>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let call: Option<&Call> = request.extensions().get();
        if let Some(call) = call.filter(|call| call.route.as_ref().is_none_or(|route| !route.is_probe)) {
            let trace = self.traces.begin_call(request.headers(), request.method(), call.received);
            if trace.requests.is_sampled() {
                request.extensions_mut().insert(trace.requests.clone());
            }
            if let Some(call) = request.extensions_mut().get_mut::<Call>() {
                call.trace = trace;
            }
        }
        self.inner.call(request)
    }
}
