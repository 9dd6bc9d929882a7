//! The queue of spans, and the task that sends them to the collector.
//!
//! Requests never wait for the collector. A span that finds no room is dropped, and so are those of a batch that the
//! collector does not take. Both are counted.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use opentelemetry_sdk::trace::{SpanData, SpanExporter};
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TryRecvError;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use crate::metrics::{Metrics, SpanDrop};

/// Maximum spans that wait: some 4 MiB.
const QUEUE: usize = 4_096;

/// Maximum spans of one message to the collector.
const BATCH: usize = 512;

/// How long spans gather for one message.
const GATHER: Duration = Duration::from_secs(1);

/// The longest that one message may take. The exporter has a time-out of its own, which it does not apply to all that
/// it does.
const EXPORT_TIMEOUT: Duration = Duration::from_secs(30);

/// The way into the queue.
#[derive(Clone, Debug)]
pub(super) struct SpanQueue {
    send: mpsc::Sender<SpanData>,
    metrics: Metrics,
}

impl SpanQueue {
    /// Adds a span, or drops it if there is no room.
    pub(super) fn push(&self, span: SpanData) {
        if self.send.try_send(span).is_err() {
            self.metrics.count_dropped_spans(SpanDrop::Queue, 1);
        }
    }
}

/// The task that sends spans. Dropping it ends it at once.
#[derive(Debug)]
pub(super) struct Export {
    task: AbortOnDropHandle<()>,
    closing: CancellationToken,
    /// Spans of the message that is being sent.
    under_way: Arc<AtomicUsize>,
    queue: mpsc::WeakSender<SpanData>,
    metrics: Metrics,
}

/// Starts the task on the current runtime.
pub(super) fn start(collector: impl SpanExporter + 'static, metrics: Metrics) -> (SpanQueue, Export) {
    let (send, queued) = mpsc::channel(QUEUE);
    let (closing, under_way) = (CancellationToken::new(), Arc::new(AtomicUsize::new(0)));
    let queue = send.downgrade();
    let exporter = Exporter {
        collector,
        queued,
        closing: closing.clone(),
        under_way: Arc::clone(&under_way),
        metrics: metrics.clone(),
        lost: None,
    };
    let task = AbortOnDropHandle::new(tokio::spawn(exporter.run()));
    (SpanQueue { send, metrics: metrics.clone() }, Export { task, closing, under_way, queue, metrics })
}

impl Export {
    /// Sends the spans that wait, but not for longer than this. The others are lost.
    pub(super) async fn close(mut self, within: Duration) {
        self.closing.cancel();
        if timeout(within, &mut self.task).await.is_ok() {
            return;
        }
        let waiting = self.queue.upgrade().map_or(0, |queue| queue.max_capacity() - queue.capacity());
        let spans = waiting + self.under_way.load(Ordering::Relaxed);
        self.metrics.count_dropped_spans(SpanDrop::Shutdown, spans);
        tracing::warn!(spans, "the last spans could not be exported in time");
    }
}

/// The work of the task.
struct Exporter<E> {
    collector: E,
    queued: mpsc::Receiver<SpanData>,
    closing: CancellationToken,
    under_way: Arc<AtomicUsize>,
    metrics: Metrics,
    /// Spans that were lost since the collector took some; `None` if it took the last ones.
    lost: Option<usize>,
}

impl<E: SpanExporter> Exporter<E> {
    async fn run(mut self) {
        while !self.closing.is_cancelled() {
            let mut spans = Vec::with_capacity(BATCH);
            tokio::select! {
                biased;
                () = self.closing.cancelled() => {}
                count = self.queued.recv_many(&mut spans, BATCH) => if count == 0 { return },
            }
            let Self { queued, closing, .. } = &mut self;
            let full = async {
                while spans.len() < BATCH {
                    let room = BATCH - spans.len();
                    if queued.recv_many(&mut spans, room).await == 0 {
                        return;
                    }
                }
            };
            tokio::select! {
                biased;
                () = closing.cancelled() => {}
                () = full => {}
                () = sleep(GATHER) => {}
            }
            self.send(spans).await;
        }
        loop {
            let mut spans = Vec::new();
            while spans.len() < BATCH {
                match self.queued.try_recv() {
                    Ok(span) => spans.push(span),
                    Err(TryRecvError::Empty | TryRecvError::Disconnected) => break,
                }
            }
            if spans.is_empty() {
                return;
            }
            self.send(spans).await;
        }
    }

    async fn send(&mut self, spans: Vec<SpanData>) {
        let count = spans.len();
        if count == 0 {
            return;
        }
        self.under_way.store(count, Ordering::Relaxed);
        let sent = timeout(EXPORT_TIMEOUT, self.collector.export(spans)).await;
        self.under_way.store(0, Ordering::Relaxed);
        let reason = match sent {
            Ok(Ok(())) => return self.record_success(),
            Ok(Err(error)) => error.to_string(),
            Err(_) => "no answer in time".to_owned(),
        };
        self.metrics.count_dropped_spans(SpanDrop::Export, count);
        if self.lost.is_none() {
            tracing::warn!(error.message = reason, "traces cannot be exported: look at the collector");
        }
        self.lost = Some(self.lost.unwrap_or(0) + count);
    }

