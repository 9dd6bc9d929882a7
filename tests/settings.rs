//! The binary's settings: where they come from, which one wins, and what a wrong one says.

#![expect(clippy::expect_used, reason = "a test fails by panicking")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::process::{Command, Output};

use identity::cli;
use identity::settings::{Settings, Stop};
use percent_encoding::percent_decode_str;
use secrecy::ExposeSecret;
use tempfile::TempDir;

const SECRET: &str = "hunter2";

/// Two values of each setting that differ from each other and from the default.
const VALUES: [(&str, &str, &str); 23] = [
    ("database_url", "'sqlite://one.db'", "'postgres://two/db'"),
    ("db_host", "'one'", "'10.0.0.2'"),
    ("db_port", "1", "2"),
    ("db_user", "'one'", "'two'"),
    ("db_password", "'one'", "'two'"),
    ("db_name", "'one'", "'two'"),
    ("database_connections", "1", "2"),
    ("database_wait", "'0s'", "'2s'"),
    ("database_timeout", "'1ms'", "'1h 2m'"),
    ("migrate", "false", "true"),
    ("grpc_addr", "'[::]:0'", "'localhost:2'"),
    ("http_addr", "'0.0.0.0:1'", "'[::1]:2'"),
    ("port", "0", "2"),
    ("reflection", "false", "true"),
    ("phone_region", "'DE'", "'US'"),
    ("primary_id_field", "'both'", "'primaryContatctId'"),
    ("http_body_limit", "1", "2"),
    ("request_timeout", "'1s'", "'2s'"),
    ("drain_timeout", "'0s'", "'2s'"),
    ("max_connections", "1", "2"),
    ("queue_limit", "1", "2"),
    ("log", "'warn'", "'debug,identity=trace'"),
    ("log_format", "'text'", "'json'"),
];

/// `identity` in an empty environment and folder.
struct Bench {
    folder: TempDir,
}

impl Bench {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().expect("folder") }
    }

    fn file(&self, toml: &str) {
        fs::write(self.folder.path().join("identity.toml"), toml).expect("written");
    }

    fn run(&self, args: &[&str], environment: &[(&str, &str)]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_identity"));
        command.env_clear().current_dir(self.folder.path()).args(args).envs(environment.iter().copied());
        if self.folder.path().join("identity.toml").exists() {
            command.env("IDENTITY_CONFIG", "identity.toml");
        }
        command.output().expect("runs")
    }

    /// What `identity config` prints.
    fn config(&self, flags: &[&str], environment: &[(&str, &str)]) -> String {
        let output = self.run(&[&["config"], flags].concat(), environment);
        assert_eq!(String::from_utf8_lossy(&output.stderr), "");
        assert!(output.status.success());
        String::from_utf8(output.stdout).expect("UTF-8")
    }

    /// The one line that a wrong setting leaves.
    fn refusal(&self, args: &[&str], environment: &[(&str, &str)]) -> String {
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
fn listed() -> BTreeMap<String, (String, String, Option<String>)> {
    let settings = cli::clap_command();
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
fn bare(value: &str) -> &str {
    value.trim_matches('\'')
}

fn line_of<'a>(report: &'a str, key: &str) -> &'a str {
    let starts = |line: &&str| line.trim_start_matches('#').starts_with(&format!("{key} ="));
    report.lines().find(starts).expect(key)
}

#[test]
fn a_setting_has_one_name_in_three_spellings() {
    for (key, (flag, variable, _)) in listed() {
        assert_eq!(flag, format!("--{}", key.replace('_', "-")));
        // The one that the ecosystem knows by another name.
        assert_eq!(variable, if key == "log" { "RUST_LOG".to_owned() } else { key.to_uppercase() });
    }
}

#[test]
fn flag_beats_environment_beats_file_beats_default() {
    let settings = listed();
    assert_eq!(settings.keys().collect::<BTreeSet<_>>().len(), VALUES.len());
    for (key, one, two) in VALUES {
        let (flag, variable, _) = &settings[key];
        let bench = Bench::new();
        let shown = |value: &str, source: &str| {
            if key == "db_password" {
                format!("#{key} =  # hidden; {source}")
            } else {
                format!("{key} = {}  # {source}", value.replace('\'', "\""))
            }
        };
        assert!(line_of(&bench.config(&[], &[]), key).starts_with('#'));

        bench.file(&format!("{key} = {one}"));
        let report = bench.config(&[], &[]);
        assert_eq!(line_of(&report, key), shown(one, &format!("{key} (identity.toml)")));

        let environment = [(variable.as_str(), bare(two))];
        let report = bench.config(&[], &environment);
        assert_eq!(line_of(&report, key), shown(two, &format!("{variable} (environment)")));

        let report = bench.config(&[flag, bare(one)], &environment);
        assert_eq!(line_of(&report, key), shown(one, flag));
        let report = bench.config(&[flag, bare(two)], &[]);
        assert_eq!(line_of(&report, key), shown(two, flag));
    }
}

