//! The options that the drivers get beside the URL, and a clear error for a TLS file that cannot be read.

use std::fs::File;

use sqlx::mysql::MySqlConnectOptions;
use sqlx::postgres::PgConnectOptions;
use url::Url;

use super::connect_error::ConnectError;

/// How many prepared statements a connection to MySQL keeps: more than this service has, some 140.
///
/// One that makes room for another costs 40 ms (docs/decisions/0009-nagles-algorithm.md).
const PREPARED_STATEMENTS: usize = 200;

/// Parameters of a URL that name a file for TLS.
const FILES: [&str; 8] =
    ["ssl-ca", "sslca", "sslrootcert", "ssl-root-cert", "ssl-cert", "sslcert", "ssl-key", "sslkey"];

/// Completes what the driver read from the URL. [`mysql::session`](super::sql::mysql::session) sets `sql_mode` itself.
pub(super) fn complete_mysql(options: MySqlConnectOptions) -> MySqlConnectOptions {
    let host = without_brackets(options.get_host()).to_owned();
    options
        .host(&host)
        .pipes_as_concat(false)
        .no_engine_substitution(false)
        .statement_cache_capacity(PREPARED_STATEMENTS)
}

/// Completes what the driver read from the URL. PgBouncer refuses `extra_float_digits`, and no column is a float.
pub(super) fn complete_postgres(options: PgConnectOptions) -> PgConnectOptions {
    let host = without_brackets(options.get_host()).to_owned();
    options.host(&host).extra_float_digits(None)
}

/// sqlx 0.9.0 gives an IPv6 address to the resolver and to TLS with the brackets that it has in a URL.
fn without_brackets(host: &str) -> &str {
    host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host)
}

/// Checks that the certificates and keys in a URL can be read. The driver would say that the server does not answer.
pub(super) fn check_files(url: &str) -> Result<(), ConnectError> {
    let Ok(url) = Url::parse(url) else { return Ok(()) }; // The driver says so.
    let is_unreadable = url
        .query_pairs()
        .filter(|(name, _)| FILES.contains(&name.as_ref()))
        .any(|(_, path)| File::open(path.as_ref()).is_err());
    if is_unreadable {
        return Err(ConnectError::Refused(
            "a file that the database URL names for TLS (ssl-ca, sslrootcert, a certificate or a key) cannot be read",
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ipv6_address_has_no_brackets_for_the_driver() {
        let mysql: MySqlConnectOptions = "mysql://u@[::1]:1/d".parse().unwrap();
        assert_eq!(complete_mysql(mysql).get_host(), "::1");
        let postgres: PgConnectOptions = "postgres://u@[fe80::2]/d".parse().unwrap();
        assert_eq!(complete_postgres(postgres).get_host(), "fe80::2");
        let named: MySqlConnectOptions = "mysql://u@db.local/d".parse().unwrap();
        assert_eq!(complete_mysql(named).get_host(), "db.local");
    }

    #[test]
    fn a_socket_stays_one() {
        let options: PgConnectOptions = "postgres://u:p@localhost/db?host=/dir".parse().unwrap();
        assert_eq!(complete_postgres(options).get_socket().map(|path| path.as_path()), Some("/dir".as_ref()));
    }

    #[test]
    fn a_certificate_that_is_not_there_is_found_before_the_server_is_asked() {
        let missing = check_files("mysql://u@h/d?ssl-mode=VERIFY_CA&ssl-ca=/no/such.pem").unwrap_err();
        assert!(missing.is_lasting() && missing.to_string().contains("ssl-ca"), "{missing}");
        assert_eq!(check_files("mysql://u@h/d?socket=/no/such.sock"), Ok(()));
    }
}
