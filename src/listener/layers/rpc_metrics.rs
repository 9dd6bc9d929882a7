//! Metrics of calls.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use axum::body::Body;
use bytes::Bytes;
use http::{Method, Request, Response};
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use pin_project_lite::pin_project;
use tonic::{Code, Status};
use tower::Service;

use super::message_count::{CountedRequest, MessageCount};
use crate::listener::call::Call;
use crate::listener::endpoint::{CallHandles, EndpointMetrics};
use crate::listener::outgoing::Outgoing;
use crate::metrics::{ItemResultKind, MeteredApi};
use crate::transport::batch::{ItemCounts, StreamItemCounts};
use crate::transport::errors::is_of_service;

/// The HTTP status of a call whose caller went away before there was an answer, as proxies log it.
const CLIENT_CLOSED: u16 = 499;

/// Counts each call, its time, its messages and its items, by the handles of its path. A call ends as its log line
/// says: when HTTP has all of its answer, or when it is known that the caller does not get it.
#[derive(Clone)]
pub(crate) struct RpcMetrics<S> {
    inner: S,
    /// The handles of all unknown paths. `None` without metrics.
    unknown: Option<EndpointMetrics>,
}

impl<S> RpcMetrics<S> {
    pub(crate) fn new(inner: S, unknown: Option<EndpointMetrics>) -> Self {
        Self { inner, unknown }
    }

    fn meter<B>(&self, request: &Request<B>) -> Option<CallMeter> {
        let unknown = self.unknown.as_ref()?;
        let call: &Call = request.extensions().get()?;
        let metrics = call.route.as_ref().and_then(|route| route.metrics.as_ref()).unwrap_or(unknown);
        let outgoing = request.extensions().get().cloned();
        Some(CallMeter::begin(metrics.clone(), call.received, request.method().clone(), outgoing))
    }
}

impl<S, B> Service<Request<B>> for RpcMetrics<S>
where
    S: Service<Request<CountedRequest<B>>, Response = Response<Body>>,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = ResponseFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let meter = self.meter(&request);
        let method = meter.as_ref().and_then(|meter| meter.metrics.calls.grpc()).cloned();
        let request = request.map(|body| CountedRequest::new(body, method));
        ResponseFuture { inner: self.inner.call(request), meter }
    }
}

pin_project! {
    /// The response, with the meter kept until its end.
    pub(crate) struct ResponseFuture<F> {
        #[pin]
        inner: F,
        // `None` without metrics, and once it is given away.
        meter: Option<CallMeter>,
    }
}

impl<F, E> Future for ResponseFuture<F>
where
    F: Future<Output = Result<Response<Body>, E>>,
{
    type Output = Result<Response<Body>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let response = ready!(this.inner.poll(cx))?;
        let Some(mut meter) = this.meter.take() else { return Poll::Ready(Ok(response)) };
        meter.begin_answer(&response);
        Poll::Ready(Ok(response.map(|body| Body::new(MeteredBody { body, meter, messages: MessageCount::default() }))))
    }
}

/// A call under way. Dropping it is the end of the call.
struct CallMeter {
    metrics: EndpointMetrics,
    received: Instant,
    method: Method,
    outgoing: Option<Arc<Outgoing>>,
    code: Code,
    http_status: u16,
    /// HTTP got the end of the answer.
    is_complete: bool,
    items: Items,
}

/// The requests to identify in a call.
enum Items {
    /// None, or nothing is known of them yet.
    None,
    /// One, which ends with the call.
    One,
    /// Those of a stream, with what is counted already.
    Stream(StreamItemCounts, ItemCounts),
}

impl CallMeter {
    fn begin(metrics: EndpointMetrics, received: Instant, method: Method, outgoing: Option<Arc<Outgoing>>) -> Self {
        match &metrics.calls {
            CallHandles::Grpc(method) => method.begin(),
            CallHandles::Http(route) => route.begin(),
        }
        let (code, http_status, items) = (Code::Cancelled, CLIENT_CLOSED, Items::None);
        Self { metrics, received, method, outgoing, code, http_status, is_complete: false, items }
    }

