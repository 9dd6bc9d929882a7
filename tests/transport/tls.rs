//! TLS: versions, protocols, client certificates, and files that change.

use std::net::SocketAddr;
use std::os::unix::fs::symlink;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use identity::domain::Outcome;
use identity::proto::identity::v1 as pb;
use identity::proto::identity::v1::identity_service_client::IdentityServiceClient;
use identity::settings::ClientAuth;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::sleep;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tonic::transport::{Certificate as PemCertificate, Channel, ClientTlsConfig, Identity};

use crate::certificates::{Authority, Certificate, Files};
use crate::harness::{Script, Server, ServerSettings, rest, until};

const OK: Script = Script::Answer(Outcome::Matched);
const BODY: &str = r#"{"email":"a@b.co"}"#;

/// A server with TLS, and the authority of its certificate.
pub(crate) struct Secured {
    pub(crate) server: Server,
    authority: Authority,
    files: Files,
}

impl Secured {
    pub(crate) async fn start(change: impl FnOnce(&mut ServerSettings, &Files)) -> Self {
        let (authority, files) = (Authority::new(), Files::new());
        let [cert, key] = files.write_certificate("server", &authority.issue_local());
        let server = Server::with(OK, |options| {
            options.fixed.reload_every = Duration::from_millis(10);
            (options.settings.tls.tls_cert, options.settings.tls.tls_key) = (Some(cert), Some(key));
            change(options, &files);
        })
        .await;
        Self { server, authority, files }
    }

    /// With client certificates of the authority of [`CLIENTS`].
    async fn with_clients(clients: &Authority, client_auth: ClientAuth) -> Self {
        Self::start(|options, files| {
            options.settings.tls.tls_client_ca = Some(files.write("clients.pem", &clients.pem));
            options.settings.tls.tls_client_auth = client_auth;
        })
        .await
    }

    /// A gRPC client with the TLS of tonic.
    async fn grpc(
        &self,
        client: Option<&Certificate>,
    ) -> Result<IdentityServiceClient<Channel>, tonic::transport::Error> {
        let mut tls = ClientTlsConfig::new().ca_certificate(PemCertificate::from_pem(&self.authority.pem));
        if let Some(client) = client {
            tls = tls.identity(Identity::from_pem(&client.pem, &client.key));
        }
        let endpoint = Channel::from_shared(format!("https://{}", self.server.grpc)).unwrap().tls_config(tls)?;
        Ok(IdentityServiceClient::new(endpoint.connect().await?))
    }

    pub(crate) async fn identify(&self, client: Option<&Certificate>) -> Result<(), Box<dyn std::error::Error>> {
        self.grpc(client).await?.identify(request()).await?;
        Ok(())
    }

    pub(crate) async fn connect(
        &self,
        address: SocketAddr,
        offer: &Offer<'_>,
    ) -> std::io::Result<TlsStream<TcpStream>> {
        connect(&self.authority, address, offer).await
    }

    /// `POST /identify` over the protocol of the handshake.
    async fn post(&self, offer: &Offer<'_>) -> std::io::Result<u16> {
        let stream = self.connect(self.server.http, offer).await?;
        let is_http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
        let io = TokioIo::new(stream);
        let post = http::Request::post("https://localhost/identify").header("host", "localhost");
        let post = post.body(Full::new(Bytes::from_static(BODY.as_bytes()))).unwrap();
        let answer = if is_http2 {
            let (mut send, connection) =
                hyper::client::conn::http2::handshake(TokioExecutor::new(), io).await.map_err(std::io::Error::other)?;
            tokio::spawn(connection);
            send.send_request(post).await
        } else {
            let (mut send, connection) =
                hyper::client::conn::http1::handshake(io).await.map_err(std::io::Error::other)?;
            tokio::spawn(connection);
            send.send_request(post).await
        };
        let answer = answer.map_err(std::io::Error::other)?;
        let status = answer.status().as_u16();
        answer.into_body().collect().await.map_err(std::io::Error::other)?;
        Ok(status)
    }
}

/// What a client offers in the handshake.
pub(crate) struct Offer<'a> {
    alpn: &'a [&'a [u8]],
    version: &'static SupportedProtocolVersion,
    client: Option<&'a Certificate>,
}

