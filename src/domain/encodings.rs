use std::fmt;
use std::sync::{Arc, OnceLock};

/// The bytes that the APIs send for an identity, each made once. They are no part of what identities are compared by,
/// and a clone of an identity begins without them.
///
/// An API has one form and one limit for the size of an answer, so it makes the same bytes each time.
#[derive(Default)]
pub struct Encodings {
    proto: OnceLock<Encoded>,
    json: OnceLock<Encoded>,
}

/// The form in which an API sends an identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// The message of the gRPC API.
    Proto,
    /// The object of the JSON API.
    Json,
}

/// An identity as bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Encoded {
    /// The bytes. Clones share them.
    pub bytes: Arc<[u8]>,
    /// Whether the identity has more contacts than they list.
    pub is_truncated: bool,
}

impl Encodings {
    /// Returns the bytes, if they were made before.
    pub fn get(&self, encoding: Encoding) -> Option<&Encoded> {
        self.of(encoding).get()
    }

    /// Keeps the bytes, unless there are some. Returns those that are kept.
    pub fn keep(&self, encoding: Encoding, encoded: Encoded) -> &Encoded {
        self.of(encoding).get_or_init(|| encoded)
    }

    fn of(&self, encoding: Encoding) -> &OnceLock<Encoded> {
        match encoding {
            Encoding::Proto => &self.proto,
            Encoding::Json => &self.json,
        }
    }
}

impl Clone for Encodings {
    fn clone(&self) -> Self {
        Self::default()
    }
}

impl PartialEq for Encodings {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Encodings {}

impl fmt::Debug for Encodings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("..")
    }
}
