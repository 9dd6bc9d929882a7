//! The span of a batch: requests that share a look-up or a transaction. And those of their waits.
//!
//! A span is in one trace. The span of a batch is in that of its first sampled request, and has a link to each. The
//! wait of each request is in its own trace, and has a link to the batch.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Instant, SystemTime};

use opentelemetry::KeyValue;
use opentelemetry::trace::{Link, SpanContext, SpanId, SpanKind};
use tokio::task_local;

use super::call::{RequestTrace, SampledCall};
use super::span::{EndedSpan, calendar, child_of};
use crate::metrics::{Label, LaneKind};

task_local! {
    /// The batch that the current task works for.
    static CURRENT: Arc<SampledBatch>;
}

/// The span of a batch, which [`end`](Self::end) hands on. Empty if none of its requests is sampled.
#[derive(Debug, Default)]
pub struct BatchSpan(Option<Arc<SampledBatch>>);

/// A batch with sampled requests.
#[derive(Debug)]
pub(super) struct SampledBatch {
    /// The first call with a request in it.
    pub(super) first: Arc<SampledCall>,
    pub(super) context: SpanContext,
    begun: SystemTime,
    lane: LaneKind,
    requests: usize,
    links: Vec<Link>,
    /// Why the statement under way failed, if it did.
    pub(super) failed_statement: Mutex<Option<&'static str>>,
}

impl BatchSpan {
    /// Begins the batch of so many requests. `traced` has the trace of each, and since when it has waited, if that wait
    /// is not recorded yet. Of the requests of one call, the longest wait is recorded.
    pub fn begin<'a>(
        lane: LaneKind,
        requests: usize,
        traced: impl Iterator<Item = (&'a RequestTrace, Option<Instant>)>,
    ) -> Self {
        let mut sampled = traced.filter_map(|(trace, since)| Some((trace.0.as_ref()?, since))).peekable();
        if sampled.peek().is_none() {
            return Self::default();
        }
        let mut calls: Vec<(&Arc<SampledCall>, Option<Instant>)> = Vec::new();
        let mut positions: HashMap<SpanId, usize> = HashMap::new();
        for (call, since) in sampled {
            let position = *positions.entry(call.context.span_id()).or_insert(calls.len());
            match calls.get_mut(position) {
                Some((_, earliest)) => *earliest = [*earliest, since].into_iter().flatten().min(),
                None => calls.push((call, since)),
            }
        }
        calls.retain(|(call, _)| call.take_batch());
        let Some((first, _)) = calls.first() else { return Self::default() };
        let context = child_of(&first.context);
        for (call, since) in &calls {
            if let Some(since) = since {
                record_wait(call, *since, lane, &context);
            }
        }
        Self(Some(Arc::new(SampledBatch {
            first: Arc::clone(first),
            context,
            begun: SystemTime::now(),
            lane,
            requests,
            links: calls.iter().map(|(call, _)| Link::with_context(call.context.clone())).collect(),
            failed_statement: Mutex::default(),
        })))
    }

    /// Returns whether it is recorded.
    pub fn is_recorded(&self) -> bool {
        self.0.is_some()
    }

    /// Does work of the batch: the operations of the database that it asks for become children of the span.
    pub async fn scope<T>(&self, work: impl Future<Output = T>) -> T {
        match &self.0 {
            Some(batch) => CURRENT.scope(Arc::clone(batch), work).await,
            None => work.await,
        }
    }

    /// Ends the batch. `error` says why it failed or starts over, if it does.
    pub fn end(self, error: Option<&'static str>) {
        let Some(batch) = self.0 else { return };
        let requests = i64::try_from(batch.requests).unwrap_or(i64::MAX);
        let mut attributes = vec![lane_attribute(batch.lane), KeyValue::new("identity.batch.size", requests)];
        attributes.extend(error.map(|error| KeyValue::new("error.type", error)));
        batch.first.tracer.end(EndedSpan {
            context: batch.context.clone(),
            parent: batch.first.context.span_id(),
            is_parent_remote: false,
            kind: SpanKind::Internal,
            name: "batch".into(),
            begun: batch.begun,
            attributes,
            links: batch.links.clone(),
            is_error: error.is_some(),
        });
    }
}

impl SampledBatch {
    /// The batch that the current task works for, if it is recorded.
    pub(super) fn current() -> Option<Arc<Self>> {
        CURRENT.try_with(Arc::clone).ok()
    }

    /// The statement under way failed.
    pub(super) fn fail_statement(&self, error: &'static str) {
        *self.failed_statement.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
    }

    /// Takes why the statement that ends now failed, if it did.
    pub(super) fn take_failure(&self) -> Option<&'static str> {
        self.failed_statement.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// A request has waited since then for the batch, which begins now.
fn record_wait(call: &SampledCall, since: Instant, lane: LaneKind, batch: &SpanContext) {
    call.tracer.end(EndedSpan {
        context: child_of(&call.context),
        parent: call.context.span_id(),
        is_parent_remote: false,
        kind: SpanKind::Internal,
        name: "wait".into(),
        begun: calendar(since),
        attributes: vec![lane_attribute(lane)],
        links: vec![Link::with_context(batch.clone())],
        is_error: false,
    });
}

fn lane_attribute(lane: LaneKind) -> KeyValue {
    KeyValue::new("identity.lane", lane.value())
}
