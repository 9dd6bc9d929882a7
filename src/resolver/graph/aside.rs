//! Work without I/O that can take long. It runs beside the async workers, so that it holds up no other call.
//!
//! A lane waits for the work of one read before it begins the next read. So there is at most as much such work at once,
//! and as many histories in memory, as there are lanes for it.

use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::store::{Cause, StoreError};

/// The work with so few rows takes no longer than a statement, and less than the way to another thread.
const FEW: usize = 64;

/// Does work with so many rows.
///
/// # Errors
/// [`StoreError::Rejected`] after a panic, as
/// [`catch_panic`](crate::resolver::panic_guard::catch_panic).
pub(super) async fn run_aside<T: Send + 'static>(
    rows: usize,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, StoreError> {
    let done = if rows <= FEW {
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
        for (rows, is_here) in [(FEW, true), (FEW + 1, false)] {
            let there = run_aside(rows, || thread::current().id()).await.unwrap();
            assert_eq!(there == here, is_here, "{rows}");
            let panicked = run_aside(rows, || -> () { panic!("a fault") }).await;
            assert!(matches!(panicked, Err(StoreError::Rejected(_))));
        }
    }
}
