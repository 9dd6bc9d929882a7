//! What the rules ask of a character beyond ASCII, answered from tables.
//!
//! The tables of the Unicode crates answer in 5 to 20 ns a question, and canonicalising asks several of each character.
//! So a text of few bytes could cost many times what a plain one costs. These tables answer all questions at once.

use std::sync::OnceLock;

use unicode_normalization::char::{canonical_combining_class, decompose_canonical};
use unicode_normalization::{IsNormalized, is_nfc_quick};
use unicode_properties::{GeneralCategory, UnicodeGeneralCategory};

/// What is known of a character.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Class {
    /// The canonical combining class: 0 for a starter, another number for a mark.
    pub(super) combining: u8,
    flags: u8,
}

impl Class {
    /// The class of every ASCII character. It says what normalization needs, and nothing else.
    pub(super) const ASCII: Self = Self { combining: 0, flags: 0 };

    const FORMAT: u8 = 1;
    const BLANK: u8 = 2;
    const FORBIDDEN: u8 = 4;
    const CHANGES_CASE: u8 = 8;
    const UNSTABLE: u8 = 16;
    const DECOMPOSES: u8 = 32;
    const ENDS_IN_MARK: u8 = 64;

    /// Returns the class of a character.
    #[inline]
    pub(super) fn of(c: char) -> Self {
        let number = c as usize;
        let page = PAGES[number / PAGE].get_or_init(|| page(number / PAGE));
        page[number % PAGE]
    }

    /// Whether it is of Unicode's category Cf: a zero-width space or joiner, a bidi mark, a soft hyphen, a byte order
    /// mark. People paste these without seeing them.
    pub(super) fn is_format(self) -> bool {
        self.has(Self::FORMAT)
    }

    /// Whether it is white space or of the category Cf.
    pub(super) fn is_blank(self) -> bool {
        self.has(Self::BLANK)
    }

    /// Whether it is white space, a control character or of the category Cf.
    pub(super) fn is_forbidden(self) -> bool {
        self.has(Self::FORBIDDEN)
    }

    /// Whether its lower case is another text.
    pub(super) fn changes_case(self) -> bool {
        self.has(Self::CHANGES_CASE)
    }

    /// Whether it can change in NFC: by itself, or because it composes with what is before it (NFC_QC is not Yes).
    pub(super) fn is_unstable(self) -> bool {
        self.has(Self::UNSTABLE)
    }

    /// Whether it has a canonical decomposition.
    pub(super) fn decomposes(self) -> bool {
        self.has(Self::DECOMPOSES)
    }

    /// Whether it decomposes, and the last character of its full decomposition is a mark.
    pub(super) fn ends_in_mark(self) -> bool {
        self.has(Self::ENDS_IN_MARK)
    }

    #[inline]
    fn has(self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    /// Asks the tables of the Unicode crates, and the standard library.
    fn compute(c: char) -> Self {
        let mut last = None;
        decompose_canonical(c, |part| last = Some(part));
        let decomposes = last != Some(c);
        let is_format = c.general_category() == GeneralCategory::Format;
        let is_blank = c.is_whitespace() || is_format;
        let flags = [
            (Self::FORMAT, is_format),
            (Self::BLANK, is_blank),
            (Self::FORBIDDEN, is_blank || c.is_control()),
            (Self::CHANGES_CASE, !c.to_lowercase().eq([c])),
            (Self::UNSTABLE, is_nfc_quick(std::iter::once(c)) != IsNormalized::Yes),
            (Self::DECOMPOSES, decomposes),
            (Self::ENDS_IN_MARK, decomposes && last.is_some_and(|last| canonical_combining_class(last) != 0)),
        ];
        let flags = flags.into_iter().filter(|(_, is_set)| *is_set).map(|(flag, _)| flag).sum();
        Self { combining: canonical_combining_class(c), flags }
    }
}

/// Characters of a page.
const PAGE: usize = 256;

/// The classes of all characters, page by page. A page takes 512 bytes, and some ten microseconds when it is needed
/// first. A text of one script needs one or two.
static PAGES: [OnceLock<Box<[Class; PAGE]>>; (char::MAX as usize + 1) / PAGE] =
    [const { OnceLock::new() }; (char::MAX as usize + 1) / PAGE];

fn page(number: usize) -> Box<[Class; PAGE]> {
    Box::new(std::array::from_fn(|index| {
        let character = u32::try_from(number * PAGE + index).ok().and_then(char::from_u32);
        character.map_or(Class::ASCII, Class::compute) // A surrogate is no character.
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_character_has_its_own_class() {
        for c in (char::MIN..=char::MAX).step_by(7) {
            assert_eq!(Class::of(c), Class::compute(c), "{c:?}");
        }
    }

    #[test]
    fn ascii_characters_need_no_table_but_for_spaces_controls_and_capitals() {
        for c in '\0'..='\x7f' {
            let class = Class::of(c);
            assert_eq!(class.is_forbidden(), c.is_ascii_whitespace() || c.is_ascii_control() || c == '\x0b', "{c:?}");
            assert_eq!(class.changes_case(), c.is_ascii_uppercase(), "{c:?}");
            let rest = Class::FORBIDDEN | Class::BLANK | Class::CHANGES_CASE;
            assert_eq!((class.combining, class.flags & !rest), (0, 0), "{c:?}");
        }
    }
}
