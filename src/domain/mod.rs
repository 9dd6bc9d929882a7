//! The rules: what an identifier is, what an identity is, and what a checkout event does to them.
//!
//! Pure: no I/O, no async, no SQL, no protobuf. Start with [`plan`], the heart of the service; the
//! words are those of the README's glossary.

mod contact;
mod email;
mod identifier;
mod identity;
mod observation;
mod phone;
mod plan;
mod snapshot;

#[cfg(any(test, fuzzing))]
pub mod model;
#[cfg(test)]
mod properties;

pub use contact::{Contact, ContactId, ContactRef, Link, Timestamp};
pub use email::{Email, InvalidEmail};
pub use identifier::{Identifier, IdentifierKind};
pub use identity::Identity;
pub use observation::{NoIdentifier, Observation};
pub use phone::{InvalidPhoneNumber, PhoneNumber, Region, UnknownRegion};
pub use plan::{Answer, Merge, NewContact, Outcome, Plan, Relink, plan};
pub use snapshot::Snapshot;

/// The version of the canonicalisation rules of [`Email`] and [`PhoneNumber`].
///
/// It changes whenever a value could be stored differently than before; what each version says is
/// in `docs/canonical-identifiers.md`.
pub const CANONICAL_RULES_VERSION: u32 = 2;
