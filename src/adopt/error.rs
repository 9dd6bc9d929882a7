//! Why an adoption failed.

use super::contact_file::FileError;
use super::memory::MemorySize;
use crate::domain::adoption::UnfitTable;
use crate::store::old_table::OldTableError;
use crate::store::{MigrateError, StoreError};

/// Why an adoption failed. One line for the operator: it names ids, and no values.
#[derive(Debug, thiserror::Error)]
pub enum AdoptError {
    /// The old table cannot be read.
    #[error(transparent)]
    OldTable(#[from] OldTableError),
    /// The file cannot be read.
    #[error(transparent)]
    File(#[from] FileError),
    /// The old table cannot be adopted.
    #[error(transparent)]
    Unfit(#[from] UnfitTable),
    /// The target cannot be read or written.
    #[error("DATABASE_URL: {0}")]
    Target(#[from] StoreError),
    /// The tables of the target cannot be made.
    #[error("DATABASE_URL must lead to a database or schema of its own: {0}")]
    Migrate(#[from] MigrateError),
    /// The target has rows that no adoption wrote.
    #[error("DATABASE_URL leads to tables with rows that were not adopted: give the service a database of its own")]
    NotEmpty,
    /// The memory is not enough.
    #[error("the old table has {rows} rows, which need {needed} of memory, and --memory allows {given}")]
    Memory {
        /// The rows.
        rows: u64,
        /// What they need.
        needed: MemorySize,
        /// What is allowed.
        given: MemorySize,
    },
    /// A run that has the adoption failed.
    #[error("{0} (the adoption is not done: `identity serve` does not start before `identity adopt` ends with `done`)")]
    NotDone(Box<AdoptError>),
    /// The adoption was begun with other options.
    #[error(
        "the adoption was begun with other options, and this differs: {}; go on with those, or --undo it", .0.join("; ")
    )]
    OtherOptions(Vec<&'static str>),
    /// The service is in use.
    #[error("the service or one of its commands has written to DATABASE_URL since the adoption: {0} is refused")]
    ServiceWrote(&'static str),
    /// There are rows that the adoption cannot have written.
    #[error(
        "somebody else has written to DATABASE_URL during the adoption (contacts with ids above {0}, or merges), and \
         nothing of that is deleted: stop every process of the service, look at these rows, and delete them yourself \
         if they are not needed"
    )]
    WrittenMeanwhile(i64),
    /// Another run has begun at the same time.
    #[error("another run of `identity adopt` has begun at the same time: let it end")]
    OtherRun,
    /// A statement needs a connection while another one reads.
    #[error("DATABASE_CONNECTIONS must be at least 2 for an adoption")]
    OneConnection,
    /// The tables are half empty.
    #[error("the adoption is being undone: run `identity adopt --undo` again")]
    Undoing,
    /// There is no adoption.
    #[error("DATABASE_URL leads to no adoption, so there is nothing to undo")]
    NothingToUndo,
    /// No random key.
    #[error("the system gives no random numbers")]
    NoRandom,
}

impl AdoptError {
    /// Returns the same for a run that has the adoption.
    pub(super) fn while_taken(self) -> Self {
        if matches!(self, Self::NotDone(_)) { self } else { Self::NotDone(Box::new(self)) }
    }

    /// Returns whether the command line or a setting is wrong.
    pub fn is_usage(&self) -> bool {
        match self {
            Self::OldTable(error) => error.is_usage(),
            Self::File(error) => error.is_usage(),
            Self::NotDone(error) => error.is_usage(),
            Self::Memory { .. } | Self::OtherOptions(_) | Self::OneConnection => true,
            Self::Unfit(_)
            | Self::Target(_)
            | Self::Migrate(_)
            | Self::NotEmpty
            | Self::ServiceWrote(_)
            | Self::WrittenMeanwhile(_)
            | Self::OtherRun
            | Self::Undoing
            | Self::NothingToUndo
            | Self::NoRandom => false,
        }
    }
}
