use std::fmt;

use super::character::Class;
use super::contact::Timestamp;

/// What a caller says about an observation. It is no evidence: it says where the evidence comes from. At least one part
/// is given.
#[derive(Clone, PartialEq, Eq)]
pub struct Note {
    source: Option<String>,
    external_ref: Option<String>,
    occurred_at: Option<Timestamp>,
}

/// Maximum length of [`Note::source`], in bytes.
pub const MAX_SOURCE: usize = 64;

/// Maximum length of [`Note::external_ref`], in bytes.
pub const MAX_EXTERNAL_REF: usize = 128;

/// Why a text is no part of a note. It never holds the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidNote {
    /// It is too long.
    #[error("must have at most {0} bytes")]
    TooLong(usize),
    /// It has characters that cannot be seen.
    #[error("must consist of visible characters and of spaces between them")]
    Invisible,
}

/// A moment is not in the years 1 to 9999, or is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be a moment of the years 1 to 9999, with 0 to 999,999,999 nanoseconds")]
pub struct InvalidMoment;

impl Note {
    /// Returns the note of these parts, or `None` without any. Empty and blank texts mean "not given".
    ///
    /// Each text has passed [`note_text`], and the moment [`Timestamp::from_seconds`].
    pub fn new(source: Option<String>, external_ref: Option<String>, occurred_at: Option<Timestamp>) -> Option<Self> {
        let is_any_given = source.is_some() || external_ref.is_some() || occurred_at.is_some();
        is_any_given.then_some(Self { source, external_ref, occurred_at })
    }

    /// Returns where the observation comes from, such as the name of a shop or of a program.
    pub fn source(&self) -> Option<&str> {
        self.source.as_deref()
    }

    /// Returns what the source calls it, such as the number of an order.
    pub fn external_ref(&self) -> Option<&str> {
        self.external_ref.as_deref()
    }

    /// Returns when it happened.
    pub fn occurred_at(&self) -> Option<Timestamp> {
        self.occurred_at
    }
}

/// Returns a text of a note without the white space around it, or `None` if nothing is left.
///
/// A text has visible characters, and spaces between them: no other white space, no control characters, and none of
/// Unicode's category Cf, such as bidi marks. So it can be shown on a line, and shows all that it is.
///
/// # Errors
/// [`InvalidNote`].
pub fn note_text(text: &str, limit: usize) -> Result<Option<String>, InvalidNote> {
    let text = text.trim();
    if text.len() > limit {
        return Err(InvalidNote::TooLong(limit));
    }
    let is_visible = |c: char| c == ' ' || c.is_ascii_graphic() || (!c.is_ascii() && !Class::of(c).is_forbidden());
    if !text.chars().all(is_visible) {
        return Err(InvalidNote::Invisible);
    }
    Ok((!text.is_empty()).then(|| text.to_owned()))
}

/// Prints which parts are given, and none of them: an order number leads to a customer.
impl fmt::Debug for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let given = [
            ("source", self.source.is_some()),
            ("external_ref", self.external_ref.is_some()),
            ("occurred_at", self.occurred_at.is_some()),
        ];
        let given = given.into_iter().filter(|(_, is_given)| *is_given).map(|(name, _)| name);
        write!(f, "Note({})", given.collect::<Vec<_>>().join(", "))
    }
}

impl Timestamp {
    /// 0001-01-01T00:00:00Z.
    const FIRST: Self = Self(-62_135_596_800_000_000);

    /// The last microsecond of the year 9999.
    const LAST: Self = Self(253_402_300_799_999_999);

    /// Returns the time of so many seconds and nanoseconds since the Unix epoch, cut to microseconds.
    ///
    /// # Errors
    /// [`InvalidMoment`] if it is not in the years 1 to 9999, which all databases can store.
    pub fn from_seconds(seconds: i64, nanos: i32) -> Result<Self, InvalidMoment> {
        let micros = u32::try_from(nanos).ok().filter(|nanos| *nanos < 1_000_000_000).map(|nanos| nanos / 1_000);
        let time =
            seconds.checked_mul(1_000_000).zip(micros).and_then(|(time, micros)| time.checked_add(micros.into()));
        time.map(Self).filter(|time| (Self::FIRST..=Self::LAST).contains(time)).ok_or(InvalidMoment)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_what_can_be_seen() {
        let text = |text: &str| note_text(text, MAX_SOURCE);
        for (given, kept) in [
            ("shop-de", "shop-de"),
            (" Order 4711/ä \t", "Order 4711/ä"),
            ("注文 №1", "注文 №1"),
            ("~!@#$%^&*()\"'\\", "~!@#$%^&*()\"'\\"),
        ] {
            assert_eq!(text(given), Ok(Some(kept.to_owned())));
        }
        for blank in ["", " ", "\t\r\n", "\u{a0}\u{3000}"] {
            assert_eq!(text(blank), Ok(None), "{blank:?}");
        }
        for hidden in
            ["a\tb", "a\nb", "a\0b", "a\u{7f}", "a\u{85}b", "a\u{a0}b", "a\u{200b}b", "\u{202e}ab", "a\u{2028}b"]
        {
            assert_eq!(text(hidden), Err(InvalidNote::Invisible), "{hidden:?}");
        }
    }

    #[test]
    fn a_text_has_at_most_so_many_bytes() {
        for (length, letter) in [(64, "x"), (32, "ä")] {
            assert!(note_text(&format!(" {} ", letter.repeat(length)), 64).is_ok());
            assert_eq!(note_text(&letter.repeat(length + 1), 64), Err(InvalidNote::TooLong(64)));
        }
    }

    #[test]
    fn a_moment_is_in_the_years_that_databases_have() {
        let first = Timestamp::FIRST.0 / 1_000_000;
        let last = Timestamp::LAST.0.div_euclid(1_000_000);
        assert_eq!(Timestamp::from_seconds(first, 0), Ok(Timestamp::FIRST));
        assert_eq!(Timestamp::from_seconds(last, 999_999_999), Ok(Timestamp::LAST));
        assert_eq!(Timestamp::from_seconds(-1, 999_999_999), Ok(Timestamp(-1)), "cut, and not rounded");
        assert_eq!(Timestamp::from_seconds(0, 1_999), Ok(Timestamp(1)));
        for (seconds, nanos) in
            [(first - 1, 999_999_999), (last + 1, 0), (0, -1), (0, 1_000_000_000), (i64::MAX, 0), (i64::MIN, 0)]
        {
            assert_eq!(Timestamp::from_seconds(seconds, nanos), Err(InvalidMoment), "{seconds} {nanos}");
        }
        let years = [Timestamp::FIRST, Timestamp::LAST].map(|moment| chrono::DateTime::from_timestamp_micros(moment.0));
        let years = years.map(|moment| moment.map(|moment| moment.to_rfc3339()));
        assert_eq!(years.map(Option::unwrap), ["0001-01-01T00:00:00+00:00", "9999-12-31T23:59:59.999999+00:00"]);
    }

    #[test]
    fn it_is_never_printed() {
        let note = Note::new(Some("shop".into()), Some("4711".into()), None).unwrap();
        assert_eq!(format!("{note:?}"), "Note(source, external_ref)");
        assert_eq!(Note::new(None, None, None), None);
    }
}
