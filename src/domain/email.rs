use super::character::Class;
use super::fold::{Folded, fold};

/// A canonical e-mail address: trimmed, Unicode NFC, lower case, well formed, at most 254 bytes.
#[derive(Clone, PartialEq, Eq)]
pub struct Email(String);

/// Why a text is not an e-mail address. It never holds the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidEmail {
    /// More than [`Email::MAX_BYTES`] bytes in its canonical form.
    #[error("must be at most {} bytes long", Email::MAX_BYTES)]
    TooLong,
    /// White space, a control character or an invisible format character inside.
    #[error("must not contain white space, control characters or invisible format characters")]
    ForbiddenCharacter,
    /// No `@`, more than one, or nothing on one of its sides.
    #[error("must have one @ with something on both sides")]
    NotOneAt,
    /// Not an address by RFC 5322 and RFC 6532, read leniently.
    #[error("must be a well-formed e-mail address")]
    Malformed,
}

impl Email {
    /// The longest address, in bytes (RFC 5321's path limit less its brackets, RFC erratum 1690).
    pub const MAX_BYTES: usize = 254;

    /// Parses what a customer typed. Returns `Ok(None)` for a blank text, which means "not given".
    ///
    /// The rules are those of `docs/identifiers.md`. The time is linear in the bytes of the text, and texts of more
    /// than twice [`Email::MAX_BYTES`] are refused unread.
    ///
    /// ```
    /// use identity::domain::{Email, InvalidEmail};
    ///
    /// let email = Email::parse(" McFly@HillValley.EDU ")?.expect("not blank");
    /// assert_eq!(email.as_str(), "mcfly@hillvalley.edu");
    /// assert!(Email::parse("  ")?.is_none());
    /// assert_eq!(Email::parse("mcfly").err(), Some(InvalidEmail::NotOneAt));
    /// # Ok::<(), InvalidEmail>(())
    /// ```
    ///
    /// # Errors
    /// [`InvalidEmail`] says which rule the text breaks.
    pub fn parse(text: &str) -> Result<Option<Self>, InvalidEmail> {
        let text = text.trim_matches(|c| Class::of(c).is_blank());
        if text.is_empty() {
            return Ok(None);
        }
        // A Latin letter whose accent is a character of its own needs three bytes; composed, it needs two.
        if text.len() > 2 * Self::MAX_BYTES {
            return Err(InvalidEmail::TooLong);
        }
        let Folded { text: canonical, is_forbidden } = fold(text, Self::MAX_BYTES).ok_or(InvalidEmail::TooLong)?;
        if is_forbidden {
            return Err(InvalidEmail::ForbiddenCharacter);
        }
        let (local, domain) = canonical.split_once('@').ok_or(InvalidEmail::NotOneAt)?;
        if local.is_empty() || domain.is_empty() || domain.contains('@') {
            return Err(InvalidEmail::NotOneAt);
        }
        if !is_local_part(local) || !is_domain(domain) {
            return Err(InvalidEmail::Malformed);
        }
        Ok(Some(Self(canonical)))
    }

    /// The canonical address. Personal data: never log it.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub(super) fn into_string(self) -> String {
        self.0
    }
}

/// Whether a text is a local part by RFC 5322 and RFC 6532: words between dots, each an atom or a quoted string.
///
/// More lenient than the RFCs about dots, which may stand anywhere: addresses such as `a..b.@docomo.ne.jp` were given
/// out by carriers for years and are in use. Comments are refused.
fn is_local_part(text: &str) -> bool {
    let mut rest = text;
    let mut has_word = false;
    while !rest.is_empty() {
        rest = match rest.strip_prefix('.') {
            Some(after_dot) => after_dot,
            None => match after_word(rest) {
                Some(after_word) if after_word.is_empty() || after_word.starts_with('.') => {
                    has_word = true;
                    after_word
                }
                Some(_) | None => return false,
            },
        };
    }
    has_word
}

