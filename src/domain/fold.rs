//! Lower case and Unicode NFC in one pass.
//!
//! The result is that of `to_lowercase` of each character, every final sigma as a sigma, and NFC of
//! `unicode-normalization`. Its data are used; its iterators take 30 ns a character, which made an e-mail address of
//! accents eight times as expensive as a plain one.
//!
//! NFC by UAX #15, a segment at a time: a starter and the marks behind it. Within a segment the marks are sorted by
//! their class, then each composes with the starter if nothing is between them. A starter composes with the starter
//! before it if there is nothing at all between them (Hangul, Indic vowels).

use unicode_normalization::char::{compose, decompose_canonical};

use super::character::Class;

/// A text in lower case and NFC.
pub(super) struct Folded {
    pub(super) text: String,
    /// Whether it has white space, a control character or a format character.
    pub(super) is_forbidden: bool,
}

/// Returns the text in lower case and NFC, with every final sigma as a sigma: which of the two a Greek keyboard writes
/// depends on the letter that follows. Returns `None` as soon as the result has more than `max_bytes`.
pub(super) fn fold(text: &str, max_bytes: usize) -> Option<Folded> {
    if text.is_ascii() {
        let text = (text.len() <= max_bytes).then(|| text.to_ascii_lowercase())?;
        let is_forbidden = text.bytes().any(|byte| byte.is_ascii_whitespace() || byte.is_ascii_control());
        return Some(Folded { text, is_forbidden });
    }
    let mut folded = Folding::new(text.len().min(max_bytes));
    let mut is_forbidden = false;
    for c in text.chars() {
        if c.is_ascii() {
            is_forbidden |= c.is_ascii_whitespace() || c.is_ascii_control();
            folded.push_stable(c.to_ascii_lowercase(), Class::ASCII);
        } else {
            let class = Class::of(c);
            is_forbidden |= class.is_forbidden();
            if class.changes_case() {
                c.to_lowercase().for_each(|lower| folded.push(lower, Class::of(lower)));
            } else if c == '\u{3c2}' {
                folded.push_stable('\u{3c3}', Class::of('\u{3c3}'));
            } else {
                folded.push(c, class);
            }
        }
        if folded.done.len() > max_bytes {
            return None;
        }
    }
    folded.compose_marks();
    folded.end_segment();
    (folded.done.len() <= max_bytes).then_some(Folded { text: folded.done, is_forbidden })
}

/// The text so far. Its last segment may still change.
struct Folding {
    /// In NFC, whatever follows.
    done: String,
    /// The starter of the last segment. It may be composed of several characters, but not of the marks below.
    starter: Option<(char, Class)>,
    /// The marks behind it, each with its combining class.
    marks: Vec<(u8, char)>,
}

impl Folding {
    fn new(bytes: usize) -> Self {
        Self { done: String::with_capacity(bytes + 4), starter: None, marks: Vec::new() }
    }

    #[inline]
    fn push(&mut self, c: char, class: Class) {
        if class.combining != 0 || class.is_unstable() {
            self.push_unstable(c, class);
        } else {
            self.push_stable(c, class);
        }
    }

    /// Adds a starter that composes with nothing before it.
    #[inline]
    fn push_stable(&mut self, c: char, class: Class) {
        if self.marks.is_empty() {
            if let Some((starter, _)) = self.starter {
                self.done.push(starter);
            }
        } else {
            self.compose_marks();
            self.end_segment();
        }
        self.starter = Some((c, class));
    }

    fn push_unstable(&mut self, c: char, class: Class) {
        if class.is_unstable() && class.decomposes() {
            decompose_canonical(c, |part| self.push_part(part, Class::of(part)));
        } else {
            self.push_part(c, class);
        }
    }

    /// Adds a mark, or a starter that may compose with the one before it. It does not decompose any more, unless it is
    /// a starter that stays as it is.
    fn push_part(&mut self, c: char, class: Class) {
        if class.combining != 0 {
            // The marks inside the starter and those behind it are sorted together.
            if let Some((composed, _)) = self.starter.take_if(|(_, class)| class.ends_in_mark()) {
                decompose_canonical(composed, |part| self.push_part(part, Class::of(part)));
            }
            self.marks.push((class.combining, c));
            return;
        }
        self.compose_marks();
        if class.is_unstable()
            && self.marks.is_empty()
            && let Some((starter, _)) = self.starter
            && let Some(composed) = compose(starter, c)
        {
            self.starter = Some((composed, Class::of(composed)));
            return;
        }
        self.end_segment();
        self.starter = Some((c, class));
    }

    /// Composes the marks that compose with the starter. The others stay, sorted. Once for each segment: what stays
    /// might compose with the new starter.
    fn compose_marks(&mut self) {
        let Some((mut starter, _)) = self.starter else {
            self.marks.sort_by_key(|(combining, _)| *combining);
            return;
        };
        match self.marks[..] {
            [] => return,
            [(_, mark)] => match compose(starter, mark) {
                Some(composed) => {
                    starter = composed;
                    self.marks.clear();
                }
                None => return,
            },
            _ => {
                if !self.marks.is_sorted_by_key(|(combining, _)| *combining) {
                    self.marks.sort_by_key(|(combining, _)| *combining); // Stable: marks of one class keep their order.
                }
                let mut before = 0; // The class of the mark before, of those that stay.
                self.marks.retain(|&(combining, mark)| {
                    if before < combining
                        && let Some(composed) = compose(starter, mark)
                    {
                        starter = composed;
                        return false;
                    }
                    before = combining;
                    true
                });
            }
        }
        self.starter = Some((starter, Class::of(starter)));
    }

