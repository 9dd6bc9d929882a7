//! Ports for the servers that tests start: a row of them is taken together, so that no other test takes one of it.

use std::fs::{File, OpenOptions};
use std::net::TcpListener;
use std::ops::Range;
use std::time::{Duration, Instant};

/// Below the range where the system picks ports for clients.
const RANGE: Range<u16> = 21_000..31_000;

/// The ports of a row: a Galera cluster has so many.
const ROW: u16 = 12;

/// Rows become free when other tests end.
const PATIENCE: Duration = Duration::from_secs(60);

/// A row of ports that nobody listens on. No other test of this machine gets one of them as long as this lives.
pub struct Ports {
    pub first: u16,
    /// Locked. The system unlocks it if the process is killed.
    _file: File,
}

impl Ports {
    pub fn reserve() -> Self {
        let began = Instant::now();
        loop {
            let row = fastrand::u16(0..(RANGE.end - RANGE.start) / ROW);
            if let Some(ports) = Self::at(RANGE.start + row * ROW) {
                return ports;
            }
            assert!(began.elapsed() < PATIENCE, "no {ROW} free ports in a row");
        }
    }

    /// The row that begins with this port, unless one of it is taken.
    fn at(first: u16) -> Option<Self> {
        let folder = std::env::temp_dir().join("identity-test-ports");
        std::fs::create_dir_all(&folder).expect("a folder in the temporary folder");
        let file = OpenOptions::new().create(true).truncate(false).write(true).open(folder.join(first.to_string()));
        let file = file.ok()?; // It can belong to another user.
        file.try_lock().ok()?;
        let bind = |port| TcpListener::bind(("127.0.0.1", port)).ok();
        // All at once: none of them stands for two.
        (first..first + ROW).map(bind).collect::<Option<Vec<_>>>()?;
        Some(Self { first, _file: file })
    }
}

/// A row is reserved together, or not at all.
pub async fn no_port_is_given_twice() {
    let row = Ports::reserve();
    assert_eq!((row.first - RANGE.start) % ROW, 0, "rows do not overlap");
    assert!(Ports::at(row.first).is_none(), "it is reserved");
    let first = row.first;
    drop(row);
    for taken in [first, first + ROW - 1] {
        // Another test of this machine may have reserved it since.
        let Ok(listener) = TcpListener::bind(("127.0.0.1", taken)) else { continue };
        assert!(Ports::at(first).is_none(), "somebody listens on {taken}");
        drop(listener);
    }
    let rows: Vec<Ports> = (0..50).map(|_| Ports::reserve()).collect();
    let mut firsts: Vec<u16> = rows.iter().map(|row| row.first).collect();
    firsts.sort_unstable();
    assert!(firsts.windows(2).all(|pair| pair[1] - pair[0] >= ROW), "{firsts:?}");
}
