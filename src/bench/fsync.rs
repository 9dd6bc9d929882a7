use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::time::Instant;

use anyhow::Context;

use super::args::FsyncArgs;
use super::measurement::Measurement;
use super::report::BenchReport;
use crate::proto::identity::v1::Outcome;

/// The page that is written before each fsync.
const PAGE: [u8; 4096] = [0x5a; 4096];

/// Pages of the file. They exist before the measurement: a database overwrites old pages of its log too.
const PAGES: u64 = 1024;

/// Measures how fast one writer makes pages durable, one after another.
///
/// This limits the commits of a database that commits one transaction at a time.
pub(super) fn measure(args: &FsyncArgs) -> anyhow::Result<BenchReport> {
    let temporary = TemporaryFile(args.folder.join(format!(".identity-fsync-{}", std::process::id())));
    let why = || format!("cannot write in {}", args.folder.display());
    let file = File::create_new(&temporary.0).with_context(why)?;
    for page in 0..PAGES {
        file.write_all_at(&PAGE, page * PAGE.len() as u64).with_context(why)?;
    }
    file.sync_all().with_context(why)?;
    let begun = Instant::now();
    let mut measurement = Measurement::new(begun)?;
    for page in (0..PAGES).cycle() {
        let sent = Instant::now();
        if sent.duration_since(begun) >= args.duration {
            break;
        }
        file.write_all_at(&PAGE, page * PAGE.len() as u64).with_context(why)?;
        file.sync_data().with_context(why)?;
        measurement.record(Ok(Outcome::Unspecified), sent, Instant::now());
    }
    Ok(BenchReport::without_load(("fsync".to_owned(), "disk".to_owned()), &measurement))
}

/// A file that is deleted on drop.
struct TemporaryFile(PathBuf);

impl Drop for TemporaryFile {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0); // There is nobody to report a failure to.
    }
}
