//! The rules: what an identifier is, what an identity is, and what a checkout event does to them.
//!
//! This module has no I/O, no async, no SQL and no protobuf. Start with [`plan()`], the heart of the service.
//! `docs/architecture.md` has a glossary.
//!
//! | file | what it holds |
//! | --- | --- |
//! | `email`, `phone` | canonical identifiers: which texts are the same e-mail address or phone number |
//! | `fold`, `character` | lower case and NFC in one pass, and what that asks of a character |
//! | `identifier` | a kind and a canonical value, and how to add a kind |
//! | `canonical` | what the rules say of a value that is stored already |
//! | `observation` | the identifiers of one checkout event |
//! | `note` | what a caller says about an observation |
//! | `contact`, `identity` | a row of table `Contact`, and all contacts of one customer |
//! | `snapshot` | identities from one read, and who owns which identifier |
//! | `look_up` | what reads at several moments say of some identifiers |
//! | `copies` | which copies of identities in memory may be used |
//! | `evidence` | the sets of identifiers that were seen together, and which of them no contact carries |
//! | `merge_evidence` | the sets of merges that older versions recorded |
//! | `planner`, `draft`, `plan` | what observations do to identities, and the result |
//! | `preview` | the answer that an observation would get |
//! | `graph/` | what connects the identifiers of an identity, and what it was before |
//! | `adoption/` | which rows of another system's table are one customer |
//! | `identity_state`, `encodings` | an identity as an answer shows it, and the bytes that the APIs made of it |
//! | `model`, `properties` | tests: the planner against a brute-force model |

pub mod adoption;
mod canonical;
mod character;
mod contact;
mod copies;
mod draft;
mod email;
mod encodings;
mod evidence;
mod fold;
pub mod graph;
mod identifier;
mod identity;
mod identity_state;
mod look_up;
mod merge_evidence;
mod note;
mod observation;
mod phone;
mod plan;
mod planner;
mod preview;
mod snapshot;

#[cfg(any(test, fuzzing))]
pub mod model;
#[cfg(test)]
mod properties;

pub use canonical::StoredForm;
pub use contact::{Contact, ContactId, ContactRef, Link, Timestamp};
pub use copies::{ComparedCopies, Copies, OwnerRow, Owners, RootRow};
pub use email::{Email, InvalidEmail};
pub use encodings::{Encoded, Encoding, Encodings};
pub use evidence::{EvidenceOrigin, MAX_EVIDENCE, NewEvidence, SetKey, StoredEvidence, StoredSets, may_be_full};
pub use identifier::{Identifier, IdentifierKind};
pub use identity::Identity;
pub use identity_state::{IdentityState, StateKey};
pub use look_up::LookUp;
pub use merge_evidence::{is_of_one_request, sets_of_merges};
pub use note::{InvalidMoment, InvalidNote, MAX_EXTERNAL_REF, MAX_SOURCE, Note, note_text};
pub use observation::{NoIdentifier, Observation};
pub use phone::{InvalidPhoneNumber, PhoneNumber, Region, UnknownRegion};
pub use plan::{Answer, IdentityTooLarge, Merge, Move, NewContact, Outcome, Plan, Refusal, Relink};
pub use planner::plan;
pub use preview::preview;
pub use snapshot::Snapshot;

/// The version of the canonicalisation rules of [`Email`] and [`PhoneNumber`].
///
/// It changes when a rule changes the stored form of a value. `docs/identifiers.md` has the rules of each
/// version.
pub const CANONICAL_RULES_VERSION: u32 = 2;
