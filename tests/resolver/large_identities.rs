use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures::future::join_all;
use identity::domain::{Identifier, IdentifierKind, Observation, Outcome};
use identity::resolver::{Identify, IdentifyError, IdentifyRequest, Resolver};
use identity::store::{ExpectedSize, MAX_LOOKUP};
use tokio::time::{Instant, sleep};

use crate::faults::{cache_settings, deadline, queue_settings};
use crate::faulty_store::{Fault, FaultyStore, LARGE, Step, observation};

/// How long a statement about a large identity takes.
const SLOW: Duration = Duration::from_millis(200);

/// How long a call may take that waits for no such statement. Every other statement takes 1 ms.
const FAST: Duration = Duration::from_millis(30);

fn start(store: &FaultyStore) -> Resolver {
    Resolver::start(store.clone(), queue_settings(1_000), cache_settings())
}

fn store() -> FaultyStore {
    FaultyStore::slow(Duration::from_millis(1), SLOW)
}

/// Asks for these e-mails again and again, each caller at other times.
async fn identify_again(resolver: &Resolver, number: u64, emails: &[&str], outcome: Outcome) {
    loop {
        sleep(Duration::from_millis(3 * number + 1)).await;
        let answer = resolver.identify(observation(emails), deadline()).await.unwrap();
        assert_eq!((answer.outcome, answer.identity.contacts().count() >= LARGE as usize), (outcome, true));
    }
}

/// Returns the longest that others waited, who ask for known customers and bring new ones.
async fn worst_of_others(resolver: &Resolver) -> Duration {
    let mut worst = Duration::ZERO;
    for number in 0..100 {
        let begun = Instant::now();
        let emails = [format!("known{number}@x"), format!("new{number}@x")];
        let known = resolver.identify(observation(&[&emails[0]]), deadline());
        let new = resolver.identify(observation(&[&emails[1]]), deadline());
        let (known, new) = tokio::join!(known, new);
        assert_eq!((known.unwrap().outcome, new.unwrap().outcome), (Outcome::Matched, Outcome::Created));
        worst = worst.max(begun.elapsed());
        sleep(Duration::from_millis(7)).await;
    }
    worst
}

#[tokio::test(start_paused = true)]
async fn requests_for_a_large_identity_do_not_slow_their_neighbours() {
    let store = store();
    let resolver = start(&store);
    let heavy = join_all((0..16).map(|number| identify_again(&resolver, number, &["large1@x"], Outcome::Matched)));
    let worst = tokio::select! { worst = worst_of_others(&resolver) => worst, _ = heavy => unreachable!() };
    assert!(worst <= FAST, "{worst:?}");
    assert_eq!(store.mixed(), 0, "not even before it was known");
}

/// The store has two writers here, as a server has.
#[tokio::test(start_paused = true)]
async fn requests_that_add_to_a_large_identity_do_not_slow_their_neighbours() {
    let store = store().with_writers(2);
    let resolver = start(&store);
    let heavy = join_all((0..16).map(async |number: u64| {
        identify_again(&resolver, number, &["large1@x", &format!("newlarge{number}@x")], Outcome::Linked).await;
    }));
    let worst = tokio::select! { worst = worst_of_others(&resolver) => worst, _ = heavy => unreachable!() };
    assert!(worst <= FAST, "{worst:?}");
}