#[test]
fn flags_stand_before_or_behind_the_command() {
    let bench = Bench::new();
    let before = bench.run(&["--queue-limit", "7", "config"], &[]);
    assert_eq!(String::from_utf8_lossy(&before.stdout), bench.config(&["--queue-limit", "7"], &[]));
}

#[test]
fn an_empty_variable_is_not_set() {
    let bench = Bench::new();
    let variables: Vec<_> = listed().into_values().map(|(_, variable, _)| variable).collect();
    let empty: Vec<_> =
        variables.iter().map(|variable| (variable.as_str(), "")).chain([("IDENTITY_CONFIG", "")]).collect();
    assert_eq!(bench.config(&[], &empty), bench.config(&[], &[]));
}

#[test]
fn the_report_is_a_file_with_the_same_settings() {
    let bench = Bench::new();
    let report =
        bench.config(&["--phone-region", "de", "--migrate", "false"], &[("PORT", "8080"), ("RUST_LOG", "warn")]);
    bench.file(&report);
    let again = bench.config(&[], &[]);
    let values = |report: &str| {
        report.lines().filter_map(|line| Some(line.rsplit_once("  #")?.0.to_owned())).collect::<Vec<_>>()
    };
    assert_eq!(values(&again), values(&report));
    assert!(again.starts_with("# gRPC at 127.0.0.1:50051, JSON at 127.0.0.1:8080, database sqlite:"), "{again}");
}

#[test]
fn a_wrong_value_is_named_as_its_source_spells_it() {
    // Each of these is wrong for every setting that is no free text.
    let free = ["db_user", "db_password", "db_name"];
    for (key, (flag, variable, _)) in listed().into_iter().filter(|(key, _)| !free.contains(&key.as_str())) {
        let wrong = format!("x=y={SECRET}");
        let bench = Bench::new();
        let rule = bench.refusal(&[&flag, &wrong], &[]);
        let rule = rule.strip_prefix(&format!("{flag}: ")).expect(&flag);
        assert_eq!(bench.refusal(&[], &[(&variable, &wrong)]), format!("{variable} (environment): {rule}"));
        bench.file(&format!("{key} = '{wrong}'"));
        let named = bench.refusal(&["healthcheck"], &[]);
        assert!(named.starts_with(&format!("{key} (identity.toml): must ")), "{named}");
    }
}

#[test]
fn a_value_of_the_wrong_type_is_named() {
    for (key, one, _) in VALUES {
        let bench = Bench::new();
        let quoted = format!("'{one}'");
        let wrong = if one.starts_with('\'') { ["1", "true", "{ a = 1 }"] } else { [quoted.as_str(), "0.5", "[1]"] };
        for value in wrong {
            bench.file(&format!("{key} = {value}"));
            let named = bench.refusal(&["config"], &[]);
            assert!(named.starts_with(&format!("{key} (identity.toml): must be ")), "{named}");
        }
    }
}

#[test]
fn a_file_that_is_none_is_named() {
    let bench = Bench::new();
    assert!(bench.refusal(&["--config", "none.toml"], &[]).starts_with("--config: cannot read none.toml: "));
    let named = bench.refusal(&[], &[("IDENTITY_CONFIG", "none.toml")]);
    assert!(named.starts_with("IDENTITY_CONFIG (environment): cannot read none.toml: "), "{named}");
    for (toml, start) in [
        ("grpc-addr = 'localhost:1'", "grpc-addr (identity.toml): there is no such setting"),
        ("config = 'x'", "config (identity.toml): there is no such setting"),
        ("help = true", "help (identity.toml): there is no such setting"),
        ("[database]\nurl = 'hunter2'", "database (identity.toml): there is no such setting"),
        ("\nport = 1\ndb_password = 'hunter2", "identity.toml: line 3 is no valid TOML"),
        ("db_password = hunter2", "identity.toml: line 1 is no valid TOML"),
        ("db_password = 'a'\ndb_password = 'hunter2'", "identity.toml: line 2 is no valid TOML"),
        ("mysql://root:hunter2@db/x", "identity.toml: line 1 is no valid TOML"),
    ] {
        bench.file(toml);
        let named = bench.refusal(&[], &[]);
        assert!(named.starts_with(start), "{named}");
    }
}