    /// The answer begins: a whole one, or a stream.
    fn begin_answer(&mut self, response: &Response<Body>) {
        self.http_status = response.status().as_u16();
        let code = match self.metrics.calls {
            // Success is written after the body; a code in the head is a failure.
            CallHandles::Grpc(_) => response.headers().get("grpc-status").map(|code| Code::from_bytes(code.as_bytes())),
            CallHandles::Http(_) => response.extensions().get().copied(),
        };
        self.code = code.unwrap_or(Code::Ok);
        // A call that authentication refuses is no request to identify, and is counted elsewhere.
        let is_refused = self.outgoing.as_ref().is_some_and(|outgoing| outgoing.is_refused());
        if self.metrics.identifies && !is_refused {
            let (stream, batch) = (response.extensions().get::<StreamItemCounts>(), response.extensions().get());
            self.items = match (stream, batch) {
                (Some(stream), _) => Items::Stream(stream.clone(), ItemCounts::default()),
                (None, Some(batch)) => {
                    self.count_items(*batch);
                    Items::None
                }
                (None, None) => Items::One,
            };
        }
    }

    fn count_items(&self, counts: ItemCounts) {
        let api = match self.metrics.calls {
            CallHandles::Grpc(_) => MeteredApi::Grpc,
            CallHandles::Http(_) => MeteredApi::Http,
        };
        let ItemCounts { items, errors, failed } = counts;
        let all = [
            (ItemResultKind::Ok, items.saturating_sub(errors)),
            (ItemResultKind::Invalid, errors.saturating_sub(failed)),
            (ItemResultKind::Failed, failed),
        ];
        all.into_iter().for_each(|(result, items)| self.metrics.all.count_items(api, result, items));
    }

    /// Counts the items of a stream that were answered since the last time.
    fn count_answered(&mut self) {
        let Items::Stream(counts, counted) = &mut self.items else { return };
        let now = counts.snapshot();
        let before = std::mem::replace(counted, now);
        self.count_items(ItemCounts {
            items: now.items - before.items,
            errors: now.errors - before.errors,
            failed: now.failed - before.failed,
        });
    }
}

impl Drop for CallMeter {
    fn drop(&mut self) {
        let is_given_up = !self.is_complete || self.outgoing.as_ref().is_some_and(|outgoing| outgoing.is_given_up());
        // A failure stays what it was: its caller asked for something that it could not get.
        if is_given_up && self.code == Code::Ok {
            (self.code, self.http_status) = (Code::Cancelled, CLIENT_CLOSED);
        }
        self.count_answered();
        if matches!(self.items, Items::One) && self.code != Code::Cancelled {
            let (is_error, is_failed) = (self.code != Code::Ok, is_of_service(self.code));
            self.count_items(ItemCounts { items: 1, errors: is_error.into(), failed: is_failed.into() });
        }
        if let Some(caller) = self.outgoing.as_ref().and_then(|outgoing| outgoing.caller()) {
            caller.count_end(self.code);
        }
        let time = self.received.elapsed();
        match &self.metrics.calls {
            CallHandles::Grpc(method) => method.end(self.code, time),
            CallHandles::Http(route) => route.end(&self.method, self.http_status, time),
        }
    }
}

/// The body of an answer. HTTP drops it when it has handed on all of it, or when the call is reset.
struct MeteredBody {
    body: Body,
    meter: CallMeter,
    messages: MessageCount,
}

impl MeteredBody {
    fn read_frame(&mut self, frame: &Frame<Bytes>) {
        if let Some(trailers) = frame.trailers_ref() {
            self.meter.is_complete = true;
            if let Some(status) = Status::from_header_map(trailers) {
                self.meter.code = status.code();
            }
        }
        if let (Some(data), Some(method)) = (frame.data_ref(), self.meter.metrics.calls.grpc()) {
            let ended = self.messages.count(data);
            if ended > 0 {
                method.sent(ended);
            }
            self.meter.count_answered();
        }
    }
}

impl Drop for MeteredBody {
    fn drop(&mut self) {
        self.meter.is_complete |= self.body.is_end_stream();
    }
}

impl HttpBody for MeteredBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        match &frame {
            Some(Ok(frame)) => self.read_frame(frame),
            Some(Err(_)) => self.meter.code = Code::Internal,
            None => self.meter.is_complete = true,
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