    /// Adds the last segment to what is done. Its marks are composed already.
    fn end_segment(&mut self) {
        if let Some((starter, _)) = self.starter.take() {
            self.done.push(starter);
        }
        for &(_, mark) in &self.marks {
            self.done.push(mark);
        }
        self.marks.clear();
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use unicode_normalization::UnicodeNormalization;
    use unicode_properties::{GeneralCategory, UnicodeGeneralCategory};

    use super::*;

    /// What [`fold`] must return, by the library.
    fn reference(text: &str) -> String {
        let lower = text.chars().flat_map(char::to_lowercase).map(|c| if c == '\u{3c2}' { '\u{3c3}' } else { c });
        lower.nfc().collect()
    }

    fn is_forbidden(text: &str) -> bool {
        let is_forbidden =
            |c: char| c.is_whitespace() || c.is_control() || c.general_category() == GeneralCategory::Format;
        text.chars().any(is_forbidden)
    }

    /// Compares with the library, and the limit with the length.
    fn check(text: &str) {
        let expected = reference(text);
        let folded = fold(text, expected.len()).expect("it fits");
        assert_eq!(folded.text, expected, "{text:?}");
        assert_eq!(folded.is_forbidden, is_forbidden(&expected), "{text:?}");
        if !expected.is_empty() {
            assert!(fold(text, expected.len() - 1).is_none(), "{text:?}");
        }
    }

    /// Marks of four classes, one of which composes with nothing; a virama; and parts of Hangul and Indic letters.
    const BEHIND: [char; 9] =
        ['\u{301}', '\u{327}', '\u{345}', '\u{334}', '\u{94d}', '\u{1161}', '\u{11a8}', '\u{9be}', '\u{dcf}'];

    #[test]
    fn each_character_is_as_the_library_has_it_alone_and_beside_others() {
        let is_hangul = |c: char| ('\u{ac00}'..='\u{d7a3}').contains(&c);
        for c in (char::MIN..=char::MAX).filter(|c| !is_hangul(*c) || (*c as u32).is_multiple_of(37)) {
            let class = Class::of(c);
            if class == Class::ASCII && !c.is_ascii() && c != '\u{3c2}' {
                // It stays as it is. What composes with it is a part of another character, see below.
                assert_eq!(reference(c.encode_utf8(&mut [0; 4])), c.to_string());
                continue;
            }
            let parts: Vec<char> = std::iter::once(c).nfd().collect();
            let (first, rest) = (parts[0], parts[1..].iter().collect::<String>());
            for (before, behind) in BEHIND.iter().zip(BEHIND.iter().cycle().skip(1)) {
                check(&format!("{before}{c}{behind}"));
                check(&format!("{c}{behind}{before}"));
                check(&format!("e{before}{c}{behind}\u{301}"));
                check(&format!("{first}{behind}{rest}{before}"));
            }
        }
    }

    #[test]
    fn lower_case_of_each_character_is_the_same_before_and_after_it_is_decomposed() {
        for c in char::MIN..=char::MAX {
            let lower = c.to_lowercase().nfd().collect::<String>();
            let lower_of_parts = std::iter::once(c).nfd().flat_map(char::to_lowercase).nfd().collect::<String>();
            assert_eq!(lower, lower_of_parts, "{c:?}");
        }
    }

    #[test]
    fn many_marks_are_sorted_and_composed() {
        for text in ["\u{301}\u{327}".repeat(100), format!("a{}", "\u{301}\u{327}\u{345}".repeat(80))] {
            check(&text);
        }
        check(&"e\u{301}".repeat(200));
        check(&"\u{1100}\u{1161}\u{11a8}".repeat(50));
    }

    /// Letters that marks compose with, in all the ways that there are; and characters that are never in NFC.
    const SPECIAL: &str = "aeiouyAEIOUWςΣσİΑΩἀᾳǘḝ각가ᄀකেො\u{344}\u{212b}\u{958}\u{2000}\u{ad}";

    /// Any character, mostly one that is special.
    fn character() -> impl Strategy<Value = char> {
        prop_oneof![
            3 => prop::sample::select(BEHIND.to_vec()),
            3 => prop::sample::select(SPECIAL.chars().collect::<Vec<_>>()),
            2 => prop::char::range('\u{300}', '\u{36f}'),
            1 => prop::char::range('\u{900}', '\u{e4f}'),
            1 => prop::char::range('\u{1e00}', '\u{1fff}'),
            1 => any::<char>(),
        ]
    }

    proptest! {
        #[test]
        fn each_text_is_as_the_library_has_it(text in prop::collection::vec(character(), 0..16)) {
            check(&text.into_iter().collect::<String>());
        }
    }
}