pub(crate) const HTTP1: Offer<'_> = Offer { alpn: &[b"http/1.1"], version: &rustls::version::TLS13, client: None };
pub(crate) const HTTP2: Offer<'_> = Offer { alpn: &[b"h2"], ..HTTP1 };

async fn connect(roots: &Authority, address: SocketAddr, offer: &Offer<'_>) -> std::io::Result<TlsStream<TcpStream>> {
    let mut store = RootCertStore::empty();
    store.add(CertificateDer::from_pem_slice(roots.pem.as_bytes()).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_protocol_versions(&[offer.version]).unwrap();
    let builder = builder.with_root_certificates(store);
    let mut config = match offer.client {
        None => builder.with_no_client_auth(),
        Some(Certificate { pem, key }) => {
            let chain = vec![CertificateDer::from_pem_slice(pem.as_bytes()).unwrap()];
            builder.with_client_auth_cert(chain, PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap()).unwrap()
        }
    };
    config.alpn_protocols = offer.alpn.iter().map(|protocol| protocol.to_vec()).collect();
    let stream = TcpStream::connect(address).await?;
    TlsConnector::from(Arc::new(config)).connect(ServerName::try_from("localhost").unwrap(), stream).await
}

fn request() -> pb::IdentifyRequest {
    pb::IdentifyRequest { email: Some("a@b.co".into()), ..Default::default() }
}

#[tokio::test]
async fn real_clients_call_both_apis() {
    let secured = Secured::start(|_, _| {}).await;
    secured.identify(None).await.unwrap();
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        for alpn in [&[&b"http/1.1"[..]][..], &[b"h2"], &[b"h2", b"http/1.1"], &[]] {
            let status = secured.post(&Offer { alpn, version, client: None }).await.unwrap();
            assert_eq!(status, 200, "{version:?} {alpn:?}");
        }
        let offer = Offer { version, ..HTTP2 };
        secured.connect(secured.server.grpc, &offer).await.unwrap();
    }
    // Without TLS there is no answer.
    let plain = TcpStream::connect(secured.server.http).await;
    let mut plain = plain.unwrap();
    plain.write_all(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    assert!(!rest(&mut plain).await.starts_with(b"HTTP"));
}

#[tokio::test]
async fn each_api_takes_the_protocols_that_it_speaks() {
    let secured = Secured::start(|_, _| {}).await;
    let (grpc, http) = (secured.server.grpc, secured.server.http);
    let both: &[&[u8]] = &[b"http/1.1", b"h2"];
    let chosen = async |address, alpn: &[&[u8]]| {
        let stream = secured.connect(address, &Offer { alpn, ..HTTP1 }).await;
        stream.map(|stream| stream.get_ref().1.alpn_protocol().map(<[u8]>::to_vec))
    };
    assert_eq!(chosen(grpc, both).await.unwrap().unwrap(), b"h2");
    assert_eq!(chosen(http, both).await.unwrap().unwrap(), b"h2");
    assert_eq!(chosen(http, &[b"http/1.1"]).await.unwrap().unwrap(), b"http/1.1");
    assert!(chosen(grpc, &[b"http/1.1"]).await.unwrap_err().to_string().contains("NoApplicationProtocol"));
    assert!(chosen(http, &[b"h3"]).await.unwrap_err().to_string().contains("NoApplicationProtocol"));
}

/// With TLS a browser reaches the gRPC port. Without a preflight, its pages can send text alone.
#[tokio::test]
async fn a_web_page_cannot_call_the_grpc_port() {
    let secured = Secured::start(|_, _| {}).await;
    let stream = secured.connect(secured.server.grpc, &HTTP2).await.unwrap();
    let handshake = hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await;
    let (mut send, connection) = handshake.unwrap();
    tokio::spawn(connection);
    let mut call = async |headers: &[(&str, &str)]| {
        let mut post = http::Request::post(format!("https://localhost{}", crate::raw::IDENTIFY));
        for (name, value) in headers {
            post = post.header(*name, *value);
        }
        let answer = send.send_request(post.body(Full::new(crate::raw::framed(&request()))).unwrap()).await.unwrap();
        let in_head = answer.headers().get("grpc-status").cloned();
        let trailers = answer.into_body().collect().await.unwrap().trailers().cloned().unwrap_or_default();
        in_head.or_else(|| trailers.get("grpc-status").cloned()).unwrap().to_str().unwrap().to_owned()
    };
    let page = ("origin", "https://elsewhere.example");
    assert_eq!(call(&[page, ("content-type", "text/plain")]).await, "7");
    assert_eq!(call(&[page]).await, "7");
    assert_eq!(secured.server.resolver.begun.load(Ordering::SeqCst), 0);
    assert_eq!(call(&[("content-type", "application/grpc")]).await, "0");
    assert_eq!(call(&[page, ("content-type", "application/grpc+proto")]).await, "0", "a proxy for browsers");
}

/// The first message of a client that knows no version above this one: 0x0302 is TLS 1.1.
pub(crate) fn client_hello(version: [u8; 2]) -> Vec<u8> {
    // The last one is one of TLS 1.2.
    let ciphers = [0xc0, 0x13, 0xc0, 0x14, 0xc0, 0x09, 0xc0, 0x0a, 0x00, 0x2f, 0x00, 0x35, 0xc0, 0x2b];
    // supported_groups: x25519, secp256r1; ec_point_formats: uncompressed; signature_algorithms: ECDSA with SHA-256.
    let extensions = [0, 10, 0, 6, 0, 4, 0, 29, 0, 23, 0, 11, 0, 2, 1, 0, 0, 13, 0, 4, 0, 2, 4, 3];
    let mut body = version.to_vec();
    body.extend([7; 32]);
    body.extend([0, 0, ciphers.len() as u8]);
    body.extend(ciphers);
    body.extend([1, 0, 0, extensions.len() as u8]);
    body.extend(extensions);
    let mut record = vec![22, 3, 1, 0, body.len() as u8 + 4, 1, 0, 0, body.len() as u8];
    record.extend(body);
    record
}

#[tokio::test]
async fn older_versions_of_tls_are_refused() {
    const PROTOCOL_VERSION: u8 = 70;
    let secured = Secured::start(|_, _| {}).await;
    for version in [[3, 0], [3, 1], [3, 2]] {
        for address in [secured.server.grpc, secured.server.http] {
            let mut stream = TcpStream::connect(address).await.unwrap();
            stream.write_all(&client_hello(version)).await.unwrap();
            let answer = rest(&mut stream).await;
            assert!(
                answer.starts_with(&[21, 3]) && answer.ends_with(&[2, PROTOCOL_VERSION]),
                "{version:?}: {answer:?}"
            );
        }
    }
}

#[tokio::test]
async fn a_client_certificate_is_required_or_at_least_checked() {
    let (clients, strangers) = (Authority::new(), Authority::new());
    let (known, stranger) = (clients.issue(&["checkout.example"]), strangers.issue(&["checkout.example"]));
    for client_auth in [ClientAuth::Required, ClientAuth::Optional] {
        let secured = Secured::with_clients(&clients, client_auth).await;
        let without = client_auth == ClientAuth::Optional;
        for (client, is_served) in [(Some(&known), true), (None, without), (Some(&stranger), false)] {
            assert_eq!(secured.identify(client).await.is_ok(), is_served, "{client_auth:?}");
            let post = secured.post(&Offer { client, ..HTTP1 }).await;
            assert_eq!(post.is_ok_and(|status| status == 200), is_served, "{client_auth:?}");
        }
    }
}

/// The server's certificate as a new connection sees it.
async fn served(secured: &Secured) -> Vec<u8> {
    let stream = secured.connect(secured.server.grpc, &HTTP2).await.unwrap();
    stream.get_ref().1.peer_certificates().unwrap()[0].to_vec()
}

fn der(certificate: &Certificate) -> Vec<u8> {
    CertificateDer::from_pem_slice(certificate.pem.as_bytes()).unwrap().to_vec()
}

#[tokio::test]
async fn half_written_files_change_nothing_and_are_counted() {
    let secured = Secured::start(|_, _| {}).await;
    let before = served(&secured).await;
    let next = secured.authority.issue_local();
    for (failures, wrong) in [&next.pem[..next.pem.len() / 2], "", &next.pem].into_iter().enumerate() {
        // The last one is whole, and does not belong to the key.
        secured.files.write("server.pem", wrong);
        until(|| secured.server.reloads("certificate")[1] == failures as u64 + 1).await;
        assert_eq!(served(&secured).await, before);
    }
    secured.files.write("server.key", &next.key);
    until(|| secured.server.reloads("certificate")[0] == 1).await;
    assert_eq!(served(&secured).await, der(&next));
}

/// As the kubelet has it: the files are links through the link of a folder, and that one is swapped.
#[tokio::test]
async fn files_behind_a_link_that_is_swapped_are_read_again() {
    let secured = Secured::start(|_, _| {}).await;
    let next = secured.authority.issue_local();
    let path = |name: &str| secured.files.path(name);
    let link = |target: &str, name: &str| {
        symlink(target, path("new-link")).unwrap();
        std::fs::rename(path("new-link"), path(name)).unwrap();
    };
    std::fs::create_dir(path("..1")).unwrap();
    std::fs::create_dir(path("..2")).unwrap();
    link("..1", "..data");
    for name in ["server.pem", "server.key"] {
        std::fs::copy(path(name), path("..1").join(name)).unwrap();
        link(&format!("..data/{name}"), name);
    }
    std::fs::write(path("..2").join("server.pem"), &next.pem).unwrap();
    std::fs::write(path("..2").join("server.key"), &next.key).unwrap();
    link("..2", "..data");
    until(|| secured.server.reloads("certificate")[0] == 1).await;
    assert_eq!((served(&secured).await, secured.server.reloads("certificate")[1]), (der(&next), 0));
}

#[tokio::test]
async fn the_authorities_of_clients_change_with_the_rest() {
    let (old, new) = (Authority::new(), Authority::new());
    let (old_client, new_client) = (old.issue(&["a.example"]), new.issue(&["a.example"]));
    let secured = Secured::with_clients(&old, ClientAuth::Required).await;
    secured.identify(Some(&old_client)).await.unwrap();
    secured.files.write("clients.pem", &format!("{}{}", old.pem, new.pem));
    until(|| secured.server.reloads("certificate")[0] == 1).await;
    secured.identify(Some(&old_client)).await.unwrap();
    secured.identify(Some(&new_client)).await.unwrap();
    secured.files.write("clients.pem", &new.pem);
    until(|| secured.server.reloads("certificate")[0] == 2).await;
    assert!(secured.identify(Some(&old_client)).await.is_err());
    secured.identify(Some(&new_client)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn certificates_rotate_fifty_times_under_load_and_no_call_fails() {
    let secured = Arc::new(Secured::start(|_, _| {}).await);
    let (is_over, calls) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let callers: Vec<_> = (0..4)
        .map(|number| {
            let (secured, is_over, calls) = (Arc::clone(&secured), Arc::clone(&is_over), Arc::clone(&calls));
            tokio::spawn(async move {
                let mut kept = secured.grpc(None).await.unwrap();
                while !is_over.load(Ordering::Relaxed) {
                    kept.identify(request()).await.unwrap();
                    match number % 2 {
                        0 => secured.identify(None).await.unwrap(),
                        _ => assert_eq!(secured.post(&HTTP1).await.unwrap(), 200),
                    }
                    calls.fetch_add(2, Ordering::Relaxed);
                }
            })
        })
        .collect();
    let mut last = secured.authority.issue_local();
    for rotation in 1..=50 {
        let before = calls.load(Ordering::Relaxed);
        last = secured.authority.issue_local();
        // The key first: for a moment the two do not belong together.
        secured.files.write("server.key", &last.key);
        sleep(Duration::from_millis(rotation % 3 * 10)).await;
        secured.files.write("server.pem", &last.pem);
        until(|| secured.server.reloads("certificate")[0] == rotation && calls.load(Ordering::Relaxed) > before + 4)
            .await;
    }
    is_over.store(true, Ordering::Relaxed);
    for caller in callers {
        caller.await.unwrap();
    }
    assert_eq!(served(&secured).await, der(&last));
}
