use std::collections::HashMap;

use crate::domain::{Identifier, IdentifierKind};
use crate::store::HistoryRows;

/// Short names for the identifiers of an identity: `i1` for the first one of the oldest contact, and so on. Deleted
/// contacts count. So a masked value differs from others, and a question can be asked without values.
#[derive(Clone, Debug)]
pub(super) struct Names {
    numbers: HashMap<Identifier, usize>,
    shows_values: bool,
}

impl Names {
    pub(super) fn new(rows: &HistoryRows, shows_values: bool) -> Self {
        let mut contacts: Vec<_> = rows.contacts.iter().map(|row| &row.contact).collect();
        contacts.sort_by_key(|contact| contact.age());
        let mut stored: Vec<_> = rows.stored.iter().collect();
        stored.sort_by_key(|set| (set.seen_at, set.id));
        let mut numbers = HashMap::new();
        let of_contacts = contacts.into_iter().flat_map(|contact| contact.shown());
        for identifier in of_contacts.chain(stored.into_iter().flat_map(|set| set.identifiers.iter())) {
            let next = numbers.len() + 1;
            numbers.entry(identifier.clone()).or_insert(next);
        }
        Self { numbers, shows_values }
    }

    pub(super) fn shows_values(&self) -> bool {
        self.shows_values
    }

    /// Returns the identifier with this number.
    pub(super) fn identifier(&self, number: usize) -> Option<&Identifier> {
        self.numbers.iter().find(|(_, found)| **found == number).map(|(identifier, _)| identifier)
    }

    /// Returns the number of an identifier.
    pub(super) fn number(&self, identifier: &Identifier) -> usize {
        self.numbers.get(identifier).copied().unwrap_or_default()
    }

    /// Returns the name of an identifier, such as `i1`.
    pub(super) fn name(&self, identifier: &Identifier) -> String {
        format!("i{}", self.number(identifier))
    }

    /// Returns what is printed of the value.
    pub(super) fn value(&self, identifier: &Identifier) -> String {
        if self.shows_values { identifier.value().to_owned() } else { masked(identifier) }
    }

    /// Returns the name with the kind and what is printed of the value, such as `i1 email d***`.
    pub(super) fn label(&self, identifier: &Identifier) -> String {
        let value = printable(&self.value(identifier));
        format!("{} {} {value}", self.name(identifier), identifier.kind().name())
    }
}

/// Returns what of a value may stand on a screen: enough to know it again.
pub fn masked(identifier: &Identifier) -> String {
    let value: Vec<char> = identifier.value().chars().collect();
    match identifier.kind() {
        _ if value.len() < 6 => "***".to_owned(),
        IdentifierKind::Email => format!("{}***", value[0]),
        IdentifierKind::Phone => format!("***{}{}", value[value.len() - 2], value[value.len() - 1]),
    }
}

/// Replaces what could change the terminal or the order of the characters: a value that somebody wrote by SQL can be
/// any text.
fn printable(value: &str) -> String {
    let is_format = |c: char| matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}');
    let text = |c: char| {
        if c.is_control() || is_format(c) { c.escape_unicode().to_string() } else { c.to_string() }
    };
    value.chars().map(text).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::graph::HistoryContact;
    use crate::domain::{Contact, ContactId, Link, Timestamp};

    #[test]
    fn a_masked_value_does_not_say_whose_it_is() {
        let masked = |kind, value| masked(&Identifier::from_stored(kind, value));
        assert_eq!(masked(IdentifierKind::Phone, "+4930123456"), "***56");
        assert_eq!(masked(IdentifierKind::Phone, "12345"), "***");
        assert_eq!(masked(IdentifierKind::Email, "doc@hillvalley.edu"), "d***");
        assert_eq!(masked(IdentifierKind::Email, "é@a.b"), "***");
    }

    #[test]
    fn identifiers_are_numbered_from_the_oldest_contact_on() {
        let email = |value: &str| Identifier::from_stored(IdentifierKind::Email, value);
        let row = |id, value: &str| {
            let contact =
                Contact::new(ContactId(id), [email(value), email("b@x.example")], Timestamp(9 - id), Link::Primary);
            HistoryContact { contact, deleted_at: None }
        };
        let rows = HistoryRows {
            contacts: vec![row(1, "a@x.example"), row(2, "\u{1b}[2J@x.example")],
            ..HistoryRows::default()
        };
        let names = Names::new(&rows, true);
        assert_eq!(names.label(&email("b@x.example")), "i2 email b@x.example");
        assert_eq!(names.label(&email("\u{1b}[2J@x.example")), "i1 email \\u{1b}[2J@x.example");
        assert_eq!(names.identifier(3), Some(&email("a@x.example")));
        assert_eq!(Names::new(&rows, false).label(&email("a@x.example")), "i3 email a***");
    }
}
