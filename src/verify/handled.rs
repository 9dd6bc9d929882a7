//! What a run has repaired or planned already, so that an identity with many damaged rows is repaired once.

use std::collections::{HashMap, HashSet};

use crate::domain::ContactId;

/// The identities that are done. It remembers some bytes for each damaged row of a page, and for each repair that
/// failed.
#[derive(Debug, Default)]
pub(super) struct Handled {
    /// The contacts that the damaged rows of this page are about.
    page: HashSet<ContactId>,
    /// Those of them that a repair has covered, or a plan.
    covered: HashSet<ContactId>,
    /// The roots of the identities whose repair failed, each with the reason.
    failed: HashMap<ContactId, Failure>,
}

/// Why a repair, or its plan, failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Failure {
    /// In words for operators.
    pub(super) reason: String,
    /// Whether a commit may have been carried out all the same.
    pub(super) is_doubtful: bool,
}

impl Handled {
    /// Begins a page, whose damaged rows are about these contacts.
    pub(super) fn begin_page(&mut self, contacts: impl IntoIterator<Item = ContactId>) {
        self.page = contacts.into_iter().collect();
        self.covered.clear();
    }

    /// Remembers that a repair has covered these contacts.
    pub(super) fn cover(&mut self, contacts: impl IntoIterator<Item = ContactId>) {
        self.covered.extend(contacts.into_iter().filter(|contact| self.page.contains(contact)));
    }

    /// Returns whether a repair has covered this contact since the page began.
    pub(super) fn covers(&self, contact: ContactId) -> bool {
        self.covered.contains(&contact)
    }

    /// Remembers that the repair of this identity failed. It would take long to fail again for each of its rows.
    pub(super) fn fail(&mut self, root: Option<ContactId>, failure: &Failure) {
        self.failed.extend(root.map(|root| (root, failure.clone())));
    }

    /// Returns why the repair of this identity failed, if it did.
    pub(super) fn failure(&self, root: Option<ContactId>) -> Option<&Failure> {
        self.failed.get(&root?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn coverage_ends_with_its_page_and_a_failure_stays() {
        let contacts = [1, 2, 3].map(ContactId);
        let mut handled = Handled::default();
        handled.begin_page(contacts);
        handled.cover([1, 2, 9].map(ContactId));
        let locked = Failure { reason: "locked".to_owned(), is_doubtful: false };
        handled.fail(Some(ContactId(7)), &locked);
        handled.fail(None, &locked);
        assert_eq!(contacts.map(|contact| handled.covers(contact)), [true, true, false]);
        assert!(!handled.covers(ContactId(9)), "no row of this page is about it");
        handled.begin_page(contacts);
        assert!(!handled.covers(ContactId(1)));
        let failures = [Some(ContactId(7)), Some(ContactId(1)), None].map(|root| handled.failure(root));
        assert_eq!(failures, [Some(&locked), None, None]);
    }
}
