use email_address_parser::{EmailAddress, ParsingOptions};
use unicode_normalization::{UnicodeNormalization, is_nfc};

/// A canonical e-mail address: trimmed, Unicode NFC, lower case, well formed, at most 254 bytes.
#[derive(Clone, PartialEq, Eq)]
pub struct Email(String);

/// Why a text is not an e-mail address. It never holds the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidEmail {
    /// The canonical form has more than [`Email::MAX_BYTES`] bytes.
    #[error("must be at most {} bytes long", Email::MAX_BYTES)]
    TooLong,
    /// It contains white space or a control character.
    #[error("must not contain white space or control characters")]
    SpaceOrControl,
    /// It has no `@`, more than one `@`, or nothing on one side of it.
    #[error("must have one @ with something on both sides")]
    NotOneAt,
    /// It is not an address by RFC 5322 and RFC 6532 in a lenient mode.
    #[error("must be a well-formed e-mail address")]
    Malformed,
}

impl Email {
    /// Maximum bytes of an address: the limit of RFC 5321 for a path, minus its brackets (RFC erratum 1690).
    pub const MAX_BYTES: usize = 254;

    /// Parses the e-mail address that a customer typed. Returns `Ok(None)` for a blank text, which means "not given".
    ///
    /// # Errors
    /// [`InvalidEmail`] says which rule the text breaks.
    ///
    /// ```
    /// use identity::domain::{Email, InvalidEmail};
    ///
    /// let email = Email::parse("  McFly@HillValley.EDU ")?.expect("not blank");
    /// assert_eq!(email.as_str(), "mcfly@hillvalley.edu");
    /// assert!(Email::parse(" ")?.is_none());
    /// assert_eq!(Email::parse("mcfly").err(), Some(InvalidEmail::NotOneAt));
    /// # Ok::<(), InvalidEmail>(())
    /// ```
    pub fn parse(text: &str) -> Result<Option<Self>, InvalidEmail> {
        let text = text.trim();
        if text.is_empty() {
            return Ok(None);
        }
        // Checked before any other work. Composition and lower case cannot shorten so long a text enough.
        if text.len() > 4 * Self::MAX_BYTES {
            return Err(InvalidEmail::TooLong);
        }
        let canonical = normalize(text);
        if canonical.len() > Self::MAX_BYTES {
            return Err(InvalidEmail::TooLong);
        }
        if canonical.chars().any(|c| c.is_whitespace() || c.is_control()) {
            return Err(InvalidEmail::SpaceOrControl);
        }
        let (local, domain) = canonical.split_once('@').ok_or(InvalidEmail::NotOneAt)?;
        if local.is_empty() || domain.is_empty() || domain.contains('@') {
            return Err(InvalidEmail::NotOneAt);
        }
        if !is_well_formed(local, domain) {
            return Err(InvalidEmail::Malformed);
        }
        Ok(Some(Self(canonical)))
    }

    /// Returns the canonical address. It is personal data: never log it.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub(super) fn into_string(self) -> String {
        self.0
    }
}

/// Returns the text in NFC and lower case. Lower case can undo the composition, so NFC may run again.
fn normalize(text: &str) -> String {
    if text.is_ascii() {
        return text.to_ascii_lowercase();
    }
    let lower = text.nfc().collect::<String>().to_lowercase();
    if is_nfc(&lower) { lower } else { lower.nfc().collect() }
}

/// Returns whether the parser accepts the address in its lenient mode (RFC 5322 and 6532).
///
/// It also accepts several dots in the local part. Carriers gave out addresses such as `a..b.@docomo.ne.jp` for years,
/// and people use them.
fn is_well_formed(local: &str, domain: &str) -> bool {
    if is_plain(local, domain) {
        return true;
    }
    let lenient = Some(ParsingOptions::new(true));
    if !local.starts_with('"') && (local.starts_with('.') || local.ends_with('.') || local.contains("..")) {
        let words: Vec<&str> = local.split('.').filter(|word| !word.is_empty()).collect();
        return !words.is_empty() && EmailAddress::is_valid(&format!("{}@{domain}", words.join(".")), lenient);
    }
    EmailAddress::is_valid(&format!("{local}@{domain}"), lenient)
}

