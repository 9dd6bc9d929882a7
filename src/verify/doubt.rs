//! The changes of commits whose answer did not come.

use super::repairs::Repair;

/// The changes of commits of which nobody knows whether they were carried out.
///
/// The next attempt reads under locks what came of them. If all is well then, they count as made by this run. Another
/// transaction can have made the same changes in the meantime: the tables do not say which one did.
#[derive(Debug, Default)]
pub(super) struct Doubt(Vec<Repair>);

impl Doubt {
    /// Whether there is such a commit.
    pub(super) fn exists(&self) -> bool {
        !self.0.is_empty()
    }

    /// Notes that these changes are still needed. A commit is carried out as a whole: if one of its changes is still
    /// needed, none was made.
    pub(super) fn settle(&mut self, needed: &[Repair]) {
        if needed.iter().any(|repair| self.0.contains(repair)) {
            self.0.clear();
        }
    }

    /// Adds the changes of a commit.
    pub(super) fn add(&mut self, repairs: Vec<Repair>) {
        self.0.retain(|repair| !repairs.contains(repair));
        self.0.extend(repairs);
    }

    /// Returns the changes.
    pub(super) fn repairs(&self) -> &[Repair] {
        &self.0
    }

    /// Returns the changes, and ends the doubt: they count as made.
    pub(super) fn take(&mut self) -> Vec<Repair> {
        std::mem::take(&mut self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_that_is_still_needed_settles_its_commit() {
        let [one, two, three] = [1, 2, 3].map(|contact| Repair::Promoted { contact });
        let mut doubt = Doubt::default();
        doubt.settle(std::slice::from_ref(&one));
        assert!(!doubt.exists());
        doubt.add(vec![one.clone(), two.clone()]);
        doubt.settle(std::slice::from_ref(&three));
        doubt.add(vec![two.clone(), three.clone()]);
        assert_eq!(doubt.take(), [one.clone(), two.clone(), three]);
        doubt.add(vec![one, two.clone()]);
        doubt.settle(&[two]);
        assert!(!doubt.exists());
    }
}
