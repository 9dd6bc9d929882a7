//! The row of table `Adoption`, and which run may write.
//!
//! Each run takes the row by a random text of its own ([`RunToken`]). Every transaction of a run begins with a change
//! of the row that names this text. So a run that has lost the row to another one writes nothing more.

use std::time::Duration;

use sea_orm::ActiveValue::Set;
use sea_orm::sea_query::Expr;
use sea_orm::{
    ColumnTrait, ConnectionTrait, DatabaseTransaction, DeleteMany, EntityTrait, QueryFilter, TransactionTrait,
    UpdateMany,
};
use serde_json::Value;
use tokio::time::{sleep, timeout};

use crate::domain::Timestamp;
use crate::store::catalogue::UNFINISHED_ADOPTION;
use crate::store::database::{self, Database};
use crate::store::entity::adoption::{self, Column};
use crate::store::error::{Cause, StoreError};
use crate::store::rows::{from_naive, to_naive};
use crate::store::schema;
use crate::store::traits::{Store, Transaction};

/// The id of the row.
const ID: i64 = 1;

/// What an adoption does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum AdoptionPhase {
    /// Contacts are compared with the old table, and written.
    Contacts,
    /// Identifiers get their owners.
    Identifiers,
    /// Merges are written.
    Merges,
    /// Everything that was read is written, but the old table changed meanwhile: the same command runs again.
    Behind,
    /// It was done, and a run sees whether the service has written since. The service stops.
    Checking,
    /// All of the old table is here. The service may serve.
    Done,
    /// The tables are emptied.
    Undoing,
}

impl AdoptionPhase {
    /// The phases in which a run goes on: which one it is changes while another run works.
    const UNDER_WAY: [Self; 3] = [Self::Contacts, Self::Identifiers, Self::Merges];

    /// Returns the phases that are the same to a run that takes the adoption.
    fn alike(&self) -> &[Self] {
        if Self::UNDER_WAY.contains(self) { &Self::UNDER_WAY } else { std::slice::from_ref(self) }
    }

    /// All phases.
    const ALL: [Self; 7] =
        [Self::Contacts, Self::Identifiers, Self::Merges, Self::Behind, Self::Checking, Self::Done, Self::Undoing];

    /// Whether all of the old table was here when a run ended last, and no further run has begun.
    pub fn is_or_was_done(self) -> bool {
        matches!(self, Self::Checking | Self::Done)
    }

    /// Returns its name in the table.
    pub fn name(self) -> &'static str {
        match self {
            Self::Contacts => "contacts",
            Self::Identifiers => "identifiers",
            Self::Merges => "merges",
            Self::Behind => "behind",
            Self::Checking => "checking",
            Self::Done => "done",
            Self::Undoing => "undoing",
        }
    }
}

/// The state of an adoption.
#[derive(Clone, Debug, PartialEq)]
pub struct AdoptionState {
    /// The options that it began with, by name.
    pub options: Value,
    /// What it does next.
    pub phase: AdoptionPhase,
    /// The greatest id of a contact that it has written, apart from holders.
    pub last_contact_id: i64,
    /// The greatest id of a merge that it has written.
    pub last_merge_id: i64,
    /// What the tables had when a run ended last: see [`Database::digest_of_tables`].
    pub content: String,
    /// When it began.
    pub started_at: Timestamp,
    /// The run that has it.
    pub run: String,
}

/// A random text that names a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunToken(String);

impl RunToken {
    /// Returns the text of these random bytes.
    pub fn new(random: [u8; 16]) -> Self {
        Self(random.iter().map(|byte| format!("{byte:02x}")).collect())
    }
}

/// A run that has taken the adoption. It writes as long as no other run takes it.
#[derive(Clone, Debug)]
pub struct AdoptionRun {
    pub(super) token: RunToken,
    /// The greatest id of a contact that the adoption has written. What is above was written by somebody else, or is a
    /// holder.
    pub last_contact_id: i64,
    /// The greatest id of a merge that the adoption has written.
    pub last_merge_id: i64,
    /// When the adoption began.
    pub started_at: Timestamp,
}

/// Attempts at a transaction that loses races.
const ATTEMPTS: u32 = 6;

/// How long a running service waits for an answer whether an adoption has begun.
const QUESTION_WITHIN: Duration = Duration::from_secs(1);

/// How long a transaction of a few thousand rows may take. A hung connection must not hang the command.
const TRANSACTION_WITHIN: Duration = Duration::from_secs(300);

impl Database {
    /// Returns the state of the adoption, if there is one. The tables need not be there.
    ///
    /// # Errors
    /// As every read.
    pub async fn adoption(&self) -> Result<Option<AdoptionState>, StoreError> {
        let connection = self.connection();
        if !schema::has_adoption(&connection, self.engine()).await? {
            return Ok(None);
        }
        let Some(row) = adoption::Entity::find_by_id(ID).one(&connection).await? else { return Ok(None) };
        let phase = AdoptionPhase::ALL.into_iter().find(|phase| phase.name() == row.phase);
        Ok(Some(AdoptionState {
            options: row.options,
            phase: phase.ok_or_else(|| StoreError::Rejected(Cause::new("an unknown phase of the adoption")))?,
            last_contact_id: row.last_contact_id,
            last_merge_id: row.last_merge_id,
            content: row.content,
            started_at: from_naive(row.started_at),
            run: row.run,
        }))
    }

