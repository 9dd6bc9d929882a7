//! Requests with `validate_only`: what they read, and that they never reach a transaction that writes.

use std::sync::{Arc, Mutex};

use futures::future::join_all;
use identity::domain::{Answer, ContactId, Outcome};
use identity::resolver::{Identify, IdentifyError, IdentifyRequest, Resolver};
use identity::settings::QueueSettings;

use crate::faults::{cache_settings, deadline, queue_settings};
use crate::faulty_store::{Fault, FaultyStore, LARGE, Step, observation};

fn start(store: &FaultyStore) -> Resolver {
    let settings = QueueSettings { max_contacts: 700, ..queue_settings(1_000) };
    Resolver::start(store.clone(), settings, cache_settings())
}

fn dry(emails: &[&str]) -> IdentifyRequest {
    IdentifyRequest { validate_only: true, ..observation(emails) }
}

fn contacts(answer: &Answer) -> Vec<ContactId> {
    answer.identity.contacts().map(|contact| contact.id).collect()
}

fn writes(store: &FaultyStore) -> usize {
    store.count(Step::Find) + store.count(Step::Apply)
}

#[tokio::test(start_paused = true)]
async fn they_are_answered_by_reads_alone() {
    for store in [FaultyStore::new(|_, _, _| None), FaultyStore::new(|_, _, _| None).with_epoch()] {
        let store = store.ignoring((true, true));
        let resolver = start(&store);
        for _ in 0..2 {
            let ask = async |emails: &[&str]| resolver.identify(dry(emails), deadline()).await;
            let answer = ask(&["new@x"]).await.unwrap();
            assert_eq!((answer.outcome, contacts(&answer)), (Outcome::Created, vec![ContactId::UNKNOWN]));
            let answer = ask(&["known2@x", "new@x"]).await.unwrap();
            assert_eq!((answer.outcome, contacts(&answer)), (Outcome::Linked, vec![ContactId(2), ContactId::UNKNOWN]));
            let answer = ask(&["known2@x", "known1@x"]).await.unwrap();
            assert_eq!((answer.outcome, contacts(&answer)), (Outcome::Merged, vec![ContactId(1), ContactId(2)]));
            let answer = ask(&["known1@x"]).await.unwrap();
            assert_eq!((answer.outcome, contacts(&answer)), (Outcome::Matched, vec![ContactId(1)]));
            let answer = ask(&["known1@x", "till@x"]).await.unwrap();
            assert_eq!((answer.outcome, answer.ignored.len()), (Outcome::Matched, 1));
            assert_eq!(ask(&["till@x"]).await, Err(IdentifyError::OnlyIgnored));
            let answer = ask(&["large1@x", "new@x"]).await.unwrap();
            assert_eq!((answer.outcome, answer.identity.contact_count()), (Outcome::Linked, LARGE as usize + 1));
            let too_large = ask(&["large1@x", "large2@x"]).await;
            assert!(matches!(too_large, Err(IdentifyError::IdentityTooLarge(_))), "{too_large:?}");
        }
        assert_eq!(writes(&store), 0);
        assert_eq!(resolver.identify(observation(&["new@x"]), deadline()).await.unwrap().outcome, Outcome::Created);
        assert!(writes(&store) > 0);
    }
}

#[tokio::test(start_paused = true)]
async fn they_share_statements_with_the_others() {
    let store = FaultyStore::new(|_, _, _| None);
    let resolver = start(&store);
    let calls = (0..60).map(|n| {
        let emails = [format!("known{n}@x"), format!("new{n}@x")];
        resolver.identify(dry(&[&emails[0], &emails[1]]), deadline())
    });
    assert!(join_all(calls).await.iter().all(|answer| answer.as_ref().unwrap().outcome == Outcome::Linked));
    assert!(store.count(Step::Read) < 6, "{}", store.count(Step::Read));
}

