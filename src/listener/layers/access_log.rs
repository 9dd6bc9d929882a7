//! One log line for each call.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use axum::body::Body;
use bytes::Bytes;
use http::{Request, Response};
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use pin_project_lite::pin_project;
use tonic::{Code, Status};
use tower::Service;

use super::failure::{Failure, Severity};
use super::failure_sample::FailureSample;
use crate::listener::api::Api;
use crate::listener::call::Call;
use crate::listener::outgoing::Outgoing;
use crate::traces::{CallEnd, CallProtocol};
use crate::transport::batch::{ItemCounts, StreamItemCounts};
use crate::transport::call_outcome::{CallOutcome, code_name};
use crate::transport::peer::PeerAddr;

/// Writes one line for each call: when HTTP has its answer, to the end, or when it is known that the caller does not
/// get it, because it went away or did not take it in time. No personal data: neither fields nor unknown paths. A flood
/// of failed calls is sampled. The span of a call that is traced ends with its line, whether that is written or not.
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
        let extensions = request.extensions();
        let line = extensions.get().map(|call: &Call| LogLine {
            call: call.clone(),
            outgoing: extensions.get().cloned(),
            peer: extensions.get().copied(),
            failures: Arc::clone(&self.failures),
            end: End::default(),
            counts: None,
            is_written: false,
        });
        ResponseFuture { inner: self.inner.call(request), line }
    }
}

pin_project! {
    /// The response, with the line kept until its end.
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
        line.begin_answer(&mut response);
        Poll::Ready(Ok(response.map(|body| Body::new(LoggedBody { body, line: Some(line), has_ended: false }))))
    }
}

/// The line of a call that is under way. Dropped before it is written, it says CANCELLED.
struct LogLine {
    call: Call,
    /// `None` in tests of the layers alone.
    outgoing: Option<Arc<Outgoing>>,
    peer: Option<PeerAddr>,
    failures: Arc<FailureSample>,
    /// How the call ends, if the caller gets its answer.
    end: End,
    /// Of a stream.
    counts: Option<StreamItemCounts>,
    is_written: bool,
}

/// The same fields at every level, which has to be a constant.
macro_rules! event {
    ($level:expr, $log:expr, $end:expr, $reason:expr) => {
        tracing::event!(
            $level,
            api = $log.call.api.name(),
            rpc.system.name = (!$log.call.api.is_json()).then_some("grpc"),
            rpc.method = $log.call.route.as_ref().and_then(|route| route.rpc_method.as_deref()),
            rpc.response.status_code = code_name($end.code),
            error.reason = $reason,
            http.route = $log.call.route.as_ref().and_then(|route| route.http_route.as_deref()),
            http.response.status_code = $end.http_status,
            outcome = $end.outcome.map(CallOutcome::name),
            items = $end.counts.map(|counts| counts.items),
            item_errors = $end.counts.map(|counts| counts.errors),
            duration_ms = $log.call.received.elapsed().as_micros() as f64 / 1e3,
            caller = $log.caller(),
            network.peer.class = $log.peer.map(PeerAddr::class),
            trace_id = $log.call.trace.id.map(tracing::field::display),
            request.id = $log.call.id.as_str(),
            "call"
        )
    };
}

/// How a call ended.
struct End {
    code: Code,
    failure: Failure,
    http_status: Option<u16>,
    outcome: Option<CallOutcome>,
    counts: Option<ItemCounts>,
}

impl Default for End {
    /// The caller went away before there was an answer.
    fn default() -> Self {
        Self { code: Code::Cancelled, failure: Failure::Unexplained, http_status: None, outcome: None, counts: None }
    }
}

impl LogLine {
    /// The answer begins: a whole one, or a stream.
    fn begin_answer(&mut self, response: &mut Response<Body>) {
        self.counts = response.extensions_mut().remove();
        let (outcome, counts) = (response.extensions().get().copied(), response.extensions().get().copied());
        let (code, http_status) = match self.call.api {
            // A code in the head is a failure without a body. Any other code comes after the body.
            Api::Grpc => (response.headers().get("grpc-status").map(|code| Code::from_bytes(code.as_bytes())), None),
            Api::Http => (response.extensions().get().copied(), Some(response.status().as_u16())),
        };
        let failure = code.map_or(Failure::Unexplained, |_| Failure::of_response(response));
        self.end = End { code: code.unwrap_or(Code::Ok), failure, http_status, outcome, counts };
    }

