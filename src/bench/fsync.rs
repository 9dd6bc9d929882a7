use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::time::Instant;

use anyhow::Context;

use super::Fsync;
use super::report::Report;
use super::tally::Tally;
use crate::proto::identity::v1::Outcome;

/// What is written before each fsync: a page.
const PAGE: [u8; 4096] = [0x5a; 4096];

/// Pages of the file, which are there before: a database writes its log over old ones too.
const PAGES: u64 = 1024;

/// How fast one writer makes 4 KiB durable, one after another: what bounds the commits of a database that
/// makes them one at a time.
pub(super) fn measure(fsync: &Fsync) -> anyhow::Result<Report> {
    let place = Place(fsync.folder.join(format!(".identity-fsync-{}", std::process::id())));
    let why = || format!("cannot write in {}", fsync.folder.display());
    let file = File::create_new(&place.0).with_context(why)?;
    for page in 0..PAGES {
        file.write_all_at(&PAGE, page * PAGE.len() as u64).with_context(why)?;
    }
    file.sync_all().with_context(why)?;
    let begun = Instant::now();
    let mut tally = Tally::new(begun)?;
    for page in (0..PAGES).cycle() {
        let sent = Instant::now();
        if sent.duration_since(begun) >= fsync.duration {
            break;
        }
        file.write_all_at(&PAGE, page * PAGE.len() as u64).with_context(why)?;
        file.sync_data().with_context(why)?;
        tally.count(Ok(Outcome::Unspecified), sent, Instant::now());
    }
    Ok(Report::of(("fsync".to_owned(), "disk".to_owned()), &tally))
}

/// A file that goes when it is no longer needed.
struct Place(PathBuf);

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0); // Nothing more can be done about it.
    }
}