    /// Returns whether an adoption is under way. The tables are there: `serve` asks this again and again.
    ///
    /// # Errors
    /// As every read.
    pub async fn has_unfinished_adoption(&self) -> Result<bool, StoreError> {
        let statement = self.engine().statement(UNFINISHED_ADOPTION.to_owned(), Vec::new());
        let connection = self.connection();
        // Not by a lease: the probe watches the connections, and this is not to have a say.
        let found = timeout(QUESTION_WITHIN, connection.query_one_raw(statement)).await;
        Ok(found.map_err(|_| StoreError::TimedOut(QUESTION_WITHIN))??.is_some())
    }

    /// Returns whether the tables that an adoption fills are there.
    ///
    /// # Errors
    /// As every read.
    pub async fn has_contact_tables(&self) -> Result<bool, StoreError> {
        Ok(schema::has_contact_tables(&self.connection(), self.engine()).await?)
    }

    /// Records that an adoption begins.
    ///
    /// # Errors
    /// As every write. [`StoreError::DuplicateKey`] if another one has begun.
    pub async fn begin_adoption(
        &self,
        options: &Value,
        at: Timestamp,
        token: RunToken,
    ) -> Result<AdoptionRun, StoreError> {
        let row = adoption::ActiveModel {
            id: Set(ID),
            options: Set(options.clone()),
            phase: Set(AdoptionPhase::Contacts.name().to_owned()),
            progress: Set(0),
            contacts: Set(0),
            last_contact_id: Set(0),
            last_merge_id: Set(0),
            content: Set(String::new()),
            run: Set(token.0.clone()),
            started_at: Set(to_naive(at)?),
        };
        let insert =
            async || Ok(adoption::Entity::insert(row.clone()).exec_without_returning(&self.connection()).await?);
        again_after_lost_race(insert).await?;
        Ok(AdoptionRun { token, last_contact_id: 0, last_merge_id: 0, started_at: at })
    }

    /// Takes an adoption from the run that has it, and records what is done next.
    ///
    /// # Errors
    /// As every write. Another run may have taken it, or changed it, since the state was read.
    pub async fn take_adoption(
        &self,
        state: &AdoptionState,
        phase: AdoptionPhase,
        token: RunToken,
    ) -> Result<AdoptionRun, StoreError> {
        let take = take_statement(state, phase, &token);
        let taken = again_after_lost_race(async || Ok(take.clone().exec(&self.connection()).await?)).await?;
        if taken.rows_affected != 1 {
            return Err(taken_by_another());
        }
        // The run before may have committed rows after the state was read.
        let now = self.adoption().await?.filter(|now| now.run == token.0).ok_or_else(taken_by_another)?;
        let AdoptionState { last_contact_id, last_merge_id, started_at, .. } = now;
        Ok(AdoptionRun { token, last_contact_id, last_merge_id, started_at })
    }

    /// Records what the adoption does next.
    ///
    /// # Errors
    /// As every write. Another run may have taken it.
    pub async fn enter_adoption_phase(&self, run: &AdoptionRun, phase: AdoptionPhase) -> Result<(), StoreError> {
        again_after_lost_race(async || set_progress(&self.connection(), run, phase, 0).await).await
    }

    /// Records that everything that was read is written, and what there is now.
    ///
    /// # Errors
    /// As every write. Another run may have taken it.
    pub async fn end_adoption(
        &self,
        run: &AdoptionRun,
        phase: AdoptionPhase,
        contacts: u64,
        content: &str,
    ) -> Result<(), StoreError> {
        let end = end_statement(run, phase, contacts, content);
        let ended = again_after_lost_race(async || Ok(end.clone().exec(&self.connection()).await?)).await?;
        if ended.rows_affected == 1 { Ok(()) } else { Err(taken_by_another()) }
    }

    /// Deletes the row.
    ///
    /// # Errors
    /// As every write. Another run may have taken it.
    pub async fn forget_adoption(&self, run: &AdoptionRun) -> Result<(), StoreError> {
        let row = delete_statement(run);
        let deleted = again_after_lost_race(async || Ok(row.clone().exec(&self.connection()).await?)).await?;
        if deleted.rows_affected == 1 { Ok(()) } else { Err(taken_by_another()) }
    }

