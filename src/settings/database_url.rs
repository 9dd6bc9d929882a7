//! Database URLs: what they may say, and how they are shown without secrets.

use secrecy::SecretString;
use url::Url;

use super::servers;

/// What the URL of one kind of database may say.
struct Kind {
    name: &'static str,
    /// The parameters that the driver knows and the service leaves to the operator.
    parameters: &'static [&'static str],
    tls_modes: &'static [&'static str],
    /// Parameters that name the server in place of the host in the URL.
    hosts: &'static [&'static str],
}

const MYSQL: Kind = Kind {
    name: "mysql",
    parameters: &[
        "ssl-mode",
        "sslmode",
        "ssl-ca",
        "sslca",
        "ssl-cert",
        "sslcert",
        "ssl-key",
        "sslkey",
        "socket",
        "charset",
        "collation",
    ],
    tls_modes: &["DISABLED", "PREFERRED", "REQUIRED", "VERIFY_CA", "VERIFY_IDENTITY"],
    hosts: &["socket"],
};

const POSTGRES: Kind = Kind {
    name: "postgres",
    parameters: &[
        "sslmode",
        "ssl-mode",
        "sslrootcert",
        "ssl-root-cert",
        "ssl-ca",
        "sslcert",
        "ssl-cert",
        "sslkey",
        "ssl-key",
        "host",
        "hostaddr",
        "port",
        "dbname",
        "user",
        "password",
        "application_name",
        "options",
    ],
    tls_modes: &["disable", "allow", "prefer", "require", "verify-ca", "verify-full"],
    hosts: &["host", "hostaddr"],
};

const SQLITE: Kind =
    Kind { name: "sqlite", parameters: &["mode", "cache", "immutable", "vfs"], tls_modes: &[], hosts: &[] };

const ENCODE: &str = "must have / ? # and @ in the user and the password percent-encoded: %2F %3F %23 %40";

/// The host of a URL whose parameters name the server. The drivers do not use it.
const STAND_IN_HOST: &str = "localhost";

/// Checks a database URL. Returns it as the drivers want it.
///
/// # Errors
/// One sentence that begins with "must" or "is" and quotes nothing of the URL but the name of a parameter.
pub(super) fn parse(text: &str) -> Result<SecretString, String> {
    let scheme = text.split_once(':').map_or("", |(scheme, _)| scheme);
    let kind = match scheme {
        "sqlite" => {
            let query = text.split_once('?').map_or("", |(_, query)| query);
            let pairs = url::form_urlencoded::parse(query.as_bytes());
            check_names(&SQLITE, pairs.map(|(name, _)| name.into_owned()))?;
            return Ok(text.into());
        }
        "mysql" | "mariadb" => MYSQL,
        "postgres" | "postgresql" => POSTGRES,
        _ => return Err("must start with mysql://, mariadb://, postgres://, postgresql:// or sqlite://".to_owned()),
    };
    // A URL ends its user and password at the first of these: the rest of a password would be a port or a path.
    if text.contains('#') || servers::split_around_hosts(text).2.contains('@') {
        return Err(ENCODE.to_owned());
    }
    let text = with_stand_in_host(text);
    for server in servers::split_hosts(&text) {
        // The parser's errors are fixed sentences. They do not contain the URL.
        let url = Url::parse(&server).map_err(|error| format!("is not a valid URL: {error}"))?;
        if url.host_str().is_none_or(str::is_empty) {
            return Err(format!("names no host: {scheme}://USER:PASSWORD@HOST:PORT/NAME"));
        }
        check_names(&kind, url.query_pairs().map(|(name, _)| name.into_owned()))?;
        check_values(&kind, &url)?;
    }
    Ok(match text.strip_prefix("mariadb:") {
        Some(rest) => format!("mysql:{rest}").into(),
        None => text.into(),
    })
}

/// The drivers ignore what they do not know, so a mistyped `ssl_mode` would connect without a check of the certificate.
fn check_names(kind: &Kind, mut names: impl Iterator<Item = String>) -> Result<(), String> {
    let is_known = |name: &String| {
        let is_option = kind.name == POSTGRES.name && name.starts_with("options[") && name.ends_with(']');
        kind.parameters.contains(&name.as_str()) || is_option
    };
    let Some(unknown) = names.find(|name| !is_known(name)) else { return Ok(()) };
    // A part of a password could stand there.
    let is_name = unknown.len() <= 40 && unknown.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c));
    let named = if is_name { format!("the parameter {unknown}") } else { "an unknown parameter".to_owned() };
    Err(format!("must not have {named}; those of {} are {}", kind.name, kind.parameters.join(", ")))
}

fn check_values(kind: &Kind, url: &Url) -> Result<(), String> {
    for (name, value) in url.query_pairs() {
        let is_tls_mode = kind.tls_modes.iter().any(|mode| mode.eq_ignore_ascii_case(&value));
        match name.as_ref() {
            "ssl-mode" | "sslmode" if !is_tls_mode => {
                return Err(format!("must have one of these for {name}: {}", kind.tls_modes.join(", ")));
            }
            // The service stores every character, and reads what it stored.
            "charset" if value != "utf8mb4" => return Err("must have utf8mb4 for charset".to_owned()),
            "port" if value.parse::<u16>().is_err() => return Err("must have a number for port".to_owned()),
            _ => {}
        }
    }
    Ok(())
}

/// Puts a host into a URL that names its server by a parameter alone: `postgres://USER@/NAME?host=/run/postgresql`.
fn with_stand_in_host(url: &str) -> String {
    let (before, hosts, after) = servers::split_around_hosts(url);
    let query = after.split_once('?').map_or("", |(_, query)| query);
    let names_server =
        |(name, _): (_, _)| [MYSQL, POSTGRES].iter().any(|kind| kind.hosts.contains(&AsRef::<str>::as_ref(&name)));
    let is_named = url::form_urlencoded::parse(query.as_bytes()).any(names_server);
    if hosts.is_empty() && is_named { format!("{before}{STAND_IN_HOST}{after}") } else { url.to_owned() }
}

/// Returns the URL without its password and its parameters, some of which are secret too.
pub(super) fn without_secrets(url: &str) -> String {
    if url.starts_with("sqlite:") {
        return url.to_owned();
    }
    let url = with_stand_in_host(url);
    let first = servers::split_hosts(&url).swap_remove(0);
    let Ok(mut shown) = Url::parse(&first) else { return String::new() };
    shown.set_query(None);
    shown.set_fragment(None);
    // This fails only for a URL without a host, which has no password.
    let _ = shown.set_password(None);
    servers::with_hosts_of(shown.as_str(), &url)
}