#[test]
fn a_command_line_without_sense_is_one_line_without_values() {
    let bench = Bench::new();
    for (args, start) in [
        (&["mysql://root:hunter2@db/x"][..], "there is no such command"),
        (&["serve", "mysql://root:hunter2@db/x"], "too many arguments"),
        (&["--databse-url=mysql://root:hunter2@db/x"], "--databse-url: there is no such flag"),
        (&["-phunter2"], "-p: there is no such flag"),
        (&["--port"], "--port: needs a value"),
        (&["--port", "1", "--port", "2"], "--port: cannot be given twice"),
        (&["migrate"], "the command is incomplete"),
        (&["migrate", "hunter2"], "there is no such command"),
        (&["migrate", "down", "hunter2"], "[STEPS]: must be a whole number from 1 to "),
        (&["migrate", "down", "2", "--all"], "an argument cannot be used with"),
        (&["healthcheck", "--timeout", "hunter2"], "--timeout: must be a time"),
    ] {
        let line = bench.refusal(args, &[]);
        assert!(line.starts_with(start), "{line}");
    }
}

#[cfg(unix)]
#[test]
fn a_variable_that_is_no_text_is_named() {
    use std::os::unix::ffi::OsStrExt;
    let mut command = Command::new(env!("CARGO_BIN_EXE_identity"));
    let output = command.env_clear().env("GRPC_ADDR", std::ffi::OsStr::from_bytes(b"\xff:1")).output().expect("runs");
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(String::from_utf8_lossy(&output.stderr), "identity: GRPC_ADDR (environment): must be UTF-8\n");
}

#[test]
fn secrets_are_never_printed() {
    let url = format!("mysql://root:{SECRET}@db:1/x?ssl-key={SECRET}");
    let bench = Bench::new();
    bench.file(&format!("database_url = '{url}'"));
    for args in [&["--help"][..], &["-h"], &["config"], &["help"], &["config", "--help"]] {
        let output = bench.run(args, &[("DB_PASSWORD", "")]);
        assert!(output.status.success());
        assert!(!String::from_utf8_lossy(&output.stdout).contains(SECRET));
    }
    assert!(bench.config(&[], &[]).contains("database_url = \"mysql://root@db:1/x\""));

    let bench = Bench::new();
    for (variable, value) in [("DATABASE_URL", url.as_str()), ("DB_PASSWORD", SECRET)] {
        for args in [&["--help"][..], &["config"]] {
            let output = bench.run(args, &[(variable, value)]);
            assert!(output.status.success());
            assert!(!String::from_utf8_lossy(&output.stdout).contains(SECRET));
        }
    }
    for flags in [["--database-url", url.as_str()], ["--db-password", SECRET]] {
        let settings = Settings::from_flags(flags).expect("valid");
        assert!(settings.database.url.expose_secret().contains(SECRET));
        assert!(!format!("{settings:?} {settings:#?}").contains(SECRET));
    }
}

#[test]
fn a_wrong_database_url_is_refused_without_a_word_of_it() {
    let bench = Bench::new();
    for url in
        ["hunter2", "oracle://hunter2", "mysql:hunter2", "mysql://u:hunter2#x@h/d", "mysql://", "SQLITE://hunter2"]
    {
        let line = bench.refusal(&[], &[("DATABASE_URL", url)]);
        assert!(line.starts_with("DATABASE_URL (environment): "), "{line}");
    }
    assert!(bench.refusal(&[], &[("DATABASE_URL", "oracle://x")]).contains("mariadb://"));
}

#[test]
fn mariadb_is_spoken_to_as_mysql() {
    for (given, url, scheme) in [
        ("mariadb://u:p@h/mariadb:", "mysql://u:p@h/mariadb:", "mysql"),
        ("postgresql://h/d", "postgresql://h/d", "postgresql"),
        ("sqlite::memory:", "sqlite::memory:", "sqlite"),
    ] {
        let database = Settings::from_flags(["--database-url", given]).expect(given).database;
        assert_eq!((database.url.expose_secret(), database.scheme()), (url, scheme));
    }
}

#[test]
fn a_database_in_parts_becomes_a_url() {
    let compose = |flags: &[&str]| {
        let settings = Settings::from_flags(flags.iter().copied()).expect("valid");
        settings.database.url.expose_secret().to_owned()
    };
    assert_eq!(compose(&["--db-host", "db"]), "mysql://root@db:3306/identity");
    assert_eq!(compose(&["--db-user", "shop"]), "mysql://shop@127.0.0.1:3306/identity");
    for (host, in_url) in [("::1", "[::1]"), ("[::1]", "[::1]"), ("10.0.0.1", "10.0.0.1"), ("a_b.c-d", "a_b.c-d")] {
        assert_eq!(compose(&["--db-host", host]), format!("mysql://root@{in_url}:3306/identity"));
    }

    let odd = "a/b@c:d#e?f%41[g] h\\'\"&ü%";
    let url = compose(&["--db-user", odd, "--db-password", odd, "--db-name", odd, "--db-port", "1", "--db-host", "h"]);
    let url = url::Url::parse(&url).expect("a URL");
    let decoded = |text: &str| percent_decode_str(text).decode_utf8().expect("UTF-8").into_owned();
    assert_eq!((url.host_str(), url.port()), (Some("h"), Some(1)));
    assert_eq!(decoded(url.username()), odd);
    assert_eq!(decoded(url.password().expect("a password")), odd);
    assert_eq!(decoded(&url.path()[1..]), odd);
}

