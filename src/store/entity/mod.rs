//! The tables as SeaORM entities. They stop at the store: the layers above know the domain's types.

pub mod contact;
pub mod contact_merge;
pub mod identifier;
