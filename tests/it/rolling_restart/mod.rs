//! A rolling restart of two replicas behind HAProxy, with the configuration of `deploy/haproxy`, under load.
//!
//! `ROLLING_RESTARTS=20 TEST_TIME_LIMIT=900 scripts/test --test it -- rolling_restart` restarts both replicas 20 times,
//! without them twice. Clients do not retry calls. HAProxy may try again to connect, and may repeat a JSON call that
//! has no answer: that is all that its configuration permits.

mod haproxy;
mod load;

use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::time::timeout;

use self::haproxy::HaProxy;
use self::load::Load;
use crate::certificates::{Authority, Files};
use crate::harness::{Backend, Ports, Process, Suite, TestDatabase, binary, test_name};

/// How often both replicas are restarted, unless `ROLLING_RESTARTS` says it.
const ROUNDS: usize = 2;

/// The name in the certificates.
const NAME: &str = "identity.example";

/// The servers of the configuration.
const SERVERS: [&str; 2] = ["one", "two"];

/// Clients of each kind.
const CLIENTS: usize = 3;

const PATIENCE: Duration = Duration::from_secs(30);

pub fn register(suite: &mut Suite) {
    let name = test_name(module_path!(), "no_call_fails_while_replicas_restart");
    suite.on_with(is_installed(), &[Backend::Mysql], &name, no_call_fails_while_replicas_restart);
}

fn is_installed() -> Result<(), String> {
    let runs = Command::new("haproxy").arg("-v").stdout(Stdio::null()).status();
    runs.map(drop).map_err(|_| "haproxy is not installed: `scripts/servers install haproxy`".to_owned())
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

    // Below those that the system gives to clients: a replica has to get its own again.
    let ports = Ports::reserve();
    let [of_proxy, grpc_one, json_one, grpc_two, json_two] =
        [0, 1, 2, 3, 4].map(|number| SocketAddr::from(([127, 0, 0, 1], ports.first + number)));
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
