//! Where a setting comes from, and which source wins.

use std::collections::BTreeSet;

use identity::settings::{Settings, Stop};

use crate::bench::{Bench, FREE_TEXT, SECRET, VALUES, bare, line_of, listed};

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

        // With `=`, which every flag takes. `--insecure` takes a value in no other way.
        let given = |value| format!("{flag}={}", bare(value));
        let report = bench.config(&[&given(one)], &environment);
        assert_eq!(line_of(&report, key), shown(one, flag));
        let report = bench.config(&[&given(two)], &[]);
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
    assert!(again.starts_with("# gRPC at 127.0.0.1:50051, JSON at [::]:8080, database sqlite:"), "{again}");
}

#[test]
fn port_listens_at_all_addresses_or_where_http_addr_says() {
    let bench = Bench::new();
    let json_at = |flags: &[&str], environment: &[(&str, &str)], addr: &str| {
        let report = bench.config(flags, environment);
        assert!(report.contains(&format!(", JSON at {addr}, ")), "{report}");
    };
    json_at(&[], &[], "127.0.0.1:3000");
    json_at(&[], &[("PORT", "8080")], "[::]:8080");
    json_at(&["--port", "0"], &[], "[::]:0");
    json_at(&[], &[("PORT", "8080"), ("HTTP_ADDR", "0.0.0.0:1")], "0.0.0.0:1");
    json_at(&["--port", "2", "--http-addr", "[::]:1"], &[("PORT", "3")], "[::]:1");
    json_at(&["--http-addr", "[::]:1"], &[("PORT", "3")], "[::]:1");
    json_at(&["--port", "2"], &[("HTTP_ADDR", "[::]:1")], "[::]:2");
    bench.file("http_addr = '0.0.0.0:1'");
    json_at(&[], &[("PORT", "8080")], "0.0.0.0:8080");
}

#[test]
fn every_variable_has_a_prefixed_form_that_wins() {
    for (key, one, two) in VALUES {
        let variable = listed()[key].1.clone();
        let prefixed = format!("IDENTITY_{variable}");
        let bench = Bench::new();
        bench.file(&format!("{key} = {one}"));
        let shown = |report: &str, source: &str| assert!(line_of(report, key).ends_with(source), "{report}");
        for (plain, source) in [(bare(one), prefixed.as_str()), ("", &prefixed), ("not a value", &prefixed)] {
            let environment = [(variable.as_str(), plain), (prefixed.as_str(), bare(two))];
            shown(&bench.config(&[], &environment), &format!("{source} (environment)"));
        }
        let environment = [(variable.as_str(), bare(two)), (prefixed.as_str(), "")];
        shown(&bench.config(&[], &environment), &format!("{variable} (environment)"));
        let wrong = format!("x=y={SECRET}");
        if !FREE_TEXT.contains(&key) {
            // `one`, because the other log format is that of errors too.
            let line = bench.refusal(&[], &[(&variable, bare(one)), (&prefixed, &wrong)]);
            assert!(line.starts_with(&format!("{prefixed} (environment): must ")), "{line}");
        }
    }
}

/// Kubernetes sets `DB_PORT` for a service that is named `db`, and `IDENTITY_PORT` for one that is named `identity`.
#[test]
fn links_to_services_are_no_settings() {
    let bench = Bench::new();
    let links = [
        ("DB_PORT", "tcp://10.0.0.5:3306"),
        ("IDENTITY_DB_PORT", "tcp://10.0.0.5:3306"),
        ("IDENTITY_PORT", "tcp://10.0.0.6:3000"),
        ("PORT", "udp://10.0.0.6:3000"),
        ("IDENTITY_PORT_3000_TCP_ADDR", "10.0.0.6"),
        ("IDENTITY_SERVICE_HOST", "10.0.0.6"),
    ];
    assert_eq!(bench.config(&[], &links), bench.config(&[], &[]));
    let with_url = [&[("DATABASE_URL", "mysql://u@h/d")][..], &links].concat();
    assert!(bench.config(&[], &with_url).contains(", database mysql://u@h/d\n"));
    assert!(bench.refusal(&["--db-port", "tcp://10.0.0.5:3306"], &[]).starts_with("--db-port: must be"));
}

#[test]
fn in_the_environment_a_url_wins_over_the_parts() {
    let bench = Bench::new();
    let parts = [("DB_HOST", "db"), ("DB_PORT", "1"), ("DB_USER", "u"), ("DB_PASSWORD", SECRET), ("DB_NAME", "n")];
    let url = ("DATABASE_URL", "postgres://shop@pg/x");
    let report = bench.config(&[], &[&parts[..], &[url]].concat());
    assert!(report.contains(", database postgres://shop@pg/x\n"), "{report}");
    assert!(report.contains("#db_host =  # not used; DATABASE_URL (environment) is in force"), "{report}");

    // What has the prefix is meant for this service.
    let own = [("IDENTITY_DB_HOST", "own"), ("IDENTITY_DB_PASSWORD", SECRET)];
    let report = bench.config(&[], &[&parts[..], &own, &[url]].concat());
    assert!(report.contains(", database mysql://u@own:1/n\n"), "{report}");
    assert!(report.contains("#database_url =  # not used; the db_… settings are in force"), "{report}");
    let both = [&parts[..], &own, &[("IDENTITY_DATABASE_URL", "mysql://shop@my/x"), url]].concat();
    assert!(bench.config(&[], &both).contains(", database mysql://shop@my/x\n"));

    // The report is a settings file.
    bench.file(&report);
    assert!(bench.config(&[], &[]).contains(", database mysql://u@own:1/n\n"));
}

#[test]
fn flags_alone_make_settings_for_tests() {
    let settings = Settings::from_flags(["--grpc-addr", "127.0.0.1:0"]).expect("valid");
    assert_eq!(settings.listen.grpc_addr.to_string(), "127.0.0.1:0");
    let wrong = Settings::from_flags(["--grpc-addr", "x"]).expect_err("wrong");
    assert!(matches!(wrong, Stop::Invalid(_)) && wrong.to_string().starts_with("--grpc-addr: must be HOST:PORT"));
}
