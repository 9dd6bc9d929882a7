//! Where the database is: a URL, or its parts.

use identity::settings::Settings;
use percent_encoding::percent_decode_str;
use secrecy::ExposeSecret;

use crate::bench::{Bench, SECRET};

#[test]
fn a_wrong_database_url_is_refused_without_a_word_of_it() {
    let bench = Bench::new();
    for url in [
        "hunter2",
        "oracle://hunter2",
        "mysql:hunter2",
        "mysql://u:hunter2#x@h/d",
        "mysql://",
        "SQLITE://hunter2",
        "mysql://hunter2,/x",
        "mysql://hunter2:1,h:x/x",
    ] {
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
fn several_hosts_can_have_the_database() {
    let url = format!("postgres://shop:{SECRET},@one:1,[::1],three/x?sslmode=require");
    let settings = Settings::from_flags(["--database-url", &url]).expect("valid");
    let servers = settings.database.servers;
    let servers: Vec<_> = servers.iter().map(ExposeSecret::expose_secret).collect();
    let expected =
        ["one:1", "[::1]", "three"].map(|host| format!("postgres://shop:{SECRET},@{host}/x?sslmode=require"));
    assert_eq!(servers, expected);
    let report = Bench::new().config(&["--database-url", &url], &[]);
    assert!(report.contains("database_url = \"postgres://shop@one:1,[::1],three/x\""), "{report}");
    assert!(!report.contains(SECRET));

    let settings = Settings::from_flags(["--db-host", "one, ::1,10.0.0.3", "--db-port", "1"]).expect("valid");
    assert_eq!(settings.database.url.expose_secret(), "mysql://root@one:1,[::1]:1,10.0.0.3:1/identity");
    assert_eq!(
        Bench::new().refusal(&["--db-host", "one,,two"], &[]),
        "--db-host: must be a host name or an IP address, or several with commas between them"
    );
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
