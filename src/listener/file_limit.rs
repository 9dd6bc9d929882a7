//! How many connections fit into the limit of open files.

/// Open files for everything but the connections of callers: the database's pool, listeners, the log.
const RESERVED_FILES: u64 = 512;

/// Connections of each API even if hardly any file can be opened.
const MIN_CONNECTIONS: usize = 16;

/// Raises the limit of open files of this process up to what the system allows, and returns it. Soft limits are often
/// 1,024, because of programs that use `select`.
pub(super) fn raise_file_limit() -> u64 {
    rlimit::increase_nofile_limit(u64::MAX).unwrap_or_else(|error| {
        tracing::warn!(%error, "the limit of open files cannot be raised");
        rlimit::getrlimit(rlimit::Resource::NOFILE).map_or(1024, |(soft, _)| soft)
    })
}

/// Returns how many connections each API takes, if `wanted` are configured and `files` may be open.
pub(super) fn connection_cap(wanted: usize, files: u64) -> usize {
    let possible = usize::try_from(files.saturating_sub(RESERVED_FILES) / 2).unwrap_or(usize::MAX);
    if possible < wanted {
        tracing::info!(wanted, possible, open_files = files, "the limit of open files lowers that of connections");
    }
    // The semaphore that counts them has a limit too.
    wanted.min(possible).max(MIN_CONNECTIONS.min(wanted)).clamp(1, tokio::sync::Semaphore::MAX_PERMITS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_fit_the_files() {
        assert_eq!(connection_cap(10_000, 1_048_576), 10_000);
        assert_eq!(connection_cap(10_000, u64::MAX), 10_000);
        assert_eq!(connection_cap(10_000, 4_096), 1_792);
        assert_eq!(connection_cap(10_000, 256), 16);
        assert_eq!(connection_cap(2, 256), 2);
        assert_eq!(connection_cap(0, 256), 1);
    }
}
