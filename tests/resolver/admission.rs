use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::future::join_all;
use identity::metrics::{Metrics, ScrapeFormat};
use identity::resolver::{Caller, Identify, IdentifyError, Resolver};
use identity::settings::QueueSettings;
use tokio::time::{Instant, sleep};

use crate::faults::{cache_settings, deadline, queue_settings};
use crate::faulty_store::{Fault, FaultyStore, Step, observation};

/// How long every statement of the store takes: it answers some 5,000 known customers a second.
const STATEMENT: Duration = Duration::from_millis(100);

/// The default of `QUEUE_LIMIT`.
const QUEUE_LIMIT: usize = 4_096;

fn slow_store() -> FaultyStore {
    FaultyStore::slow(STATEMENT, STATEMENT)
}

fn start(store: &FaultyStore) -> Resolver {
    Resolver::start(store.clone(), queue_settings(QUEUE_LIMIT), cache_settings())
}

fn caller(number: u32) -> Caller {
    Caller::Address(Ipv4Addr::from_bits(number).into())
}

/// What became of a call, when it began and how long it took.
#[derive(Clone, Copy, Debug)]
struct Call {
    began: Duration,
    took: Duration,
    is_refused: bool,
}

/// How the requests of callers come.
#[derive(Clone, Copy)]
enum Bodies {
    /// Each with its body.
    AtOnce,
    /// Each takes its place by its head, and its body comes after this time. Then it must not be refused.
    After(Duration),
}

/// Callers that ask again as soon as they have an answer, and half a second after a refusal.
async fn load(resolver: &Resolver, callers: usize, time: Duration, bodies: Bodies) -> Vec<Call> {
    let calls = Arc::new(Mutex::new(Vec::new()));
    let begun = Instant::now();
    let one = |number: usize| {
        let (resolver, calls) = (resolver.clone(), Arc::clone(&calls));
        async move {
            while begun.elapsed() < time {
                let began = begun.elapsed();
                let observation = observation(&[&format!("known{number}@x")]);
                let result = match bodies {
                    Bodies::AtOnce => resolver.identify(observation, deadline()).await,
                    Bodies::After(time) => match resolver.reserve(Caller::Unknown, deadline()) {
                        Ok(mut place) => {
                            place.await_body();
                            sleep(time).await;
                            let answer = resolver.identify_reserved(place, observation, deadline()).await;
                            Ok(answer.unwrap()) // What is let in by its head is not refused.
                        }
                        Err(error) => Err(error),
                    },
                };
                let is_refused = result.is_err();
                if let Err(error) = result {
                    assert_eq!(error, IdentifyError::Overloaded);
                }
                calls.lock().unwrap().push(Call { began, took: begun.elapsed() - began, is_refused });
                if is_refused {
                    sleep(Duration::from_millis(500)).await;
                }
            }
        }
    };
    join_all((0..callers).map(one)).await;
    let calls = calls.lock().unwrap();
    calls.clone()
}

/// The time within which 99 of 100 answers came, after the first second.
fn p99(calls: &[Call]) -> Duration {
    let settled = calls.iter().filter(|call| !call.is_refused && call.began > Duration::from_secs(1));
    let mut times: Vec<Duration> = settled.map(|call| call.took).collect();
    times.sort();
    times[times.len() * 99 / 100]
}

/// Asserts that callers past what there is room for are refused at once, and that those who are let in wait at most so
/// much longer than with 256 callers.
async fn assert_others_are_refused_at_once(bodies: Bodies, longer: Duration) {
    let store = || FaultyStore::slow(Duration::from_millis(25), STATEMENT); // 20,000 customers a second.
    let half = load(&start(&store()), 256, Duration::from_secs(4), bodies).await;
    assert!(half.iter().all(|call| !call.is_refused));
    let many = load(&start(&store()), 5_000, Duration::from_secs(4), bodies).await;
    assert!(p99(&many) <= p99(&half) + longer, "{:?}, {:?}", p99(&many), p99(&half));
    let refused: Vec<Call> = many.iter().filter(|call| call.is_refused).copied().collect();
    assert!(refused.len() > 10_000 && refused.iter().all(|call| call.took.is_zero()));
    let answered = |calls: &[Call]| calls.iter().filter(|call| !call.is_refused).count();
    assert!(answered(&many) > answered(&half), "as many are answered as ever");
}

#[tokio::test(start_paused = true)]
async fn callers_past_what_there_is_room_for_are_refused_at_once_and_the_others_do_not_wait() {
    // Without more room than is answered in time, 4,096 would wait for 200 ms.
    assert_others_are_refused_at_once(Bodies::AtOnce, Duration::from_millis(75)).await;
}

#[tokio::test(start_paused = true)]
async fn what_is_let_in_by_its_head_is_answered_and_the_others_are_refused_at_once() {
    // As without the bodies, which come between two statements of 25 ms.
    let bodies = Bodies::After(Duration::from_millis(10));
    assert_others_are_refused_at_once(bodies, Duration::from_millis(100)).await;
}

