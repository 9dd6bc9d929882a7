use std::fmt;
use std::sync::Arc;

use super::{Email, PhoneNumber};

/// What sort of identifier a value is.
///
/// More kinds will come; only the API edge (which has a field a kind) and the store's `Contact` table
/// (which has a column a kind) list them all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum IdentifierKind {
    /// An e-mail address, see [`Email`].
    Email,
    /// A phone number, see [`PhoneNumber`].
    Phone,
}

impl IdentifierKind {
    /// Every kind, in the order in which they sort.
    pub const ALL: [Self; 2] = [Self::Email, Self::Phone];

    /// The name under which the kind is stored.
    pub fn name(self) -> &'static str {
        match self {
            Self::Email => "email",
            Self::Phone => "phone",
        }
    }
}

/// A kind and a canonical value: what joins people.
///
/// Two identifiers are the same when kind and value are equal byte for byte, on every database. It can
/// only be made from a parsed value, or by the store from one it kept.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Identifier {
    kind: IdentifierKind,
    value: Arc<str>,
}

impl Identifier {
    /// An identifier whose value is canonical already, because it comes from where one was stored.
    pub fn from_stored(kind: IdentifierKind, value: impl Into<Arc<str>>) -> Self {
        Self { kind, value: value.into() }
    }

    /// Its kind.
    pub fn kind(&self) -> IdentifierKind {
        self.kind
    }

    /// Its canonical value. Personal data: never log it.
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

/// Names the kind alone: identifiers are personal data, and `Debug` output ends up in logs.
impl fmt::Debug for Identifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Identifier({})", self.kind.name())
    }
}
