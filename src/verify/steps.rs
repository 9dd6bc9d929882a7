//! Counts the steps of a plan, for the tests. In the service it does nothing.

#[cfg(test)]
thread_local! {
    static COUNTED: std::cell::Cell<u64> = const { std::cell::Cell::new(0) };
}

/// Counts so many steps.
pub(super) fn count(steps: usize) {
    #[cfg(test)]
    COUNTED.set(COUNTED.get() + steps as u64);
    #[cfg(not(test))]
    let _ = steps;
}

/// Returns the steps of this thread so far.
#[cfg(test)]
pub(super) fn counted() -> u64 {
    COUNTED.get()
}
