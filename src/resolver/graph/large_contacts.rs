//! Which contacts belong to large identities, so that reads by their ids do not share a lane with others.
//!
//! A read of an identity of 10,000 contacts takes tens of milliseconds. A crowd that asks for such identities waits for
//! its own lane, and for nobody else's.

use std::collections::HashSet;
use std::sync::{Arc, PoisonError, RwLock};

use crate::domain::ContactId;

/// Maximum contacts that it remembers. With more, it forgets all: each is found again by one short read.
const MAX_CONTACTS: usize = 10_000;

/// The contacts by whose ids somebody has read a large identity. Clones share it.
#[derive(Clone, Debug, Default)]
pub(in crate::resolver) struct LargeContacts(Arc<RwLock<HashSet<ContactId>>>);

impl LargeContacts {
    /// Returns whether the identity of a contact was large when it was last read.
    pub(in crate::resolver) fn has(&self, contact: ContactId) -> bool {
        self.0.read().unwrap_or_else(PoisonError::into_inner).contains(&contact)
    }

    /// Remembers whether the identity of a contact is large.
    pub(super) fn note(&self, contact: ContactId, is_large: bool) {
        if self.has(contact) == is_large {
            return;
        }
        let mut contacts = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if !is_large {
            contacts.remove(&contact);
            return;
        }
        if contacts.len() == MAX_CONTACTS {
            contacts.clear();
        }
        contacts.insert(contact);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_bounded_and_what_is_small_again_is_forgotten() {
        let large = LargeContacts::default();
        for id in 0..=MAX_CONTACTS {
            large.note(ContactId(i64::try_from(id).unwrap()), true);
        }
        assert_eq!(large.0.read().unwrap().len(), 1);
        let last = ContactId(i64::try_from(MAX_CONTACTS).unwrap());
        assert!(large.has(last) && !large.has(ContactId(0)));
        large.note(last, false);
        assert!(!large.has(last));
    }
}
