//! `identity token new` and the refusal to serve strangers: the binary.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;
use std::process::{Command, Output};

use identity::auth::{CallerTable, Credentials, Scope, TokenHash};

fn identity(folder: &Path, args: &[&str], environment: &[(&str, &str)]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_identity"));
    command.env_clear().current_dir(folder).args(args).envs(environment.iter().copied()).output().unwrap()
}

#[test]
fn a_new_token_is_printed_once_and_its_hash_is_in_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("callers.toml");
    let mut tokens = Vec::new();
    for args in [
        &["token", "new", "checkout", "--scope", "identify,read", "--tokens-file", "callers.toml"][..],
        &["token", "new", "checkout", "--scope", "read,identify", "--tokens-file", "callers.toml"],
        &["--tokens-file", "callers.toml", "token", "new", "slow", "--scope", "erase", "--rate", "2", "--burst", "3"],
        // What is not given is as for the first.
        &["token", "new", "slow", "--tokens-file", "callers.toml"],
    ] {
        let output = identity(folder.path(), args, &[]);
        assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
        let printed = String::from_utf8(output.stdout).unwrap();
        let token = printed.strip_suffix('\n').unwrap();
        assert!(!token.contains(char::is_whitespace), "{printed}");
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.contains(&TokenHash::of(token).hex()) && !text.contains(token));
        tokens.push(token.to_owned());
    }
    let table = CallerTable::parse(&std::fs::read_to_string(&path).unwrap(), None).unwrap();
    let find = |token: &str| table.find(&Credentials { token: Some(token), certificate_names: &[] }).unwrap();
    assert_eq!(
        (find(&tokens[0]).name(), find(&tokens[1]).name(), find(&tokens[2]).name()),
        ("checkout", "checkout", "slow")
    );
    assert!(find(&tokens[1]).may(Scope::Read) && !find(&tokens[1]).may(Scope::Erase));
    let calls = std::iter::from_fn(|| find(&tokens[2]).count_call().ok()).take(10).count();
    assert_eq!(calls, 3);
    assert_eq!(find(&tokens[3]).name(), "slow");
    assert!(find(&tokens[3]).may(Scope::Erase) && !find(&tokens[3]).may(Scope::Identify));
    let text = std::fs::read_to_string(&path).unwrap();
    assert_eq!(text.matches("rate = 2\nburst = 3").count(), 2, "{text}");
}

#[test]
fn the_help_has_what_the_command_uses_and_no_other_setting() {
    let folder = tempfile::tempdir().unwrap();
    let secret = [("TOKENS_FILE", "/secret/callers.toml"), ("DB_PASSWORD", "secret")];
    for args in [&["token", "new", "--help"][..], &["token", "new", "-h"], &["help", "token", "new"]] {
        let output = identity(folder.path(), args, &secret);
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success() && text.contains("Usage: identity token new [OPTIONS] <NAME>"), "{text}");
        for part in ["--scope <SCOPES>", "--rate <COUNT>", "--burst <COUNT>", "--tokens-file <FILE>", "--config <FILE>"]
        {
            assert!(text.contains(part), "{part}: {text}");
        }
        assert!(
            text.contains("identity token new checkout --scope identify") && text.contains("TOKENS_FILE"),
            "{text}"
        );
        assert!(!text.contains("--database-url") && !text.contains("secret"), "{text}");
        assert!(text.lines().count() < 60, "{text}");
    }
    // The settings that it does not show are flags all the same.
    let args = ["token", "new", "a", "--scope", "read", "--tokens-file", "c.toml", "--grpc-addr", "127.0.0.1:1"];
    assert!(identity(folder.path(), &args, &[]).status.success());
}