#[tokio::test(start_paused = true)]
async fn they_fail_as_reads_do() {
    let store = FaultyStore::new(|step, _, _| (step == Step::Read).then_some(Fault::Unavailable));
    assert_eq!(start(&store).identify(dry(&["known1@x"]), deadline()).await, Err(IdentifyError::Unavailable));
    let store = FaultyStore::new(|step, identifiers, _| {
        (step == Step::Read && identifiers.iter().any(|one| one.value() == "poison@x")).then_some(Fault::Rejected)
    });
    let answers = start(&store).identify_all(vec![dry(&["poison@x"]), dry(&["known1@x"])], deadline()).await.unwrap();
    assert_eq!(answers[0], Err(IdentifyError::Internal));
    assert_eq!(answers[1].as_ref().unwrap().outcome, Outcome::Matched);
}

/// A read without the root proves nothing. It is read again under locks, alone and in a batch.
#[tokio::test(start_paused = true)]
async fn what_is_no_proof_is_read_under_locks() {
    for in_batch in [false, true] {
        let store = FaultyStore::torn();
        let resolver = start(&store);
        let requests = if in_batch { vec![dry(&["known1@x"]), dry(&["known1@x", "new@x"])] } else { Vec::new() };
        let mut answers = resolver.identify_all(requests, deadline()).await.unwrap();
        answers.push(resolver.identify(dry(&["known1@x", "new@x"]), deadline()).await);
        let outcomes: Vec<Outcome> = answers.iter().map(|answer| answer.as_ref().unwrap().outcome).collect();
        let expected = [Outcome::Matched, Outcome::Linked, Outcome::Linked];
        assert_eq!(outcomes, expected[if in_batch { 0 } else { 2 }..]);
        assert_eq!(store.count(Step::Apply), 0);
        assert!(store.count(Step::Find) > 1);
    }
}

/// It is looked up again after the commit that it waits for. What comes after it waits too, and what comes before it
/// does not.
#[tokio::test(start_paused = true)]
async fn in_a_batch_they_wait_for_the_writes_that_they_must_see_and_for_no_others() {
    let steps = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&steps);
    let store = FaultyStore::new(move |step, identifiers, _| {
        if step != Step::Ping {
            log.lock().unwrap().push((step, identifiers.iter().map(|one| one.value().to_owned()).collect::<Vec<_>>()));
        }
        None
    });
    let resolver = start(&store);
    let waits = vec![
        dry(&["known3@x", "newer@x"]),
        observation(&["known1@x", "new@x"]),
        dry(&["known2@x", "other@x"]),
        dry(&["known1@x"]),
        observation(&["known2@x", "late@x"]),
    ];
    let answers = resolver.identify_all(waits, deadline()).await.unwrap();
    let outcomes: Vec<Outcome> = answers.iter().map(|answer| answer.as_ref().unwrap().outcome).collect();
    use Outcome::{Linked, Matched};
    assert_eq!(outcomes, [Linked, Linked, Linked, Matched, Linked]);
    let kinds: Vec<Step> =
        steps.lock().unwrap().iter().map(|(step, _)| *step).filter(|step| *step != Step::Find).collect();
    assert_eq!(kinds, [Step::Read, Step::Apply, Step::Read, Step::Apply], "{:?}", steps.lock().unwrap());
    let second = steps.lock().unwrap().iter().filter(|(step, _)| *step == Step::Read).nth(1).cloned().unwrap();
    assert_eq!(second.1, ["known1@x", "known2@x", "late@x"], "what waited");

    steps.lock().unwrap().clear();
    let independent = vec![observation(&["known1@x", "new@x"]), dry(&["known2@x"]), dry(&["nobody@x"])];
    assert!(resolver.identify_all(independent, deadline()).await.unwrap().iter().all(Result::is_ok));
    let reads = steps.lock().unwrap().iter().filter(|(step, _)| *step == Step::Read).count();
    assert_eq!(reads, 1, "nothing waits");
}

/// Also if the caller of the write leaves, or the write fails.
#[tokio::test(start_paused = true)]
async fn a_write_that_fails_is_not_waited_for_without_end() {
    let store = FaultyStore::new(|step, _, _| (step == Step::Apply).then_some(Fault::Rejected));
    let resolver = start(&store);
    let requests = vec![observation(&["known1@x", "new@x"]), dry(&["known1@x", "new@x"])];
    let answers = resolver.identify_all(requests, deadline()).await.unwrap();
    assert_eq!(answers[0], Err(IdentifyError::Internal));
    assert_eq!(answers[1].as_ref().unwrap().outcome, Outcome::Linked);
}