    /// The log says when an outage of the collector begins and when it is over.
    fn record_success(&mut self) {
        if let Some(lost_spans) = self.lost.take() {
            tracing::info!(lost_spans, "traces are exported again");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use opentelemetry::InstrumentationScope;
    use opentelemetry::trace::{SpanContext, SpanId, SpanKind, Status};
    use opentelemetry_sdk::error::{OTelSdkError, OTelSdkResult};
    use tokio::time::Instant;

    use super::*;
    use crate::metrics::ScrapeFormat;

    /// What the collector does.
    #[derive(Clone, Copy, Debug)]
    enum Manner {
        Takes,
        Refuses,
        Hangs,
    }

    /// A collector that keeps how many spans each message had.
    #[derive(Clone, Debug)]
    struct Collector {
        manner: Arc<Mutex<Manner>>,
        messages: Arc<Mutex<Vec<usize>>>,
    }

    impl Collector {
        fn new(manner: Manner) -> Self {
            Self { manner: Arc::new(Mutex::new(manner)), messages: Arc::default() }
        }

        fn messages(&self) -> Vec<usize> {
            self.messages.lock().unwrap().clone()
        }
    }

    impl SpanExporter for Collector {
        async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
            let manner = *self.manner.lock().unwrap();
            match manner {
                Manner::Takes => {
                    self.messages.lock().unwrap().push(batch.len());
                    Ok(())
                }
                Manner::Refuses => Err(OTelSdkError::InternalFailure("refused".to_owned())),
                Manner::Hangs => std::future::pending().await,
            }
        }
    }

    fn span() -> SpanData {
        let now = std::time::SystemTime::UNIX_EPOCH;
        SpanData {
            span_context: SpanContext::NONE,
            parent_span_id: SpanId::INVALID,
            parent_span_is_remote: false,
            span_kind: SpanKind::Internal,
            name: "wait".into(),
            start_time: now,
            end_time: now,
            attributes: Vec::new(),
            dropped_attributes_count: 0,
            events: Default::default(),
            links: Default::default(),
            status: Status::Unset,
            instrumentation_scope: InstrumentationScope::default(),
        }
    }

    fn dropped(metrics: &Metrics, reason: &str) -> u64 {
        let (page, series) = (metrics.scrape(ScrapeFormat::Text), format!("{{reason=\"{reason}\"}} "));
        let line =
            page.lines().find_map(|line| line.strip_prefix("identity_spans_dropped_total")?.strip_prefix(&series));
        line.unwrap().parse().unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn spans_gather_for_a_second_or_until_the_message_is_full() {
        let (collector, metrics) = (Collector::new(Manner::Takes), Metrics::on());
        let (queue, export) = start(collector.clone(), metrics.clone());
        (0..3).for_each(|_| queue.push(span()));
        sleep(GATHER / 2).await;
        assert_eq!(collector.messages(), [0; 0]);
        queue.push(span());
        sleep(GATHER).await;
        assert_eq!(collector.messages(), [4]);
        (0..BATCH + 1).for_each(|_| queue.push(span()));
        sleep(GATHER / 2).await;
        assert_eq!(collector.messages(), [4, BATCH]);
        export.close(Duration::from_secs(1)).await;
        assert_eq!(collector.messages(), [4, BATCH, 1]);
        assert_eq!(["queue", "export", "shutdown"].map(|reason| dropped(&metrics, reason)), [0; 3]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_collector_that_hangs_costs_spans_and_a_second_at_the_end() {
        let (collector, metrics) = (Collector::new(Manner::Hangs), Metrics::on());
        let (queue, export) = start(collector, metrics.clone());
        queue.push(span());
        sleep(GATHER * 2).await;
        (0..QUEUE + 7).for_each(|_| queue.push(span()));
        assert_eq!(dropped(&metrics, "queue"), 7);
        let begun = Instant::now();
        export.close(Duration::from_secs(1)).await;
        assert_eq!(begun.elapsed(), Duration::from_secs(1));
        assert_eq!(dropped(&metrics, "shutdown"), QUEUE as u64 + 1);
        queue.push(span());
        assert_eq!(dropped(&metrics, "queue"), 8, "nobody reads it any more");
    }

    #[tokio::test(start_paused = true)]
    async fn a_collector_that_comes_back_gets_spans_again() {
        let (collector, metrics) = (Collector::new(Manner::Refuses), Metrics::on());
        let (queue, _export) = start(collector.clone(), metrics.clone());
        (0..5).for_each(|_| queue.push(span()));
        sleep(GATHER * 2).await;
        assert_eq!((dropped(&metrics, "export"), collector.messages()), (5, vec![]));
        *collector.manner.lock().unwrap() = Manner::Takes;
        queue.push(span());
        sleep(GATHER * 2).await;
        assert_eq!((dropped(&metrics, "export"), collector.messages()), (5, vec![1]));
    }
}
