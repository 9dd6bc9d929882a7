use std::collections::BTreeMap;
use std::fs;
use std::process::{Command, Output};

use identity::commands;
use tempfile::TempDir;

pub(crate) const SECRET: &str = "hunter2";

/// Two values of each setting that differ from each other and from the default.
pub(crate) const VALUES: [(&str, &str, &str); 49] = [
    ("database_url", "'sqlite://one.db'", "'postgres://two/db'"),
    ("database_url_file", "'one.url'", "'two.url'"),
    ("db_host", "'one'", "'10.0.0.2'"),
    ("db_port", "1", "2"),
    ("db_user", "'one'", "'two'"),
    ("db_password", "'one'", "'two'"),
    ("db_password_file", "'one.url'", "'two.url'"),
    ("db_name", "'one'", "'two'"),
    ("database_connections", "1", "2"),
    ("database_wait", "'0s'", "'2s'"),
    ("database_timeout", "'1ms'", "'1h 2m'"),
    ("migrate", "false", "true"),
    ("ignore_table", "'contacts'", "'contact,Contacts'"),
    ("grpc_addr", "'[::]:0'", "'localhost:2'"),
    ("http_addr", "'0.0.0.0:1'", "'[::1]:2'"),
    ("port", "0", "2"),
    ("metrics_addr", "'0.0.0.0:9464'", "'[::1]:2'"),
    ("http_allowed_origins", "'https://shop.example'", "'http://localhost:8080,https://a.example'"),
    ("http_host_names", "'identity.example'", "'one,two'"),
    ("http_docs", "false", "true"),
    ("reflection", "false", "true"),
    ("tls_cert", "'one.pem'", "'/etc/two.pem'"),
    ("tls_key", "'one.pem'", "'/etc/two.pem'"),
    ("tls_client_ca", "'one.pem'", "'/etc/two.pem'"),
    ("tls_client_auth", "'optional'", "'required'"),
    ("tokens_file", "'one.toml'", "'/etc/two.toml'"),
    ("insecure", "true", "false"),
    ("phone_region", "'DE'", "'US'"),
    ("invalid_identifiers", "'ignore'", "'refuse'"),
    ("primary_id_field", "'both'", "'primaryContatctId'"),
    ("http_body_limit", "1", "2"),
    ("answer_limit", "1048576", "1073741824"),
    ("request_timeout", "'1s'", "'2s'"),
    ("drain_delay", "'1s'", "'2s'"),
    ("drain_timeout", "'0s'", "'2s'"),
    ("send_timeout", "'1s'", "'2s'"),
    ("max_connections", "1", "2"),
    ("max_connections_per_peer", "1", "2"),
    ("max_connection_age", "'1s'", "'2s'"),
    ("queue_limit", "1", "2"),
    ("max_queue_wait", "'2s'", "'100ms'"),
    ("transaction_size", "1", "256"),
    ("max_contacts", "1", "1000000000"),
    ("cache_size", "0", "1048576"),
    ("cache_max_age", "'0s'", "'1h'"),
    ("otlp_endpoint", "'http://127.0.0.1:4317'", "'https://collector.example:4317'"),
    ("trace_sample_ratio", "0.5", "1"),
    ("log", "'warn'", "'debug,identity=trace'"),
    ("log_format", "'text'", "'json'"),
];

/// Settings that take any text.
pub(crate) const FREE_TEXT: [&str; 8] =
    ["db_user", "db_password", "db_name", "ignore_table", "tls_cert", "tls_key", "tls_client_ca", "tokens_file"];

/// `identity` in an empty environment and folder.
pub(crate) struct Bench {
    folder: TempDir,
}

impl Bench {
    pub(crate) fn new() -> Self {
        let bench = Self { folder: tempfile::tempdir().expect("folder") };
        bench.write("one.url", "sqlite://one.db\n");
        bench.write("two.url", "mysql://u@two/db");
        bench
    }

    pub(crate) fn file(&self, toml: &str) {
        self.write("identity.toml", toml);
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).expect("written");
    }

    pub(crate) fn path(&self, name: &str) -> String {
        self.folder.path().join(name).to_str().expect("UTF-8").to_owned()
    }

    pub(crate) fn run(&self, args: &[&str], environment: &[(&str, &str)]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_identity"));
        command.env_clear().current_dir(self.folder.path()).args(args).envs(environment.iter().copied());
        if self.folder.path().join("identity.toml").exists() {
            command.env("IDENTITY_CONFIG", "identity.toml");
        }
        command.output().expect("runs")
    }

    /// What `identity config` prints.
    pub(crate) fn config(&self, flags: &[&str], environment: &[(&str, &str)]) -> String {
        let output = self.run(&[&["config"], flags].concat(), environment);
        assert_eq!(String::from_utf8_lossy(&output.stderr), "");
        assert!(output.status.success());
        String::from_utf8(output.stdout).expect("UTF-8")
    }

    /// The one line that a wrong setting leaves.
    pub(crate) fn refusal(&self, args: &[&str], environment: &[(&str, &str)]) -> String {
        let output = self.run(args, environment);
        let line = String::from_utf8(output.stderr).expect("UTF-8");
        assert_eq!(output.status.code(), Some(2), "{args:?}: {line}");
        assert_eq!(output.stdout, b"");
        assert_eq!(line.matches('\n').count(), 1, "{line}");
        assert!(!line.contains(SECRET), "{line}");
        line.strip_prefix("identity: ").expect("prefix").trim_end().to_owned()
    }
}

/// Key, flag, variable and default of every setting.
pub(crate) fn listed() -> BTreeMap<String, (String, String, Option<String>)> {
    let settings = commands::clap_command();
    let settings = settings.get_arguments().filter(|arg| arg.get_id() != "config");
    settings
        .map(|arg| {
            let flag = format!("--{}", arg.get_long().expect("a flag"));
            let variable = arg.get_env().expect("a variable").to_str().expect("UTF-8").to_owned();
            let default = arg.get_default_values().first().map(|value| value.to_str().expect("UTF-8").to_owned());
            (arg.get_id().to_string(), (flag, variable, default))
        })
        .collect()
}

/// Without TOML's quotes.
pub(crate) fn bare(value: &str) -> &str {
    value.trim_matches('\'')
}

pub(crate) fn line_of<'a>(report: &'a str, key: &str) -> &'a str {
    let starts = |line: &&str| line.trim_start_matches('#').starts_with(&format!("{key} ="));
    report.lines().find(starts).expect(key)
}