/// What follows the atom or the quoted string that a text begins with, if it begins with one.
fn after_word(text: &str) -> Option<&str> {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find(|c| !is_atom_character(c)).unwrap_or(text.len());
        return (end > 0).then(|| &text[end..]);
    };
    let mut characters = quoted.char_indices();
    while let Some((at, c)) = characters.next() {
        match c {
            '"' => return Some(&quoted[at + 1..]),
            '\\' => {
                // A quoted pair. Beyond ASCII nothing needs one, and RFC 6532 has none.
                characters.next().filter(|(_, escaped)| escaped.is_ascii())?;
            }
            _ => {}
        }
    }
    None
}

/// Whether a text is a domain: labels between dots that neither begin nor end with a dash, or an address in brackets.
fn is_domain(text: &str) -> bool {
    if let Some(literal) = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')) {
        return !literal.contains(['[', ']', '\\']);
    }
    text.split('.').all(|label| {
        !label.is_empty() && !label.starts_with('-') && !label.ends_with('-') && label.chars().all(is_atom_character)
    })
}

/// `atext` of RFC 5322, and everything beyond ASCII (RFC 6532).
fn is_atom_character(c: char) -> bool {
    c.is_ascii_alphanumeric() || !c.is_ascii() || "!#$%&'*+-/=?^_`{|}~".contains(c)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use unicode_normalization::UnicodeNormalization;

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
    fn drops_invisible_characters_at_the_ends() {
        for c in ['\u{200b}', '\u{feff}', '\u{200e}', '\u{202a}', '\u{2060}', '\u{ad}'] {
            assert_eq!(canonical(&format!(" {c} a@x.de{c}\n")), "a@x.de", "{c:?}");
            assert!(matches!(Email::parse(&format!("{c} ")), Ok(None)), "{c:?}");
        }
    }

    #[test]
    fn a_final_sigma_is_a_sigma() {
        let lower = canonical("νικος.παπας@x.gr");
        assert_eq!(canonical("ΝΙΚΟΣ.ΠΑΠΑΣ@x.gr"), lower);
        assert_eq!(canonical("νικοσ.παπασ@x.gr"), lower);
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
            "\"a.(b)\".c@x.de",
            "\"a\\\"b\"@x.de",
            "a@x--y.de",
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
            ("a b@x.de", InvalidEmail::ForbiddenCharacter),
            ("a\u{a0}b@x.de", InvalidEmail::ForbiddenCharacter),
            ("a\0@x.de", InvalidEmail::ForbiddenCharacter),
            ("a\u{85}@x.de", InvalidEmail::ForbiddenCharacter),
            ("a\u{200b}b@x.de", InvalidEmail::ForbiddenCharacter),
            ("a@x\u{ad}y.de", InvalidEmail::ForbiddenCharacter),
            ("a,b@x.de", InvalidEmail::Malformed),
            ("a(comment)@x.de", InvalidEmail::Malformed),
            ("a@x.de(comment)", InvalidEmail::Malformed),
            ("\"a@x.de", InvalidEmail::Malformed),
            ("\"a\"b@x.de", InvalidEmail::Malformed),
            ("\"a\\\"@x.de", InvalidEmail::Malformed),
            ("a@-x.de", InvalidEmail::Malformed),
            ("a@x-.de", InvalidEmail::Malformed),
            ("a@x.de.", InvalidEmail::Malformed),
            ("a@[x", InvalidEmail::Malformed),
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
        fn takes_every_plain_address(
            local in "[a-z0-9_+-]{1,6}([.][a-z0-9]{1,6}){0,3}",
            domain in "[a-z0-9]{1,6}([.-][a-z0-9]{1,6}){0,3}",
        ) {
            let address = format!("{local}@{domain}");
            prop_assert!(matches!(Email::parse(&address), Ok(Some(_))));
        }

        #[test]
        fn joins_two_texts_only_by_the_rules(one in "[aAbBéÉıİßſΣςK .]{1,3}@x", other in "[aAbBéÉıİßſΣςK .]{1,3}@x") {
            if let (Ok(Some(a)), Ok(Some(b))) = (Email::parse(&one), Email::parse(&other)) {
                let rule = |text: &str| {
                    text.trim().nfc().collect::<String>().to_lowercase().replace('ς', "σ").nfc().collect::<String>()
                };
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
