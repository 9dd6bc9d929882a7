//! Counts the steps of a plan, for the tests. In the service it does nothing.

#[cfg(test)]
thread_local! {
    static TAKEN: std::cell::Cell<u64> = const { std::cell::Cell::new(0) };
}

/// Counts so many steps.
pub(super) fn take(steps: usize) {
    #[cfg(test)]
    TAKEN.set(TAKEN.get() + steps as u64);
    #[cfg(not(test))]
    let _ = steps;
}

/// Returns the steps of this thread so far.
#[cfg(test)]
pub(super) fn taken() -> u64 {
    TAKEN.get()
}
