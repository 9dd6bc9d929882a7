use std::fmt;
use std::str::FromStr;

use dec_from_char::DecimalExtended;
use rlibphonenumber::{PHONE_NUMBER_UTIL, PhoneNumber as Dialled, PhoneNumberFormat, Region as LibRegion};
use unicode_properties::{GeneralCategory, UnicodeGeneralCategory};

use super::character::Class;

/// A canonical phone number: an optional `+` and 1 to 32 ASCII digits.
#[derive(Clone, PartialEq, Eq)]
pub struct PhoneNumber(String);

/// Why a text is not a phone number. It never holds the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidPhoneNumber {
    /// It has other characters than digits, separators and one leading `+`.
    #[error("must be digits, with + before them and spaces, dashes, dots, brackets or slashes between them, if any")]
    NotDigits,
    /// A number with a fraction of zeros, such as `4915123456781.0`: a spreadsheet or a program kept it as a
    /// floating-point number, and its last digits may be wrong.
    #[error("must not be a decimal number: send the digits as a string")]
    Decimal,
    /// It has no digit, or more than [`PhoneNumber::MAX_DIGITS`].
    #[error("must have 1 to {} digits", PhoneNumber::MAX_DIGITS)]
    DigitCount,
}

/// A country or territory (ISO 3166-1 alpha-2, such as `DE`). Its dialling rules complete a number without a country
/// code.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Region(LibRegion);

/// The text is not a region that libphonenumber knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be a two-letter region such as DE or US")]
pub struct UnknownRegion;

impl FromStr for Region {
    type Err = UnknownRegion;

    fn from_str(text: &str) -> Result<Self, UnknownRegion> {
        let code = text.trim().to_ascii_uppercase();
        let region: LibRegion = code.parse().map_err(|_| UnknownRegion)?;
        // The parser accepts any two letters, and `001` for numbers without a region.
        let dialled = PHONE_NUMBER_UTIL.get_country_code_for_region(region).is_some_and(|code| code > 0);
        if code.len() == 2 && dialled { Ok(Self(region)) } else { Err(UnknownRegion) }
    }
}

impl fmt::Debug for Region {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl PhoneNumber {
    /// Maximum digits of a number. E.164 allows 15; numbers with an extension or a typing error have more.
    pub const MAX_DIGITS: usize = 32;

    /// Parses the phone number that a customer typed. Returns `Ok(None)` for a blank text, which means "not given".
    ///
    /// It always removes separators. With a `region`, a number that libphonenumber finds valid becomes E.164. A number
    /// that it does not find valid stays as typed: a wrong guess must not lose a checkout.
    ///
    /// # Errors
    /// [`InvalidPhoneNumber`] says which rule the text breaks.
    ///
    /// ```
    /// use identity::domain::{InvalidPhoneNumber, PhoneNumber, Region};
    ///
    /// let typed = PhoneNumber::parse("(030) 123-456", None)?.expect("not blank");
    /// assert_eq!(typed.as_str(), "030123456");
    /// let germany: Region = "DE".parse().expect("a region");
    /// let international = PhoneNumber::parse("(030) 123-456", Some(germany))?.expect("not blank");
    /// assert_eq!(international.as_str(), "+4930123456");
    /// assert!(PhoneNumber::parse(" ", None)?.is_none());
    /// assert_eq!(PhoneNumber::parse("no number", None).err(), Some(InvalidPhoneNumber::NotDigits));
    /// # Ok::<(), InvalidPhoneNumber>(())
    /// ```
    pub fn parse(text: &str, region: Option<Region>) -> Result<Option<Self>, InvalidPhoneNumber> {
        let text = text.trim_matches(|c| Class::of(c).is_blank());
        if text.is_empty() {
            return Ok(None);
        }
        if is_decimal(text) {
            return Err(InvalidPhoneNumber::Decimal);
        }
        let typed = strip_separators(text)?;
        Ok(Some(Self(region.and_then(|region| to_e164(&typed, region)).unwrap_or(typed))))
    }

    /// Returns the canonical number. It is personal data: never log it.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub(super) fn into_string(self) -> String {
        self.0
    }
}

