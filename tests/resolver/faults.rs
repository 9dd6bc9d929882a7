use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use futures::future::join_all;
use identity::domain::{Answer, Identifier, Outcome};
use identity::resolver::{Identify, IdentifyError, Resolver};
use identity::settings::{CacheSettings, QueueSettings};
use tokio::time;

use crate::faulty_store::{Fault, FaultyStore, Step, observation};

pub(crate) fn cache_settings() -> CacheSettings {
    CacheSettings { cache_size: 1 << 20, cache_max_age: Duration::from_secs(60) }
}

pub(crate) fn queue_settings(queue_limit: usize) -> QueueSettings {
    QueueSettings { queue_limit, transaction_size: 256, max_queue_wait: Duration::from_secs(1), max_contacts: 10_000 }
}

fn start(store: &FaultyStore) -> Resolver {
    Resolver::start(store.clone(), queue_settings(1000), cache_settings())
}

pub(crate) fn deadline() -> Instant {
    (time::Instant::now() + Duration::from_secs(10)).into_std()
}

/// A fault of every step of one kind with an identifier that contains `poison`.
fn poisoned(at: Step, fault: Fault) -> FaultyStore {
    FaultyStore::new(move |step, identifiers, _| {
        (step == at && identifiers.iter().any(|one| one.value().contains("poison"))).then_some(fault)
    })
}

/// Sends forty requests at once, so that they share statements. `emails` returns the e-mails of the n-th request. Every
/// eighth request carries the poison. Returns whether each answered request was poisoned, and its outcome.
async fn send_together(resolver: &Resolver, emails: impl Fn(usize) -> Vec<String>) -> Vec<(bool, Outcome)> {
    let calls = (0..40).map(|n| {
        let mut emails = emails(n);
        let is_poisoned = n % 8 == 0;
        if is_poisoned {
            emails.push(format!("poison{n}@x"));
        }
        let emails: Vec<&str> = emails.iter().map(String::as_str).collect();
        let call = resolver.identify(observation(&emails), deadline());
        async move { (is_poisoned, call.await) }
    });
    let refused = |error| assert_eq!(error, IdentifyError::Internal);
    let ended = join_all(calls).await.into_iter().filter_map(|(is_poisoned, answer): (bool, Result<Answer, _>)| {
        assert_eq!(answer.is_err(), is_poisoned);
        answer.map_err(refused).ok().map(|answer| (is_poisoned, answer.outcome))
    });
    ended.collect()
}

#[tokio::test(start_paused = true)]
async fn a_read_that_fails_or_panics_fails_one_request() {
    for fault in [Fault::Panic, Fault::Rejected] {
        let store = poisoned(Step::Read, fault);
        let resolver = start(&store);
        // More often than there are lanes.
        for _ in 0..10 {
            let answered = send_together(&resolver, |n| vec![format!("known{n}@x")]).await;
            assert!(answered.iter().all(|(_, outcome)| *outcome == Outcome::Matched));
        }
        // Five of forty are found in halves: at most 2 * 5 * log2(40) statements, and the first.
        assert!(store.count(Step::Read) <= 10 * 60, "{}", store.count(Step::Read));
    }
}

/// Asks for forty known customers at once. Returns their errors.
async fn ask_for_known(resolver: &Resolver) -> Vec<Option<IdentifyError>> {
    let ask = |n: usize| resolver.identify(observation(&[&format!("known{n}@x")]), deadline());
    join_all((0..40).map(ask)).await.into_iter().map(Result::err).collect()
}

#[tokio::test(start_paused = true)]
async fn a_look_at_roots_that_fails_or_panics_fails_one_request() {
    let faults = [
        (Fault::Panic, IdentifyError::Internal),
        (Fault::Rejected, IdentifyError::Internal),
        (Fault::TooSlow, IdentifyError::DeadlineExceeded),
    ];
    for (fault, error) in faults {
        let is_poisoned = |identifier: &Identifier| identifier.value() == "known8@x";
        let store = FaultyStore::new(move |step, identifiers, _| {
            (step == Step::Roots && identifiers.iter().any(is_poisoned)).then_some(fault)
        });
        let store = store.with_epoch();
        let resolver = start(&store);
        assert!(ask_for_known(&resolver).await.iter().all(Option::is_none));
        let reads = store.count(Step::Read);
        let errors = ask_for_known(&resolver).await;
        let expected: Vec<_> = (0..40).map(|n| (n == 8).then_some(error)).collect();
        assert_eq!(errors, expected, "{fault:?}");
        assert_eq!(store.count(Step::Read), reads, "the others are in memory");
    }
}

