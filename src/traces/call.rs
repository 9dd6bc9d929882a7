//! The trace of a call, and its span.

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Instant, SystemTime};

use http::{Extensions, Method};
use opentelemetry::KeyValue;
use opentelemetry::trace::{SpanContext, SpanId, SpanKind, TraceId, TraceState};
use tonic::Code;

use super::remote_parent::RemoteParent;
use super::span::{EndedSpan, Tracer, calendar, new_context};

/// Batches of a call that get spans. A stream can be open for days, and no trace may grow without end.
const MAX_BATCHES: u32 = 64;

/// The methods that a span may name: the others are `_OTHER`.
const METHODS: [&str; 8] = ["GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH", "TRACE"];

/// The trace of a call.
#[derive(Clone, Debug, Default)]
pub struct CallTrace {
    /// Its id, for the log; also if the call is not sampled but its caller gave one.
    pub id: Option<TraceId>,
    /// What its requests carry.
    pub requests: RequestTrace,
}

/// The place of a request in a trace that is sampled. Without one it is empty and costs nothing. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct RequestTrace(pub(super) Option<Arc<SampledCall>>);

/// A call whose spans are recorded.
#[derive(Debug)]
pub(super) struct SampledCall {
    pub(super) tracer: Arc<Tracer>,
    pub(super) context: SpanContext,
    parent: Option<SpanId>,
    method: &'static str,
    begun: SystemTime,
    /// Batches that asked for a span, up to one more than get one.
    batches: AtomicU32,
}

/// How a call came in.
#[derive(Clone, Copy, Debug)]
pub enum CallProtocol<'a> {
    /// By gRPC.
    Grpc {
        /// `package.Service/Method`. `None` is an unknown one.
        method: Option<&'a str>,
    },
    /// As JSON over HTTP.
    Http {
        /// The path of the API that was called. `None` is an unknown one.
        route: Option<&'a str>,
        /// The status; `None` without an answer.
        status: Option<u16>,
    },
}

/// How a call ended.
#[derive(Clone, Copy, Debug)]
pub struct CallEnd<'a> {
    /// How it came in.
    pub protocol: CallProtocol<'a>,
    /// Its code.
    pub code: Code,
    /// The name of the code, as gRPC writes it.
    pub code_name: &'static str,
    /// What became of the request.
    pub outcome: Option<&'static str>,
    /// Of a batch or a stream: its items, and those that failed.
    pub items: Option<(u64, u64)>,
    /// The name of the caller, if there is a file of callers.
    pub caller: Option<&'a str>,
}

impl CallEnd<'_> {
    /// Returns what failed, by the conventions for spans of servers: mistakes of callers are no failures.
    fn error_type(&self) -> Option<Cow<'static, str>> {
        match self.protocol {
            CallProtocol::Grpc { .. } => match self.code {
                Code::Unknown
                | Code::DeadlineExceeded
                | Code::Unimplemented
                | Code::Internal
                | Code::Unavailable
                | Code::DataLoss => Some(self.code_name.into()),
                Code::Ok
                | Code::Cancelled
                | Code::InvalidArgument
                | Code::NotFound
                | Code::AlreadyExists
                | Code::PermissionDenied
                | Code::ResourceExhausted
                | Code::FailedPrecondition
                | Code::Aborted
                | Code::OutOfRange
                | Code::Unauthenticated => None,
            },
            CallProtocol::Http { status, .. } => {
                status.filter(|status| *status >= 500).map(|status| status.to_string().into())
            }
        }
    }
}

impl CallTrace {
    pub(super) fn not_sampled(id: Option<TraceId>) -> Self {
        Self { id, requests: RequestTrace::default() }
    }

    pub(super) fn sampled(
        tracer: Arc<Tracer>,
        parent: Option<RemoteParent>,
        state: TraceState,
        method: &Method,
        received: Instant,
    ) -> Self {
        let id = parent.map_or_else(|| TraceId::from(fastrand::u128(1..)), |parent| parent.trace_id);
        let method = METHODS.into_iter().find(|known| *known == method.as_str()).unwrap_or("_OTHER");
        let call = SampledCall {
            tracer,
            context: new_context(id, state),
            parent: parent.map(|parent| parent.span_id),
            method,
            begun: calendar(received),
            batches: AtomicU32::new(0),
        };
        Self { id: Some(id), requests: RequestTrace(Some(Arc::new(call))) }
    }

    /// The call has ended. To be called once.
    pub fn end(&self, end: &CallEnd<'_>) {
        if let Some(call) = &self.requests.0 {
            call.end(end);
        }
    }
}

impl RequestTrace {
    /// Returns the place in a trace that the extensions of a request have.
    pub fn from_extensions(extensions: &Extensions) -> Self {
        extensions.get().cloned().unwrap_or_default()
    }

    /// Returns whether spans are recorded.
    pub fn is_sampled(&self) -> bool {
        self.0.is_some()
    }
}

impl SampledCall {
    /// Takes one of the batches that may get a span. Returns whether there was one.
    pub(super) fn take_batch(&self) -> bool {
        let one_more = |batches| (batches <= MAX_BATCHES).then_some(batches + 1);
        let before = self.batches.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more);
        before.is_ok_and(|before| before < MAX_BATCHES)
    }

    fn end(&self, end: &CallEnd<'_>) {
        let mut attributes = Vec::with_capacity(8);
        let (name, error) = (self.describe(end, &mut attributes), end.error_type());
        let is_error = error.is_some();
        attributes.extend(error.map(|error| KeyValue::new("error.type", error)));
        if let Some(outcome) = end.outcome {
            attributes.push(KeyValue::new("identity.outcome", outcome));
        }
        if let Some((items, errors)) = end.items {
            let number = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
            attributes.push(KeyValue::new("identity.items", number(items)));
            attributes.push(KeyValue::new("identity.item_errors", number(errors)));
        }
        if let Some(caller) = end.caller {
            attributes.push(KeyValue::new("identity.caller", caller.to_owned()));
        }
        if self.batches.load(Ordering::Relaxed) > MAX_BATCHES {
            attributes.push(KeyValue::new("identity.is_truncated", true));
        }
        self.tracer.end(EndedSpan {
            context: self.context.clone(),
            parent: self.parent.unwrap_or(SpanId::INVALID),
            is_parent_remote: self.parent.is_some(),
            kind: SpanKind::Server,
            name,
            begun: self.begun,
            attributes,
            links: Vec::new(),
            is_error,
        });
    }

    /// Adds what the conventions for RPC or HTTP say about a call. Returns the name of its span.
    fn describe(&self, end: &CallEnd<'_>, attributes: &mut Vec<KeyValue>) -> Cow<'static, str> {
        match end.protocol {
            CallProtocol::Grpc { method } => {
                attributes.push(KeyValue::new("rpc.system.name", "grpc"));
                attributes.push(KeyValue::new("rpc.response.status_code", end.code_name));
                let Some(method) = method else {
                    attributes.push(KeyValue::new("rpc.method", "_OTHER"));
                    return "grpc".into();
                };
                attributes.push(KeyValue::new("rpc.method", method.to_owned()));
                method.to_owned().into()
            }
            CallProtocol::Http { route, status } => {
                attributes.push(KeyValue::new("http.request.method", self.method));
                if let Some(status) = status {
                    attributes.push(KeyValue::new("http.response.status_code", i64::from(status)));
                }
                let method = if self.method == "_OTHER" { "HTTP" } else { self.method };
                let Some(route) = route else { return method.into() };
                attributes.push(KeyValue::new("http.route", route.to_owned()));
                format!("{method} {route}").into()
            }
        }
    }
}
