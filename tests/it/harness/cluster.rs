//! A cluster that a test starts for itself: three servers of MySQL (Group Replication) or MariaDB (Galera).

use std::process::{Command, Output};
use std::time::{Duration, Instant};

use sea_orm::{ConnectionTrait, DatabaseConnection, DbBackend, Statement};

use super::{Ports, Server};

/// Servers of a cluster.
const SIZE: u16 = 3;

/// Exit status of `scripts/servers kill` if no such server runs.
const NOT_RUNNING: i32 = 3;

/// What has not come back after this time never will.
const LOST: Duration = Duration::from_secs(90);

/// What replicates, and which servers take writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClusterKind {
    /// MySQL's Group Replication with one primary.
    OnePrimary,
    /// MySQL's Group Replication, where every server takes writes.
    SeveralPrimaries,
    /// MariaDB's Galera, where every server takes writes.
    Galera,
}

impl ClusterKind {
    /// The name of its servers for `scripts/servers`.
    pub fn server(self) -> &'static str {
        match self {
            Self::OnePrimary | Self::SeveralPrimaries => "mysql",
            Self::Galera => "mariadb",
        }
    }

    pub fn is_multi_primary(self) -> bool {
        self != Self::OnePrimary
    }
}

pub struct Cluster {
    kind: ClusterKind,
    ports: Ports,
}

/// Starts that are tried: a program that is no test can take one of the ports.
const STARTS: usize = 3;

impl Cluster {
    pub async fn start(kind: ClusterKind) -> Self {
        tokio::task::spawn_blocking(move || Self::start_now(kind)).await.expect("a cluster")
    }

    fn start_now(kind: ClusterKind) -> Self {
        let flags: &[&str] = match kind {
            ClusterKind::SeveralPrimaries => &[
                "--loose-group-replication-single-primary-mode=OFF",
                "--loose-group-replication-enforce-update-everywhere-checks=ON",
            ],
            ClusterKind::OnePrimary | ClusterKind::Galera => &[],
        };
        let mut said = Vec::new();
        for _ in 0..STARTS {
            let cluster = Self { kind, ports: Ports::reserve() };
            let port = cluster.ports.first.to_string();
            let done = cluster.script(&[&["cluster", kind.server(), &port], flags].concat());
            if done.status.success() {
                return cluster;
            }
            said.push(String::from_utf8_lossy(&done.stderr).into_owned());
        }
        panic!("no cluster after {STARTS} starts: {said:?}")
    }

    pub fn len(&self) -> usize {
        usize::from(SIZE)
    }

    fn port(&self, number: usize) -> u16 {
        self.ports.first + u16::try_from(number).expect("small")
    }

    /// The URL with the addresses of these servers.
    pub fn url_of(&self, servers: &[usize]) -> String {
        let hosts: Vec<String> = servers.iter().map(|number| format!("127.0.0.1:{}", self.port(*number))).collect();
        format!("mysql://app:app@{}/identity", hosts.join(","))
    }

    /// From here on it holds its connections and answers nothing.
    pub fn pause(&self, number: usize) {
        self.control(&["pause", self.kind.server(), &self.port(number).to_string()]);
    }

    pub fn resume(&self, number: usize) {
        self.control(&["resume", self.kind.server(), &self.port(number).to_string()]);
    }

    /// Whether it was alive until now.
    pub fn kill(&self, number: usize) -> bool {
        let port = self.port(number).to_string();
        let done = self.script(&["kill", self.kind.server(), &port]);
        let was_dead = done.status.code() == Some(NOT_RUNNING);
        assert!(done.status.success() || was_dead, "kill: {}", String::from_utf8_lossy(&done.stderr));
        !was_dead
    }

    /// It says goodbye to the others.
    pub fn stop(&self, number: usize) {
        self.control(&["stop", self.kind.server(), &self.port(number).to_string()]);
    }

    /// A server that does not answer, if there is one.
    pub async fn silent(&self) -> Option<usize> {
        for number in 0..self.len() {
            if self.query_number(number, "SELECT CAST(1 AS SIGNED)").await.is_none() {
                return Some(number);
            }
        }
        None
    }

    /// Starts a killed server again, and waits until it has what it missed.
    pub fn rejoin(&self, number: usize) {
        self.control(&["rejoin", self.kind.server(), &self.port(number).to_string()]);
    }