#[test]
fn a_database_is_given_whole_or_in_parts() {
    let bench = Bench::new();
    let url = format!("mysql://root:{SECRET}@db/x");
    bench.file(&format!("database_url = '{url}'"));
    assert_eq!(
        bench.refusal(&["--db-host", "db"], &[]),
        "database_url (identity.toml): cannot be given together with --db-host"
    );
    let bench = Bench::new();
    for (variable, value) in
        [("DB_HOST", "h"), ("DB_PORT", "1"), ("DB_USER", "u"), ("DB_PASSWORD", "p"), ("DB_NAME", "n")]
    {
        assert_eq!(
            bench.refusal(&["--database-url", &url], &[(variable, value)]),
            format!("--database-url: cannot be given together with {variable} (environment)"),
        );
    }
}

#[test]
fn port_sets_the_port_alone() {
    let bench = Bench::new();
    let json_at = |flags: &[&str], environment: &[(&str, &str)], addr: &str| {
        let report = bench.config(flags, environment);
        assert!(report.contains(&format!(", JSON at {addr}, ")), "{report}");
    };
    json_at(&[], &[("PORT", "8080")], "127.0.0.1:8080");
    json_at(&[], &[("PORT", "8080"), ("HTTP_ADDR", "0.0.0.0:1")], "0.0.0.0:1");
    json_at(&["--port", "2", "--http-addr", "[::]:1"], &[("PORT", "3")], "[::]:1");
    json_at(&["--http-addr", "[::]:1"], &[("PORT", "3")], "[::]:1");
    json_at(&["--port", "2"], &[("HTTP_ADDR", "[::]:1")], "[::]:2");
    bench.file("http_addr = '0.0.0.0:1'");
    json_at(&[], &[("PORT", "8080")], "0.0.0.0:8080");
}

#[test]
fn help_lists_every_setting_within_80_columns() {
    let bench = Bench::new();
    let settings = listed();
    for args in [&["--help"][..], &["-h"], &["serve", "--help"], &["migrate", "down", "-h"]] {
        let output = bench.run(args, &[("COLUMNS", "80")]);
        assert!(output.status.success());
        let help = String::from_utf8(output.stdout).expect("UTF-8");
        let words: BTreeSet<_> = help.split(|c: char| c.is_whitespace() || c == ']').collect();
        for (flag, variable, default) in settings.values() {
            assert!(words.contains(flag.as_str()), "{flag}");
            assert!(words.contains(variable.as_str()), "{variable}");
            assert!(default.as_ref().is_none_or(|default| words.contains(default.as_str())), "{flag}");
        }
        assert!(help.lines().all(|line| line.chars().count() <= 80), "{help}");
    }
}

#[test]
fn the_version_is_the_packages() {
    let output = Bench::new().run(&["-V"], &[]);
    assert_eq!(String::from_utf8_lossy(&output.stdout), concat!("identity ", env!("CARGO_PKG_VERSION"), "\n"));
}

#[test]
fn the_example_has_every_key_with_its_default() {
    let example = include_str!("../identity.example.toml");
    assert!(example.parse::<toml::Table>().expect("TOML").is_empty());
    // Prose stands behind `# `, settings right behind the `#`.
    let is_setting =
        |line: &&str| line.strip_prefix('#').is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_lowercase()));
    let live: Vec<_> = example.lines().filter(is_setting).map(|line| &line[1..]).collect();
    let table: toml::Table = live.join("\n").parse().expect("TOML");
    let settings = listed();
    assert_eq!(table.keys().collect::<BTreeSet<_>>(), settings.keys().collect());
    for (key, value) in &table {
        if let Some(default) = &settings[key].2 {
            let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            assert_eq!(&text, default, "{key}");
        }
    }
    for (key, value) in &table {
        let bench = Bench::new();
        bench.file(&format!("{key} = {value}"));
        bench.config(&[], &[]);
    }
}

#[test]
fn flags_alone_make_settings_for_tests() {
    let settings = Settings::from_flags(["--grpc-addr", "127.0.0.1:0"]).expect("valid");
    assert_eq!(settings.listen.grpc_addr.to_string(), "127.0.0.1:0");
    let wrong = Settings::from_flags(["--grpc-addr", "x"]).expect_err("wrong");
    assert!(matches!(wrong, Stop::Invalid(_)) && wrong.to_string().starts_with("--grpc-addr: must be HOST:PORT"));
}
