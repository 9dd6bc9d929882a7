//! How far a group that the database refuses is taken apart.
//!
//! A group is halved until a bad job is alone. It fails, and its neighbours do not. That takes about two statements or
//! transactions for each job if every job is bad, so it ends after a few in a row that failed alone:
//!
//! - If all of them met a fault of the database ([`StoreError::Faulty`]), the rest fails with it. One of them would not
//!   be enough: a missing column of a table that only merges write, or a page of an index that is corrupt, is a fault
//!   for some jobs only.
//! - Otherwise the rest are tried alone, until one succeeds: a trigger may refuse every row, or any of them.

use crate::store::StoreError;

/// So many jobs in a row that fail alone.
const MANY: usize = 4;

/// The jobs of a group that failed alone, one after the other.
#[derive(Debug, Default)]
pub(super) struct RefusedAlone {
    in_a_row: usize,
    /// The last fault, if all of them met one.
    fault: Option<StoreError>,
}

impl RefusedAlone {
    /// Notes that a job failed alone.
    pub(super) fn note(&mut self, error: StoreError) {
        let can_be_fault = self.in_a_row == 0 || self.fault.is_some();
        self.fault = Some(error).filter(|error| can_be_fault && matches!(error, StoreError::Faulty(_)));
        self.in_a_row += 1;
    }

    /// Notes that a job or several of them succeeded.
    pub(super) fn note_success(&mut self) {
        *self = Self::default();
    }

    /// Returns the fault that the rest of the group fails with, untried.
    pub(super) fn fault(&self) -> Option<&StoreError> {
        self.fault.as_ref().filter(|_| self.are_many())
    }

    /// Returns whether so many jobs in a row failed alone that halves do not help.
    pub(super) fn are_many(&self) -> bool {
        self.in_a_row >= MANY
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Cause;

    #[test]
    fn faults_alone_fail_the_rest() {
        let fault = || StoreError::Faulty(Cause::new("1364"));
        let refusal = || StoreError::Rejected(Cause::new("45000"));
        for (errors, are_many, has_fault) in [
            (vec![fault(), fault(), fault()], false, false),
            (vec![fault(), fault(), fault(), fault()], true, true),
            (vec![fault(), refusal(), fault(), fault(), fault()], true, false),
            (vec![refusal(), refusal(), refusal(), fault()], true, false),
            (vec![fault(), fault(), fault(), fault(), refusal()], true, false),
        ] {
            let mut refused = RefusedAlone::default();
            let said = format!("{errors:?}");
            errors.into_iter().for_each(|error| refused.note(error));
            assert_eq!((refused.are_many(), refused.fault().is_some()), (are_many, has_fault), "{said}");
            refused.note_success();
            assert!(!refused.are_many() && refused.fault().is_none());
        }
    }
}