    /// A server that is a primary, by what a server that lives says.
    pub async fn primary(&self) -> usize {
        if self.kind == ClusterKind::Galera {
            return 0; // All are.
        }
        let sql = "SELECT CAST(MEMBER_PORT AS SIGNED) FROM performance_schema.replication_group_members \
             WHERE MEMBER_ROLE = 'PRIMARY' AND MEMBER_STATE = 'ONLINE'";
        let began = Instant::now();
        loop {
            for number in 0..self.len() {
                let port = self.query_number(number, sql).await;
                if let Some(primary) = (0..self.len()).find(|number| Some(i64::from(self.port(*number))) == port) {
                    return primary;
                }
            }
            assert!(began.elapsed() < LOST, "no primary");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Waits until the others have expelled a killed server. Until then, with several primaries, a write may go
    /// through, and the group stand still all the same.
    pub async fn expels(&self, number: usize) {
        let sql = match self.kind {
            ClusterKind::OnePrimary | ClusterKind::SeveralPrimaries => format!(
                "SELECT CAST(COUNT(*) AS SIGNED) FROM performance_schema.replication_group_members \
                 WHERE MEMBER_PORT = {} OR MEMBER_STATE <> 'ONLINE'",
                self.port(number)
            ),
            ClusterKind::Galera => format!(
                "SELECT CAST(COUNT(*) AS SIGNED) FROM information_schema.GLOBAL_STATUS \
                 WHERE VARIABLE_NAME = 'wsrep_cluster_size' AND VARIABLE_VALUE <> {} \
                 OR VARIABLE_NAME = 'wsrep_ready' AND VARIABLE_VALUE <> 'ON'",
                self.len() - 1
            ),
        };
        let began = Instant::now();
        for other in (0..self.len()).filter(|other| *other != number) {
            while self.query_number(other, &sql).await != Some(0) {
                assert!(began.elapsed() < LOST, "it is not expelled");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }

    /// Returns the number that a server answers within a second.
    async fn query_number(&self, number: usize, sql: &str) -> Option<i64> {
        let answer = async {
            let connection = self.connect(number).await?;
            let row = connection.query_one_raw(Statement::from_string(DbBackend::MySql, sql)).await;
            let _ = connection.close().await;
            row.ok()??.try_get_by_index(0).ok()
        };
        tokio::time::timeout(Duration::from_secs(1), answer).await.ok()?
    }

    /// Waits until one of the servers takes a write: from then on the database is back.
    pub async fn takes_writes(&self) {
        let began = Instant::now();
        while !self.takes_a_write().await {
            assert!(began.elapsed() < LOST, "no server takes writes");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    async fn takes_a_write(&self) -> bool {
        for number in 0..self.len() {
            let write = async {
                let connection = self.connect(number).await?;
                let done = connection.execute_unprepared("REPLACE INTO alive VALUES (1, RAND())").await;
                let _ = connection.close().await;
                done.ok()
            };
            if let Ok(Some(_)) = tokio::time::timeout(Duration::from_secs(2), write).await {
                return true;
            }
        }
        false
    }

    /// Makes the table that [`Cluster::takes_writes`] writes to.
    pub async fn prepare(&self) {
        let primary = self.primary().await;
        let connection = self.connect(primary).await.expect("the primary answers");
        let sql = "CREATE TABLE alive (id INT PRIMARY KEY, value DOUBLE)";
        connection.execute_unprepared(sql).await.expect("CREATE TABLE");
        connection.close().await.expect("close");
    }

    async fn connect(&self, number: usize) -> Option<DatabaseConnection> {
        let mut options = sea_orm::ConnectOptions::new(self.url_of(&[number]));
        options.max_connections(1).connect_timeout(Duration::from_secs(1)).acquire_timeout(Duration::from_secs(1));
        options.sqlx_logging(false);
        sea_orm::Database::connect(options).await.ok()
    }

    fn script(&self, arguments: &[&str]) -> Output {
        Command::new(Server::script().expect("the script")).args(arguments).output().expect("the script runs")
    }

    fn control(&self, arguments: &[&str]) {
        let done = self.script(arguments);
        let said = String::from_utf8_lossy(&done.stderr).into_owned();
        assert!(done.status.success(), "{arguments:?}: {said}");
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for number in 0..self.len() {
            if let Ok(script) = Server::script() {
                let _ =
                    Command::new(script).args(["kill", self.kind.server(), &self.port(number).to_string()]).output();
            }
        }
    }
}
