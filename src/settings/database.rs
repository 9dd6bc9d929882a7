use std::fmt::Write;
use std::net::Ipv6Addr;
use std::path::PathBuf;
use std::time::Duration;

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use secrecy::{ExposeSecret, SecretString};

use super::error::InvalidSetting;
use super::sources::{SettingOrigin, Sources};
use super::table_names::TableNames;
use super::{address, database_url, secret_file, servers, value};

/// The settings that name files of secrets.
const URL_FILE: &str = "database_url_file";
const PASSWORD_FILE: &str = "db_password_file";

/// The database and its time-outs.
#[derive(Clone, Debug)]
pub struct DatabaseSettings {
    /// A URL that starts with `mysql://`, `postgres://`, `postgresql://` or `sqlite:`. It may name several hosts, with
    /// commas between them.
    pub url: SecretString,
    /// One URL for each host of [`url`](Self::url), in order of preference.
    pub servers: Vec<SecretString>,
    /// Maximum database connections of this process. Default 16.
    pub connections: u32,
    /// How long `serve` waits at start for a database that does not answer. Zero means no wait. Default 10 s.
    pub wait: Duration,
    /// Time limit for one statement. After it, the database counts as unreachable. Default 3 s.
    pub timeout: Duration,
    /// Whether `serve` applies missing migrations first. Default true.
    pub migrate: bool,
    /// Tables of other systems that may stand beside those of the service, with rows. Default none.
    pub ignore_table: TableNames,
}

impl DatabaseSettings {
    /// Returns the kind of database, for the log: `mysql`, `postgres`, `postgresql` or `sqlite`.
    pub fn scheme(&self) -> &str {
        let url = self.url.expose_secret();
        url.split_once(':').map_or(url, |(scheme, _)| scheme)
    }

    /// Returns whether the database is in the memory of this process, and gone with it.
    pub fn is_in_memory(&self) -> bool {
        let url = self.url.expose_secret();
        self.scheme() == "sqlite" && (url.contains(":memory:") || url.contains("mode=memory"))
    }
}

#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Database")]
pub(super) struct DatabaseArgs {
    /// The database: mysql://USER:PASSWORD@HOST:PORT/NAME, postgres://USER:PASSWORD@HOST:PORT/NAME or sqlite://FILE.
    /// mariadb:// and postgresql:// work too. With several hosts, HOST:PORT,HOST:PORT, the service uses the first
    /// one that accepts writes
    #[arg(long, env, value_name = "URL", default_value = "sqlite://identity.db?mode=rwc")]
    #[arg(value_parser = value::Parser::new(database_url::parse))]
    database_url: SecretString,

    /// A file that has the URL of the database, in place of --database-url
    #[arg(long, env, value_name = "FILE")]
    database_url_file: Option<PathBuf>,

    /// Host of a MySQL database, or several hosts with commas between them. Any --db-… setting replaces
    /// --database-url; giving both is an error, except in the environment, where DATABASE_URL wins
    #[arg(long, env, value_name = "HOST", default_value = "127.0.0.1", value_parser = value::Parser::new(hosts))]
    db_host: String,

    /// Port of the MySQL database, on all hosts
    #[arg(long, env, value_name = "PORT", default_value = "3306", value_parser = value::integer::<u16, 1, 65535>())]
    db_port: u16,

    /// User of the MySQL database
    #[arg(long, env, value_name = "USER", default_value = "root", value_parser = value::Parser::new(not_empty))]
    db_user: String,

    /// Password of that user. Process lists show flags: prefer the environment or the file
    #[arg(long, env, value_name = "PASSWORD", value_parser = value::Parser::new(|text| Ok(SecretString::from(text))))]
    db_password: Option<SecretString>,

    /// A file that has the password, in place of --db-password
    #[arg(long, env, value_name = "FILE")]
    db_password_file: Option<PathBuf>,

    /// Name of the MySQL database
    #[arg(long, env, value_name = "NAME", default_value = "identity", value_parser = value::Parser::new(not_empty))]
    db_name: String,

    /// Maximum connections to the database
    #[arg(long, env, value_name = "COUNT", default_value = "16", value_parser = value::integer::<u32, 1, 10_000>())]
    database_connections: u32,

    /// How long `serve` waits at start for a database that does not answer; 0s means no wait
    #[arg(long, env, value_name = "TIME", default_value = "10s", value_parser = value::duration())]
    database_wait: Duration,

