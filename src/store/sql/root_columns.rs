//! The columns of lists of roots, and how many rows a statement for them looks at.

/// How many rows a statement for roots looks at. Without a limit, it would read a million secondaries that stand
/// between two roots.
pub(crate) const ROWS_OF_A_WINDOW: usize = 1_024;

/// The columns of [`Engine::rows_after`](super::Engine), in order.
#[derive(Clone, Copy, Debug)]
pub(crate) enum WindowColumn {
    Id,
    LinkedId,
    Flags,
    /// Only where [`Engine::read_only_column`](super::Engine) has one.
    ReadOnly,
}

/// The columns of [`Engine::lock_roots_after`](super::Engine), in order.
#[derive(Clone, Copy, Debug)]
pub(crate) enum LockedRootColumn {
    Id,
    /// Only where [`Engine::read_only_column`](super::Engine) has one.
    ReadOnly,
}
