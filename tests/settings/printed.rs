//! What the binary prints and what documents the settings: help, version, example file, `docs/configuration.md`.

use std::collections::BTreeSet;

use identity::settings::Settings;
use secrecy::ExposeSecret;

use crate::bench::{Bench, SECRET, listed};

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
fn help_lists_every_setting_within_80_columns() {
    let bench = Bench::new();
    let settings = listed();
    for args in [&["--help"][..], &["-h"], &["serve", "--help"], &["migrate", "down", "-h"]] {
        let output = bench.run(args, &[("COLUMNS", "80")]);
        assert!(output.status.success());
        let help = String::from_utf8(output.stdout).expect("UTF-8");
        let words: BTreeSet<_> = help.split(|c: char| c.is_whitespace() || "[]".contains(c)).collect();
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
fn the_documentation_lists_every_setting_with_its_default() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/configuration.md");
    let text = std::fs::read_to_string(path).expect("docs/configuration.md");
    let code = |cell: &str| cell.strip_prefix('`').and_then(|cell| cell.strip_suffix('`')).map(str::to_owned);
    // A row of a setting: | `--flag` | `VARIABLE` | `default`, or nothing | text |
    let rows: BTreeSet<_> = text
        .lines()
        .filter(|line| line.starts_with("| `--"))
        .map(|line| {
            let cells: Vec<&str> = line.split('|').map(str::trim).collect();
            let [_, flag, variable, default, text, ..] = cells[..] else { panic!("too few cells: {line}") };
            assert!(!text.is_empty(), "no text: {line}");
            (code(flag).expect(line), code(variable).expect(line), code(default))
        })
        .collect();
    let expected: BTreeSet<_> = listed().into_values().collect();
    let missing: Vec<_> = expected.difference(&rows).collect();
    assert!(missing.is_empty(), "docs/configuration.md lacks these rows: {missing:#?}");
    let config = ("--config".to_owned(), "IDENTITY_CONFIG".to_owned(), None);
    let unknown: Vec<_> = rows.difference(&expected).filter(|row| **row != config).collect();
    assert!(unknown.is_empty(), "docs/configuration.md has rows that match no setting: {unknown:#?}");
}

#[test]
fn the_example_has_every_key_with_its_default() {
    let example = include_str!("../../identity.example.toml");
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
    // The files of secrets are read at once.
    for (key, value) in table.iter().filter(|(_, value)| !value.to_string().contains("/run/secrets/")) {
        let bench = Bench::new();
        bench.file(&format!("{key} = {value}"));
        bench.config(&[], &[]);
    }
}
