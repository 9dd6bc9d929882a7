//! What a wrong setting or command line says: one line that names it.

use std::process::Command;

use crate::bench::{Bench, FREE_TEXT, SECRET, VALUES, listed};

#[test]
fn a_wrong_value_is_named_as_its_source_spells_it() {
    // Each of these is wrong for every setting that is no free text.
    for (key, (flag, variable, _)) in listed().into_iter().filter(|(key, _)| !FREE_TEXT.contains(&key.as_str())) {
        let wrong = format!("x=y={SECRET}");
        let bench = Bench::new();
        let rule = bench.refusal(&[&format!("{flag}={wrong}")], &[]);
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
        let fraction = if one.contains('.') { "true" } else { "0.5" };
        let wrong = if one.starts_with('\'') { ["1", "true", "{ a = 1 }"] } else { [quoted.as_str(), fraction, "[1]"] };
        for value in wrong {
            bench.file(&format!("{key} = {value}"));
            let named = bench.refusal(&["config"], &[]);
            assert!(named.starts_with(&format!("{key} (identity.toml): must be ")), "{named}");
        }
    }
}

#[test]
fn a_file_that_is_not_toml_is_named() {
    let bench = Bench::new();
    assert!(bench.refusal(&["--config", "none.toml"], &[]).starts_with("--config: cannot read none.toml: "));
    let named = bench.refusal(&[], &[("IDENTITY_CONFIG", "none.toml")]);
    assert!(named.starts_with("IDENTITY_CONFIG (environment): cannot read none.toml: "), "{named}");
    for (toml, start) in [
        ("grpc-addr = 'localhost:1'", "grpc-addr (identity.toml): there is no such setting"),
        ("config = 'x'", "config (identity.toml): there is no such setting"),
        ("help = true", "help (identity.toml): there is no such setting"),
        ("[database]\nurl = 'hunter2'", "database (identity.toml): there is no such setting"),
        ("\nport = 1\ndb_password = 'hunter2", "identity.toml: line 3 is not valid TOML"),
        ("db_password = hunter2", "identity.toml: line 1 is not valid TOML"),
        ("db_password = 'a'\ndb_password = 'hunter2'", "identity.toml: line 2 is not valid TOML"),
        ("mysql://root:hunter2@db/x", "identity.toml: line 1 is not valid TOML"),
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