/// It holds less than its share, so there is room for it, also when its body is there.
#[tokio::test(start_paused = true)]
async fn a_caller_with_little_gets_its_place_beside_one_that_sends_heads_alone() {
    let resolver = start(&slow_store());
    let head = || resolver.reserve(caller(1), deadline()).ok();
    let mut heads: Vec<_> = std::iter::from_fn(head).collect();
    heads.iter_mut().for_each(|head| head.await_body());
    assert_eq!(heads.len(), QUEUE_LIMIT);
    let place = resolver.reserve(caller(2), deadline()).unwrap();
    let little = resolver.for_caller(caller(2));
    assert!(little.identify_reserved(place, observation(&["known1@x"]), deadline()).await.is_ok());
    // The places of bodies that do not come are free again.
    sleep(Duration::from_millis(101)).await;
    assert!(resolver.for_caller(caller(1)).identify(observation(&["known2@x"]), deadline()).await.is_ok());
    drop(heads);
    let heads: Vec<_> = std::iter::from_fn(head).collect();
    assert_eq!(heads.len(), QUEUE_LIMIT, "given back once");
}

#[tokio::test(start_paused = true)]
async fn a_burst_after_idle_is_answered() {
    let resolver = start(&slow_store());
    for _ in 0..3 {
        let emails: Vec<String> = (0..2_000).map(|number| format!("known{number}@x")).collect();
        let burst = emails.iter().map(|email| resolver.identify(observation(&[email]), deadline()));
        assert!(join_all(burst).await.iter().all(Result::is_ok));
        sleep(Duration::from_secs(5)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn during_an_outage_nobody_is_refused_as_in_overload() {
    let is_read = |step| step == Step::Read || step == Step::Ping;
    let mut store = FaultyStore::new(move |step, _, _| is_read(step).then_some(Fault::Unavailable));
    store.set_latency(Duration::from_secs(3));
    let resolver = start(&store);
    for _ in 0..5 {
        let emails: Vec<String> = (0..700).map(|number| format!("known{number}@x")).collect();
        let calls = emails.iter().map(|email| resolver.identify(observation(&[email]), deadline()));
        assert!(join_all(calls).await.iter().all(|answer| answer.as_ref().err() == Some(&IdentifyError::Unavailable)));
    }
}

/// Whether a caller that asks for one customer at a time gets every answer beside this load of another caller.
async fn is_served_beside(resolver: &Resolver, load: impl Future<Output = ()>) {
    let quiet = resolver.for_caller(caller(2));
    let calls = async {
        for number in 0..20 {
            sleep(STATEMENT).await;
            let begun = Instant::now();
            let answer = quiet.identify(observation(&[&format!("known{number}@x")]), deadline()).await;
            assert!(answer.is_ok(), "call {number}: {answer:?}");
            // Once the queue is known to be long.
            assert!(number < 10 || begun.elapsed() <= STATEMENT * 6, "call {number}: {:?}", begun.elapsed());
        }
    };
    tokio::select! { () = calls => {}, () = load => panic!("the load ended") }
}

#[tokio::test(start_paused = true)]
async fn a_caller_with_many_connections_leaves_room_for_another() {
    let resolver = start(&slow_store());
    let greedy = resolver.for_caller(caller(1));
    is_served_beside(&resolver, async {
        load(&greedy, 10_000, Duration::from_secs(60), Bodies::AtOnce).await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn batches_and_streams_leave_room_for_single_requests() {
    let resolver = start(&slow_store());
    let greedy = resolver.for_caller(caller(1));
    let batch = |number: usize, in_turn: bool| {
        let greedy = greedy.clone();
        async move {
            loop {
                let emails = (0..512).map(|n| format!("known{}@x", number * 512 + n)); // Eight of them fill the queue.
                let batch = emails.map(|email| observation(&[&email])).collect();
                if in_turn {
                    greedy.identify_in_turn(batch, Duration::from_secs(10)).await;
                } else if greedy.identify_all(batch, deadline()).await.is_err() {
                    sleep(Duration::from_millis(100)).await;
                }
            }
        }
    };
    is_served_beside(&resolver, async {
        join_all((0..32).map(|number| batch(number, number % 2 == 0))).await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_batch_gets_its_turn_beside_single_requests() {
    let resolver = start(&slow_store());
    let (singles, batches) = (resolver.for_caller(caller(1)), resolver.for_caller(caller(2)));
    let batch = async {
        sleep(Duration::from_secs(2)).await; // The queue is full, and the limit low.
        let begun = Instant::now();
        loop {
            let batch = (0..1_000).map(|n| observation(&[&format!("known{n}@x")])).collect();
            match batches.identify_all(batch, deadline()).await {
                Ok(answers) => break assert!(answers.iter().all(Result::is_ok)),
                Err(error) => assert_eq!(error, IdentifyError::Overloaded),
            }
            assert!(begun.elapsed() < Duration::from_secs(5));
            sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::select! {
        () = batch => {}
        _ = load(&singles, 5_000, Duration::from_secs(60), Bodies::AtOnce) => panic!("the load ended"),
    }
}

/// Callers that each bring a new customer again and again. Returns what became of their calls.
async fn write_load(resolver: &Resolver, callers: usize, time: Duration, first: &str) -> Vec<Call> {
    let begun = Instant::now();
    let one = async |number: usize| {
        let mut calls = Vec::new();
        while begun.elapsed() < time {
            let began = begun.elapsed();
            let emails = [format!("{first}{number}@x"), format!("new{number}.{}@x", calls.len())];
            let result = resolver.identify(observation(&[&emails[0], &emails[1]]), deadline()).await;
            let is_refused = result.err() == Some(IdentifyError::Overloaded);
            calls.push(Call { began, took: begun.elapsed() - began, is_refused });
            if is_refused {
                sleep(Duration::from_millis(500)).await;
            }
        }
        calls
    };
    join_all((0..callers).map(one)).await.concat()
}

/// Reads wait for a few milliseconds only, and writes for seconds.
#[tokio::test(start_paused = true)]
async fn a_long_queue_of_writes_is_seen_behind_a_short_one_of_reads() {
    let calls = write_load(&start(&slow_store()), 4_000, Duration::from_secs(6), "other").await;
    assert!(calls.iter().filter(|call| call.is_refused).count() > 10_000);
    let settled: Vec<Call> = calls.into_iter().filter(|call| call.began > Duration::from_secs(2)).collect();
    assert!(p99(&settled) <= Duration::from_secs(1), "{:?}", p99(&settled));
}

/// The rule is checked in the transaction, so they cost as much as an answer.
#[tokio::test(start_paused = true)]
async fn observations_that_a_rule_refuses_are_work_too() {
    let settings = QueueSettings { max_contacts: 1, ..queue_settings(QUEUE_LIMIT) };
    let resolver = Resolver::start(slow_store(), settings, cache_settings());
    let answer = resolver.identify(observation(&["known1@x", "new@x"]), deadline()).await;
    assert!(matches!(answer, Err(IdentifyError::IdentityTooLarge(_))), "{answer:?}");
    let calls = write_load(&resolver, 4_000, Duration::from_secs(6), "known").await;
    assert!(calls.iter().filter(|call| call.is_refused).count() > 10_000);
}

/// In overload, half of the limit is less than such a group.
#[tokio::test(start_paused = true)]
async fn large_groups_of_a_stream_get_in_during_an_overload() {
    let resolver = start(&slow_store());
    let stream = async {
        sleep(Duration::from_secs(2)).await; // The queue is full, and the limit low.
        for _ in 0..5 {
            let begun = Instant::now();
            let group = (0..1_000).map(|n| observation(&[&format!("known{n}@x")])).collect();
            let answers = resolver.identify_in_turn(group, Duration::from_secs(10)).await;
            assert!(answers.iter().all(Result::is_ok));
            assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
        }
    };
    tokio::select! {
        () = stream => {}
        _ = load(&resolver, 5_000, Duration::from_secs(60), Bodies::AtOnce) => panic!("a stream waits without end"),
    }
}

#[tokio::test(start_paused = true)]
async fn a_service_with_one_place_answers_batches_and_streams() {
    let resolver = Resolver::start(slow_store(), queue_settings(1), cache_settings());
    let many = || (0..64).map(|n| observation(&[&format!("known{n}@x")])).collect();
    let answers = resolver.identify_all(many(), deadline()).await.unwrap();
    assert!(answers.iter().all(Result::is_ok));
    let streams = join_all((0..3).map(|_| resolver.identify_in_turn(many(), Duration::from_secs(10))));
    tokio::select! {
        answers = streams => assert!(answers.concat().iter().all(Result::is_ok)),
        _ = load(&resolver, 2, Duration::from_secs(60), Bodies::AtOnce) => panic!("a stream waits without end"),
    }
}

/// Two batch lanes, and four batches: two of them wait for a statement of the others.
#[tokio::test(start_paused = true)]
async fn the_metrics_have_how_long_batches_wait_for_their_first_statement() {
    let metrics = Metrics::on();
    let settings = queue_settings(QUEUE_LIMIT);
    let resolver = Resolver::start_after(Ok(()), slow_store(), settings, cache_settings(), &metrics);
    let batches = (0..4).map(|batch| {
        let items = (0..2).map(|item| observation(&[&format!("known{}@x", 2 * batch + item)])).collect();
        resolver.identify_all(items, deadline())
    });
    assert!(join_all(batches).await.into_iter().all(|answers| answers.unwrap().iter().all(Result::is_ok)));
    let page = metrics.scrape(ScrapeFormat::Text);
    let value = |figure: &str| -> f64 {
        let series = format!(r#"identity_queue_wait_seconds_{figure}{{lane="batch"}} "#);
        page.lines().find_map(|line| line.strip_prefix(&series)?.parse().ok()).unwrap()
    };
    assert_eq!(value("count"), 4.0);
    let waited = 2.0 * STATEMENT.as_secs_f64();
    assert!((value("sum") - waited).abs() < 0.01, "{}", value("sum"));
}
