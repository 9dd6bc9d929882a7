use super::email::Email;
use super::identifier::{Identifier, IdentifierKind};
use super::phone::{PhoneNumber, Region};

/// What the rules in force say of a value that is stored: it may come from an older version of the rules, from another
/// phone region, or from SQL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoredForm {
    /// It is canonical.
    Canonical,
    /// It has this canonical form, and no request finds it under its stored form.
    NotCanonical(Identifier),
    /// It is blank, which means "not given". It says nothing about who the customer is.
    Blank,
    /// It is no identifier of its kind, so no request can contain it.
    Malformed,
}

impl Identifier {
    /// Returns what the rules say of this value, if it comes from the store. The region is that of
    /// [`PhoneNumber::parse`].
    pub fn stored_form(&self, region: Option<Region>) -> StoredForm {
        let canonical = match self.kind() {
            IdentifierKind::Email => Email::parse(self.value()).map(|email| email.map(Self::from)).ok(),
            IdentifierKind::Phone => PhoneNumber::parse(self.value(), region).map(|phone| phone.map(Self::from)).ok(),
        };
        match canonical {
            None => StoredForm::Malformed,
            Some(None) => StoredForm::Blank,
            Some(Some(canonical)) if canonical == *self => StoredForm::Canonical,
            Some(Some(canonical)) => StoredForm::NotCanonical(canonical),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn form(kind: IdentifierKind, value: &str, region: Option<Region>) -> StoredForm {
        Identifier::from_stored(kind, value).stored_form(region)
    }

    #[test]
    fn stored_values_are_canonical_or_have_a_canonical_form_or_none() {
        use IdentifierKind::{Email, Phone};
        let becomes = |kind, value| StoredForm::NotCanonical(Identifier::from_stored(kind, value));
        for (kind, value, expected) in [
            (Email, "a@x.de", StoredForm::Canonical),
            (Email, "Mixed.Case@Example.com", becomes(Email, "mixed.case@example.com")),
            (Email, "pad@example.com ", becomes(Email, "pad@example.com")),
            (Email, "jose\u{301}@x.de", becomes(Email, "jos\u{e9}@x.de")),
            (Email, "a\u{3c2}@x.gr", becomes(Email, "a\u{3c3}@x.gr")),
            (Email, "", StoredForm::Blank),
            (Email, " \u{200b}\t", StoredForm::Blank),
            (Email, "new123", StoredForm::Malformed),
            (Phone, "+1 555 600-0000", becomes(Phone, "+15556000000")),
            (Phone, "4915123456781.0", StoredForm::Malformed),
            (Phone, " ", StoredForm::Blank),
        ] {
            assert_eq!(form(kind, value, None), expected, "{value:?}");
        }
    }

    #[test]
    fn the_region_in_force_decides_about_phone_numbers() {
        let international = StoredForm::NotCanonical(Identifier::from_stored(IdentifierKind::Phone, "+4930123456"));
        assert_eq!(form(IdentifierKind::Phone, "030123456", None), StoredForm::Canonical);
        assert_eq!(form(IdentifierKind::Phone, "030123456", "DE".parse().ok()), international);
        assert_eq!(form(IdentifierKind::Phone, "+4930123456", None), StoredForm::Canonical);
    }
}