/// Whether a text is a run of digits, a point and zeros, whatever format characters are between them.
fn is_decimal(text: &str) -> bool {
    let Some((whole, fraction)) = text.split_once(['.', '\u{ff0e}']) else { return false };
    let whole = whole.strip_prefix(['+', '\u{ff0b}']).unwrap_or(whole);
    let is_run = |text: &str, is_digit: fn(char) -> bool| {
        let mut characters = text.chars().filter(|c| !Class::of(*c).is_format()).peekable();
        characters.peek().is_some() && characters.all(is_digit)
    };
    is_run(fraction, |c| c.normalize_decimal() == Some('0')) && is_run(whole, |c| c.normalize_decimal().is_some())
}

/// Whether a character may stand between the digits: the punctuation that libphonenumber takes
/// (`VALID_PUNCTUATION`, but for the `x` of extensions), and every kind of space.
fn is_separator(c: char) -> bool {
    let is_punctuation = matches!(
        c,
        '-' | '.'
            | '('
            | ')'
            | '['
            | ']'
            | '/'
            | '~'
            | '\u{2010}'..='\u{2015}'
            | '\u{2053}'
            | '\u{2212}'
            | '\u{223c}'
            | '\u{30fc}'
            | '\u{ff08}'
            | '\u{ff09}'
            | '\u{ff0d}'..='\u{ff0f}'
            | '\u{ff3b}'
            | '\u{ff3d}'
            | '\u{ff5e}'
    );
    is_punctuation || c == ' ' || (!c.is_ascii() && c.general_category() == GeneralCategory::SpaceSeparator)
}

/// Returns an optional `+` and ASCII digits.
fn strip_separators(text: &str) -> Result<String, InvalidPhoneNumber> {
    let mut typed = String::with_capacity(1 + PhoneNumber::MAX_DIGITS);
    let mut digits = 0;
    for c in text.chars() {
        match c {
            '+' | '\u{ff0b}' if typed.is_empty() => typed.push('+'),
            c if is_separator(c) || Class::of(c).is_format() => {}
            _ => {
                typed.push(c.normalize_decimal().ok_or(InvalidPhoneNumber::NotDigits)?);
                digits += 1;
                if digits > PhoneNumber::MAX_DIGITS {
                    return Err(InvalidPhoneNumber::DigitCount);
                }
            }
        }
    }
    if digits == 0 { Err(InvalidPhoneNumber::DigitCount) } else { Ok(typed) }
}