#[tokio::test(start_paused = true)]
async fn a_look_at_roots_that_loses_a_race_is_repeated() {
    let fault = |step, before| (step == Step::Roots && before < 3).then_some(Fault::LostRace);
    let store = FaultyStore::new(move |step, _: &[Identifier], before| fault(step, before)).with_epoch();
    let resolver = start(&store);
    for _ in 0..2 {
        assert!(ask_for_known(&resolver).await.iter().all(Option::is_none));
    }
    assert!(store.count(Step::Roots) > 3, "{}", store.count(Step::Roots));
}

#[tokio::test(start_paused = true)]
async fn a_transaction_that_fails_or_panics_fails_one_request() {
    for fault in [Fault::Panic, Fault::Rejected, Fault::Faulty] {
        let store = poisoned(Step::Apply, fault);
        let resolver = start(&store);
        for round in 0..10 {
            let answered = send_together(&resolver, |n| vec![format!("new{n}.{round}@x")]).await;
            assert!(answered.iter().all(|(_, outcome)| *outcome == Outcome::Created));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_fault_that_hits_every_request_is_not_searched_for_in_one() {
    let store = poisoned(Step::Apply, Fault::Faulty);
    let resolver = start(&store);
    let identify = |n: usize| resolver.identify(observation(&[&format!("poison{n}@x")]), deadline());
    for answer in join_all((0..256).map(identify)).await {
        assert_eq!(answer.err(), Some(IdentifyError::Internal));
    }
    assert!((1..=20).contains(&store.count(Step::Apply)), "{}", store.count(Step::Apply));
    let store = poisoned(Step::Read, Fault::Faulty);
    let resolver = start(&store);
    let identify = |n: usize| resolver.identify(observation(&[&format!("poison{n}@x")]), deadline());
    for answer in join_all((0..256).map(identify)).await {
        assert_eq!(answer.err(), Some(IdentifyError::Internal));
    }
    assert!((1..=40).contains(&store.count(Step::Read)), "{}", store.count(Step::Read));
}

/// A trigger that another connection has dropped, and that this one has not seen to be gone.
#[tokio::test(start_paused = true)]
async fn what_fails_by_tables_as_they_were_starts_over_once() {
    for (failures, applied, answer) in [(1, 2, Ok(Outcome::Created)), (9, 2, Err(IdentifyError::Internal))] {
        let fault =
            move |step, _: &[Identifier], before| (step == Step::Apply && before < failures).then_some(Fault::Outdated);
        let store = FaultyStore::new(fault);
        let answered = start(&store).identify(observation(&["new1@x"]), deadline()).await;
        assert_eq!(answered.map(|answer| answer.outcome), answer);
        assert_eq!((store.count(Step::Apply), store.count(Step::Find)), (applied, 1), "the second begins with a read");
    }
}

/// Sends 256 new customers at once, some of whom the database refuses. Returns how many transactions were tried.
async fn transactions_with_refused(is_refused: impl Fn(usize) -> bool) -> usize {
    let store = poisoned(Step::Apply, Fault::Rejected);
    let resolver = start(&store);
    let identify = |n: usize| {
        let email = if is_refused(n) { format!("poison{n}@x") } else { format!("new{n}@x") };
        resolver.identify(observation(&[&email]), deadline())
    };
    for (n, answer) in join_all((0..256).map(identify)).await.into_iter().enumerate() {
        assert_eq!(answer.err(), is_refused(n).then_some(IdentifyError::Internal), "{n}");
    }
    store.count(Step::Apply)
}

/// No error says whether a trigger refuses every row or some of them, so each request is tried alone.
#[tokio::test(start_paused = true)]
async fn a_trigger_that_refuses_every_row_costs_a_transaction_for_each_and_few_more() {
    let tried = transactions_with_refused(|_| true).await;
    assert!((256..256 + 40).contains(&tried), "{tried}"); // In up to three groups.
    let tried = transactions_with_refused(|n| n < 8).await;
    assert!((8..40).contains(&tried), "the others go together again: {tried}");
    let tried = transactions_with_refused(|n| n == 100).await;
    assert!((1..30).contains(&tried), "{tried}");
}

#[tokio::test(start_paused = true)]
async fn a_list_is_read_to_its_end_whatever_one_item_does() {
    let store = poisoned(Step::Read, Fault::Panic);
    let resolver = start(&store);
    for _ in 0..10 {
        let emails = (0..20).map(|n| if n == 7 { "poison@x".to_owned() } else { format!("known{n}@x") });
        let list = emails.map(|email| observation(&[&email])).collect();
        let answers = resolver.identify_all(list, deadline()).await.unwrap();
        for (n, answer) in answers.iter().enumerate() {
            assert_eq!(answer.as_ref().err(), (n == 7).then_some(&IdentifyError::Internal), "{n}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_read_that_loses_races_starts_over_until_the_deadline() {
    let store = FaultyStore::new(|step, _, before| (step == Step::Read && before < 20).then_some(Fault::LostRace));
    let answer = start(&store).identify(observation(&["known1@x"]), deadline()).await.unwrap();
    assert_eq!(answer.outcome, Outcome::Matched);

    let store = FaultyStore::new(|step, _, _| (step == Step::Read).then_some(Fault::LostRace));
    let refusal = start(&store).identify(observation(&["known1@x"]), deadline()).await.unwrap_err();
    assert_eq!(refusal, IdentifyError::DeadlineExceeded);
    assert!(store.count(Step::Read) < 1000, "it pauses: {} reads", store.count(Step::Read));
}

#[tokio::test(start_paused = true)]
async fn what_nobody_wrote_since_is_not_read_again_under_the_lock() {
    let store = FaultyStore::new(|_, _, _| None);
    let resolver = start(&store);
    let links = resolver.identify(observation(&["known1@x", "new@x"]), deadline());
    let merges = resolver.identify(observation(&["known2@x", "known3@x"]), deadline());
    let (links, merges) = tokio::join!(links, merges);
    assert_eq!((links.unwrap().outcome, merges.unwrap().outcome), (Outcome::Linked, Outcome::Merged));
    assert_eq!((store.count(Step::Read), store.count(Step::Find)), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn an_identity_that_never_stays_is_not_chased_without_a_pause() {
    let store = FaultyStore::restless();
    let refusal = start(&store).identify(observation(&["known1@x", "new@x"]), deadline()).await.unwrap_err();
    assert_eq!(refusal, IdentifyError::DeadlineExceeded);
    assert!(store.count(Step::Find) < 1000, "it pauses: {} transactions", store.count(Step::Find));
}

/// If the deleted contact counted as gone, other identities could take its identifiers.
#[tokio::test(start_paused = true)]
async fn a_deleted_contact_that_a_read_leaves_out_is_no_gone_one() {
    let store = FaultyStore::torn();
    let answer = start(&store).identify(observation(&["known1@x"]), deadline()).await.unwrap();
    assert_eq!(answer.outcome, Outcome::Matched);
    assert_eq!(store.count(Step::Find), 2, "the lock has found it, the first read has not");
}

#[tokio::test(start_paused = true)]
async fn a_taken_id_fails_those_that_need_a_new_one() {
    let brings = |identifiers: &[Identifier]| !identifiers.is_empty();
    let store = FaultyStore::new(move |step, new, _| (step == Step::Apply && brings(new)).then_some(Fault::IdTaken));
    let resolver = start(&store);
    let merges = resolver.identify(observation(&["known1@x", "known2@x"]), deadline());
    let creates = resolver.identify(observation(&["new@x"]), deadline());
    let links = resolver.identify(observation(&["known3@x", "newer@x"]), deadline());
    let (merges, creates, links) = tokio::join!(merges, creates, links);
    assert_eq!(merges.unwrap().outcome, Outcome::Merged);
    assert_eq!((creates.unwrap_err(), links.unwrap_err()), (IdentifyError::IdTaken, IdentifyError::IdTaken));
}

#[tokio::test(start_paused = true)]
async fn health_outlives_a_panic() {
    let store = FaultyStore::new(|step, _, before| (step == Step::Ping && before == 2).then_some(Fault::Panic));
    let resolver = start(&store);
    let mut state = resolver.database_state();
    let turns = async {
        state.wait_for(|state| !state.is_usable()).await.unwrap();
        state.wait_for(|state| state.is_usable()).await.unwrap();
    };
    time::timeout(Duration::from_secs(60), turns).await.unwrap();
}

/// A time limit of the server ends a statement about one customer.
#[tokio::test(start_paused = true)]
async fn a_statement_that_the_server_ends_fails_alone() {
    for (at, known) in [(Step::Read, "known"), (Step::Apply, "new")] {
        let resolver = start(&poisoned(at, Fault::CutShort));
        let calls = (0..40).map(|n| {
            let email = if n % 8 == 0 { format!("poison{n}@x") } else { format!("{known}{n}@x") };
            let call = resolver.identify(observation(&[&email]), deadline());
            async move { (n, call.await) }
        });
        for (n, answer) in join_all(calls).await {
            assert_eq!(answer.err(), (n % 8 == 0).then_some(IdentifyError::Unavailable), "{n}");
        }
        assert!(resolver.database_state().borrow().is_usable());
    }
}

/// Asks for a new customer at the till, beside another. Returns how many identifiers his answer leaves out.
async fn left_out(store: &FaultyStore) -> usize {
    let resolver = start(store);
    let [till, other] =
        [&["new0@x", "till@x"][..], &["new1@x"]].map(|emails| resolver.identify(observation(emails), deadline()));
    let (till, other) = tokio::join!(till, other);
    assert_eq!(other.unwrap().outcome, Outcome::Created);
    till.unwrap().ignored.len()
}

/// It was read as ignored, and counts by the time of the transaction.
#[tokio::test(start_paused = true)]
async fn what_was_ignored_is_read_again_after_a_failure_and_in_another_epoch() {
    for fault in [None, Some(Fault::LostRace), Some(Fault::Rejected), Some(Fault::TooSlow), Some(Fault::Unavailable)] {
        let once = move |step, _: &[Identifier], before| fault.filter(|_| step == Step::Apply && before == 0);
        let store = FaultyStore::new(once).with_epoch();
        assert_eq!(left_out(&store.clone().ignoring((true, true))).await, 1, "{fault:?}");
    }
    for fault in [Fault::LostRace, Fault::Rejected, Fault::Unavailable] {
        let once = move |step, _: &[Identifier], before| (step == Step::Apply && before == 0).then_some(fault);
        let store = FaultyStore::new(once).with_epoch().ignoring((true, false));
        assert_eq!(left_out(&store).await, 0, "{fault:?}");
    }
    let generation = Arc::new(AtomicU64::new(1));
    let of_store = Arc::clone(&generation);
    // The pool leads to another server during the read, and the transaction sees only that one.
    let another = move |step, _: &[Identifier], _| {
        if step == Step::Read {
            generation.fetch_add(1, Ordering::Relaxed);
        }
        None
    };
    let store = FaultyStore::new(another).with_generation(of_store).ignoring((true, false));
    assert_eq!(left_out(&store).await, 0);
}

/// Its caller left while the transaction read under its locks.
#[tokio::test(start_paused = true)]
async fn nothing_is_written_for_whom_nobody_waits() {
    let statement = Duration::from_millis(100);
    let store = FaultyStore::slow(statement, statement);
    let resolver = start(&store);
    let identify = |within| resolver.identify(observation(&["new1@x"]), (time::Instant::now() + within).into_std());
    assert_eq!(identify(statement * 100).await.unwrap().outcome, Outcome::Created);
    // The store forgets it, so it is read again: outside a transaction, and in one.
    assert_eq!(identify(statement * 3 / 2).await.unwrap_err(), IdentifyError::DeadlineExceeded);
    time::sleep(statement * 10).await;
    assert_eq!((store.count(Step::Find), store.count(Step::Apply)), (1, 1));
}
