//! Callers that go on whatever happens, and what they saw.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use fastrand::Rng;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tonic::Code;

use super::Fleet;
use crate::harness::{Api, Refusal};
use crate::history::{Call, Key, Seen};

/// How many callers ask at once.
const CALLERS: u64 = 12;

/// The longest a caller waits.
const DEADLINE: Duration = Duration::from_secs(6);

/// Each group of customers is asked for so often before the next one comes.
const REQUESTS_PER_GROUP: u64 = 60;

/// A call and how it ended.
#[derive(Clone, Debug)]
pub struct Ended {
    pub call: Call,
    /// Which replica was asked: its place in the fleet.
    pub replica: usize,
    /// When it ended, answered or not.
    pub until: u64,
    pub refusal: Option<Refusal>,
}

/// What all callers share.
struct Shared {
    fleet: Fleet,
    began: Instant,
    sent: AtomicU64,
    ended: Mutex<Vec<Ended>>,
}

#[derive(Clone)]
pub struct Load {
    shared: Arc<Shared>,
    stop: CancellationToken,
    callers: Arc<tokio::sync::Mutex<JoinSet<()>>>,
}

impl Load {
    pub async fn start(fleet: &Fleet, seed: u64) -> Self {
        let shared = Shared {
            fleet: fleet.clone(),
            began: Instant::now(),
            sent: AtomicU64::new(0),
            ended: Mutex::new(Vec::new()),
        };
        let load = Self { shared: Arc::new(shared), stop: CancellationToken::new(), callers: Arc::default() };
        let mut callers = load.callers.lock().await;
        for number in 0..CALLERS {
            let (load, mut random) = (load.clone(), Rng::with_seed(seed.wrapping_mul(1_000) + number));
            callers.spawn(async move {
                while !load.stop.is_cancelled() {
                    let request = load.next(&mut random);
                    let is_look_up = request.len() == 1 && random.bool();
                    let is_answered = load.send(request, is_look_up, &mut random).await;
                    let pause = if is_answered { random.u64(0..30) } else { random.u64(10..60) };
                    tokio::time::sleep(Duration::from_millis(pause)).await;
                }
            });
        }
        drop(callers);
        load
    }

    /// What checkouts send: mostly about the groups of the moment, now and then about one from long ago.
    fn next(&self, random: &mut Rng) -> Vec<Key> {
        let newest = self.shared.sent.fetch_add(1, Ordering::Relaxed) / REQUESTS_PER_GROUP;
        let group = if random.u32(0..10) == 0 { random.u64(0..=newest) } else { newest + random.u64(0..6) };
        let email = ('e', format!("e{}.{group}@x.de", random.u32(0..6)));
        let phone = ('p', format!("{}{:02}", 1_000_000 + group, random.u32(0..6)));
        match random.u32(0..10) {
            0..3 => vec![email],
            3..5 => vec![phone],
            _ => vec![email, phone],
        }
    }

    /// Sends a request to any replica and notes the result. Returns whether it was an answer.
    pub async fn send(&self, request: Vec<Key>, is_look_up: bool, random: &mut Rng) -> bool {
        let replica = random.usize(0..self.shared.fleet.len());
        let caller = self.shared.fleet.caller(replica);
        let start = self.now();
        let value = |kind| request.iter().find(|key| key.0 == kind).map(|key| key.1.as_str());
        let answer = async {
            if is_look_up {
                let (kind, value) = &request[0];
                let kind = if *kind == 'e' { "email" } else { "phone" };
                return caller.look_up_within(DEADLINE, kind, value).await;
            }
            caller.identify_within(DEADLINE, Api::Grpc, value('e'), value('p')).await.map(Some)
        };
        let answer = tokio::time::timeout(DEADLINE * 2, answer).await.expect("a call outlived its deadline by far");
        let until = self.now();
        let (end, refusal) = match answer {
            Ok(None) => (Some((until, Seen::unknown())), None),
            Ok(Some(reply)) => {
                let contacts = std::iter::once(reply.primary).chain(reply.secondaries).collect();
                let seen = Seen { outcome: reply.outcome, contacts, emails: reply.emails, phones: reply.phones };
                (Some((until, seen)), None)
            }
            Err(refusal) => (None, Some(refusal)),
        };
        let is_answered = end.is_some();
        let ended = Ended { call: Call { request, is_look_up, start, end }, replica, until, refusal };
        self.shared.ended.lock().expect("the calls").push(ended);
        is_answered
    }

    /// The moment, in nanoseconds, by the clock of the calls.
    pub fn now(&self) -> u64 {
        u64::try_from(self.shared.began.elapsed().as_nanos()).expect("centuries")
    }

    /// How many calls have ended.
    pub fn ended(&self) -> usize {
        self.shared.ended.lock().expect("the calls").len()
    }

    /// Lets the callers finish, asks for all that they brought once more, and gives out what was seen.
    pub async fn finish(self) -> Vec<Ended> {
        self.stop.cancel();
        while self.callers.lock().await.join_next().await.transpose().expect("no caller panics").is_some() {}
        let mut keys: Vec<Key> = {
            let ended = self.shared.ended.lock().expect("the calls");
            let sent = ended.iter().filter(|ended| !ended.call.is_look_up);
            sent.flat_map(|ended| ended.call.request.iter().cloned()).collect()
        };
        keys.sort();
        keys.dedup();
        let keys = Arc::new(Mutex::new(keys));
        let mut readers = JoinSet::new();
        for number in 0..CALLERS {
            let (load, keys, mut random) = (self.clone(), Arc::clone(&keys), Rng::with_seed(number));
            readers.spawn(async move {
                loop {
                    let Some(key) = keys.lock().expect("the keys").pop() else { return };
                    for is_look_up in [false, true] {
                        let is_answered = load.send(vec![key.clone()], is_look_up, &mut random).await;
                        assert!(is_answered, "all is well, and a call fails");
                    }
                }
            });
        }
        readers.join_all().await;
        std::mem::take(&mut *self.shared.ended.lock().expect("the calls"))
    }
}

/// Whether a call without an answer ended as it may: with advice to retry, or because the line broke, which
/// the client's library spells in its own ways.
pub fn is_honest(refusal: &Refusal) -> bool {
    let codes = [Code::Unavailable, Code::Unknown, Code::Cancelled, Code::DeadlineExceeded];
    refusal.retry || codes.contains(&refusal.code) || refusal.message.starts_with("h2 protocol error")
}