/// Returns the number in E.164, if libphonenumber finds it valid.
fn to_e164(typed: &str, region: Region) -> Option<String> {
    let number = Dialled::parse(typed, Some(region.0)).ok()?;
    number.is_valid().then(|| number.format_as(PhoneNumberFormat::E164).into_owned())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn canonical(text: &str, region: Option<&str>) -> String {
        let region = region.map(|code| code.parse().expect("region"));
        PhoneNumber::parse(text, region).expect("valid").expect("given").into_string()
    }

    #[test]
    fn without_a_region_only_separators_go() {
        for (text, stored) in [
            ("123456", "123456"),
            (" 123-456 ", "123456"),
            ("+49 (0)30/12.34-56", "+49030123456"),
            ("(+1) 650 253 0000", "+16502530000"),
            ("٠١٢٣٤٥", "012345"),
            ("１２３", "123"),
            ("0", "0"),
            ("０３－１２３４－５６７８", "0312345678"),
            ("＋49（30）123456", "+4930123456"),
            ("030\u{a0}12\u{202f}34", "0301234"),
            ("030\u{2011}12\u{2013}34", "0301234"),
            ("\u{202a}+49 30 123456\u{202c}", "+4930123456"),
            ("+49\u{200e}30\u{200b}123456", "+4930123456"),
            ("030.123.0", "0301230"),
        ] {
            assert_eq!(canonical(text, None), stored, "{text}");
        }
    }

    #[test]
    fn with_a_region_valid_numbers_become_e164() {
        for (text, stored) in [
            ("030 123456", "+4930123456"),
            ("+49 30 123456", "+4930123456"),
            ("0049 30 123456", "+4930123456"),
            ("0171/1234567", "+491711234567"),
            ("+1 650 253 0000", "+16502530000"),
        ] {
            assert_eq!(canonical(text, Some("DE")), stored, "{text}");
        }
    }

    #[test]
    fn with_a_region_other_numbers_stay() {
        for (text, stored) in [("123456", "123456"), ("919 191", "+49919191"), ("+999 999", "+999999"), ("1", "1")] {
            assert_eq!(canonical(text, Some("DE")), stored, "{text}");
        }
    }

    #[test]
    fn blank_is_not_given() {
        for text in ["", " ", "\u{3000}\n"] {
            assert!(matches!(PhoneNumber::parse(text, None), Ok(None)));
        }
    }

    #[test]
    fn refuses_by_the_rule_that_is_broken() {
        let long = "1".repeat(33);
        for (text, why) in [
            ("+", InvalidPhoneNumber::DigitCount),
            ("()", InvalidPhoneNumber::DigitCount),
            (long.as_str(), InvalidPhoneNumber::DigitCount),
            ("++1", InvalidPhoneNumber::NotDigits),
            ("1+2", InvalidPhoneNumber::NotDigits),
            ("call me", InvalidPhoneNumber::NotDigits),
            ("12a", InvalidPhoneNumber::NotDigits),
            ("1\t2", InvalidPhoneNumber::NotDigits),
            ("½", InvalidPhoneNumber::NotDigits),
            ("Ⅷ", InvalidPhoneNumber::NotDigits),
            ("N/A", InvalidPhoneNumber::NotDigits),
            ("555-0100 ext 5", InvalidPhoneNumber::NotDigits),
            ("4915123456781.0", InvalidPhoneNumber::Decimal),
            ("+4915123456781.00", InvalidPhoneNumber::Decimal),
            ("4915123456781\u{200e}.0", InvalidPhoneNumber::Decimal),
            ("\u{202a}4915123456781.0\u{202c}", InvalidPhoneNumber::Decimal),
            ("４９１５１２３４５６７８１．０", InvalidPhoneNumber::Decimal),
            ("4.915123456781E12", InvalidPhoneNumber::NotDigits),
        ] {
            assert_eq!(PhoneNumber::parse(text, None).err(), Some(why), "{text:?}");
        }
        assert!(PhoneNumber::parse(&"1".repeat(32), None).is_ok());
    }

    #[test]
    fn a_region_is_two_letters_that_libphonenumber_knows() {
        assert!("de".parse::<Region>().is_ok());
        for text in ["", "D", "DEU", "XX", "001", "ZZ", "49"] {
            assert_eq!(text.parse::<Region>(), Err(UnknownRegion), "{text}");
        }
    }

    proptest! {
        #[test]
        fn is_idempotent(
            text in "[+]?[ ()./0-9٣७-]{1,40}",
            region in prop_oneof![Just(None), Just(Some("DE")), Just(Some("US")), Just(Some("IT"))],
        ) {
            let region = region.map(|code| code.parse().expect("region"));
            if let Ok(Some(number)) = PhoneNumber::parse(&text, region) {
                prop_assert_eq!(PhoneNumber::parse(number.as_str(), region), Ok(Some(number)));
            }
        }

        #[test]
        fn joins_two_texts_only_by_the_rules(one in "[+]?[ (1-2١२.]{1,4}", other in "[+]?[ (1-2١२.]{1,4}") {
            if let (Ok(Some(a)), Ok(Some(b))) = (PhoneNumber::parse(&one, None), PhoneNumber::parse(&other, None)) {
                let rule = |text: &str| {
                    let ascii = text.replace(['٠', '०'], "0").replace(['١', '१'], "1").replace(['٢', '२'], "2");
                    ascii.replace([' ', '(', '.'], "")
                };
                prop_assert_eq!(a == b, rule(&one) == rule(&other));
            }
        }

        #[test]
        fn never_panics(text in ".{0,60}") {
            let _ = PhoneNumber::parse(&text, Some("US".parse().expect("region")));
        }
    }

    impl fmt::Debug for PhoneNumber {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(&self.0)
        }
    }
}
