use std::fmt::Write;
use std::num::NonZeroU32;

use serde::Deserialize;

use super::scope::{Scope, Scopes};
use super::token::TokenHash;

/// Maximum length of a name, in bytes.
const MAX_NAME: usize = 255;

/// An entry of the file of callers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallerEntry {
    /// The caller's name, also the one in its certificate.
    pub name: String,
    /// The hash of its token. `None` if it has only a certificate.
    pub token: Option<TokenHash>,
    /// What it may do.
    pub scopes: Scopes,
    /// How often it may call, if that is limited.
    pub rate: Option<Rate>,
}

/// How often a caller may call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Calls a second.
    pub per_second: NonZeroU32,
    /// Calls at once, after a pause.
    pub burst: NonZeroU32,
}

/// A name that no caller can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a name must be 1 to 255 letters, digits and characters out of . _ - : /")]
pub struct InvalidName;

/// Checks the name of a caller: a host name, a URI such as `spiffe://shop.example/checkout`, or a word. It stands in
/// log lines.
///
/// # Errors
/// [`InvalidName`].
pub fn check_name(name: &str) -> Result<(), InvalidName> {
    let is_valid = (1..=MAX_NAME).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-:/".contains(&byte));
    if is_valid { Ok(()) } else { Err(InvalidName) }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileText {
    #[serde(default)]
    caller: Vec<EntryText>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct EntryText {
    name: String,
    token_sha256: Option<String>,
    scopes: Vec<String>,
    rate: Option<NonZeroU32>,
    burst: Option<NonZeroU32>,
}

/// Parses the file of callers.
///
/// # Errors
/// What is wrong, with the line or the number of the entry. It quotes no value: somebody may have put a token there.
pub(super) fn parse(text: &str) -> Result<Vec<CallerEntry>, String> {
    let line = |error: toml::de::Error| 1 + text[..error.span().map_or(0, |span| span.start)].matches('\n').count();
    text.parse::<toml::Table>().map_err(|error| format!("line {} is not valid TOML", line(error)))?;
    let file: FileText = toml::from_str(text)
        .map_err(|error| format!("line {} is not an entry of a caller: see docs/security.md", line(error)))?;
    let number = |index: usize| format!("entry {}: ", index + 1);
    let entries = file.caller.into_iter().enumerate();
    entries.map(|(index, entry)| entry.check().map_err(|reason| number(index) + &reason)).collect()
}

impl EntryText {
    fn check(self) -> Result<CallerEntry, String> {
        check_name(&self.name).map_err(|error| error.to_string())?;
        let token = self.token_sha256.map(|hash| TokenHash::parse(&hash).ok_or("token_sha256 must be 64 hex digits"));
        let scopes = self.scopes.iter().map(|scope| scope.parse()).collect::<Result<Vec<Scope>, _>>();
        let scopes = scopes.map_err(|reason| format!("scopes {reason}"))?;
        let rate = match (self.rate, self.burst) {
            (Some(per_second), burst) => Some(Rate { per_second, burst: burst.unwrap_or(per_second) }),
            (None, None) => None,
            (None, Some(_)) => return Err("burst needs rate".to_owned()),
        };
        let scopes = Scopes::new(scopes).ok_or("scopes must have one")?;
        Ok(CallerEntry { name: self.name, token: token.transpose()?, scopes, rate })
    }
}

impl CallerEntry {
    /// Returns the entry as the file has it.
    pub(super) fn to_toml(&self) -> String {
        let scopes: Vec<_> = self.scopes.names().iter().map(|name| format!("\"{name}\"")).collect();
        // A name has no character that TOML would need to escape.
        let mut text = format!("[[caller]]\nname = \"{}\"\n", self.name);
        if let Some(token) = &self.token {
            let _ = writeln!(text, "token_sha256 = \"{}\"", token.hex());
        }
        let _ = writeln!(text, "scopes = [{}]", scopes.join(", "));
        if let Some(Rate { per_second, burst }) = self.rate {
            let _ = writeln!(text, "rate = {per_second}\nburst = {burst}");
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_comes_back_as_it_was_written() {
        let number = |number| NonZeroU32::new(number).unwrap();
        let rate = Rate { per_second: number(5), burst: number(9) };
        for (token, rate) in
            [(Some(TokenHash::of("t")), None), (None, Some(rate)), (Some(TokenHash::of("")), Some(rate))]
        {
            let scopes = "identify,metrics".parse().unwrap();
            let entry = CallerEntry { name: "spiffe://shop.example/a_b-c".to_owned(), token, scopes, rate };
            assert_eq!(parse(&entry.to_toml().repeat(2)), Ok(vec![entry.clone(), entry]));
        }
        assert_eq!(parse("# none yet\n"), Ok(vec![]));
    }

    #[test]
    fn without_a_burst_a_second_is_the_burst() {
        let entry = parse("[[caller]]\nname = 'a'\nscopes = ['read']\nrate = 7").unwrap().remove(0);
        assert_eq!(entry.rate.map(|rate| (rate.per_second.get(), rate.burst.get())), Some((7, 7)));
    }

    #[test]
    fn what_is_wrong_is_named_and_no_value_is_quoted() {
        let secret = "idt_5eb0";
        for (line, reason) in [
            ("name = ''", "entry 2: a name must be"),
            ("name = 'a b'", "entry 2: a name must be"),
            ("name = 'a'\ntoken_sha256 = 'SECRET'", "entry 2: token_sha256 must be"),
            ("name = 'a'\ntoken = 'SECRET'", "line 6 is not an entry"),
            ("name = SECRET", "line 5 is not valid TOML"),
            ("name = 'a'\nburst = 1", "entry 2: burst needs rate"),
            ("name = 'a'\nrate = 0", "line 6 is not an entry"),
            ("name = 'a'\nscopes = []\n[[x]]", "line "),
        ] {
            let first = "[[caller]]\nname = 'a'\nscopes = ['read']\n";
            let rest = if line.contains("scopes") { "" } else { "\nscopes = ['identify']" };
            let text = format!("{first}[[caller]]\n{}{rest}", line.replace("SECRET", secret));
            let said = parse(&text).unwrap_err();
            assert!(said.starts_with(reason) && !said.contains(secret), "{line}: {said}");
        }
        assert!(parse("[[caller]]\nname = 'a'\nscopes = []").unwrap_err().contains("scopes must have one"));
        assert!(parse("[[caller]]\nname = 'a'\nscopes = ['admin']").unwrap_err().contains("scopes must be scopes out"));
    }
}
