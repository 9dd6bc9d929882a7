//! A row of an old table, with the values as they are there.

use crate::domain::Timestamp;

/// A row of an old table. Its values are raw: an empty e-mail address stays one. They are personal data, which `Debug`
/// does not print.
#[derive(Clone, PartialEq, Eq)]
pub struct OldRow {
    /// Its id, at least 1.
    pub id: i64,
    /// Its e-mail address.
    pub email: Option<String>,
    /// Its phone number. A number comes as its digits.
    pub phone_number: Option<String>,
    /// The id of the row that it is linked to. There need not be such a row.
    pub linked_id: Option<i64>,
    /// What it says of its place in its identity.
    pub precedence: OldPrecedence,
    /// When it was inserted.
    pub created_at: Option<Timestamp>,
    /// When it was changed last.
    pub updated_at: Option<Timestamp>,
    /// When it was deleted. `None` on a live row. A value that is no date ends the read.
    pub deleted_at: Option<Timestamp>,
    /// Which of these have a value that cannot be read. They are `None`.
    pub unreadable: Unreadable,
}

impl std::fmt::Debug for OldRow {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("OldRow")
            .field("id", &self.id)
            .field("has_email", &self.email.is_some())
            .field("has_phone_number", &self.phone_number.is_some())
            .field("linked_id", &self.linked_id)
            .field("precedence", &self.precedence)
            .field("created_at", &self.created_at)
            .field("updated_at", &self.updated_at)
            .field("deleted_at", &self.deleted_at)
            .field("unreadable", &self.unreadable)
            .finish()
    }
}

/// The text of the column for the precedence. `Debug` does not print another text: it can be anything.
#[derive(Clone, PartialEq, Eq)]
pub enum OldPrecedence {
    /// It is null, or there is no such column.
    Missing,
    /// `primary`.
    Primary,
    /// `secondary`.
    Secondary,
    /// Another text.
    Other(Box<str>),
}

impl std::fmt::Debug for OldPrecedence {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(match self {
            Self::Missing => "Missing",
            Self::Primary => "Primary",
            Self::Secondary => "Secondary",
            Self::Other(_) => "Other",
        })
    }
}

impl OldPrecedence {
    pub(crate) fn from_text(text: Option<&str>) -> Self {
        match text {
            None => Self::Missing,
            Some("primary") => Self::Primary,
            Some("secondary") => Self::Secondary,
            Some(other) => Self::Other(other.into()),
        }
    }

    /// Returns the text as the old table has it.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::Missing => None,
            Self::Primary => Some("primary"),
            Self::Secondary => Some("secondary"),
            Self::Other(text) => Some(text),
        }
    }

    /// Returns whether the row calls itself a secondary, in any case of letters. `None` if it says something else.
    pub fn is_secondary(&self) -> Option<bool> {
        let text = self.as_str()?.trim();
        let is = |word: &str| text.eq_ignore_ascii_case(word);
        if is("secondary") { Some(true) } else { is("primary").then_some(false) }
    }
}

/// Values of a row that are there, and cannot be read. `deletedAt` is not among them: see [`OldRow::deleted_at`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "one for each column")]
pub struct Unreadable {
    /// `email` is not UTF-8.
    pub email: bool,
    /// `phoneNumber` is not UTF-8.
    pub phone_number: bool,
    /// `linkedId` is not a 64-bit integer.
    pub linked_id: bool,
    /// `createdAt` is not a date, or is outside the years 1000 to 9999.
    pub created_at: bool,
    /// `updatedAt` is not a date, or is outside the years 1000 to 9999.
    pub updated_at: bool,
}

impl Unreadable {
    /// Returns whether there is any.
    pub fn any(self) -> bool {
        self != Self::default()
    }

    /// Returns how many of them are dates.
    pub fn dates(self) -> u64 {
        [self.created_at, self.updated_at].map(u64::from).iter().sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_precedence_keeps_its_text_and_is_understood_in_any_case() {
        let said = |text| {
            let precedence = OldPrecedence::from_text(text);
            assert_eq!(precedence.as_str(), text);
            precedence.is_secondary()
        };
        assert_eq!([said(Some("primary")), said(Some("secondary"))], [Some(false), Some(true)]);
        assert_eq!([said(Some(" PRIMARY")), said(Some("Secondary"))], [Some(false), Some(true)]);
        assert_eq!([said(Some("1")), said(Some("")), said(None)], [None; 3]);
    }

    #[test]
    fn debug_prints_no_personal_data() {
        let row = OldRow {
            id: 7,
            email: Some("ann@example.com".to_owned()),
            phone_number: Some("123456".to_owned()),
            linked_id: None,
            precedence: OldPrecedence::from_text(Some("ann@example.com")),
            created_at: None,
            updated_at: None,
            deleted_at: None,
            unreadable: Unreadable::default(),
        };
        let text = format!("{row:?}");
        assert!(text.contains("id: 7, has_email: true") && text.contains("precedence: Other"), "{text}");
        assert!(!text.contains("ann") && !text.contains("123456"), "{text}");
    }

    #[test]
    fn unreadable_dates_are_counted() {
        let unreadable = Unreadable { email: true, created_at: true, updated_at: true, ..Unreadable::default() };
        assert_eq!((unreadable.any(), unreadable.dates()), (true, 2));
        assert!(!Unreadable::default().any());
    }
}
