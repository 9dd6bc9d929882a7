//! Traces: spans of the requests that are sampled, sent to a collector by OTLP over gRPC.
//!
//! Without an endpoint, and for a request that is not sampled, a handle is `None`: to look at it is all that tracing
//! costs. Only sampled requests allocate. No span has personal data: neither identifiers, nor SQL, nor paths that do
//! not exist, nor addresses.
//!
//! The spans are made as data, not by the tracer of the SDK: a batch belongs to many requests, and a wait is known
//! when it is over. What is sampled is decided before anything is made.
//!
//! | file | what it holds |
//! | --- | --- |
//! | `remote_parent` | `traceparent` and `tracestate` of a caller |
//! | `call` | the trace of a call, and its span (SERVER) |
//! | `batch` | the span of a look-up or a transaction, and of the waits for it |
//! | `statement` | the span of an operation of the database (CLIENT) |
//! | `export` | the queue, and the task that sends what is in it |
//! | `collector` | the client of the collector, and what the spans say about this process |

mod batch;
mod call;
mod collector;
mod export;
mod remote_parent;
mod span;
mod statement;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use http::{HeaderMap, Method};
pub use opentelemetry::trace::TraceId;

pub use self::batch::BatchSpan;
pub use self::call::{CallEnd, CallProtocol, CallTrace, RequestTrace};
use self::export::Export;
use self::remote_parent::RemoteParent;
use self::span::Tracer;
pub use self::statement::{StatementSpan, fail_statement};
use crate::metrics::Metrics;
use crate::settings::{InvalidSetting, TraceSettings};

/// How long the last spans may take at the end of the process.
const DRAIN: Duration = Duration::from_secs(1);

/// Makes the spans of the process. Clones share them. [`Traces::default`] makes none.
#[derive(Clone, Debug, Default)]
pub struct Traces(Option<Arc<Exported>>);

/// Traces that go to a collector.
#[derive(Debug)]
struct Exported {
    /// The share of the requests that are sampled, if their callers do not decide it.
    ratio: f64,
    tracer: Arc<Tracer>,
    /// `None` once it is closed.
    export: Mutex<Option<Export>>,
}

impl Traces {
    /// Starts to export, on the current tokio runtime, if the settings have an endpoint. The collector need not answer
    /// yet.
    ///
    /// # Errors
    /// [`InvalidSetting`] names the setting or the standard variable that the exporter cannot use.
    pub fn start(settings: &TraceSettings, metrics: &Metrics) -> Result<Self, InvalidSetting> {
        let Some(endpoint) = &settings.otlp_endpoint else { return Ok(Self::default()) };
        let collector = collector::connect(endpoint, settings)?;
        let (queue, export) = export::start(collector, settings.timeout, metrics.clone());
        let exported = Exported {
            ratio: settings.trace_sample_ratio,
            tracer: Arc::new(Tracer::new(queue)),
            export: Mutex::new(Some(export)),
        };
        Ok(Self(Some(Arc::new(exported))))
    }

    /// Begins the trace of a call: that of its caller, or a new one. A `traceparent` that is malformed is ignored.
    pub fn begin_call(&self, headers: &HeaderMap, method: &Method, received: Instant) -> CallTrace {
        let parent = RemoteParent::from_headers(headers);
        let of_caller = parent.map(|parent| parent.trace_id);
        let Some(exported) = &self.0 else { return CallTrace::not_sampled(of_caller) };
        let is_sampled = parent.map_or_else(|| fastrand::f64() < exported.ratio, |parent| parent.is_sampled);
        if !is_sampled {
            return CallTrace::not_sampled(of_caller);
        }
        let state = remote_parent::parse_trace_state(headers, parent);
        CallTrace::sampled(Arc::clone(&exported.tracer), parent, state, method, received)
    }

    /// Sends the spans that wait, but takes at most a second. Spans that are made later are lost.
    pub async fn close(&self) {
        let Some(exported) = &self.0 else { return };
        let export = exported.export.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(export) = export {
            export.close(DRAIN).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::{DatabaseOperation, LaneKind};
    use crate::settings::Settings;

    const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00";

    fn begin(traces: &Traces, parent: Option<&str>) -> CallTrace {
        let header = |value: &str| ("traceparent".parse().unwrap(), value.parse().unwrap());
        traces.begin_call(&parent.map(header).into_iter().collect(), &Method::POST, Instant::now())
    }

    fn with_ratio(ratio: &str) -> Traces {
        let flags = ["--otlp-endpoint", "http://127.0.0.1:1", "--trace-sample-ratio", ratio];
        Traces::start(&Settings::from_flags(flags).unwrap().traces, &Metrics::default()).unwrap()
    }

    #[tokio::test]
    async fn what_is_not_sampled_is_an_empty_handle() {
        assert_eq!(size_of::<RequestTrace>(), size_of::<usize>());
        for (traces, parent) in
            [(Traces::default(), None), (Traces::default(), Some(PARENT)), (with_ratio("1"), Some(PARENT))]
        {
            let call = begin(&traces, parent);
            assert_eq!((call.requests.is_sampled(), call.id.is_some()), (false, parent.is_some()));
            let batch = BatchSpan::begin(LaneKind::Read, 1, [(&call.requests, Some(Instant::now()))].into_iter());
            assert!(!batch.is_recorded());
            let system = || unreachable!("nothing is recorded");
            batch.scope(async { StatementSpan::begin(DatabaseOperation::LookUp, system) }).await;
        }
    }

    #[tokio::test]
    async fn without_a_parent_the_ratio_decides() {
        let sampled = |traces: &Traces| (0..1_000).filter(|_| begin(traces, None).requests.is_sampled()).count();
        assert_eq!((sampled(&with_ratio("0")), sampled(&with_ratio("1"))), (0, 1_000));
        let half = sampled(&with_ratio("0.5"));
        assert!((300..700).contains(&half), "{half}");
        let parent = format!("{}01", &PARENT[..53]);
        assert!(begin(&with_ratio("0"), Some(&parent)).requests.is_sampled(), "the parent decides");
    }
}
