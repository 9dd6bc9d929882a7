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

/// A password with a character that ends the user's part of a URL counts as a host, a port or a path.
#[test]
fn a_password_is_never_printed_however_malformed_the_url() {
    let bench = Bench::new();
    for odd in "/?#@:[]\\% &,;".chars() {
        for password in [format!("12{odd}{SECRET}"), format!("{odd}{SECRET}")] {
            for (scheme, rest) in [("mysql", "h/d"), ("mysql", "one:1,two/d"), ("postgres", "/d?host=/dir")] {
                let url = format!("{scheme}://app:{password}@{rest}");
                let output = bench.run(&["config"], &[("DATABASE_URL", &url)]);
                let printed = [output.stdout, output.stderr].concat();
                assert!(!String::from_utf8_lossy(&printed).contains(SECRET), "{url}");
            }
        }
    }
    let line = bench.refusal(&[], &[("DATABASE_URL", "mysql://app:12/ss@h/d")]);
    assert!(line.contains("percent-encoded: %2F"), "{line}");
}

#[test]
fn a_parameter_that_the_driver_would_ignore_is_refused_by_name() {
    let bench = Bench::new();
    for (url, names) in [
        ("mysql://u@h/d?ssl_mode=VERIFY_CA&ssl_ca=/ca.pem", ["parameter ssl_mode;", "ssl-mode, sslmode, ssl-ca"]),
        ("mariadb://u@h/d?ssl-ca=/ca.pem&sslverify=1", ["parameter sslverify;", "those of mysql"]),
        ("mysql://u@h/d?time-zone=SYSTEM", ["parameter time-zone;", "those of mysql"]),
        ("postgres://u@h/d?sslmode=require&connect_timeout=3", ["parameter connect_timeout;", "those of postgres"]),
        ("postgres://u@one,two/d?target_session_attrs=read-write", ["parameter target_session_attrs;", "sslrootcert"]),
        ("sqlite://x.db?mod=ro", ["parameter mod;", "mode, cache"]),
        ("mysql://u@h/d?hunter2%20=1", ["an unknown parameter;", "those of mysql"]),
        ("mysql://u@h/d?ssl-mode=verify-ca", ["for ssl-mode", "VERIFY_CA"]),
        ("postgres://u@h/d?sslmode=VERIFY_CA", ["for sslmode", "verify-ca"]),
        ("mysql://u@h/d?charset=latin1", ["utf8mb4", "charset"]),
        ("postgres://u@h/d?port=hunter2", ["number", "port"]),
    ] {
        let line = bench.refusal(&[], &[("DATABASE_URL", url)]);
        assert!(line.starts_with("DATABASE_URL (environment): must "), "{line}");
        assert!(names.iter().all(|name| line.contains(name)), "{line}");
    }
    for url in [
        "mysql://u@h/d?sslmode=required&sslca=/ca.pem&charset=utf8mb4&collation=utf8mb4_bin",
        "postgres://u@h/d?ssl-mode=verify-full&ssl-root-cert=/ca.pem&application_name=shop&options[geqo]=off",
        "sqlite://x.db?mode=ro&immutable=true",
    ] {
        bench.config(&[], &[("DATABASE_URL", url)]);
    }
}

#[test]
fn a_socket_takes_the_place_of_the_host() {
    for (url, driver) in [
        ("postgres://u:p@/db?host=/run/pg", "postgres://u:p@localhost/db?host=/run/pg"),
        ("postgres:///db?host=/run/pg", "postgres://localhost/db?host=/run/pg"),
        ("postgres://u@%2Frun%2Fpg/db", "postgres://u@%2Frun%2Fpg/db"),
        ("mysql://u:p@/db?socket=/run/my.sock", "mysql://u:p@localhost/db?socket=/run/my.sock"),
    ] {
        let settings = Settings::from_flags(["--database-url", url]).expect(url);
        assert_eq!(settings.database.url.expose_secret(), driver);
        assert_eq!(settings.database.servers.len(), 1);
    }
    let report = Bench::new().config(&[], &[("DATABASE_URL", "postgres://u:hunter2@/db?host=/run/pg")]);
    assert!(report.contains("database_url = \"postgres://u@localhost/db\""), "{report}");
    let line = Bench::new().refusal(&[], &[("DATABASE_URL", "postgres://u:p@/db")]);
    assert!(line.contains("URL"), "{line}");
}

#[test]
fn secrets_can_stand_in_files() {
    let bench = Bench::new();
    let summary =
        |environment: &[(&str, &str)]| bench.config(&[], environment).lines().next().unwrap_or_default().to_owned();
    assert!(summary(&[("DATABASE_URL_FILE", "two.url")]).ends_with("database mysql://u@two/db"));
    assert!(summary(&[("IDENTITY_DATABASE_URL_FILE", "one.url")]).ends_with("database sqlite://one.db"));

    bench.write("password", &format!("{SECRET}#\n"));
    let password = bench.path("password");
    let settings = Settings::from_flags(["--db-host", "h", "--db-password-file", &password]).expect("valid");
    assert_eq!(settings.database.url.expose_secret(), format!("mysql://root:{SECRET}%23@h:3306/identity"));
    let report = bench.config(&[], &[("DB_PASSWORD_FILE", "password")]);
    assert!(report.contains("database mysql://root@127.0.0.1:3306/identity") && !report.contains(SECRET), "{report}");

    bench.write("wrong", &format!("oracle://{SECRET}"));
    for (environment, start) in [
        (&[("DATABASE_URL_FILE", "wrong")][..], "DATABASE_URL_FILE (environment): its content must "),
        (&[("DATABASE_URL_FILE", SECRET)], "DATABASE_URL_FILE (environment): must be a file that can be read: "),
        (
            &[("DATABASE_URL_FILE", "one.url"), ("DATABASE_URL", "sqlite://x")],
            "DATABASE_URL_FILE (environment): cannot be given together with DATABASE_URL (environment)",
        ),
        (
            &[("DB_PASSWORD_FILE", "password"), ("DB_PASSWORD", SECRET)],
            "DB_PASSWORD_FILE (environment): cannot be given together with DB_PASSWORD (environment)",
        ),
    ] {
        let line = bench.refusal(&[], environment);
        assert!(line.starts_with(start), "{line}");
    }
    // As of a URL and its parts: in the environment the URL wins, elsewhere both are an error.
    assert!(summary(&[("DATABASE_URL_FILE", "two.url"), ("DB_HOST", "h")]).ends_with("mysql://u@two/db"));
    let line = bench.refusal(&["--database-url-file", "two.url", "--db-host", "h"], &[]);
    assert!(line.starts_with("--database-url-file: cannot be given together with --db-host"), "{line}");
}
