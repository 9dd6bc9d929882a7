//! HAProxy with the configuration of `deploy/haproxy`.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use tokio::net::TcpStream;
use tokio::time::sleep;

use super::{NAME, PATIENCE};
use crate::certificates::{Authority, Files};

/// HAProxy with the configuration of `deploy/haproxy`: only addresses, paths and the user are others.
pub struct HaProxy {
    process: Child,
    pub address: SocketAddr,
    /// Where it answers questions about itself.
    socket: PathBuf,
}

impl HaProxy {
    pub async fn start(
        files: &Files,
        authority: &Authority,
        address: SocketAddr,
        replicas: &[[SocketAddr; 2]; 2],
    ) -> Self {
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
    pub fn count(&self, server: &str, counter: &str) -> u64 {
        let rows = self.statistics();
        let of = |backend: &str| rows[&(backend.to_owned(), server.to_owned())][counter].parse().unwrap_or(0);
        ["identity-json", "identity-grpc"].map(of).into_iter().sum::<u64>()
    }

    /// Waits until a server answers calls on both ports.
    pub async fn serves(&self, server: &str) {
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