#[tokio::test(start_paused = true)]
async fn a_batch_about_a_large_identity_does_not_slow_other_batches() {
    let resolver = start(&store());
    resolver.identify(observation(&["large1@x"]), deadline()).await.unwrap();
    let heavy = join_all((0..8).map(async |_| {
        loop {
            let batch = (0..500).map(|_| observation(&["large1@x"])).collect();
            resolver.identify_all(batch, deadline()).await.ok();
            sleep(Duration::from_millis(1)).await;
        }
    }));
    let others = async {
        for round in 0..20 {
            let batch = (0..50).map(|n| observation(&[&format!("known{}@x", round * 50 + n)])).collect();
            let begun = Instant::now();
            let answers = resolver.identify_all(batch, deadline()).await;
            if let Ok(answers) = answers {
                assert!(answers.iter().all(Result::is_ok));
                assert!(begun.elapsed() <= FAST, "{:?}", begun.elapsed());
            }
            sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::select! { () = others => {}, _ = heavy => unreachable!() }
}

#[tokio::test(start_paused = true)]
async fn a_transaction_that_takes_too_long_fails_alone() {
    let is_huge = |step: Step, all: &[Identifier]| step == Step::Apply && all.iter().any(|one| one.value() == "huge@x");
    let store = FaultyStore::new(move |step, all, _| is_huge(step, all).then_some(Fault::TooSlow));
    let resolver = start(&store);
    let emails: Vec<String> = (0..40).map(|n| if n == 7 { "huge@x".to_owned() } else { format!("new{n}@x") }).collect();
    let calls = emails.iter().map(|email| resolver.identify(observation(&[email]), deadline()));
    for (email, answer) in emails.iter().zip(join_all(calls).await) {
        assert_eq!(answer.err(), (email == "huge@x").then_some(IdentifyError::DeadlineExceeded));
    }
    assert!(resolver.database_state().borrow().is_usable());
}

/// It is slow because of its data: that is no reason to believe that the database is out of reach.
#[tokio::test(start_paused = true)]
async fn a_statement_that_takes_too_long_fails_alone() {
    let is_huge =
        |step: Step, all: &[Identifier]| step == Step::Read && all.iter().any(|one| one.value() == "large1@x");
    let store = FaultyStore::new(move |step, all, _| is_huge(step, all).then_some(Fault::TooSlow));
    let resolver = start(&store);
    let mut state = resolver.database_state();
    for round in 0..10 {
        let emails: Vec<String> = (0..40).map(|n| format!("known{n}@x")).collect();
        let others = emails.iter().map(|email| resolver.identify(observation(&[email]), deadline()));
        let huge = resolver.identify(observation(&["large1@x"]), deadline());
        let (huge, others) = tokio::join!(huge, join_all(others));
        assert_eq!(huge.unwrap_err(), IdentifyError::DeadlineExceeded);
        assert!(others.iter().all(Result::is_ok), "{round}");
    }
    assert!(state.borrow_and_update().is_usable());
    assert!(!state.has_changed().unwrap(), "it could be reached all the time");
    // The first time each of the forty goes alone. After that it goes alone.
    assert!(store.count(Step::Read) <= 42 + 10 * 3, "{}", store.count(Step::Read));
}

/// Returns a batch about the large identity and about known customers in turn, the large one first.
fn large_and_known_in_turn(items: usize) -> Vec<IdentifyRequest> {
    let email = |item| if item % 2 == 0 { "large1@x".to_owned() } else { format!("known{item}@x") };
    (0..items).map(|item| observation(&[&email(item)])).collect()
}

/// Every read makes its own copy of the large identity, and the answers keep it.
#[tokio::test(start_paused = true)]
async fn a_batch_about_a_large_identity_and_others_in_turn_reads_it_a_few_times() {
    let store = FaultyStore::slow(Duration::from_millis(1), Duration::from_millis(1));
    let resolver = start(&store);
    resolver.identify(observation(&["large1@x"]), deadline()).await.unwrap();
    let answers = resolver.identify_all(large_and_known_in_turn(1_000), deadline()).await.unwrap();
    assert!(answers.iter().flatten().all(|answer| answer.outcome == Outcome::Matched));
    assert_eq!(answers.iter().flatten().count(), 1_000);
    let reads = store.count(Step::Read);
    assert!(reads <= 1 + 1_000_usize.div_ceil(MAX_LOOKUP), "{reads}");
}

fn too_slow_from(first: usize, is_slow: impl Fn(&str) -> bool + Send + Sync + 'static) -> FaultyStore {
    FaultyStore::new(move |step, all, before| {
        let is_slow = step == Step::Read && before >= first && all.iter().any(|one| is_slow(one.value()));
        is_slow.then_some(Fault::TooSlow)
    })
}

#[tokio::test(start_paused = true)]
async fn a_large_identity_that_takes_too_long_does_not_fail_the_rest_of_its_batch() {
    let store = too_slow_from(1, |value| value == "large1@x");
    let resolver = start(&store);
    resolver.identify(observation(&["large1@x"]), deadline()).await.unwrap();
    let answers = resolver.identify_all(large_and_known_in_turn(100), deadline()).await.unwrap();
    for (item, answer) in answers.into_iter().enumerate() {
        assert_eq!(answer.err(), (item % 2 == 0).then_some(IdentifyError::DeadlineExceeded), "{item}");
    }
    let reads = store.count(Step::Read);
    assert!(reads <= 1 + 1 + 1 + 50, "all together, then the large one once and each other one: {reads}");
}

/// A store whose transactions are too slow if they bring an identifier that this accepts.
fn too_slow_to_bring(is_slow: impl Fn(&str) -> bool + Send + Sync + 'static) -> FaultyStore {
    FaultyStore::new(move |step, all, _| {
        (step == Step::Apply && all.iter().any(|one| is_slow(one.value()))).then_some(Fault::TooSlow)
    })
}

/// A batch that adds to large identities and brings new customers, in turn.
fn linked_and_new_in_turn(large: &[&str], items: usize) -> Vec<IdentifyRequest> {
    let item = |item: usize| match large.get(item % (large.len() + 1)) {
        Some(large) => observation(&[large, &format!("{item}to{large}")]),
        None => observation(&[&format!("new{item}@x")]),
    };
    (0..items).map(item).collect()
}

#[tokio::test(start_paused = true)]
async fn a_transaction_that_a_large_identity_makes_too_slow_fails_only_its_items() {
    let store = too_slow_to_bring(|value| value.ends_with("tolarge1@x"));
    let answers = start(&store).identify_all(linked_and_new_in_turn(&["large1@x"], 40), deadline()).await.unwrap();
    for (item, answer) in answers.into_iter().enumerate() {
        let expected = if item % 2 == 0 { Err(IdentifyError::DeadlineExceeded) } else { Ok(Outcome::Created) };
        assert_eq!(answer.map(|answer| answer.outcome), expected, "{item}");
    }
    assert_eq!(store.count(Step::Apply), 2, "all together, then without the large one");
}

#[tokio::test(start_paused = true)]
async fn a_transaction_that_a_large_identity_makes_too_slow_fails_no_other_large_one() {
    let store = too_slow_to_bring(|value| value.ends_with("tolarge1@x"));
    let batch = linked_and_new_in_turn(&["large1@x", "large2@x"], 39);
    let answers = start(&store).identify_all(batch, deadline()).await.unwrap();
    for (item, answer) in answers.into_iter().enumerate() {
        let expected = [Err(IdentifyError::DeadlineExceeded), Ok(Outcome::Linked), Ok(Outcome::Created)];
        assert_eq!(answer.map(|answer| answer.outcome), expected[item % 3].clone(), "{item}");
    }
    assert_eq!(store.count(Step::Apply), 2 + 26, "all together, the slow one once, and each other one");
}

/// Only what is about the slow one fails untried.
#[tokio::test(start_paused = true)]
async fn a_large_identity_that_takes_too_long_fails_no_other_large_one() {
    let store = too_slow_from(2, |value| value == "large1@x");
    let resolver = start(&store);
    for email in ["large1@x", "large2@x"] {
        resolver.identify(observation(&[email]), deadline()).await.unwrap();
    }
    let batch = ["large1@x", "large2@x", "large1@x", "large2@x"].map(|email| observation(&[email]));
    let answers = resolver.identify_all(batch.to_vec(), deadline()).await.unwrap();
    let is_answered: Vec<bool> = answers.iter().map(Result::is_ok).collect();
    assert_eq!(is_answered, [false, true, false, true]);
}

#[tokio::test(start_paused = true)]
async fn large_identities_that_take_too_long_are_tried_once_for_a_batch() {
    let store = too_slow_from(2, |value| value.starts_with("large"));
    let resolver = start(&store);
    let emails = ["large1@x", "large2@x"];
    for email in emails {
        resolver.identify(observation(&[email]), deadline()).await.unwrap();
    }
    let batch = (0..50).map(|item| observation(&[emails[item % 2]])).collect();
    let answers = resolver.identify_all(batch, deadline()).await.unwrap();
    assert!(answers.iter().all(Result::is_err));
    assert_eq!(store.count(Step::Read), 2 + 1 + 2, "all together, then each once");
}

/// They share a statement because the service remembers whose identifiers they ask for.
#[tokio::test(start_paused = true)]
async fn callers_of_a_large_identity_still_share_a_statement_after_one_took_too_long() {
    let store = too_slow_from(1, |value| value.starts_with("9010"));
    let resolver = start(&store);
    let answer = resolver.identify(observation(&["large1@x"]), deadline()).await.unwrap();
    let phones = answer.identity.values(IdentifierKind::Phone).into_iter().take(16);
    let phones: Vec<_> = phones.map(|phone| Identifier::from_stored(IdentifierKind::Phone, phone)).collect();
    let identify = async || {
        let before = store.count(Step::Read);
        let calls = phones.iter().map(|phone| Observation::new([phone.clone()]).unwrap());
        let answers = join_all(calls.map(|observation| resolver.identify(observation.into(), deadline()))).await;
        assert!(answers.iter().all(Result::is_err));
        store.count(Step::Read) - before
    };
    let (first, second) = (identify().await, identify().await);
    assert!(first <= 2 && second <= 2, "{first}, then {second}");
}

/// A transaction reads again what another one has changed.
#[tokio::test(start_paused = true)]
async fn what_is_known_to_be_large_is_read_as_such() {
    let store = FaultyStore::restless();
    let resolver = start(&store);
    for emails in [&["large1@x", "new@x"], &["large1@x", "newer@x"]] {
        let answer = resolver.identify(observation(emails), deadline()).await.unwrap();
        assert_eq!(answer.outcome, Outcome::Linked);
    }
    let [not_large, large] = [ExpectedSize::NotLarge, ExpectedSize::Large];
    let twice = [(Step::Read, large), (Step::Find, large), (Step::Read, large), (Step::Find, large)];
    assert_eq!(store.sizes(), [&[(Step::Read, not_large)], &twice[..]].concat());
}

/// The plan of a transaction about several large identities is made beside the async workers.
#[tokio::test]
async fn a_long_plan_holds_up_no_other_task() {
    let store = FaultyStore::slow(Duration::from_millis(1), Duration::from_millis(1));
    let resolver = start(&store);
    let turns = Arc::clone(&store.turns);
    let other = tokio::spawn(async move {
        loop {
            turns[0].fetch_add(1, Ordering::Relaxed);
            tokio::task::yield_now().await;
        }
    });
    let list = |count: usize| {
        (0..count).map(|n| observation(&[&format!("large{n}@x"), &format!("new{n}.{count}@x")])).collect()
    };
    for (count, is_long) in [(1, false), (8, true)] {
        let answers = resolver.identify_all(list(count), deadline()).await.unwrap();
        assert!(answers.iter().all(|answer| answer.as_ref().unwrap().outcome == Outcome::Linked));
        assert_eq!(store.turns[1].load(Ordering::Relaxed) > 0, is_long, "between the locks and the writes");
    }
    other.abort();
}
