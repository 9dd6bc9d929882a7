//! Keeping copies of the identities that a transaction has written.
//!
//! A large one takes milliseconds. Nothing is locked any more, so other tasks run after each.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use tokio::task::yield_now;
use tokio::time::Instant;

use super::cache::{IdentityCache, ReadAt};
use super::job::Job;
use super::large_identities::is_large;
use super::write_transaction::Committed;
use crate::domain::{Answer, ContactId, Identifier, Identity, Outcome, SetKey};

/// Keeps copies of the identities as the transaction left them. `read_at` says when the copies were read that it
/// started from.
pub(super) async fn keep_copies(
    cache: &IdentityCache,
    jobs: &[Job],
    committed: &Committed,
    read_at: &HashMap<ContactId, Instant>,
) {
    let Some(epoch) = committed.epoch.filter(|_| cache.is_on()) else { return };
    let mut asked: BTreeMap<ContactId, (&Arc<Identity>, Vec<&Identifier>)> = BTreeMap::new();
    for (job, answer) in jobs.iter().zip(&committed.answers) {
        let Ok(answer) = answer else { continue };
        let identity = answer.identity.list();
        let joining = job.identifiers().iter().filter(|identifier| !answer.ignored.contains(identifier));
        let read = ReadAt { epoch, time: committed.begun };
        if let Some(set) = settled_set(job, answer) {
            cache.settle(set, identity, read);
        }
        if committed.full.contains(&identity.root()) {
            cache.settle_all(identity, read);
        }
        asked.entry(identity.root()).or_insert((identity, Vec::new())).1.extend(joining);
        if is_large(identity) {
            yield_now().await;
        }
    }
    for (identity, asked) in asked.into_values() {
        let time = oldest_source(identity, read_at).map_or(committed.begun, |read| read.min(committed.begun));
        cache.put(identity, ReadAt { epoch, time }, asked);
        if is_large(identity) {
            yield_now().await;
        }
    }
}

/// Returns the set of a job that no contact carries: the transaction has stored it, or found that it needs no write.
fn settled_set(job: &Job, answer: &Answer) -> Option<SetKey> {
    match answer.outcome {
        Outcome::Created | Outcome::Linked => return None, // Its contact carries it.
        Outcome::Matched | Outcome::Merged => {}
    }
    let joining = job.identifiers().iter().filter(|identifier| !answer.ignored.contains(identifier));
    let set: Vec<Identifier> = joining.cloned().collect();
    (set.len() > 1 && !answer.identity.list().carries_set(&set)).then(|| SetKey::of(&set))
}

/// Returns when the contacts of an identity were read that a transaction has made: it is as old as the oldest of the
/// identities that it joined. The root of one of those can be deleted.
fn oldest_source(identity: &Identity, read_at: &HashMap<ContactId, Instant>) -> Option<Instant> {
    identity.rows().filter_map(|row| read_at.get(&row.id).copied()).min()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::domain::{Contact, IdentifierKind, Link, Timestamp};

    #[tokio::test(start_paused = true)]
    async fn what_a_transaction_has_made_is_as_old_as_the_oldest_row_that_it_started_from() {
        let contact = |id: i64, link| {
            let email = Identifier::from_stored(IdentifierKind::Email, format!("{id}@x"));
            Contact::new(ContactId(id), [email], Timestamp(id), link)
        };
        let live = vec![contact(2, Link::Primary), contact(3, Link::SecondaryOf(ContactId(2)))];
        let deleted = contact(1, Link::SecondaryOf(ContactId(2)));
        let identity = Identity::new(live).unwrap().with_deleted(vec![deleted]);
        let now = Instant::now();
        let before = |seconds| now - Duration::from_secs(seconds);
        let mut read_at = HashMap::from([(ContactId(7), before(40))]);
        assert_eq!(oldest_source(&identity, &read_at), None);
        for (id, seconds) in [(2, 10), (3, 20), (1, 30)] {
            read_at.insert(ContactId(id), before(seconds));
            assert_eq!(oldest_source(&identity, &read_at), Some(before(seconds)), "{id}");
        }
    }
}
