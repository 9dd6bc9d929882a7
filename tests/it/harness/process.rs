//! The service as a process of its own: the binary, its log, its memory, its signals.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::Caller;

const PATIENCE: Duration = Duration::from_secs(20);

pub struct Process {
    child: Child,
    log: Arc<Mutex<Vec<String>>>,
    log_reader: Option<JoinHandle<()>>,
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
        let process = Self::start_listening(variables).await;
        while process.caller().get("/readyz").await != 200 {
            assert!(begun.elapsed() < PATIENCE, "not ready: {:?}", process.log());
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        process
    }

    /// Starts it on free ports and waits until its log has them.
    pub async fn start_listening(variables: &[(&str, &str)]) -> Self {
        Self::start_command(binary(), variables).await
    }

    /// The same by this command, which becomes the binary.
    pub async fn start_command(mut command: Command, variables: &[(&str, &str)]) -> Self {
        let begun = Instant::now();
        command.env("LOG_FORMAT", "json").envs(variables.iter().copied());
        let mut child = command.stderr(Stdio::piped()).spawn().expect("the binary runs");
        let log = Arc::new(Mutex::new(Vec::new()));
        let stderr = BufReader::new(child.stderr.take().expect("piped"));
        let log_reader = std::thread::spawn({
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
        Self { child, log, log_reader: Some(log_reader), grpc, http }
    }

    /// Starts it with a log that goes elsewhere, and waits until it is ready.
    pub async fn start_with_log_to(log: impl Fn() -> Stdio, variables: &[(&str, &str)]) -> Self {
        // Its log does not say the ports, so they are chosen here. Another process may take one meanwhile.
        'ports: for _ in 0..5 {
            let [grpc, http] = [(); 2].map(|()| {
                let free = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
                free.local_addr().expect("bound")
            });
            let begun = Instant::now();
            let mut command = binary();
            command.envs([("GRPC_ADDR", grpc.to_string()), ("HTTP_ADDR", http.to_string())]);
            command.env("LOG_FORMAT", "json").envs(variables.iter().copied());
            let child = command.stderr(log()).spawn().expect("the binary runs");
            let mut process = Self { child, log: Arc::default(), log_reader: None, grpc, http };
            let ready = format!("http://{http}/readyz");
            while !reqwest::get(&ready).await.is_ok_and(|answer| answer.status() == 200) {
                assert!(begun.elapsed() < PATIENCE, "not ready");
                if !process.is_alive() {
                    continue 'ports;
                }
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
            return process;
        }
        panic!("it ends at its start, on any port");
    }

    pub fn caller(&self) -> Caller {
        Caller::new(self.grpc, self.http)
    }

    pub fn log(&self) -> String {
        self.log.lock().expect("the log").join("\n")
    }

    /// The log of a process that has ended.
    pub fn log_at_its_end(&mut self) -> String {
        self.log_reader.take().expect("a log that is read").join().expect("the reader of the log");
        self.log()
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

    /// The time that its threads have worked so far.
    pub fn cpu_time(&self) -> Duration {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id())).expect("Linux");
        // The name of the program, in brackets, is the second field.
        let fields: Vec<&str> = stat.rsplit_once(')').expect("a name").1.split_whitespace().collect();
        let ticks = |field: usize| fields[field - 3].parse::<u64>().expect("a number");
        Duration::from_millis((ticks(14) + ticks(15)) * 10)
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
