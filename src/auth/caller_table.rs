use std::collections::HashMap;
use std::sync::Arc;

use super::authenticator::{Credentials, Unauthenticated};
use super::entries::{self, CallerEntry};
use super::known_caller::{KnownCaller, RateLimit};
use super::token::TokenHash;
use crate::metrics::Metrics;

/// The callers of a file, by their tokens and by their names.
#[derive(Debug, Default)]
pub struct CallerTable {
    by_token: HashMap<TokenHash, Arc<KnownCaller>>,
    by_name: HashMap<String, Arc<KnownCaller>>,
}

impl CallerTable {
    /// Parses a file of callers. What callers have used of their rates goes on where `previous` is, unless the rate has
    /// changed.
    ///
    /// # Errors
    /// The reason, without a value of the file.
    pub fn parse(text: &str, previous: Option<&Self>) -> Result<Self, String> {
        let mut table = Self::default();
        for (index, entry) in entries::parse(text)?.into_iter().enumerate() {
            table.add(entry, previous).map_err(|reason| format!("entry {}: {reason}", index + 1))?;
        }
        Ok(table)
    }

    /// Adds an entry. Several entries of a name are several tokens of one caller, so that a token can be replaced
    /// without a pause.
    fn add(&mut self, entry: CallerEntry, previous: Option<&Self>) -> Result<(), &'static str> {
        let caller = match self.by_name.get(&entry.name) {
            Some(caller) => {
                if caller.scopes() != entry.scopes || caller.limit().map(|limit| limit.rate) != entry.rate {
                    return Err("all entries of a name must have the same scopes, rate and burst");
                }
                Arc::clone(caller)
            }
            None => {
                let before = previous.and_then(|table| table.by_name.get(&entry.name)?.limit());
                let limit = entry.rate.map(|rate| match before {
                    Some(limit) if limit.rate == rate => Arc::clone(limit),
                    _ => Arc::new(RateLimit::new(rate)),
                });
                let caller = Arc::new(KnownCaller::new(entry.name.clone(), entry.scopes, limit));
                self.by_name.insert(entry.name, Arc::clone(&caller));
                caller
            }
        };
        match entry.token.map(|token| self.by_token.insert(token, caller)) {
            Some(Some(_)) => Err("another entry has the same token"),
            Some(None) | None => Ok(()),
        }
    }

    /// Counts the calls of the callers in these metrics.
    pub fn measure_by(&self, metrics: &Metrics) {
        self.by_name.values().for_each(|caller| caller.measure_by(metrics));
    }

    /// Returns the names of the callers, in any order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.by_name.keys().map(String::as_str)
    }

    /// Returns whether there is no caller.
    pub fn is_empty(&self) -> bool {
        self.by_name.is_empty()
    }

    /// Returns whether there is a caller of this name.
    pub fn has(&self, name: &str) -> bool {
        self.by_name.contains_key(name)
    }

    /// Returns the caller with these credentials. A token comes before a certificate, and a wrong one is refused
    /// whatever the certificate says.
    ///
    /// A certificate names the caller if exactly one of its names is in the file.
    ///
    /// # Errors
    /// [`Unauthenticated`].
    pub fn find(&self, credentials: &Credentials<'_>) -> Result<Arc<KnownCaller>, Unauthenticated> {
        if let Some(token) = credentials.token {
            return self.by_token.get(&TokenHash::of(token)).cloned().ok_or(Unauthenticated::Unknown);
        }
        let mut found: Option<&Arc<KnownCaller>> = None;
        for caller in credentials.certificate_names.iter().filter_map(|name| self.by_name.get(name)) {
            if found.is_some_and(|other| other.name() != caller.name()) {
                return Err(Unauthenticated::Unknown);
            }
            found = Some(caller);
        }
        let is_missing = credentials.certificate_names.is_empty();
        let reason = if is_missing { Unauthenticated::Missing } else { Unauthenticated::Unknown };
        found.cloned().ok_or(reason)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::Scope;

    fn entry(name: &str, token: &str, rest: &str) -> String {
        let hash = TokenHash::of(token).hex();
        format!("[[caller]]\nname = '{name}'\ntoken_sha256 = '{hash}'\nscopes = ['identify']\n{rest}\n")
    }

    fn found(table: &CallerTable, token: Option<&str>, names: &[&str]) -> Result<String, Unauthenticated> {
        let certificate_names: Vec<_> = names.iter().map(|&name| name.to_owned()).collect();
        let caller = table.find(&Credentials { token, certificate_names: &certificate_names })?;
        Ok(caller.name().to_owned())
    }

    #[test]
    fn a_token_or_a_certificate_leads_to_a_caller() {
        let text = entry("one", "t1", "") + &entry("two", "t2", "") + &entry("one", "t3", "");
        let table = CallerTable::parse(&text, None).unwrap();
        let unknown = Err(Unauthenticated::Unknown);
        for (token, names, expected) in [
            (Some("t1"), &[][..], Ok("one".to_owned())),
            (Some("t3"), &[], Ok("one".to_owned())),
            (Some("t2"), &["one"], Ok("two".to_owned())),
            (Some("t4"), &["one"], unknown.clone()),
            (Some(""), &[], unknown.clone()),
            (None, &["x.example", "one"], Ok("one".to_owned())),
            (None, &["one", "one"], Ok("one".to_owned())),
            (None, &["one", "two"], unknown.clone()),
            (None, &["x.example"], unknown),
            (None, &[], Err(Unauthenticated::Missing)),
        ] {
            assert_eq!(found(&table, token, names), expected, "{token:?} {names:?}");
        }
        let caller = table.find(&Credentials { token: Some("t1"), certificate_names: &[] }).unwrap();
        assert!(caller.may(Scope::Identify) && !caller.may(Scope::Erase));
    }

    #[test]
    fn entries_that_contradict_each_other_are_refused() {
        let contradiction = entry("one", "t1", "") + &entry("one", "t2", "rate = 1");
        assert!(CallerTable::parse(&contradiction, None).unwrap_err().starts_with("entry 2: all entries of a name"));
        let twice = entry("one", "t1", "") + &entry("two", "t1", "");
        assert!(CallerTable::parse(&twice, None).unwrap_err().starts_with("entry 2: another entry has"));
    }

    #[test]
    fn a_rate_is_kept_until_it_changes() {
        let used_up = |table: &CallerTable, name: &str| {
            table
                .find(&Credentials { token: None, certificate_names: &[name.to_owned()] })
                .unwrap()
                .count_call()
                .is_err()
        };
        let text = entry("one", "t1", "rate = 1") + &entry("two", "t2", "rate = 1") + &entry("free", "t3", "");
        let table = CallerTable::parse(&text, None).unwrap();
        for name in ["one", "two"] {
            assert!(!used_up(&table, name) && used_up(&table, name), "{name}");
        }
        assert!((0..1_000).all(|_| !used_up(&table, "free")));
        let text = entry("one", "t4", "rate = 1") + &entry("two", "t2", "rate = 2");
        let table = CallerTable::parse(&text, Some(&table)).unwrap();
        assert!(used_up(&table, "one"), "the rate is the same");
        assert!(!used_up(&table, "two"), "another rate");
    }

    #[test]
    fn a_caller_that_is_too_fast_hears_how_long_to_wait() {
        let table = CallerTable::parse(&entry("one", "t1", "rate = 2"), None).unwrap();
        let caller = table.find(&Credentials { token: Some("t1"), certificate_names: &[] }).unwrap();
        assert!(caller.count_call().is_ok() && caller.count_call().is_ok());
        let wait = caller.count_call().unwrap_err().as_millis();
        assert!((1..=500).contains(&wait), "{wait}");
    }
}
