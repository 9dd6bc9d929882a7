//! `--memory`: how much memory the rows of the old table may need.

use std::fmt;
use std::str::FromStr;

/// A number of bytes: `512MiB`, `2GiB`, `1000000`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct MemorySize(pub u64);

/// The text is no number of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be a number of bytes such as 512MiB or 2GiB")]
pub struct InvalidMemorySize;

const UNITS: [(&str, u64); 4] = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("", 1)];

impl FromStr for MemorySize {
    type Err = InvalidMemorySize;

    fn from_str(text: &str) -> Result<Self, InvalidMemorySize> {
        let text = text.trim();
        let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        let (number, unit) = (&text[..end], text[end..].trim());
        let (_, bytes) = UNITS.iter().find(|(name, _)| name.eq_ignore_ascii_case(unit)).ok_or(InvalidMemorySize)?;
        let number: u64 = number.parse().map_err(|_| InvalidMemorySize)?;
        number.checked_mul(*bytes).map(Self).ok_or(InvalidMemorySize)
    }
}

/// Rounded up to MiB.
impl fmt::Display for MemorySize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}MiB", self.0.div_ceil(1 << 20))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_a_unit_or_none() {
        let parse = |text: &str| text.parse::<MemorySize>().map(|size| size.0).ok();
        assert_eq!(parse("512MiB"), Some(512 << 20));
        assert_eq!(parse("2 gib"), Some(2 << 30));
        assert_eq!(parse("1000"), Some(1000));
        for text in ["", "MiB", "-1", "1MB", "99999999999GiB"] {
            assert_eq!(parse(text), None, "{text}");
        }
        assert_eq!(MemorySize((3 << 20) + 1).to_string(), "4MiB");
    }
}
