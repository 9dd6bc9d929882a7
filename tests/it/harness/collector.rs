//! A stand-in for a collector of traces: the service that the real ones have, in this process.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{TraceService, TraceServiceServer};
use opentelemetry_proto::tonic::collector::trace::v1::{ExportTraceServiceRequest, ExportTraceServiceResponse};
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1 as pb;
use prost::Message;
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tokio_util::task::AbortOnDropHandle;
use tonic::codec::CompressionEncoding;
use tonic::transport::{Identity, Server, ServerTlsConfig};
use tonic::{Request, Response, Status};

/// A span, as text.
#[derive(Clone, Debug)]
pub struct Span {
    pub trace: String,
    pub id: String,
    /// Empty without a parent.
    pub parent: String,
    pub state: String,
    pub name: String,
    pub kind: pb::span::SpanKind,
    /// Trace and span of each link.
    pub links: Vec<(String, String)>,
    pub attributes: BTreeMap<String, String>,
    pub is_error: bool,
    /// In nanoseconds.
    pub begun: u64,
    pub ended: u64,
}

impl Span {
    /// Whether it has a link to another one.
    pub fn is_linked_to(&self, other: &Self) -> bool {
        self.links.contains(&(other.trace.clone(), other.id.clone()))
    }

    pub fn attribute(&self, name: &str) -> &str {
        self.attributes.get(name).map_or("", String::as_str)
    }
}

/// A running collector.
pub struct Collector {
    pub address: SocketAddr,
    received: Received,
    _task: AbortOnDropHandle<()>,
}

/// What it got: messages, with the headers of each.
#[derive(Clone, Default)]
struct Received(Arc<Mutex<Vec<(tonic::metadata::MetadataMap, ExportTraceServiceRequest)>>>);

#[tonic::async_trait]
impl TraceService for Received {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        let (headers, _, message) = request.into_parts();
        self.0.lock().unwrap().push((headers, message));
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

impl Collector {
    pub async fn start() -> Self {
        Self::start_with(Server::builder()).await
    }

    /// With TLS: its certificate and its key.
    pub async fn start_with_tls(certificate: &str, key: &str) -> Self {
        let tls = ServerTlsConfig::new().identity(Identity::from_pem(certificate, key));
        Self::start_with(Server::builder().tls_config(tls).expect("TLS")).await
    }

    async fn start_with(mut server: Server) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let (address, received) = (listener.local_addr().expect("bound"), Received::default());
        let service = TraceServiceServer::new(received.clone()).accept_compressed(CompressionEncoding::Gzip);
        let serve = server.add_service(service).serve_with_incoming(TcpListenerStream::new(listener));
        let task = tokio::spawn(async move { serve.await.expect("a clean end") });
        Self { address, received, _task: AbortOnDropHandle::new(task) }
    }

    /// Its URL.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// All spans so far.
    pub fn spans(&self) -> Vec<Span> {
        let received = self.received.0.lock().unwrap();
        let resources = received.iter().flat_map(|(_, message)| &message.resource_spans);
        resources.flat_map(|resource| &resource.scope_spans).flat_map(|scope| &scope.spans).map(read).collect()
    }

    /// Waits until the spans so far are enough.
    pub async fn until(&self, are_enough: impl Fn(&[Span]) -> bool) -> Vec<Span> {
        let begun = Instant::now();
        loop {
            let spans = self.spans();
            if are_enough(&spans) {
                return spans;
            }
            assert!(begun.elapsed() < Duration::from_secs(30), "{spans:#?}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// What the spans say about their process, in the latest message.
    pub fn resource(&self) -> BTreeMap<String, String> {
        let received = self.received.0.lock().unwrap();
        let resource = received.last().and_then(|(_, message)| message.resource_spans[0].resource.as_ref());
        texts(&resource.expect("a resource").attributes)
    }

    /// A header of the latest message.
    pub fn header(&self, name: &str) -> Option<String> {
        let received = self.received.0.lock().unwrap();
        Some(received.last()?.0.get(name)?.to_str().expect("text").to_owned())
    }

    /// All that it got, as bytes.
    pub fn bytes(&self) -> Vec<u8> {
        let received = self.received.0.lock().unwrap();
        received.iter().flat_map(|(_, message)| message.encode_to_vec()).collect()
    }
}

fn read(span: &pb::Span) -> Span {
    let link = |link: &pb::span::Link| (hex(&link.trace_id), hex(&link.span_id));
    Span {
        trace: hex(&span.trace_id),
        id: hex(&span.span_id),
        parent: hex(&span.parent_span_id),
        state: span.trace_state.clone(),
        name: span.name.clone(),
        kind: span.kind(),
        links: span.links.iter().map(link).collect(),
        attributes: texts(&span.attributes),
        is_error: span.status.as_ref().is_some_and(|status| status.code() == pb::status::StatusCode::Error),
        begun: span.start_time_unix_nano,
        ended: span.end_time_unix_nano,
    }
}

fn texts(attributes: &[KeyValue]) -> BTreeMap<String, String> {
    let text = |attribute: &KeyValue| match attribute.value.as_ref().and_then(|value| value.value.as_ref()) {
        Some(Value::StringValue(text)) => text.clone(),
        Some(Value::IntValue(number)) => number.to_string(),
        Some(Value::BoolValue(value)) => value.to_string(),
        other => panic!("{} is {other:?}", attribute.key),
    };
    attributes.iter().map(|attribute| (attribute.key.clone(), text(attribute))).collect()
}

fn hex(id: &[u8]) -> String {
    id.iter().map(|byte| format!("{byte:02x}")).collect()
}
