//! Database servers that a test starts for itself, to stop and kill them.

use std::process::Command;

use super::{Backend, Ports};

/// A database server of the test's own, through `scripts/servers`.
pub struct Server {
    pub backend: Backend,
    ports: Ports,
    pub url: String,
}

impl Server {
    /// The script that starts servers.
    pub fn script() -> Result<String, String> {
        std::env::var("TEST_SERVERS").map_err(|_| "TEST_SERVERS is not set; use scripts/test".to_owned())
    }

    pub fn start(backend: Backend) -> Self {
        let mut server = Self { backend, ports: Ports::reserve(), url: String::new() };
        server.start_again();
        server
    }

    /// Starts it on the data that it left.
    pub fn start_again(&mut self) {
        self.start_again_with(&[]);
    }

    /// The same, with more on its command line this time.
    pub fn start_again_with(&mut self, flags: &[&str]) {
        self.url = self.control("start", flags).trim().to_owned();
    }

    /// As a crash would.
    pub fn kill(&self) {
        self.control("kill", &[]);
    }

    /// From here on it holds its connections and answers nothing.
    pub fn pause(&self) {
        self.control("pause", &[]);
    }

    pub fn resume(&self) {
        self.control("resume", &[]);
    }

    fn control(&self, what: &str, flags: &[&str]) -> String {
        let script = Self::script().expect("the script");
        let done = Command::new(script)
            .args([what, self.backend.name(), &self.ports.first.to_string()])
            .args(flags)
            .output()
            .expect("the script runs");
        let said = String::from_utf8_lossy(&done.stderr).into_owned();
        assert!(done.status.success(), "{what} {}: {said}", self.backend.name());
        String::from_utf8(done.stdout).expect("text")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Ok(script) = Self::script() {
            let _ = Command::new(script).args(["kill", self.backend.name(), &self.ports.first.to_string()]).output();
        }
    }
}