    /// Runs a transaction that writes rows and this progress, if the run still has the adoption. Starts over after a
    /// lost race.
    pub(super) async fn in_run(
        &self,
        run: &AdoptionRun,
        phase: AdoptionPhase,
        progress: i64,
        work: impl AsyncFn(&DatabaseTransaction) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        transaction_in_time(async || {
            let transaction = self.connection().begin_with_options(self.begin_options()).await?;
            set_progress(&transaction, run, phase, progress).await?;
            work(&transaction).await?;
            Ok(transaction.commit().await?)
        })
        .await
    }

    /// Does what [`in_run`](Self::in_run) does, with a transaction that knows the database's time. The phase is that of
    /// merges.
    pub(super) async fn in_run_with_clock(
        &self,
        run: &AdoptionRun,
        work: impl AsyncFn(&mut database::DatabaseTransaction) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        transaction_in_time(async || {
            let mut transaction = self.begin().await?;
            set_progress(&transaction.transaction, run, AdoptionPhase::Merges, 0).await?;
            work(&mut transaction).await?;
            transaction.commit().await
        })
        .await
    }
}

/// Does this transaction within [`TRANSACTION_WITHIN`], and again after a lost race.
async fn transaction_in_time(work: impl AsyncFn() -> Result<(), StoreError>) -> Result<(), StoreError> {
    let in_time =
        async || timeout(TRANSACTION_WITHIN, work()).await.unwrap_or(Err(StoreError::TimedOut(TRANSACTION_WITHIN)));
    again_after_lost_race(in_time).await
}

/// Does this again after a lost race, a few times. The server may still do what a killed run asked for last, and holds
/// its locks until that is done.
pub(super) async fn again_after_lost_race<T>(work: impl AsyncFn() -> Result<T, StoreError>) -> Result<T, StoreError> {
    let mut attempt = 1;
    loop {
        match work().await {
            Err(StoreError::LostRace(_)) if attempt < ATTEMPTS => {
                sleep(Duration::from_millis(100 << attempt)).await;
                attempt += 1;
            }
            done => return done,
        }
    }
}

/// Records the progress, in the transaction that makes it. Fails if another run has taken the adoption.
pub(super) async fn set_progress(
    connection: &impl ConnectionTrait,
    run: &AdoptionRun,
    phase: AdoptionPhase,
    progress: i64,
) -> Result<(), StoreError> {
    let set = progress_statement(run, phase, progress).exec(connection).await?;
    if set.rows_affected == 1 { Ok(()) } else { Err(taken_by_another()) }
}

/// Takes the adoption from the run of this state, if that has it in this phase, or in one that is the same to the run
/// that takes it.
pub(super) fn take_statement(
    from: &AdoptionState,
    phase: AdoptionPhase,
    token: &RunToken,
) -> UpdateMany<adoption::Entity> {
    adoption::Entity::update_many()
        .col_expr(Column::Run, Expr::value(token.0.clone()))
        .col_expr(Column::Phase, Expr::value(phase.name()))
        .filter(Column::Id.eq(ID))
        .filter(Column::Run.eq(from.run.as_str()))
        .filter(Column::Phase.is_in(from.phase.alike().iter().map(|phase| phase.name())))
}

/// The statement of [`set_progress`].
pub(super) fn progress_statement(
    run: &AdoptionRun,
    phase: AdoptionPhase,
    progress: i64,
) -> UpdateMany<adoption::Entity> {
    adoption::Entity::update_many()
        .col_expr(Column::Phase, Expr::value(phase.name()))
        .col_expr(Column::Progress, Expr::value(progress))
        .col_expr(Column::LastContactId, Expr::value(run.last_contact_id))
        .col_expr(Column::LastMergeId, Expr::value(run.last_merge_id))
        .filter(Column::Id.eq(ID))
        .filter(Column::Run.eq(run.token.0.as_str()))
}

/// The statement of [`Database::end_adoption`].
pub(super) fn end_statement(
    run: &AdoptionRun,
    phase: AdoptionPhase,
    contacts: u64,
    content: &str,
) -> UpdateMany<adoption::Entity> {
    let update = adoption::Entity::update_many()
        .col_expr(Column::Phase, Expr::value(phase.name()))
        .col_expr(Column::Progress, Expr::value(0_i64))
        .col_expr(Column::Contacts, Expr::value(i64::try_from(contacts).unwrap_or(i64::MAX)))
        .col_expr(Column::LastContactId, Expr::value(run.last_contact_id))
        .col_expr(Column::LastMergeId, Expr::value(run.last_merge_id))
        .col_expr(Column::Content, Expr::value(content));
    update.filter(Column::Id.eq(ID)).filter(Column::Run.eq(run.token.0.as_str()))
}

/// The statement of [`Database::forget_adoption`].
pub(super) fn delete_statement(run: &AdoptionRun) -> DeleteMany<adoption::Entity> {
    adoption::Entity::delete_many().filter(Column::Id.eq(ID)).filter(Column::Run.eq(run.token.0.as_str()))
}

fn taken_by_another() -> StoreError {
    StoreError::Rejected(Cause::new("another run of `identity adopt` has taken over, so this one ends"))
}
