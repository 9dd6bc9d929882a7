//! One log line for each call.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use axum::body::Body;
use bytes::Bytes;
use http::{Request, Response};
use hyper::body::{Body as HttpBody, Frame};
use pin_project_lite::pin_project;
use tonic::{Code, Status};
use tower::Service;

use super::failure_sample::FailureSample;
use crate::domain::Outcome;
use crate::listener::api::Api;
use crate::listener::call::Call;
use crate::transport::batch::{ItemCounts, StreamItemCounts};
use crate::transport::routes::{code_name, outcome_name};

/// Writes one line for each call: when it has its answer (a stream: when it ends) or, if that never comes, when its
/// caller goes away. No personal data: neither fields nor unknown paths. A flood of failed calls is sampled.
#[derive(Clone)]
pub(crate) struct AccessLog<S> {
    inner: S,
    failures: Arc<FailureSample>,
}

impl<S> AccessLog<S> {
    pub(crate) fn new(inner: S, api: Api) -> Self {
        Self { inner, failures: FailureSample::new(api) }
    }
}

impl<S, B> Service<Request<B>> for AccessLog<S>
where
    S: Service<Request<B>, Response = Response<Body>>,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = ResponseFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let line = request.extensions().get().map(|call: &Call| LogLine::new(call.clone(), Arc::clone(&self.failures)));
        ResponseFuture { inner: self.inner.call(request), line }
    }
}

pin_project! {
    /// The response, with the line written or, for a stream, kept until its end.
    pub(crate) struct ResponseFuture<F> {
        #[pin]
        inner: F,
        // `None` once it is written or given away.
        line: Option<LogLine>,
    }
}

impl<F, E> Future for ResponseFuture<F>
where
    F: Future<Output = Result<Response<Body>, E>>,
{
    type Output = Result<Response<Body>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let mut response = ready!(this.inner.poll(cx))?;
        let Some(mut line) = this.line.take() else { return Poll::Ready(Ok(response)) };
        if let Some(counts) = response.extensions_mut().remove::<StreamItemCounts>() {
            line.counts = Some(counts);
            return Poll::Ready(Ok(response.map(|body| Body::new(LoggedBody { body, line: Some(line) }))));
        }
        line.end_with(&response);
        Poll::Ready(Ok(response))
    }
}

/// The line of a call that is under way. Dropped before it is written, it says CANCELLED.
struct LogLine {
    call: Call,
    failures: Arc<FailureSample>,
    /// Of a stream.
    counts: Option<StreamItemCounts>,
    is_written: bool,
}

/// The same fields at every level, which has to be a constant.
macro_rules! event {
    ($level:expr, $log:expr, $end:expr) => {
        tracing::event!(
            $level,
            api = $log.call.api.name(),
            rpc.method = $log.call.route.as_ref().and_then(|route| route.rpc_method.as_deref()),
            rpc.grpc.status_code = code_name($end.code),
            http.route = $log.call.route.as_ref().and_then(|route| route.http_route.as_deref()),
            http.response.status_code = $end.http_status,
            outcome = $end.outcome.map(outcome_name),
            items = $end.counts.map(|counts| counts.items),
            item_errors = $end.counts.map(|counts| counts.errors),
            duration_ms = $log.call.received.elapsed().as_micros() as f64 / 1e3,
            request.id = $log.call.id.as_str(),
            "call"
        )
    };
}

/// How a call ended.
struct End {
    code: Code,
    http_status: Option<u16>,
    outcome: Option<Outcome>,
    counts: Option<ItemCounts>,
}

impl LogLine {
    fn new(call: Call, failures: Arc<FailureSample>) -> Self {
        Self { call, failures, counts: None, is_written: false }
    }

    /// The stream has come to its end.
    fn end(&mut self, code: Code) {
        let counts = self.counts.as_ref().map(StreamItemCounts::get);
        self.write(&End { code, http_status: None, outcome: None, counts });
    }

    /// The call has this answer.
    fn end_with(&mut self, response: &Response<Body>) {
        let (outcome, counts) = (response.extensions().get().copied(), response.extensions().get().copied());
        let (code, http_status) = match self.call.api {
            // Success is written after the body; a code in the head is a failure.
            Api::Grpc => (response.headers().get("grpc-status").map(|code| Code::from_bytes(code.as_bytes())), None),
            Api::Http => (response.extensions().get().copied(), Some(response.status().as_u16())),
        };
        self.write(&End { code: code.unwrap_or(Code::Ok), http_status, outcome, counts });
    }

    fn write(&mut self, end: &End) {
        self.is_written = true;
        if self.call.route.as_ref().is_some_and(|route| route.is_probe) {
            event!(tracing::Level::DEBUG, self, end);
        } else if self.failures.is_logged(end.code) {
            event!(tracing::Level::INFO, self, end);
        }
    }
}

impl Drop for LogLine {
    fn drop(&mut self) {
        if !self.is_written {
            self.end(Code::Cancelled);
        }
    }
}

/// The answers of a stream. The line of the call is written at their end.
struct LoggedBody {
    body: Body,
    /// `None` once it is written.
    line: Option<LogLine>,
}

impl LoggedBody {
    fn end(&mut self, code: Code) {
        if let Some(mut line) = self.line.take() {
            line.end(code);
        }
    }
}

impl HttpBody for LoggedBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        match &frame {
            Some(Ok(frame)) => {
                if let Some(status) = frame.trailers_ref().and_then(Status::from_header_map) {
                    self.end(status.code());
                }
            }
            Some(Err(_)) => self.end(Code::Internal),
            None => self.end(Code::Ok),
        }
        Poll::Ready(frame)
    }
}
