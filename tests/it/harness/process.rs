//! The service as a process of its own: the binary, its log, its memory, its signals.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::Caller;

const PATIENCE: Duration = Duration::from_secs(20);

pub struct Process {
    child: Child,
    log: Arc<Mutex<Vec<String>>>,
    pub grpc: SocketAddr,
    pub http: SocketAddr,
}

/// Where the service listens in tests: any free port, as the default ones may be taken.
const FREE_PORTS: [(&str, &str); 2] = [("GRPC_ADDR", "127.0.0.1:0"), ("HTTP_ADDR", "127.0.0.1:0")];

/// The binary, with nothing of this process's environment but what it needs to run.
pub fn binary() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_identity"));
    command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default()).envs(FREE_PORTS);
    command
}

impl Process {
    /// Starts it on free ports and waits until it is ready.
    pub async fn start(variables: &[(&str, &str)]) -> Self {
        let begun = Instant::now();
        let mut command = binary();
        command.env("LOG_FORMAT", "json").envs(variables.iter().copied());
        let mut child = command.stderr(Stdio::piped()).spawn().expect("the binary runs");
        let log = Arc::new(Mutex::new(Vec::new()));
        let stderr = BufReader::new(child.stderr.take().expect("piped"));
        std::thread::spawn({
            let log = Arc::clone(&log);
            move || stderr.lines().map_while(Result::ok).for_each(|line| log.lock().expect("the log").push(line))
        });
        let (mut grpc, mut http) = (None, None);
        while grpc.is_none() || http.is_none() {
            assert!(begun.elapsed() < PATIENCE, "not bound: {log:?}");
            assert!(child.try_wait().expect("a child").is_none(), "ended: {log:?}");
            tokio::time::sleep(Duration::from_millis(2)).await;
            for line in log.lock().expect("the log").iter() {
                let line: serde_json::Value = serde_json::from_str(line).expect("a line of JSON");
                let address = |key: &str| line[key].as_str().and_then(|text| text.parse().ok());
                grpc = grpc.or_else(|| address("grpc.address"));
                http = http.or_else(|| address("http.address"));
            }
        }
        let (grpc, http) = (grpc.expect("bound"), http.expect("bound"));
        let process = Self { child, log, grpc, http };
        while process.caller().get("/readyz").await != 200 {
            assert!(begun.elapsed() < PATIENCE, "not ready: {:?}", process.log());
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        process
    }

    pub fn caller(&self) -> Caller {
        Caller::new(self.grpc, self.http)
    }

    pub fn log(&self) -> String {
        self.log.lock().expect("the log").join("\n")
    }

    pub fn signal(&self, signal: &str) {
        let done = Command::new("kill").args([signal, &self.child.id().to_string()]).status().expect("kill runs");
        assert!(done.success());
    }

    pub fn is_alive(&mut self) -> bool {
        self.child.try_wait().expect("a child").is_none()
    }

    /// Waits until it has ended.
    pub async fn end(&mut self) -> ExitStatus {
        let begun = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().expect("a child") {
                return status;
            }
            assert!(begun.elapsed() < PATIENCE, "does not end: {}", self.log());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Its resident memory, in MiB.
    pub fn resident_mib(&self) -> u64 {
        self.memory_mib("VmRSS:")
    }

    /// The most resident memory that it ever had, in MiB.
    pub fn peak_mib(&self) -> u64 {
        self.memory_mib("VmHWM:")
    }

    fn memory_mib(&self, field: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).expect("Linux");
        let line = status.lines().find_map(|line| line.strip_prefix(field)).expect("the field");
        line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") / 1024
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