    /// Time limit for one statement; after it, the database counts as unreachable
    #[arg(long, env, value_name = "TIME", default_value = "3s", value_parser = value::timeout())]
    database_timeout: Duration,

    /// Whether `serve` applies missing migrations first
    #[arg(long, env, value_name = "BOOL", default_value = "true", value_parser = value::boolean())]
    #[arg(action = clap::ArgAction::Set)]
    migrate: bool,

    /// Tables of other systems, with commas between them, that may stand beside those of the service although their
    /// names and columns look like contacts. Without it, their rows stop `migrate up` and `serve` while the service has
    /// no contacts
    #[arg(long, env, value_name = "NAME", value_parser = value::from_str::<TableNames>())]
    ignore_table: Option<TableNames>,
}

impl DatabaseArgs {
    /// Returns the section: the URL as given, or one made of its parts.
    ///
    /// # Errors
    /// When both the URL and a part of it are given, and not both by the environment. When a secret is given twice, or
    /// its file cannot be read.
    pub(super) fn resolve(mut self, sources: &Sources) -> Result<DatabaseSettings, InvalidSetting> {
        if let Some(url) = secret_file::read(self.database_url_file.as_deref(), URL_FILE, "database_url", sources)? {
            let parsed = database_url::parse(url.expose_secret());
            let invalid =
                |reason| InvalidSetting::new(sources.name_in_source(URL_FILE), format!("its content {reason}"));
            self.database_url = parsed.map_err(invalid)?;
        }
        let password = secret_file::read(self.db_password_file.as_deref(), PASSWORD_FILE, "db_password", sources)?;
        self.db_password = password.or(self.db_password);
        let url = match Place::decide(sources)? {
            Place::Url => self.database_url,
            Place::Parts => self.composed_url(),
        };
        Ok(DatabaseSettings {
            servers: servers::split_hosts(url.expose_secret()).into_iter().map(SecretString::from).collect(),
            url,
            connections: self.database_connections,
            wait: self.database_wait,
            timeout: self.database_timeout,
            migrate: self.migrate,
            ignore_table: self.ignore_table.unwrap_or_default(),
        })
    }

    fn composed_url(&self) -> SecretString {
        // Encodes every character except letters and digits, so that no character of a password ends the URL early.
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

/// Which settings say where the database is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// `database_url`.
    Url,
    /// `db_host` and the others.
    Parts,
}

impl Place {
    const PARTS: [&str; 6] = ["db_host", "db_port", "db_user", "db_password", PASSWORD_FILE, "db_name"];

    /// The settings of the URL.
    const URL: [&str; 2] = [URL_FILE, "database_url"];

    /// Returns the setting that gives the URL: the one from the strongest source.
    fn url_setting(sources: &Sources) -> &'static str {
        Self::URL.into_iter().max_by_key(|id| sources.origin(id)).unwrap_or("database_url")
    }

    /// Decides between the URL and its parts.
    ///
    /// Some platforms set all of the variables. So in the environment the URL wins over the parts, unless one of them
    /// has the prefix and the URL has not.
    ///
    /// # Errors
    /// When both are given elsewhere: then a person gave them, and means one of them.
    fn decide(sources: &Sources) -> Result<Self, InvalidSetting> {
        let given = Self::PARTS.into_iter().filter(|id| sources.is_given(id));
        let url_setting = Self::url_setting(sources);
        let url = sources.origin(url_setting);
        // Of parts from one place the first is named.
        match given.rev().max_by_key(|id| sources.origin(id)).map(|id| (id, sources.origin(id))) {
            None => Ok(Self::Url),
            Some(_) if url == SettingOrigin::Default => Ok(Self::Parts),
            Some((_, part)) if part.is_environment() && url.is_environment() => {
                Ok(if part > url { Self::Parts } else { Self::Url })
            }
            Some((part, _)) => {
                let reason = format!("cannot be given together with {}", sources.name_in_source(part));
                Err(InvalidSetting::new(sources.name_in_source(url_setting), reason))
            }
        }
    }

    /// Returns the setting that is in force in place of this one and its verb, if there is one.
    pub(super) fn instead_of(key: &str, sources: &Sources) -> Option<String> {
        let is_url = Self::URL.contains(&key);
        if !sources.is_given(key) || !(is_url || Self::PARTS.contains(&key)) {
            return None;
        }
        match Self::decide(sources).ok()? {
            Self::Url => (!is_url).then(|| format!("{} is", sources.name_in_source(Self::url_setting(sources)))),
            Self::Parts => is_url.then(|| "the db_… settings are".to_owned()),
        }
    }
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
