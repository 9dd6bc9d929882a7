//! Fingerprints of identifiers: 12 bytes stand for a value, so that those of ten million rows fit into memory.

use ring::digest::{Context, SHA256};

use crate::domain::identifier::{Identifier, IdentifierKind};

/// A fingerprint and the row that has the identifier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Evidence {
    /// The kind, then a part of a digest with a secret key: nobody can make two identifiers that have one fingerprint.
    /// Among 20 million random ones, two are equal with a probability of 1 to 10^14.
    pub(super) fingerprint: [u8; 12],
    /// The index of the row.
    pub(super) row: u32,
}

impl Evidence {
    /// Returns the kind of the identifier.
    pub(super) fn kind(&self) -> IdentifierKind {
        IdentifierKind::ALL[usize::from(self.fingerprint[0] & 1)]
    }
}

/// Makes fingerprints.
#[derive(Clone)]
pub(super) struct Fingerprints(Context);

impl std::fmt::Debug for Fingerprints {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Fingerprints")
    }
}

impl Fingerprints {
    /// With this key.
    pub(super) fn new(key: [u8; 16]) -> Self {
        let mut context = Context::new(&SHA256);
        context.update(&key);
        Self(context)
    }

    /// Returns the fingerprint of an identifier.
    pub(super) fn fingerprint(&self, identifier: &Identifier) -> [u8; 12] {
        let kind = match identifier.kind() {
            IdentifierKind::Email => 0,
            IdentifierKind::Phone => 1,
        };
        let mut context = self.0.clone();
        context.update(&[kind]);
        context.update(identifier.value().as_bytes());
        let mut fingerprint = [0; 12];
        fingerprint.copy_from_slice(&context.finish().as_ref()[..12]);
        fingerprint[0] = fingerprint[0] & !1 | kind;
        fingerprint
    }
}
