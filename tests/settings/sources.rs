//! Where a setting comes from, and which source wins.

use std::collections::BTreeSet;

use identity::settings::{Settings, Stop};

use crate::bench::{Bench, VALUES, bare, line_of, listed};

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
fn flags_alone_make_settings_for_tests() {
    let settings = Settings::from_flags(["--grpc-addr", "127.0.0.1:0"]).expect("valid");
    assert_eq!(settings.listen.grpc_addr.to_string(), "127.0.0.1:0");
    let wrong = Settings::from_flags(["--grpc-addr", "x"]).expect_err("wrong");
    assert!(matches!(wrong, Stop::Invalid(_)) && wrong.to_string().starts_with("--grpc-addr: must be HOST:PORT"));
}
