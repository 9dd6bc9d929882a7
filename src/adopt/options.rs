//! What an adoption is begun with. The same options are needed to go on with it.

use std::collections::BTreeSet;

use ring::digest::{SHA256, digest};
use secrecy::ExposeSecret;
use serde_json::{Value, json};

use crate::domain::adoption::AdoptionRules;
use crate::domain::{CANONICAL_RULES_VERSION, Identifier};
use crate::settings::OldDatabaseUrl;

/// The options that decide what the result is.
#[derive(Clone, Debug)]
pub struct AdoptionOptions {
    /// How values are read.
    pub rules: AdoptionRules,
    /// Identifiers that may join more identities of the old table than `max_join`.
    pub accepted: BTreeSet<Identifier>,
    /// Ids of missing rows to which more rows may link than `max_join`.
    pub accepted_links: BTreeSet<i64>,
    /// How many identities of the old table an identifier may join without a decision.
    pub max_join: usize,
    /// Where the old table is, without secrets.
    pub source: String,
}

/// The names of the options in the state, and in the words of the command line.
const NAMES: [(&str, &str); 6] = [
    ("source", "--from, or a table or a file"),
    ("table", "the file, --table, --map or --time-zone"),
    ("ignored", "the identifiers of --ignore"),
    ("max_join", "--max-join"),
    ("region", "PHONE_REGION"),
    ("rules", "the version of the rules for identifiers"),
];

impl AdoptionOptions {
    /// Returns the options for the state of the adoption. `table` stands for the old table, its columns and its time
    /// zone. `--accept` is not among them: it changes nothing but whether a decision is missing.
    pub(super) fn for_state(&self, table: &str) -> Value {
        json!({
            "source": self.source,
            "table": table,
            "ignored": digest_of(&self.rules),
            "max_join": self.max_join,
            "region": self.rules.region.map(|region| format!("{region:?}")),
            "rules": CANONICAL_RULES_VERSION,
        })
    }
}

/// Returns what differs between two sets of options, in the words of the command line.
pub(super) fn differences(one: &Value, other: &Value) -> Vec<&'static str> {
    let differ = |(name, _): &&(&str, &str)| one[*name] != other[*name];
    NAMES.iter().filter(differ).map(|(_, words)| *words).collect()
}

/// A digest of a list: the identifiers are personal data, and the state is not to have them.
fn digest_of(rules: &AdoptionRules) -> Option<String> {
    if rules.ignored.is_empty() && rules.ignored_links.is_empty() {
        return None;
    }
    let links = rules.ignored_links.iter().map(|id| format!("link {id}\n"));
    let lines = rules.ignored.iter().map(|identifier| format!("{} {}\n", identifier.kind().name(), identifier.value()));
    let digest = digest(&SHA256, lines.chain(links).collect::<String>().as_bytes());
    Some(digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Returns a URL without its password and its parameters.
pub fn without_secrets(url: &str) -> String {
    if url.starts_with("sqlite:") {
        return url.split('?').next().unwrap_or_default().to_owned();
    }
    let Ok(OldDatabaseUrl { servers, schema }) = OldDatabaseUrl::parse(url) else { return String::new() };
    let servers = servers.iter().filter_map(|server| server_without_secrets(server.expose_secret()));
    servers.chain(schema.map(|schema| format!("schema={schema}"))).collect::<Vec<_>>().join(" ")
}

fn server_without_secrets(url: &str) -> Option<String> {
    let mut shown = url::Url::parse(url).ok()?;
    // The search path is part of where a table is.
    let of_session = shown.query_pairs().filter(|(name, _)| name == "options");
    let of_session: Vec<String> = of_session.map(|(_, value)| value.into_owned()).collect();
    shown.set_query(None);
    shown.set_fragment(None);
    let _ = shown.set_password(None); // It fails only for a URL that can have none.
    Some([String::from(shown)].into_iter().chain(of_session).collect::<Vec<_>>().join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::IdentifierKind;

    fn options() -> AdoptionOptions {
        let (rules, accepted) = (AdoptionRules::default(), BTreeSet::new());
        let source = "sqlite://old.db".to_owned();
        AdoptionOptions { rules, accepted, accepted_links: BTreeSet::from([7]), max_join: 3, source }
    }

    #[test]
    fn every_option_that_differs_is_named() {
        let before = options().for_state("Contact");
        assert_eq!(differences(&before, &before), [""; 0]);
        let phone = Identifier::from_stored(IdentifierKind::Phone, "0000000000");
        let mut other = options();
        other.accepted.insert(phone.clone());
        assert_eq!(differences(&before, &other.for_state("Contact")), [""; 0], "accepting more is no other option");
        other.rules.ignored.insert(phone);
        other.rules.region = "DE".parse().ok();
        other.max_join = 4;
        other.source = "sqlite://new.db".to_owned();
        let expected: Vec<&str> = NAMES.iter().map(|(_, words)| *words).take(5).collect();
        assert_eq!(differences(&before, &other.for_state("contacts")), expected);
        assert!(!other.for_state("contacts").to_string().contains("0000000000"));
    }

    #[test]
    fn a_url_is_stored_without_secrets() {
        let shown = without_secrets("postgres://me:secret@db:5432/shop?connect_timeout=5");
        assert_eq!(shown, "postgres://me@db:5432/shop");
        let shown = without_secrets("mysql://me:secret@one:3306,two:3306/shop");
        assert_eq!(shown, "mysql://me@one:3306/shop mysql://me@two:3306/shop");
        let old = without_secrets("postgres://me:secret@db/shop?schema=old");
        assert_ne!(old, without_secrets("postgres://me:secret@db/shop?schema=new"));
        assert_eq!(without_secrets("sqlite://old.db?mode=ro"), "sqlite://old.db");
    }
}
