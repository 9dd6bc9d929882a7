use super::*;

#[tokio::test(start_paused = true)]
async fn the_last_requests_of_a_group_hold_its_places() {
    let patience = Duration::from_secs(1);
    let settings = QueueSettings { queue_limit: 8, transaction_size: 1, max_queue_wait: patience, max_contacts: 1 };
    let mut group = Admission::new(&settings, WorkMetrics::default()).admit(Caller::Unknown, 6).await;
    let places: Vec<usize> = (1..=6).rev().map(|left| group.split_one(left).items).collect();
    assert_eq!((places, group.items), (vec![0, 0, 1, 1, 1, 1], 0));
}

const CALLER: Caller = Caller::Known(1);

/// Room for so many requests, and the deadline of a patient caller.
fn full_at(queue_limit: usize) -> (Admission, std::time::Instant) {
    let patience = Duration::from_secs(1);
    let settings = QueueSettings { queue_limit, transaction_size: 1, max_queue_wait: patience, max_contacts: 1 };
    (Admission::new(&settings, WorkMetrics::default()), (Instant::now() + 60 * patience).into_std())
}

fn held(admission: &Admission) -> usize {
    admission.places().share.held()
}

#[tokio::test(start_paused = true)]
async fn a_reserved_place_becomes_that_of_the_request() {
    let (admission, deadline) = full_at(2);
    let reserve = || admission.try_reserve(CALLER, deadline);
    let (one, other) = (reserve().unwrap(), reserve().unwrap());
    assert_eq!(reserve().unwrap_err(), IdentifyError::Overloaded);
    let permit = admission.try_admit(Some(one), CALLER, 1, deadline).unwrap();
    assert_eq!(held(&admission), 2);
    drop(other);
    assert_eq!(held(&admission), 1, "a call that is over gives its place back");
    let other = reserve().unwrap();
    drop(permit);
    assert_eq!(held(&admission), 1);
    drop(admission.try_admit(Some(other), CALLER, 1, deadline).unwrap());
    assert_eq!(held(&admission), 0);
}

#[tokio::test(start_paused = true)]
async fn a_place_is_kept_until_the_call_has_had_its_turn() {
    let (admission, deadline) = full_at(1);
    let place = admission.try_reserve(CALLER, deadline).unwrap();
    tokio::time::advance(Duration::from_secs(10)).await;
    assert!(admission.try_reserve(CALLER, deadline).is_err());
    assert!(admission.try_admit(Some(place), CALLER, 1, deadline).is_ok());
    assert_eq!(held(&admission), 0);
}

#[tokio::test(start_paused = true)]
async fn a_place_is_not_kept_for_a_body_that_does_not_come() {
    let (admission, deadline) = full_at(1);
    let awaiting = || {
        let mut place = admission.try_reserve(CALLER, deadline).unwrap();
        place.await_body();
        place.await_body(); // The second time changes nothing.
        place
    };
    let late = awaiting();
    tokio::time::advance(Duration::from_millis(100)).await;
    assert!(admission.try_reserve(CALLER, deadline).is_err(), "it is in time yet");
    tokio::time::advance(Duration::from_millis(1)).await;
    let next = awaiting();
    assert!(admission.try_admit(Some(late), CALLER, 1, deadline).is_err(), "it asks again, like any other");
    assert_eq!(held(&admission), 1);
    drop(next);
    assert_eq!(held(&admission), 0);

    let late = awaiting();
    tokio::time::advance(Duration::from_millis(101)).await;
    let permit = admission.try_admit(Some(late), CALLER, 1, deadline).unwrap();
    assert_eq!(held(&admission), 1);
    drop(permit);
    let late = awaiting();
    tokio::time::advance(Duration::from_millis(101)).await;
    drop(admission.try_reserve(CALLER, deadline).unwrap());
    drop(late);
    assert_eq!(held(&admission), 0, "given back once");
}

#[tokio::test(start_paused = true)]
async fn a_batch_gives_its_one_place_back_and_asks_for_all() {
    let (admission, deadline) = full_at(4);
    let reserve = || admission.try_reserve(CALLER, deadline).unwrap();
    let batch = admission.try_admit(Some(reserve()), CALLER, 4, deadline).unwrap();
    assert_eq!(held(&admission), 4);
    drop(batch);
    let (single, reserved) = (admission.try_admit(None, CALLER, 1, deadline).unwrap(), reserve());
    assert!(admission.try_admit(Some(reserved), CALLER, 4, deadline).is_err());
    assert_eq!(held(&admission), 1);
    drop(single);
    assert_eq!(held(&admission), 0);
}

#[tokio::test(start_paused = true)]
async fn a_stream_gets_the_place_of_a_call_that_is_over() {
    let (admission, deadline) = full_at(2);
    let _half = admission.admit(CALLER, 1).await;
    let call = admission.try_reserve(CALLER, deadline).unwrap();
    let waiting = tokio::spawn({
        let admission = admission.clone();
        async move { admission.admit(CALLER, 1).await.items }
    });
    tokio::task::yield_now().await;
    assert!(!waiting.is_finished());
    drop(call);
    let begun = Instant::now();
    assert_eq!(waiting.await.unwrap(), 1);
    assert_eq!(begun.elapsed(), Duration::ZERO, "it is woken");
}

/// Each of them has a place by its head. These places must not count against them.
#[tokio::test(start_paused = true)]
async fn a_batch_gets_in_although_other_batches_of_its_caller_wait_for_their_bodies() {
    const OTHER: Caller = Caller::Known(2);
    let (admission, deadline) = full_at(8);
    let mut singles: Vec<Permit> = (0..8).map(|_| admission.try_admit(None, OTHER, 1, deadline).unwrap()).collect();
    let mut heads: Vec<Reservation> = (0..3).map(|_| admission.try_reserve(CALLER, deadline).unwrap()).collect();
    heads.iter_mut().for_each(Reservation::await_body);
    singles.truncate(4);
    let batch = admission.try_admit(heads.pop(), CALLER, 8, deadline).unwrap();
    assert_eq!(held(&admission), 4 + 2 + 8);
    drop(singles);
    assert!(admission.try_admit(heads.pop(), CALLER, 8, deadline).is_err(), "one at a time");
    drop((batch, heads));
    assert_eq!(held(&admission), 0);
}

#[tokio::test(start_paused = true)]
async fn places_of_bodies_that_do_not_come_count_no_longer_also_if_nobody_asks_for_a_place() {
    use crate::metrics::{Metrics, ScrapeFormat};
    let (metrics, patience) = (Metrics::on(), Duration::from_secs(1));
    let settings = QueueSettings { queue_limit: 8, transaction_size: 1, max_queue_wait: patience, max_contacts: 1 };
    let admission = Admission::new(&settings, metrics.work());
    let head = || {
        let mut place = admission.try_reserve(CALLER, (Instant::now() + patience).into_std()).unwrap();
        place.await_body();
        place
    };
    let depth = || {
        let page = metrics.scrape(ScrapeFormat::Text);
        page.lines().find_map(|line| line.strip_prefix("identity_queue_depth ")?.parse().ok())
    };
    let _late = head();
    assert_eq!(depth(), Some(1));
    tokio::time::advance(Duration::from_millis(101)).await;
    assert_eq!(depth(), Some(0));
    let _late = head();
    tokio::time::advance(Duration::from_millis(101)).await;
    admission.record_waits(Queue::Read, [Instant::now()].into_iter());
    assert_eq!(held(&admission), 0);
}
