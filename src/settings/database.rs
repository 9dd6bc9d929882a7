use std::fmt::Write;
use std::net::Ipv6Addr;
use std::time::Duration;

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use secrecy::{ExposeSecret, SecretString};
use url::Url;

use super::sources::Sources;
use super::{InvalidSetting, address, servers, value};

/// The database, and how patient to be with it.
#[derive(Clone, Debug)]
pub struct Database {
    /// Where it is: a URL that starts with `mysql://`, `postgres://`, `postgresql://` or `sqlite:`. It may name
    /// several hosts, with commas between them.
    pub url: SecretString,
    /// The URL of each server that can have the database, in order of preference: [`url`](Self::url) with one host each.
    pub servers: Vec<SecretString>,
    /// The most connections one process opens. Default 16.
    pub connections: u32,
    /// How long `serve` waits at start for a database that does not answer; zero is not at all. Default 10 s.
    pub wait: Duration,
    /// The longest that one statement may take before the database counts as unreachable. Default 3 s.
    pub timeout: Duration,
    /// Whether `serve` brings the schema up to date first. Default true.
    pub migrate: bool,
}

impl Database {
    /// What kind of database it is, for logs: `mysql`, `postgres`, `postgresql` or `sqlite`.
    pub fn scheme(&self) -> &str {
        let url = self.url.expose_secret();
        url.split_once(':').map_or(url, |(scheme, _)| scheme)
    }
}

#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Database")]
pub(super) struct DatabaseArgs {
    /// The database: mysql://USER:PASSWORD@HOST:PORT/NAME, postgres://… likewise, or sqlite://FILE.
    /// mariadb:// and postgresql:// are understood too. Of several hosts, HOST:PORT,HOST:PORT, the first that
    /// takes writes is used
    #[arg(long, env, value_name = "URL", default_value = "sqlite://identity.db?mode=rwc")]
    #[arg(value_parser = value::Parser::new(database_url))]
    database_url: SecretString,

    /// Host of a MySQL database, or several with commas between them. Any of the --db-… settings takes the
    /// place of --database-url; giving both is an error
    #[arg(long, env, value_name = "HOST", default_value = "127.0.0.1", value_parser = value::Parser::new(hosts))]
    db_host: String,

    /// Its port, on all hosts
    #[arg(long, env, value_name = "PORT", default_value = "3306", value_parser = value::whole::<u16, 1, 65535>())]
    db_port: u16,

    /// Its user
    #[arg(long, env, value_name = "USER", default_value = "root", value_parser = value::Parser::new(not_empty))]
    db_user: String,

    /// Its user's password. Flags show in lists of processes: prefer the environment or the file
    #[arg(long, env, value_name = "PASSWORD", value_parser = value::Parser::new(|text| Ok(SecretString::from(text))))]
    db_password: Option<SecretString>,

    /// Its name
    #[arg(long, env, value_name = "NAME", default_value = "identity", value_parser = value::Parser::new(not_empty))]
    db_name: String,

    /// The most connections to the database
    #[arg(long, env, value_name = "COUNT", default_value = "16", value_parser = value::whole::<u32, 1, 10_000>())]
    database_connections: u32,

    /// How long `serve` waits at start for a database that does not answer; 0s is not at all
    #[arg(long, env, value_name = "TIME", default_value = "10s", value_parser = value::duration())]
    database_wait: Duration,

    /// The longest that one statement may take before the database counts as unreachable
    #[arg(long, env, value_name = "TIME", default_value = "3s", value_parser = value::timeout())]
    database_timeout: Duration,

    /// Whether `serve` brings the database's schema up to date first
    #[arg(long, env, value_name = "BOOL", default_value = "true", value_parser = value::boolean())]
    #[arg(action = clap::ArgAction::Set)]
    migrate: bool,
}

impl DatabaseArgs {
    const PARTS: [&str; 5] = ["db_host", "db_port", "db_user", "db_password", "db_name"];

    pub(super) fn settle(self, sources: &Sources) -> Result<Database, InvalidSetting> {
        let part = Self::PARTS.into_iter().find(|id| sources.is_given(id));
        let url = match part {
            None => self.database_url,
            Some(part) if sources.is_given("database_url") => {
                let reason = format!("cannot be given together with {}", sources.spelled(part));
                return Err(InvalidSetting::new(sources.spelled("database_url"), reason));
            }
            Some(_) => self.composed_url(),
        };
        Ok(Database {
            servers: servers::each(url.expose_secret()).into_iter().map(SecretString::from).collect(),
            url,
            connections: self.database_connections,
            wait: self.database_wait,
            timeout: self.database_timeout,
            migrate: self.migrate,
        })
    }

    fn composed_url(&self) -> SecretString {
        // All but letters and digits, so that no character of a password can end it early.
        let encoded = |text| utf8_percent_encode(text, NON_ALPHANUMERIC);
        let mut url = format!("mysql://{}", encoded(&self.db_user));
        if let Some(password) = &self.db_password {
            url += ":";
            url.extend(encoded(password.expose_secret()));
        }
        let with_port: Vec<_> = self.db_host.split(',').map(|host| format!("{host}:{}", self.db_port)).collect();
        let _ = write!(url, "@{}/{}", with_port.join(","), encoded(&self.db_name));
        url.into()
    }
}

fn database_url(text: &str) -> Result<SecretString, String> {
    let scheme = text.split_once(':').map_or("", |(scheme, _)| scheme);
    match scheme {
        "sqlite" => return Ok(text.into()),
        "mysql" | "mariadb" | "postgres" | "postgresql" => {}
        _ => return Err("must start with mysql://, mariadb://, postgres://, postgresql:// or sqlite://".to_owned()),
    }
    for server in servers::each(text) {
        // The parser's errors are fixed sentences, without the text.
        let url = Url::parse(&server).map_err(|error| format!("is no valid URL: {error}"))?;
        if url.host_str().is_none_or(str::is_empty) {
            return Err(format!("names no host: {scheme}://USER:PASSWORD@HOST:PORT/NAME"));
        }
    }
    Ok(match text.strip_prefix("mariadb:") {
        Some(rest) => format!("mysql:{rest}").into(),
        None => text.into(),
    })
}

fn hosts(text: &str) -> Result<String, String> {
    Ok(text.split(',').map(|one| host(one.trim())).collect::<Result<Vec<_>, _>>()?.join(","))
}

fn host(text: &str) -> Result<String, String> {
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    if let Ok(ip) = bare.parse::<Ipv6Addr>() {
        return Ok(format!("[{ip}]"));
    }
    let named = address::is_host_name(text) || text.parse::<std::net::Ipv4Addr>().is_ok();
    if named {
        Ok(text.to_owned())
    } else {
        Err("must be a host name or an IP address, or several with commas between them".to_owned())
    }
}

fn not_empty(text: &str) -> Result<String, String> {
    if text.is_empty() { Err("must not be empty".to_owned()) } else { Ok(text.to_owned()) }
}

/// The URL as an operator may see it: without password and parameters, of which some are secret too.
pub(super) fn shown(url: &str) -> String {
    if url.starts_with("sqlite:") {
        return url.to_owned();
    }
    let first = servers::each(url).swap_remove(0);
    let Ok(mut shown) = Url::parse(&first) else { return String::new() };
    shown.set_query(None);
    shown.set_fragment(None);
    // Fails only on a URL without a host, which has no password either.
    let _ = shown.set_password(None);
    servers::with_hosts_of(shown.as_str(), url)
}
