//! Lists of keys as parameters. They are filled up to a power of two with their last entry, so that a connection
//! prepares few different statements.

use sea_orm::Value;

use crate::domain::Identifier;

/// The tables that look rows up by key, their condition, and the parameters of both.
pub(crate) struct KeyLookup {
    /// More joins may follow.
    pub(crate) from: String,
    /// More conditions may follow.
    pub(crate) filter: String,
    pub(crate) params: Vec<Value>,
}

/// The kind's name.
pub(super) fn kind(identifier: &Identifier) -> String {
    identifier.kind().name().to_owned()
}

/// The value's UTF-8 bytes.
pub(super) fn bytes(identifier: &Identifier) -> Vec<u8> {
    identifier.value().as_bytes().to_vec()
}

/// The identifiers, filled up to a size with the last one. An empty list stays empty.
pub(super) fn padded<'a>(
    identifiers: impl Iterator<Item = &'a Identifier> + Clone,
    size: usize,
) -> impl Iterator<Item = &'a Identifier> {
    let last = identifiers.clone().last().into_iter().cycle();
    identifiers.chain(last).take(size)
}

/// The ids, filled up to a power of two with the last one.
pub(crate) fn padded_ids(ids: &[i64]) -> Vec<i64> {
    let last = ids.last().copied().into_iter().cycle();
    ids.iter().copied().chain(last).take(ids.len().next_power_of_two()).collect()
}
