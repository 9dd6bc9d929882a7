//! Signals: every command ends, as process 1 of a container too.

use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use tokio::net::TcpListener;

use crate::harness::{Api, Process, Suite, binary, register};

pub fn register(suite: &mut Suite) {
    register!(suite.plain_with(can_be_process_1): every_command_ends_on_sigterm_as_process_1);
    register!(suite.plain():
        every_command_ends_on_sigterm,
        the_drain_delay_is_for_new_calls,
        after_a_clean_stop_the_sqlite_file_is_the_database,
    );
}

const PATIENCE: Duration = Duration::from_secs(20);

/// A process that is ended with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn signal(process: u32, signal: &str) {
    assert!(Command::new("kill").args([signal, &process.to_string()]).status().expect("kill runs").success());
}

async fn ended(running: &mut Running, what: &str) -> ExitStatus {
    let begun = Instant::now();
    loop {
        if let Some(status) = running.0.try_wait().expect("a child") {
            return status;
        }
        assert!(begun.elapsed() < PATIENCE, "{what} does not end");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// The command line that runs a command as process 1 of a new process namespace.
fn as_process_1() -> Command {
    let mut command = Command::new("unshare");
    command.args(["--user", "--map-root-user", "--pid", "--fork", "--kill-child"]);
    command
}

/// Why there can be no process 1.
fn can_be_process_1() -> Result<(), String> {
    match as_process_1().arg("true").stderr(Stdio::null()).status() {
        Ok(status) if status.success() => Ok(()),
        _ => Err("unshare (util-linux) cannot make a process namespace here".to_owned()),
    }
}

/// Each command, waiting for a peer that accepts and never answers.
const WAITING: [&[&str]; 19] = [
    &["serve"],
    &["migrate", "up"],
    &["migrate", "down"],
    &["migrate", "status"],
    &["migrate", "finish"],
    &["verify"],
    &["show", "3"],
    &["explain", "3"],
    &["adopt"],
    &["adopt", "--apply"],
    &["adopt", "--undo"],
    &["import", CONTACTS],
    &["export"],
    &["ignore", "add", "phone", "4915123456789"],
    &["ignore", "list"],
    &["healthcheck", "--timeout", "1h"],
    &["bench", "seed"],
    &["bench", "run", "--duration", "1h"],
    &["bench", "explain"],
];

/// Stands for the path of a file with contacts.
const CONTACTS: &str = "contacts.csv";

async fn ends_on_sigterm(prefix: fn() -> Option<Command>) {
    let folder = tempfile::tempdir().expect("a folder");
    let contacts = folder.path().join(CONTACTS);
    std::fs::write(&contacts, "email,phone\na@x.de,4915123456789\n").expect("a file");
    for arguments in WAITING {
        // One for each command: some open several connections.
        let peer = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = peer.local_addr().expect("bound").to_string();
        let plain = binary();
        let mut command = match prefix() {
            None => binary(),
            Some(mut prefix) => {
                prefix.arg(plain.get_program()).env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
                prefix
            }
        };
        let url = format!("mysql://root@{address}/identity");
        // `serve` binds addresses. The others look for the service there.
        let service = if arguments == ["serve"] { "127.0.0.1:0" } else { address.as_str() };
        let path = |argument: &&'static str| if *argument == CONTACTS { contacts.clone() } else { argument.into() };
        command.args(arguments.iter().map(path)).envs([
            ("DATABASE_URL", url.as_str()),
            ("GRPC_ADDR", service),
            ("HTTP_ADDR", service),
        ]);
        command.envs([("DATABASE_WAIT", "1h"), ("DATABASE_TIMEOUT", "1h"), ("ADOPT_FROM", url.as_str())]);
        let is_nested = prefix().is_some();
        let mut running = Running(command.stderr(Stdio::null()).stdout(Stdio::null()).spawn().expect("it runs"));
        let connection = tokio::time::timeout(PATIENCE, peer.accept()).await;
        let connection = connection.unwrap_or_else(|_| panic!("{arguments:?} does not connect"));
        let id = if is_nested { only_child(running.0.id()) } else { running.0.id() };
        signal(id, "-TERM");
        let status = ended(&mut running, &arguments.join(" ")).await;
        let expected = if arguments == ["serve"] { 0 } else { 143 };
        assert_eq!(status.code(), Some(expected), "{arguments:?}: {status}");
        drop(connection);
    }
}

/// The process that `unshare` made.
fn only_child(parent: u32) -> u32 {
    let children = std::fs::read_to_string(format!("/proc/{parent}/task/{parent}/children")).expect("Linux");
    children.trim().parse().unwrap_or_else(|_| panic!("not one child: {children}"))
}

async fn every_command_ends_on_sigterm() {
    ends_on_sigterm(|| None).await;
}

async fn every_command_ends_on_sigterm_as_process_1() {
    ends_on_sigterm(|| Some(as_process_1())).await;
}

async fn the_drain_delay_is_for_new_calls() {
    let variables = [("DATABASE_URL", "sqlite::memory:"), ("DRAIN_DELAY", "1h")];
    let mut process = Process::start(&variables).await;
    process.signal("-TERM");
    let caller = process.caller();
    let begun = Instant::now();
    while caller.get("/readyz").await != 503 {
        assert!(begun.elapsed() < PATIENCE, "ready for ever");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    for api in Api::BOTH {
        process.caller().identify(api, Some("a@x.de"), None).await.expect("an answer on a new connection");
    }
    assert!(process.is_alive());
    process.signal("-TERM");
    assert_eq!(process.end().await.code(), Some(3), "the second signal");

    let variables = [("DATABASE_URL", "sqlite::memory:"), ("DRAIN_DELAY", "50ms")];
    let mut process = Process::start(&variables).await;
    process.signal("-TERM");
    assert_eq!(process.end().await.code(), Some(0), "after the delay");
}

fn files(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).expect("a folder");
    let mut files: Vec<_> =
        entries.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned()).collect();
    files.sort();
    files
}

async fn after_a_clean_stop_the_sqlite_file_is_the_database() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = |name: &str| folder.path().join(name).display().to_string();
    let url = format!("sqlite://{}", file("identity.db"));
    let migrated = binary().args(["migrate", "up"]).env("DATABASE_URL", &url).output().expect("the binary runs");
    assert!(migrated.status.success());
    assert_eq!(files(folder.path()), ["identity.db"], "after another command");

    let mut service = Process::start(&[("DATABASE_URL", &url)]).await;
    let created = service.caller().identify(Api::Grpc, Some("a@b.co"), None).await.expect("an answer");
    assert_eq!(files(folder.path()), ["identity.db", "identity.db-shm", "identity.db-wal"], "while it runs");
    service.signal("-TERM");
    assert!(service.end().await.success());
    assert!(!service.log_at_its_end().contains("WARN"), "{}", service.log());
    assert_eq!(files(folder.path()), ["identity.db"]);

    std::fs::rename(file("identity.db"), file("moved.db")).expect("the same folder");
    let moved = format!("sqlite://{}", file("moved.db"));
    let service = Process::start(&[("DATABASE_URL", &moved)]).await;
    let found = service.caller().identify(Api::Grpc, Some("a@b.co"), None).await.expect("an answer");
    assert_eq!((found.outcome, found.primary), ("matched", created.primary));
}
