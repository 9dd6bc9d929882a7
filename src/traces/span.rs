//! The parts that all spans share.

use std::borrow::Cow;
use std::time::{Instant, SystemTime};

use opentelemetry::trace::{Link, SpanContext, SpanId, SpanKind, Status, TraceFlags, TraceId, TraceState};
use opentelemetry::{InstrumentationScope, KeyValue};
use opentelemetry_sdk::trace::{SpanData, SpanLinks};

use super::export::SpanQueue;

/// A span that has ended.
pub(super) struct EndedSpan {
    pub(super) context: SpanContext,
    pub(super) parent: SpanId,
    /// The parent is a span of the caller.
    pub(super) is_parent_remote: bool,
    pub(super) kind: SpanKind,
    pub(super) name: Cow<'static, str>,
    pub(super) begun: SystemTime,
    pub(super) attributes: Vec<KeyValue>,
    pub(super) links: Vec<Link>,
    pub(super) is_error: bool,
}

/// Where spans go.
#[derive(Debug)]
pub(super) struct Tracer {
    scope: InstrumentationScope,
    queue: SpanQueue,
}

impl Tracer {
    pub(super) fn new(queue: SpanQueue) -> Self {
        let scope = InstrumentationScope::builder("identity").with_version(env!("CARGO_PKG_VERSION"));
        Self { scope: scope.build(), queue }
    }

    /// Hands on a span that ends now.
    pub(super) fn end(&self, span: EndedSpan) {
        let EndedSpan { context, parent, is_parent_remote, kind, name, begun, attributes, links: linked, is_error } =
            span;
        let mut links = SpanLinks::default();
        links.links = linked;
        self.queue.push(SpanData {
            span_context: context,
            parent_span_id: parent,
            parent_span_is_remote: is_parent_remote,
            span_kind: kind,
            name,
            start_time: begun,
            end_time: SystemTime::now(),
            attributes,
            dropped_attributes_count: 0,
            events: Default::default(),
            links,
            status: if is_error { Status::error("") } else { Status::Unset },
            instrumentation_scope: self.scope.clone(),
        });
    }
}

/// The context of a new span in a trace.
pub(super) fn new_context(trace_id: TraceId, state: TraceState) -> SpanContext {
    SpanContext::new(trace_id, SpanId::from(fastrand::u64(1..)), TraceFlags::SAMPLED, false, state)
}

/// The context of a new span in the trace of another one.
pub(super) fn child_of(parent: &SpanContext) -> SpanContext {
    new_context(parent.trace_id(), parent.trace_state().clone())
}

/// The time of the calendar at a moment of the past.
pub(super) fn calendar(moment: Instant) -> SystemTime {
    let now = SystemTime::now();
    now.checked_sub(moment.elapsed()).unwrap_or(now)
}
