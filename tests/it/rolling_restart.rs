//! A rolling restart of two replicas behind HAProxy, with the configuration of `deploy/haproxy`, under load.
//!
//! `ROLLING_RESTARTS=20 TEST_TIME_LIMIT=900 scripts/test --test it -- rolling_restart` restarts both replicas 20 times,
//! without them twice. Clients do not retry calls. HAProxy may try again to connect, and may repeat a JSON call that
//! has no answer: that is all that its configuration permits.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

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

use crate::certificates::{Authority, Files};
use crate::harness::{Backend, Process, Suite, TestDatabase, binary, test_name};

/// How often both replicas are restarted, unless `ROLLING_RESTARTS` says it.
const ROUNDS: usize = 2;

/// The name in the certificates.
const NAME: &str = "identity.example";

/// The servers of the configuration.
const SERVERS: [&str; 2] = ["one", "two"];

/// Clients of each kind.
const CLIENTS: usize = 3;

/// Clients that watch the health, each with as many streams as one connection may have: together far more than the
/// connections would permit that HAProxy makes if clients share them, one for each thread and replica.
const STRANGERS: usize = 16;
const STREAMS_PER_CONNECTION: usize = 16;

/// Between two calls of a client.
const PAUSE: Duration = Duration::from_millis(5);

const PATIENCE: Duration = Duration::from_secs(30);

pub fn register(suite: &mut Suite) {
    let name = test_name(module_path!(), "no_call_fails_while_replicas_restart");
    suite.on_with(is_installed(), &[Backend::Mysql], &name, no_call_fails_while_replicas_restart);
}

fn is_installed() -> Result<(), String> {
    let runs = Command::new("haproxy").arg("-v").stdout(Stdio::null()).status();
    runs.map(drop).map_err(|_| "haproxy is not installed: `scripts/servers install haproxy`".to_owned())
}

/// Ports that are free, below those that the system gives to clients: a replica has to get its own again.
fn free_addresses<const N: usize>() -> [SocketAddr; N] {
    let ports = std::iter::repeat_with(|| fastrand::u16(20_000..32_000)).take(100 * N);
    let bound = ports.filter_map(|port| TcpListener::bind(("127.0.0.1", port)).ok()).take(N);
    let listeners: Vec<_> = bound.collect(); // None is given twice while all are held.
    let addresses: Vec<_> = listeners.iter().map(|listener| listener.local_addr().expect("an address")).collect();
    addresses.try_into().expect("free ports")
}