#[test]
fn what_is_wrong_is_one_line() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("wrong.toml"), "token = 'idt_5eb0'").unwrap();
    let new = |rest: &[&str]| identity(folder.path(), &[&["token", "new"][..], rest].concat(), &[]);
    for (output, status, start) in [
        (new(&["a", "--scope", "read"]), 2, "identity: --tokens-file: must be given"),
        (new(&["a b", "--scope", "read"]), 2, "identity: <NAME>: must be 1 to 255"),
        (new(&["a", "--scope", "admin"]), 2, "identity: --scope: must be scopes out of"),
        (new(&["a", "--scope", "read", "--burst", "1"]), 2, "identity: "),
        (new(&["a", "--tokens-file", "new.toml"]), 2, "identity: --scope: must be given"),
        (
            new(&["a", "--scope", "read", "--tokens-file", "wrong.toml"]),
            3,
            "identity: wrong.toml cannot take the entry",
        ),
        (new(&["a", "--scope", "read", "--tokens-file", "none/c.toml"]), 3, "identity: cannot change none/c.toml"),
    ] {
        let line = String::from_utf8(output.stderr).unwrap();
        assert_eq!((output.status.code(), output.stdout.len()), (Some(status), 0), "{line}");
        assert!(line.starts_with(start) && line.matches('\n').count() == 1 && !line.contains("5eb0"), "{line}");
    }
}

#[test]
fn strangers_are_not_served_unless_somebody_said_so() {
    let folder = tempfile::tempdir().unwrap();
    let none = ("DATABASE_URL", "mysql://x@127.0.0.1:1/x");
    let wait = ("DATABASE_WAIT", "0s");
    for (variables, status, start) in [
        (&[("HTTP_ADDR", "0.0.0.0:0")][..], 2, "HTTP_ADDR: 0.0.0.0:0 is not a loopback address"),
        (&[("PORT", "0")], 2, "HTTP_ADDR: [::]:0 is not a loopback address"),
        (&[("GRPC_ADDR", "0.0.0.0:0"), ("INSECURE", "false")], 2, "GRPC_ADDR: "),
        (&[("METRICS_ADDR", "0.0.0.0:0")], 2, "METRICS_ADDR: 0.0.0.0:0 is not a loopback address"),
        // These go on to the database, which is not there.
        (&[("GRPC_ADDR", "0.0.0.0:0"), ("HTTP_ADDR", "0.0.0.0:0"), ("INSECURE", "true")], 3, ""),
        (&[("GRPC_ADDR", "127.0.0.1:0"), ("HTTP_ADDR", "127.0.0.1:0")], 3, ""),
        (&[("PORT", "0"), ("TOKENS_FILE", "none.toml")], 2, "cannot read none.toml"),
    ] {
        let environment = [&[none, wait, ("LOG_FORMAT", "text"), ("RUST_LOG", "off")][..], variables].concat();
        let output = identity(folder.path(), &["serve"], &environment);
        let line = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(status), "{variables:?}: {line}");
        assert!(line.starts_with(&format!("identity: {start}")), "{variables:?}: {line}");
        assert_eq!(line.contains("INSECURE"), status == 2 && start.contains("_ADDR: "), "{line}");
    }
}

#[test]
fn a_token_for_scrapes_in_plain_text_is_warned_about() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("callers.toml"), "").unwrap();
    for (address, is_warned) in [("0.0.0.0:0", true), ("127.0.0.1:0", false)] {
        let environment = [
            ("DATABASE_URL", "mysql://x@127.0.0.1:1/x"),
            ("DATABASE_WAIT", "0s"),
            ("LOG_FORMAT", "text"),
            ("GRPC_ADDR", "127.0.0.1:0"),
            ("HTTP_ADDR", "127.0.0.1:0"),
            ("METRICS_ADDR", address),
            ("TOKENS_FILE", "callers.toml"),
        ];
        let output = identity(folder.path(), &["serve"], &environment);
        let log = String::from_utf8(output.stderr).unwrap();
        assert_eq!(log.matches("METRICS_ADDR speaks without TLS").count(), usize::from(is_warned), "{log}");
    }
}
