//! Clients of each kind, which call until they are told to end.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use identity::proto::identity::v1::identity_service_client::IdentityServiceClient;
use identity::proto::identity::v1::stream_identify_response::Result as OfStream;
use identity::proto::identity::v1::{IdentifyRequest, StreamIdentifyRequest};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsConnector;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::metadata::MetadataValue;
use tonic::transport::{Certificate, Channel, ClientTlsConfig};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;
use tonic_types::StatusExt;

use super::{NAME, PATIENCE};

/// Clients that watch the health, each with as many streams as one connection may have: together far more than the
/// connections would permit that HAProxy makes if clients share them, one for each thread and replica.
const STRANGERS: usize = 16;

const STREAMS_PER_CONNECTION: usize = 16;

/// Between two calls of a client.
const PAUSE: Duration = Duration::from_millis(5);

/// What the clients share.
pub struct Load {
    pub address: SocketAddr,
    pub authority: String,
    pub token: String,
    pub is_over: AtomicBool,
    pub answers: AtomicUsize,
    /// Streams that the service ended, and their clients opened again.
    pub reopened: AtomicUsize,
    pub failures: Mutex<Vec<String>>,
}

impl Load {
    fn goes_on(&self) -> bool {
        !self.is_over.load(Ordering::Relaxed)
    }

    fn count(&self, result: Result<(), String>) {
        match result {
            Ok(()) => drop(self.answers.fetch_add(1, Ordering::Relaxed)),
            Err(failure) => self.failures.lock().expect("failures").push(failure),
        }
    }

    /// A call of one of a few customers, or of a new one.
    fn request(client: &str, number: usize) -> IdentifyRequest {
        let (email, phone_number) = match number % 3 {
            0 => (format!("{client}-{number}@new.example"), None),
            _ => (format!("{}@known.example", number % 50), Some(format!("5550{:03}", number % 50))),
        };
        IdentifyRequest { email: Some(email), phone_number, ..Default::default() }
    }

    async fn channel(&self) -> Channel {
        let tls = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(&self.authority)).domain_name(NAME);
        let endpoint = Channel::from_shared(format!("https://{}", self.address)).expect("an address");
        endpoint.tls_config(tls).expect("TLS").connect().await.expect("a connection")
    }

    async fn grpc_client(&self) -> IdentityServiceClient<Channel> {
        IdentityServiceClient::new(self.channel().await)
    }

    /// The service limits the streams of a connection. Each client of HAProxy can have as many.
    pub async fn strangers_share_no_limit(&self) {
        let mut open = Vec::new();
        for client in 0..STRANGERS {
            let mut health = HealthClient::new(self.channel().await);
            for stream in 0..STREAMS_PER_CONNECTION {
                let watch = timeout(PATIENCE, health.watch(HealthCheckRequest::default())).await.expect("an answer");
                let watch = watch.unwrap_or_else(|status| panic!("stream {stream} of client {client}: {status:?}"));
                open.push((watch, health.clone()));
            }
        }
    }

    fn with_token<T>(&self, message: T) -> tonic::Request<T> {
        let mut request = tonic::Request::new(message);
        let value = MetadataValue::try_from(format!("Bearer {}", self.token)).expect("a header");
        request.metadata_mut().insert("authorization", value);
        request
    }

    /// Calls by gRPC.
    pub async fn call_by_grpc(self: Arc<Self>, client: String) {
        let mut channel = self.grpc_client().await;
        for number in 0.. {
            let result = channel.identify(self.with_token(Self::request(&client, number))).await;
            self.count(result.map(drop).map_err(|status| format!("{client}: {status:?}")));
            if !self.goes_on() {
                return;
            }
            sleep(PAUSE).await;
        }
    }

    async fn json_client(&self) -> http1::SendRequest<Full<Bytes>> {
        let mut store = RootCertStore::empty();
        store.add(CertificateDer::from_pem_slice(self.authority.as_bytes()).expect("PEM")).expect("a certificate");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let config = builder.expect("versions").with_root_certificates(store).with_no_client_auth();
        let stream = TcpStream::connect(self.address).await.expect("a connection");
        let stream = TlsConnector::from(Arc::new(config)).connect(ServerName::try_from(NAME).expect("a name"), stream);
        let io = TokioIo::new(stream.await.expect("TLS"));
        let (send, connection) = http1::handshake::<_, Full<Bytes>>(io).await.expect("HTTP");
        tokio::spawn(connection);
        send
    }

    /// Calls by JSON over HTTP/1.1, on one connection until HAProxy closes it.
    pub async fn call_by_json(self: Arc<Self>, client: String) {
        let mut send = self.json_client().await;
        for number in 0.. {
            let IdentifyRequest { email, phone_number, .. } = Self::request(&client, number);
            let body = serde_json::json!({"email": email, "phoneNumber": phone_number}).to_string();
            let post = http::Request::post("/identify")
                .header("host", NAME)
                .header("authorization", format!("Bearer {}", self.token))
                .body(Full::new(Bytes::from(body)))
                .expect("a request");
            let result = async {
                send.ready().await?;
                let answer = send.send_request(post).await?;
                let status = answer.status();
                Ok::<_, hyper::Error>((status, answer.into_body().collect().await?.to_bytes()))
            };
            self.count(match result.await {
                Ok((status, _)) if status.is_success() => Ok(()),
                Ok((status, body)) => Err(format!("{client}: {status} {body:?}")),
                Err(error) => Err(format!("{client}: {error:?}")),
            });
            if !self.goes_on() {
                return;
            }
            if send.is_closed() {
                send = self.json_client().await;
            }
            sleep(PAUSE).await;
        }
    }

    /// Sends items on a stream, one after another. When the service ends the stream because it shuts down, the client
    /// opens it again, and sends the item without an answer again, as docs/api.md says.
    pub async fn call_by_stream(self: Arc<Self>, client: String) {
        let mut channel = self.grpc_client().await;
        let mut number = 0;
        while self.goes_on() {
            let (send, items) = mpsc::unbounded_channel();
            let call = self.with_token(UnboundedReceiverStream::new(items));
            let mut answers = match channel.stream_identify(call).await {
                Ok(answers) => answers.into_inner(),
                Err(status) => return self.count(Err(format!("{client}: {status:?}"))),
            };
            while self.goes_on() {
                let request = Some(Self::request(&client, number));
                let _ = send.send(StreamIdentifyRequest { correlation_id: number.to_string(), request });
                match answers.message().await {
                    Ok(Some(answer)) => {
                        let is_answer = matches!(answer.result, Some(OfStream::Response(_)));
                        self.count(if is_answer { Ok(()) } else { Err(format!("{client}: {answer:?}")) });
                        number += 1;
                    }
                    Ok(None) => return self.count(Err(format!("{client}: the stream ended"))),
                    Err(status) => {
                        let details = status.get_error_details();
                        let is_shutdown = details.error_info().is_some_and(|info| info.reason == "SHUTTING_DOWN");
                        if !is_shutdown {
                            return self.count(Err(format!("{client}: {status:?}")));
                        }
                        self.reopened.fetch_add(1, Ordering::Relaxed);
                        break;
                    }
                }
                sleep(PAUSE).await;
            }
        }
    }
}
