use std::fmt;
use std::sync::Arc;

use super::email::Email;
use super::phone::PhoneNumber;

/// The kind of an identifier.
///
/// More kinds will come. To add a kind: a file beside `email.rs` with its canonical form, a variant here, and a `From`
/// for [`Identifier`]. The compiler then names each `match` on the kind. The API has a field for each kind, and the
/// table `Contact` a column: `CONTRIBUTING.md` lists the files that name them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum IdentifierKind {
    /// An e-mail address, see [`Email`].
    Email,
    /// A phone number, see [`PhoneNumber`].
    Phone,
}

impl IdentifierKind {
    /// All kinds, in their sort order.
    pub const ALL: [Self; 2] = [Self::Email, Self::Phone];

    /// Returns the name of the kind in the database.
    pub fn name(self) -> &'static str {
        match self {
            Self::Email => "email",
            Self::Phone => "phone",
        }
    }
}

/// A kind and a canonical value. Contacts that share an identifier belong to the same customer.
///
/// Two identifiers are the same if kind and value are equal byte for byte, on every database. An identifier comes from
/// a parsed value, or from the store.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Identifier {
    kind: IdentifierKind,
    value: Arc<str>,
}

impl Identifier {
    /// Returns an identifier with a value from the store, which is canonical already.
    pub fn from_stored(kind: IdentifierKind, value: impl Into<Arc<str>>) -> Self {
        Self { kind, value: value.into() }
    }

    /// Returns the kind.
    pub fn kind(&self) -> IdentifierKind {
        self.kind
    }

    /// Returns the canonical value. It is personal data: never log it.
    pub fn value(&self) -> &str {
        &self.value
    }
}

impl From<Email> for Identifier {
    fn from(email: Email) -> Self {
        Self { kind: IdentifierKind::Email, value: email.into_string().into() }
    }
}

impl From<PhoneNumber> for Identifier {
    fn from(phone: PhoneNumber) -> Self {
        Self { kind: IdentifierKind::Phone, value: phone.into_string().into() }
    }
}

/// Prints only the kind: the value is personal data, and `Debug` output ends up in logs.
impl fmt::Debug for Identifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Identifier({})", self.kind.name())
    }
}
