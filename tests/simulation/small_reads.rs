//! Reads that are to return no large identity.

use identity::domain::Identity;
use identity::store::{ExpectedSize, StoreError};

/// The most contacts of an identity that a read with [`ExpectedSize::NotLarge`] returns. Far fewer than a database's,
/// so that schedules meet larger ones.
const NOT_LARGE: usize = 6;

/// These identities, unless the read was to return no large one and there is one.
pub(crate) fn small_enough(identities: Vec<Identity>, size: ExpectedSize) -> Result<Vec<Identity>, StoreError> {
    let large = identities.iter().find(|identity| identity.contacts().len() > NOT_LARGE);
    match large.filter(|_| size == ExpectedSize::NotLarge) {
        Some(large) => Err(StoreError::OneIsLarge(large.root())),
        None => Ok(identities),
    }
}
