//! The tables as SeaORM entities. The resolver and the APIs above know the types of the domain only. The seed of the
//! load generator and the tests use entities too.

pub mod adopted_contact;
pub mod adoption;
pub mod contact;
pub mod contact_merge;
pub mod evidence;
pub mod evidence_note;
pub mod evidence_state;
pub mod identifier;
