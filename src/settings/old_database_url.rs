//! The URL of the database that an old system has.

use secrecy::{ExposeSecret, SecretString};

use super::{database_url, servers};

/// Parameters that Prisma adds to its URLs. They say how many connections it makes, and when it gives up.
const OF_PRISMA: [&str; 6] =
    ["connection_limit", "pool_timeout", "connect_timeout", "socket_timeout", "statement_cache_size", "pgbouncer"];

/// The database of an old system: a URL by the rules of `DATABASE_URL`, or one that Prisma wrote.
#[derive(Clone, Debug)]
pub struct OldDatabaseUrl {
    /// One URL for each host, in order of preference.
    pub servers: Vec<SecretString>,
    /// The schema on PostgreSQL, if Prisma's parameter `schema` names one.
    pub schema: Option<String>,
}

impl OldDatabaseUrl {
    /// Checks a URL.
    ///
    /// # Errors
    /// One sentence that begins with "must" or "is" and quotes nothing of the URL but the name of a parameter.
    pub fn parse(text: &str) -> Result<Self, String> {
        if has_pooler(text) {
            return Err(
                "must be the URL of the database server itself (Prisma's directUrl): pgbouncer=true means that \
                        a pooler shares sessions with the old system"
                    .to_owned(),
            );
        }
        let (text, schema) = without_prisma_parameters(text);
        let url = database_url::parse(&text)?;
        let servers = servers::split_hosts(url.expose_secret()).into_iter().map(SecretString::from).collect();
        Ok(Self { servers, schema })
    }
}

/// Whether Prisma's parameter says that the URL is one of a pooler in transaction mode.
fn has_pooler(text: &str) -> bool {
    let query = text.split_once('?').map_or("", |(_, query)| query);
    url::form_urlencoded::parse(query.as_bytes()).any(|(name, value)| name == "pgbouncer" && value == "true")
}

/// Takes Prisma's parameters out of a URL. Returns the schema that they name too.
fn without_prisma_parameters(text: &str) -> (String, Option<String>) {
    let is_server = ["mysql:", "mariadb:", "postgres:", "postgresql:"].iter().any(|scheme| text.starts_with(scheme));
    let Some((before, query)) = text.split_once('?').filter(|_| is_server) else { return (text.to_owned(), None) };
    let mut schema = None;
    let is_kept = |parameter: &&str| {
        let Some((name, value)) = url::form_urlencoded::parse(parameter.as_bytes()).next() else { return false };
        if name == "schema" && text.starts_with("postgres") {
            schema = Some(value.into_owned()).filter(|schema| !schema.is_empty());
            return false;
        }
        !OF_PRISMA.contains(&name.as_ref())
    };
    let kept: Vec<&str> = query.split('&').filter(is_kept).collect();
    let text = if kept.is_empty() { before.to_owned() } else { format!("{before}?{}", kept.join("&")) };
    (text, schema)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> (Vec<String>, Option<String>) {
        let url = OldDatabaseUrl::parse(text).unwrap();
        (url.servers.iter().map(|server| server.expose_secret().to_owned()).collect(), url.schema)
    }

    #[test]
    fn prismas_parameters_are_understood() {
        let url = "postgresql://u:p@h:5432/d?schema=shop%20a&connection_limit=5&sslmode=require&pgbouncer=false";
        let servers = vec!["postgresql://u:p@h:5432/d?sslmode=require".to_owned()];
        assert_eq!(parsed(url), (servers, Some("shop a".to_owned())));
        assert_eq!(parsed("postgres://h/d?schema="), (vec!["postgres://h/d".to_owned()], None));
        assert_eq!(parsed("mysql://u@h/d?connection_limit=1").0, ["mysql://u@h/d"]);
    }

    #[test]
    fn a_pooler_is_refused() {
        for url in ["postgres://h/d?pgbouncer=true", "postgres://h/d?schema=a&pgbouncer=true&sslmode=require"] {
            assert!(OldDatabaseUrl::parse(url).unwrap_err().contains("directUrl"), "{url}");
        }
    }

    #[test]
    fn the_rules_are_those_of_the_services_own_database() {
        assert_eq!(parsed("mariadb://one,two/d").0, ["mysql://one/d", "mysql://two/d"]);
        assert_eq!(parsed("sqlite://old.db?mode=ro").0, ["sqlite://old.db?mode=ro"]);
        for wrong in ["mongodb://h/d", "mysql://u@h/d?schema=x", "postgres://u@h/d?ssl_mode=require", "", "old.db"] {
            assert!(OldDatabaseUrl::parse(wrong).unwrap_err().starts_with("must"), "{wrong}");
        }
        let error = OldDatabaseUrl::parse("postgres://u:se/cr?et@h/d?schema=x").unwrap_err();
        assert!(!error.contains("et"), "{error}");
    }
}