/// Returns whether the address is so plain that it needs no parser. Most addresses are.
///
/// The parser took a tenth of the time of a request of a known customer.
fn is_plain(local: &str, domain: &str) -> bool {
    let is_word = |word: &str, others: &[u8]| {
        !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_alphanumeric() || others.contains(&byte))
    };
    local.split('.').all(|word| is_word(word, b"_+-")) && domain.split(['.', '-']).all(|word| is_word(word, b""))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn canonical(text: &str) -> String {
        Email::parse(text).expect("valid").expect("given").into_string()
    }

    #[test]
    fn trims_folds_and_composes() {
        assert_eq!(canonical("  McFly@HillValley.EDU\n"), "mcfly@hillvalley.edu");
        assert_eq!(canonical("JOSE\u{301}@x.de"), "jos\u{e9}@x.de");
        assert_eq!(canonical("\u{c9}@x.de"), canonical("e\u{301}@x.de"));
    }

    #[test]
    fn keeps_apart_what_a_collation_would_join() {
        for (one, other) in [
            ("jose@x.de", "josé@x.de"),
            ("straße@x.de", "strasse@x.de"),
            ("İ@x.tr", "i@x.tr"),
            ("ı@x.tr", "i@x.tr"),
            ("ﬁ@x.de", "fi@x.de"),
            ("a.b@gmail.com", "ab@gmail.com"),
            ("a+b@gmail.com", "a@gmail.com"),
        ] {
            assert_ne!(canonical(one), canonical(other), "{one} and {other}");
        }
    }

    #[test]
    fn takes_what_real_checkouts_carry() {
        for text in [
            "a@b",
            "o'brien+tag@x.co",
            "user_name@host_name.com",
            "संपर्क@डाटामेल.भारत",
            "用户@例子.广告",
            "коля@пример.рф",
            "a..b.@docomo.ne.jp",
            "a@[192.0.2.1]",
            "\u{1f600}@x.de",
        ] {
            assert!(matches!(Email::parse(text), Ok(Some(_))), "{text}");
        }
    }

    #[test]
    fn blank_is_not_given() {
        for text in ["", " ", "\t\r\n", "\u{a0}\u{2003}"] {
            assert!(matches!(Email::parse(text), Ok(None)));
        }
    }

    #[test]
    fn refuses_by_the_rule_that_is_broken() {
        for (text, why) in [
            ("plain", InvalidEmail::NotOneAt),
            ("@x.de", InvalidEmail::NotOneAt),
            ("a@", InvalidEmail::NotOneAt),
            ("a@b@c", InvalidEmail::NotOneAt),
            ("a b@x.de", InvalidEmail::SpaceOrControl),
            ("a\u{a0}b@x.de", InvalidEmail::SpaceOrControl),
            ("a\0@x.de", InvalidEmail::SpaceOrControl),
            ("a\u{85}@x.de", InvalidEmail::SpaceOrControl),
            ("a,b@x.de", InvalidEmail::Malformed),
            ("..@x.de", InvalidEmail::Malformed),
            ("a@x..de", InvalidEmail::Malformed),
        ] {
            assert_eq!(Email::parse(text).err(), Some(why), "{text:?}");
        }
    }

    #[test]
    fn the_limit_is_254_bytes_of_the_canonical_form() {
        let fits = format!("{}@x.de", "a".repeat(249));
        assert_eq!(fits.len(), Email::MAX_BYTES);
        assert!(Email::parse(&fits).is_ok());
        assert_eq!(Email::parse(&format!("a{fits}")).err(), Some(InvalidEmail::TooLong));
        assert_eq!(Email::parse(&"é".repeat(100_000)).err(), Some(InvalidEmail::TooLong));
        let composes_to_fit = format!("{}@x.de", "e\u{301}".repeat(124));
        assert!(Email::parse(&composes_to_fit).is_ok());
    }

    proptest! {
        #[test]
        fn is_idempotent(text in "\\PC{0,12}@?\\PC{0,12}") {
            if let Ok(Some(email)) = Email::parse(&text) {
                prop_assert_eq!(canonical(email.as_str()), email.as_str());
            }
        }

        #[test]
        fn the_parser_takes_whatever_is_plain(local in "[a-c0-9_+.-]{1,6}", domain in "[a-c0-9.-]{1,6}") {
            if is_plain(&local, &domain) {
                let address = format!("{local}@{domain}");
                prop_assert!(EmailAddress::is_valid(&address, Some(ParsingOptions::new(true))));
            }
        }

        #[test]
        fn joins_two_texts_only_by_the_rules(one in "[aAbBéÉıİßſΣςK .]{1,3}@x", other in "[aAbBéÉıİßſΣςK .]{1,3}@x") {
            if let (Ok(Some(a)), Ok(Some(b))) = (Email::parse(&one), Email::parse(&other)) {
                let rule = |text: &str| text.trim().nfc().collect::<String>().to_lowercase().nfc().collect::<String>();
                prop_assert_eq!(a == b, rule(&one) == rule(&other));
            }
        }
    }

    impl std::fmt::Debug for Email {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str(&self.0)
        }
    }
}