    /// The answer is over. `is_complete`: HTTP got all of it.
    fn end(&mut self, is_complete: bool) {
        let is_given_up = !is_complete || self.outgoing.as_ref().is_some_and(|outgoing| outgoing.is_given_up());
        // A failure stays what it was: its caller asked for something that it could not get.
        if is_given_up && self.end.code == Code::Ok {
            self.end.code = Code::Cancelled;
        }
        self.write();
    }

    fn write(&mut self) {
        self.is_written = true;
        if let Some(counts) = &self.counts {
            self.end.counts = Some(counts.snapshot());
        }
        if self.call.route.as_ref().is_some_and(|route| route.is_probe) {
            event!(tracing::Level::DEBUG, self, self.end, self.end.failure.reason(self.end.code).as_deref());
        } else if self.failures.is_logged(self.end.code) {
            let reason = self.end.failure.reason(self.end.code);
            let reason = reason.as_deref();
            match Severity::new(self.end.code, reason, self.counts.is_some()) {
                Severity::Info => event!(tracing::Level::INFO, self, self.end, reason),
                Severity::Warn => event!(tracing::Level::WARN, self, self.end, reason),
                Severity::Error => event!(tracing::Level::ERROR, self, self.end, reason),
            }
        }
        self.end_span();
    }

    fn end_span(&self) {
        let route = self.call.route.as_ref();
        let protocol = match self.call.api {
            Api::Grpc => CallProtocol::Grpc { method: route.and_then(|route| route.rpc_method.as_deref()) },
            Api::Http => CallProtocol::Http {
                route: route.and_then(|route| route.http_route.as_deref()),
                status: self.end.http_status,
            },
        };
        self.call.trace.end(&CallEnd {
            protocol,
            code: self.end.code,
            code_name: code_name(self.end.code),
            outcome: self.end.outcome.map(CallOutcome::name),
            items: self.end.counts.map(|counts| (counts.items, counts.errors)),
            caller: self.caller(),
        });
    }

    fn caller(&self) -> Option<&str> {
        self.outgoing.as_ref().and_then(|outgoing| outgoing.caller_name())
    }
}

impl Drop for LogLine {
    fn drop(&mut self) {
        if !self.is_written {
            self.write();
        }
    }
}

/// The body of an answer. The line of the call is written at its end.
struct LoggedBody {
    body: Body,
    /// `None` once it is written.
    line: Option<LogLine>,
    /// HTTP got the end of the body.
    has_ended: bool,
}

impl LoggedBody {
    /// The body ends with this code, whatever was expected when it began.
    fn end_with(&mut self, code: Code, failure: Failure) {
        if let Some(line) = &mut self.line {
            (line.end.code, line.end.failure) = (code, failure);
        }
        self.end_stream();
    }

    /// A stream with counts has come to its end: its line needs no more.
    fn end_stream(&mut self) {
        if let Some(mut line) = self.line.take_if(|line| line.counts.is_some()) {
            line.end(true);
        }
    }
}

/// After the frames that HTTP took: it drops the body when it has handed on all of them, or when the call is reset.
impl Drop for LoggedBody {
    fn drop(&mut self) {
        let is_complete = self.has_ended || self.body.is_end_stream();
        if let Some(line) = &mut self.line {
            line.end(is_complete);
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
                if let Some(trailers) = frame.trailers_ref() {
                    self.has_ended = true;
                    let code = Status::from_header_map(trailers).map_or(Code::Ok, |status| status.code());
                    self.end_with(code, Failure::of_headers(trailers));
                }
            }
            Some(Err(_)) => self.end_with(Code::Internal, Failure::Unexplained),
            None => {
                self.has_ended = true;
                self.end_stream();
            }
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