/// A replica at addresses that stay.
struct Replica {
    variables: Vec<(&'static str, String)>,
    process: Process,
}

impl Replica {
    async fn start(variables: Vec<(&'static str, String)>) -> Self {
        let process = Self::run(&variables).await;
        Self { variables, process }
    }

    async fn run(variables: &[(&'static str, String)]) -> Process {
        let variables: Vec<_> = variables.iter().map(|(name, value)| (*name, value.as_str())).collect();
        Process::start_listening(&variables).await
    }

    async fn stop(&mut self) {
        self.process.signal("-TERM");
        let status = self.process.end().await;
        assert!(status.success(), "{status}: {}", self.process.log());
    }

    async fn restart(&mut self) {
        self.stop().await;
        self.process = Self::run(&self.variables).await;
    }
}

/// HAProxy with the configuration of `deploy/haproxy`: only addresses, paths and the user are others.
struct HaProxy {
    process: Child,
    address: SocketAddr,
    /// Where it answers questions about itself.
    socket: PathBuf,
}

impl HaProxy {
    async fn start(files: &Files, authority: &Authority, address: SocketAddr, replicas: &[[SocketAddr; 2]; 2]) -> Self {
        let certificate = authority.issue(&[NAME]);
        let socket = files.path("haproxy.sock");
        let pem = files.write("identity.pem", &(certificate.pem + &certificate.key));
        let authority = files.write("ca.pem", &authority.pem);
        let [[grpc_one, json_one], [grpc_two, json_two]] = replicas.map(|addresses| addresses.map(|at| at.to_string()));
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/haproxy/haproxy.cfg");
        let mut text = std::fs::read_to_string(path).expect("the configuration");
        for (there, here) in [
            ("bind :443 ", format!("bind {address} ")),
            ("/etc/haproxy/identity.pem", pem.display().to_string()),
            ("/etc/haproxy/identity-ca.crt", authority.display().to_string()),
            ("one.example:3000", json_one),
            ("two.example:3000", json_two),
            ("one.example:50051", grpc_one),
            ("two.example:50051", grpc_two),
            ("    user haproxy\n", String::new()),
            ("    group haproxy\n", String::new()),
        ] {
            assert!(text.contains(there), "{there} is not in the configuration");
            text = text.replace(there, &here);
        }
        let ours = format!("global\n    stats socket {} level operator\n", socket.display());
        let log = std::fs::File::create(files.path("haproxy.log")).expect("a file");
        let process = Command::new("haproxy")
            .arg("-db")
            .arg("-f")
            .arg(files.write("haproxy.cfg", &text))
            .arg("-f")
            .arg(files.write("stats.cfg", &ours))
            .stderr(log.try_clone().expect("a file"))
            .stdout(log)
            .spawn()
            .expect("haproxy runs");
        let mut started = Self { process, address, socket };
        let begun = Instant::now();
        while TcpStream::connect(address).await.is_err() {
            let has_ended = started.process.try_wait().expect("a child").is_some();
            let log = || std::fs::read_to_string(files.path("haproxy.log")).expect("its log");
            assert!(!has_ended && begun.elapsed() < PATIENCE, "{}", log());
            sleep(Duration::from_millis(20)).await;
        }
        started
    }

    /// What it counts, by backend and server.
    fn statistics(&self) -> HashMap<(String, String), HashMap<String, String>> {
        let mut stream = UnixStream::connect(&self.socket).expect("its socket");
        stream.write_all(b"show stat\n").expect("a question");
        let mut text = String::new();
        stream.read_to_string(&mut text).expect("an answer");
        let mut lines = text.trim_start_matches("# ").lines().map(|line| line.split(',').map(str::to_owned));
        let names: Vec<String> = lines.next().expect("names").collect();
        let rows = lines.map(|values| names.iter().cloned().zip(values).collect::<HashMap<_, _>>());
        rows.filter(|row| row.len() > 2).map(|row| ((row["pxname"].clone(), row["svname"].clone()), row)).collect()
    }

    /// The sum of a counter over both backends of a server.
    fn count(&self, server: &str, counter: &str) -> u64 {
        let rows = self.statistics();
        let of = |backend: &str| rows[&(backend.to_owned(), server.to_owned())][counter].parse().unwrap_or(0);
        ["identity-json", "identity-grpc"].map(of).into_iter().sum::<u64>()
    }

    /// Waits until a server answers calls on both ports.
    async fn serves(&self, server: &str) {
        let begun = Instant::now();
        let rows = self.statistics();
        let counts = |rows: &HashMap<(String, String), HashMap<String, String>>| {
            ["identity-json", "identity-grpc"].map(|backend| {
                let row = &rows[&(backend.to_owned(), server.to_owned())];
                (row["status"].clone(), row["hrsp_2xx"].parse::<u64>().unwrap_or(0), row["last_chk"].clone())
            })
        };
        let before = counts(&rows).map(|(_, answers, _)| answers);
        loop {
            let now = counts(&self.statistics());
            if now
                .iter()
                .zip(before)
                .all(|((status, answers, _), before)| status.starts_with("UP") && *answers > before)
            {
                return;
            }
            assert!(begun.elapsed() < PATIENCE, "{server} gets no calls: {now:?}");
            sleep(Duration::from_millis(50)).await;
        }
    }
}

impl Drop for HaProxy {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// What the clients share.
struct Load {
    address: SocketAddr,
    authority: String,
    token: String,
    is_over: AtomicBool,
    answers: AtomicUsize,
    /// Streams that the service ended, and their clients opened again.
    reopened: AtomicUsize,
    failures: Mutex<Vec<String>>,
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
    async fn strangers_share_no_limit(&self) {
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
    async fn call_by_grpc(self: Arc<Self>, client: String) {
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
    async fn call_by_json(self: Arc<Self>, client: String) {
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
    async fn call_by_stream(self: Arc<Self>, client: String) {
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

async fn no_call_fails_while_replicas_restart(database: TestDatabase) {
    let rounds = std::env::var("ROLLING_RESTARTS").map_or(ROUNDS, |text| text.parse().expect("a number"));
    assert!(rounds >= 1, "ROLLING_RESTARTS is at least 1");
    let (authority, files) = (Authority::new(), Files::new());
    let [certificate, key] = files.write_certificate("replica", &authority.issue(&[NAME]));
    let callers = files.path("callers.toml").display().to_string();
    let made = binary()
        .args(["token", "new", "load", "--scope", "identify", "--tokens-file", &callers])
        .output()
        .expect("runs");
    let token = String::from_utf8(made.stdout).expect("text").trim().to_owned();

    let [of_proxy, grpc_one, json_one, grpc_two, json_two] = free_addresses();
    let addresses = [[grpc_one, json_one], [grpc_two, json_two]];
    let mut replicas = Vec::new();
    for [grpc, http] in addresses {
        let variables = vec![
            ("DATABASE_URL", database.url.clone()),
            ("GRPC_ADDR", grpc.to_string()),
            ("HTTP_ADDR", http.to_string()),
            ("TLS_CERT", certificate.display().to_string()),
            ("TLS_KEY", key.display().to_string()),
            ("TOKENS_FILE", callers.clone()),
            // As docs/operations.md has it for HAProxy
            ("DRAIN_DELAY", "3s".to_owned()),
            ("RUST_LOG", "info".to_owned()),
        ];
        replicas.push(Replica::start(variables).await);
    }
    let proxy = HaProxy::start(&files, &authority, of_proxy, &addresses).await;
    let load = Arc::new(Load {
        address: proxy.address,
        authority: authority.pem.clone(),
        token,
        is_over: AtomicBool::new(false),
        answers: AtomicUsize::new(0),
        reopened: AtomicUsize::new(0),
        failures: Mutex::default(),
    });
    let mut clients = Vec::new();
    for number in 0..CLIENTS {
        clients.push(tokio::spawn(Arc::clone(&load).call_by_grpc(format!("grpc-{number}"))));
        clients.push(tokio::spawn(Arc::clone(&load).call_by_json(format!("json-{number}"))));
    }
    clients.push(tokio::spawn(Arc::clone(&load).call_by_stream("stream".to_owned())));
    for server in SERVERS {
        proxy.serves(server).await;
    }
    load.strangers_share_no_limit().await;
    for _ in 0..rounds {
        for (replica, server) in replicas.iter_mut().zip(SERVERS) {
            replica.restart().await;
            proxy.serves(server).await;
        }
        let failures = load.failures.lock().expect("failures").clone();
        assert!(failures.is_empty(), "{} failures: {:#?}", failures.len(), &failures[..failures.len().min(10)]);
    }
    load.is_over.store(true, Ordering::Relaxed);
    for client in clients {
        timeout(PATIENCE, client).await.expect("an answer to the last call").expect("no panic");
    }
    let failures = load.failures.lock().expect("failures").clone();
    assert!(failures.is_empty(), "{failures:#?}");
    let reopened = load.reopened.load(Ordering::Relaxed);
    assert!(reopened >= rounds, "each restart of its replica ends the stream: {reopened}");
    let of_proxy = ["wretr", "wredis", "econ", "eresp", "hrsp_5xx"]
        .map(|counter| format!("{counter} {}", SERVERS.map(|server| proxy.count(server, counter)).iter().sum::<u64>()));
    eprintln!(
        "rolling restarts: {rounds}; answers: {}, none failed; streams opened again: {reopened}; HAProxy: {}",
        load.answers.load(Ordering::Relaxed),
        of_proxy.join(", ")
    );
    for mut replica in replicas {
        replica.stop().await;
    }
    let verified = binary().arg("verify").env("DATABASE_URL", &database.url).output().expect("the binary runs");
    assert!(verified.status.success(), "{verified:?}");
}
