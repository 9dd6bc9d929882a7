//! Work without I/O that can take long. It runs beside the async workers, so that it holds up no other call.
//!
//! A lane waits for the work of one read, or of one transaction, before it begins the next. So there is at most as much
//! such work at once, and as many histories in memory, as there are lanes for it.

use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::store::{Cause, StoreError};

/// What the work is, by how many rows of it take no longer than a statement, and little more than the way to another
/// thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Aside {
    /// What the history of an identity means.
    History,
    /// A plan, and what goes with it.
    Plan,
}

impl Aside {
    const fn few(self) -> usize {
        match self {
            Self::History => 64,
            Self::Plan => 1_024,
        }
    }
}

/// Does work with so many rows.
///
/// # Errors
/// [`StoreError::Rejected`] after a panic, as
/// [`catch_panic`](crate::resolver::panic_guard::catch_panic).
pub(super) async fn run_aside<T: Send + 'static>(
    what: Aside,
    rows: usize,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, StoreError> {
    let done = if rows <= what.few() {
        catch_unwind(AssertUnwindSafe(work)).ok()
    } else {
        tokio::task::spawn_blocking(work).await.ok()
    };
    done.ok_or_else(|| StoreError::Rejected(Cause::new("a panic")))
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    #[tokio::test]
    async fn much_work_is_done_by_another_thread_and_a_panic_ends_it_alone() {
        let here = thread::current().id();
        for what in [Aside::History, Aside::Plan] {
            for (rows, is_here) in [(what.few(), true), (what.few() + 1, false)] {
                let there = run_aside(what, rows, || thread::current().id()).await.unwrap();
                assert_eq!(there == here, is_here, "{rows}");
                let panicked = run_aside(what, rows, || -> () { panic!("a fault") }).await;
                assert!(matches!(panicked, Err(StoreError::Rejected(_))));
            }
        }
    }
}
