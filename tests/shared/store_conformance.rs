//! What every store must do, whatever keeps its rows: what the resolver relies on.
//!
//! The suite runs on each real database (`tests/it/store_conformance.rs`) and on the simulated one
//! (`tests/simulation/store_conformance.rs`), so that the simulation cannot drift away from reality. Each case gets an
//! empty store. A store with one writer at a time ([`Transaction::is_exclusive`]) is excused from the cases about
//! transactions side by side: they say so.

#![allow(clippy::expect_used, reason = "tests")]

#[path = "store_conformance/changes.rs"]
mod changes;
#[path = "store_conformance/evidence.rs"]
mod evidence;
#[path = "store_conformance/ignored.rs"]
mod ignored;
#[path = "store_conformance/lookups.rs"]
mod lookups;
#[path = "store_conformance/roots.rs"]
mod roots;
#[path = "store_conformance/transactions.rs"]
mod transactions;

use std::collections::BTreeSet;

use identity::domain::{
    Answer, Contact, ContactId, Identifier, IdentifierKind, Identity, Link, Observation, RootRow, plan,
};
use identity::store::{ExpectedSize, IfNothing, Store, StoreError, Transaction};

pub(crate) use changes::*;
pub(crate) use evidence::*;
pub(crate) use ignored::*;
pub(crate) use lookups::*;
pub(crate) use roots::*;
pub(crate) use transactions::*;

/// Names every case to a macro: `for_each_case!(my_macro)`.
macro_rules! for_each_case {
    ($with:ident) => {
        $with!(
            an_empty_store_owns_nothing,
            what_was_planned_is_found,
            a_merge_moves_all_contacts_of_the_absorbed_identity,
            a_merge_of_several_identities_moves_each_to_its_own_primary,
            a_moved_row_is_written_and_no_other,
            every_change_of_an_identity_gives_its_root_a_later_version,
            a_note_is_that_of_the_first_who_saw_its_set,
            rows_of_roots_are_what_is_stored,
            a_stored_set_leads_to_a_root_or_to_none,
            a_set_that_leads_elsewhere_is_stored_anew,
            rows_of_identifiers_lead_to_roots_and_versions,
            identities_of_roots_are_what_their_identifiers_find,
            a_secondary_leads_to_its_root,
            roots_come_in_order_and_each_once,
            a_read_of_roots_looks_at_few_rows,
            a_transaction_reads_what_the_store_reads,
            the_past_of_an_identity_is_all_that_is_stored_of_it,
            a_read_of_small_identities_ends_at_a_large_one,
            one_lookup_takes_many_identifiers,
            an_identity_of_many_contacts_is_found_completely,
            values_are_equal_by_bytes,
            ids_rise_in_the_order_of_the_plan,
            a_dropped_transaction_leaves_nothing,
            an_owned_identifier_is_a_duplicate_key,
            a_lock_returns_the_version_of_each_row_that_exists,
            a_lock_returns_no_version_of_a_linked_row,
            every_statement_sees_earlier_commits,
            a_locked_row_is_waited_for,
            rows_that_others_have_locked_are_known,
            of_two_first_sightings_one_wins,
            the_clock_does_not_go_back,
            an_ignored_identifier_belongs_to_nobody,
            what_an_identity_owned_is_shown_when_it_is_ignored,
            what_counts_again_belongs_to_the_oldest_who_shows_it,
        );
    };
}
pub(crate) use for_each_case;

/// A store in which an operator can ignore identifiers.
pub(crate) trait IgnoresIdentifiers {
    /// Ignores an identifier, in a transaction of its own.
    async fn ignore(&self, identifier: &Identifier);

    /// Lets it count again, the same way.
    async fn stop_ignoring(&self, identifier: &Identifier);
}

fn email(value: &str) -> Identifier {
    Identifier::from_stored(IdentifierKind::Email, value)
}

fn phone(value: &str) -> Identifier {
    Identifier::from_stored(IdentifierKind::Phone, value)
}

fn observation(identifiers: &[Identifier]) -> Observation {
    Observation::new(identifiers.iter().cloned()).expect("an identifier")
}

async fn find<S: Store>(store: &S, identifiers: &[Identifier]) -> Vec<Identity> {
    store
        .find_identities(identifiers, ExpectedSize::Usual, IfNothing::CheckServer)
        .await
        .expect("a read")
        .found
        .identities
}

/// Writes what these observations need, in a transaction that is not committed.
async fn write<T: Transaction>(transaction: &mut T, observations: &[Observation]) -> Result<Vec<Answer>, StoreError> {
    let identifiers: BTreeSet<Identifier> = observations.iter().flat_map(|one| one.identifiers().to_vec()).collect();
    let identifiers: Vec<Identifier> = identifiers.into_iter().collect();
    let found = transaction.find_identities(&identifiers, ExpectedSize::Usual).await?;
    let roots: BTreeSet<ContactId> = found.identities.iter().map(Identity::root).collect();
    if !roots.is_empty() {
        transaction.lock_contacts(&roots).await?;
    }
    let now = transaction.now();
    let known = found.into_snapshot();
    let first = plan(observations, &known, now, 10_000);
    let (sets, roots) = first.evidence_to_look_up(false);
    let known =
        if sets.is_empty() { known } else { known.with_evidence(transaction.stored_evidence(&sets, roots).await?) };
    let plan = plan(observations, &known, now, 10_000);
    let ids = if plan.is_empty() { Vec::new() } else { transaction.apply(&plan).await? };
    Ok(plan.answers(&ids).into_iter().map(|answer| answer.expect("a small identity")).collect())
}

/// The same, committed.
async fn identify<S: Store>(store: &S, observations: &[&[Identifier]]) -> Vec<Answer> {
    let observations: Vec<Observation> = observations.iter().map(|one| observation(one)).collect();
    let mut transaction = store.begin().await.expect("a transaction");
    let answers = write(&mut transaction, &observations).await.expect("a write");
    transaction.commit().await.expect("a commit");
    answers
}

/// Asserts that these identifiers belong to the identities of these answers, and that each answer is what is stored: a
/// copy for later, row by row.
async fn assert_found<S: Store>(store: &S, identifiers: &[Identifier], answers: &[&Answer]) {
    let mut expected: Vec<Identity> = answers.iter().map(|answer| (**answer.identity.list()).clone()).collect();
    expected.sort_by_key(Identity::root);
    for size in [ExpectedSize::Usual, ExpectedSize::Large] {
        let mut found =
            store.find_identities(identifiers, size, IfNothing::CheckServer).await.expect("a read").found.identities;
        found.sort_by_key(Identity::root);
        assert_eq!(found, expected, "whatever size is expected");
    }
}

/// Whether one transaction at a time writes.
async fn is_exclusive<S: Store>(store: &S) -> bool {
    store.begin().await.expect("a transaction").is_exclusive()
}

/// What a root's row says.
fn root_row(contact: &Contact) -> RootRow {
    let linked_to = match contact.link {
        Link::Primary => None,
        Link::SecondaryOf(primary) => Some(primary),
    };
    RootRow { id: contact.id, updated_at: contact.updated_at, is_deleted: false, linked_to }
}

async fn root_rows<S: Store>(store: &S, roots: &[ContactId]) -> Vec<RootRow> {
    let mut rows = store.root_rows(roots).await.expect("a read");
    rows.sort_by_key(|row| row.id);
    rows.dedup();
    rows
}
