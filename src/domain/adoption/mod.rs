//! Adopting the table of another system: which of its rows are one customer, and what each row becomes.
//!
//! The rows are connected by their links (chains, circles, also through deleted rows) and by the identifiers that live
//! rows share. The oldest live row of each connected set is its primary. A set of deleted rows alone keeps its oldest
//! row as the primary, so that its links are valid too. Rows that link to one missing row are connected: the old system
//! has shown them as one customer. Many such rows need a decision, as an identifier does that joins many.
//!
//! | file | what it holds |
//! | --- | --- |
//! | `old_contact` | a row of the old table, and canonical values |
//! | `table` | what is kept in memory of each row |
//! | `marks` | which marks of ignored identifiers are believed |
//! | `fingerprint` | 12 bytes for an identifier |
//! | `hub` | what alone joins many |
//! | `sets` | union-find |
//! | `seen_sets` | where the sets of an export belong |
//! | `links` | where links lead, and which identities the old table has |
//! | `decide` | which rows are one customer |
//! | `joins` | what joins identities of the old table |
//! | `adopted` | what each row becomes, and the merges |
//! | `facts` | the numbers of a report |
//! | `model` | tests: the same by brute force |

mod adopted;
mod decide;
mod facts;
mod fingerprint;
mod hub;
mod joins;
mod links;
mod mark_list;
mod marks;
#[cfg(test)]
mod model;
mod old_contact;
mod seen_sets;
mod sets;
mod table;

pub use adopted::{AdoptedIdentities, AdoptedRow, LinkChange, NO_IDENTIFIER};
pub use facts::{AdoptionFacts, JoinedIdentity, LinkFacts};
pub use hub::{Hub, HubCause};
pub use joins::{AdoptedMerge, JoinCauses};
pub use old_contact::{
    AdoptionRules, CleanValue, LONGEST_ORIGINAL, LONGEST_PRECEDENCE, OldContact, UnreadableParts, ValueChange,
    ValueChanges,
};
pub use seen_sets::SetPlace;
pub use table::{OldIdentities, UnfitTable};
