//! Histories of a service in memory: of a right one, which the checker must take, and of broken ones, which
//! it must refuse.

use std::collections::{HashMap, VecDeque};

use fastrand::Rng;

use super::{Call, Key, Seen, check};
use crate::harness::Suite;
use crate::harness::register;

pub fn register(suite: &mut Suite) {
    register!(suite.plain(): a_right_service_is_never_refused);
    suite.plain("history::stale_reads_are_refused", || async { always_refused(Fault::Stale) });
    suite.plain("history::stale_look_ups_are_refused", || async { always_refused(Fault::StaleLookUp) });
    suite.plain("history::a_lost_write_is_refused", || async { always_refused(Fault::Lost) });
    suite.plain("history::two_primaries_are_refused", || async { always_refused(Fault::TwoPrimaries) });
    suite.plain("history::joined_strangers_are_refused", || async { always_refused(Fault::Strangers) });
    suite.plain("history::half_a_merge_is_refused", || async { always_refused(Fault::HalfMerge) });
    suite.plain("history::a_younger_primary_is_refused", || async { always_refused(Fault::YoungerPrimary) });
    register!(suite.plain(): what_is_wrong_is_named);
}

/// How a service is broken, in some of its requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    None,
    /// Known customers are answered from what was there some requests ago.
    Stale,
    /// Look-ups alone are answered so.
    StaleLookUp,
    /// A write is acknowledged and dropped.
    Lost,
    /// What is known is created once more.
    TwoPrimaries,
    /// Another customer is taken in, whom no request joined.
    Strangers,
    /// A merge takes in the primary and forgets its secondaries.
    HalfMerge,
    /// A merge leaves the younger primary on top.
    YoungerPrimary,
}

/// Contacts by age, each with the identity that it is of.
#[derive(Clone, Default)]
struct Model {
    contacts: Vec<(i64, Vec<Key>, usize)>,
}

impl Model {
    fn owner(&self, key: &Key) -> Option<usize> {
        self.contacts.iter().find(|(_, keys, _)| keys.contains(key)).map(|contact| contact.2)
    }

    fn seen(&self, outcome: &'static str, identity: usize) -> Seen {
        let mut seen = Seen { outcome, contacts: Vec::new(), emails: Vec::new(), phones: Vec::new() };
        for (id, keys, _) in self.contacts.iter().filter(|contact| contact.2 == identity) {
            seen.contacts.push(*id);
            for (kind, value) in keys {
                let values = if *kind == 'e' { &mut seen.emails } else { &mut seen.phones };
                if !values.contains(value) {
                    values.push(value.clone());
                }
            }
        }
        seen
    }

    fn look_up(&self, key: &Key) -> Seen {
        match self.owner(key) {
            Some(identity) => self.seen("found", identity),
            None => Seen::unknown(),
        }
    }

    fn insert(&mut self, keys: &[Key], identity: usize) {
        let id = self.contacts.len() as i64 + 1;
        self.contacts.push((id, keys.to_vec(), identity));
    }

    fn identify(&mut self, request: &[Key], fault: Fault) -> Seen {
        let mut owners: Vec<usize> = request.iter().filter_map(|key| self.owner(key)).collect();
        owners.sort_unstable();
        owners.dedup();
        let is_all_owned = request.iter().all(|key| self.owner(key).is_some());
        if owners.is_empty() || fault == Fault::TwoPrimaries {
            let identity = self.contacts.len();
            self.insert(request, identity);
            return self.seen("created", identity);
        }
        let survivor = owners[0];
        if let [_, absorbed] = owners[..] {
            let take = if fault == Fault::HalfMerge { 1 } else { usize::MAX };
            let theirs = self.contacts.iter_mut().filter(|contact| contact.2 == absorbed);
            theirs.take(take).for_each(|contact| contact.2 = survivor);
            let mut seen = self.seen("merged", survivor);
            if fault == Fault::YoungerPrimary {
                seen.contacts.swap(0, 1);
            }
            return seen;
        }
        let outcome = if is_all_owned { "matched" } else { "linked" };
        if !is_all_owned {
            self.insert(request, survivor);
        }
        let mut seen = self.seen(outcome, survivor);
        if fault == Fault::Strangers
            && let Some((id, keys, _)) = self.contacts.iter().rev().find(|contact| contact.2 != survivor)
        {
            seen.contacts.push(*id);
            let (emails, phones): (Vec<Key>, Vec<Key>) = keys.iter().cloned().partition(|key| key.0 == 'e');
            seen.emails.extend(emails.into_iter().map(|key| key.1));
            seen.phones.extend(phones.into_iter().map(|key| key.1));
        }
        seen
    }
}

/// A few hundred requests of eight callers at once.
fn history(seed: u64, fault: Fault) -> Vec<Call> {
    let mut random = Rng::with_seed(seed);
    let mut planned = Vec::new();
    for _ in 0..8 {
        let mut time = random.u64(0..50);
        for round in 0..60_u32 {
            let start = time;
            let point = start + random.u64(1..100);
            let end = point + random.u64(1..100);
            time = end + random.u64(0..50);
            let number = |random: &mut Rng| (random.u32(0..12) + round / 10 * 8).to_string();
            let email = ('e', number(&mut random));
            let phone = ('p', number(&mut random));
            let (request, is_look_up) = match random.u32(0..5) {
                0 => (vec![email], false),
                1 => (vec![phone], false),
                2 => (vec![if random.bool() { email } else { phone }], true),
                _ => (vec![email, phone], false),
            };
            planned.push((point, start, end, request, is_look_up));
        }
    }
    planned.sort_by_key(|(point, ..)| *point);
    let (mut model, mut past, mut calls) = (Model::default(), VecDeque::new(), Vec::new());
    for (_, start, end, request, is_look_up) in planned {
        let now = if random.u32(0..8) == 0 || matches!(fault, Fault::HalfMerge | Fault::YoungerPrimary) {
            fault
        } else {
            Fault::None
        };
        if past.len() == 60 {
            past.pop_front();
        }
        past.push_back(model.clone());
        let old: &Model = &past[0];
        let old_owner = request.first().and_then(|key| old.owner(key));
        let is_old = now == Fault::Stale && request.iter().all(|key| old.owner(key) == old_owner);
        let seen = match old_owner {
            _ if is_look_up && now == Fault::StaleLookUp => old.look_up(&request[0]),
            _ if is_look_up => model.look_up(&request[0]),
            Some(owner) if is_old => old.seen("matched", owner),
            _ if now == Fault::Lost => model.clone().identify(&request, Fault::None),
            _ => model.identify(&request, now),
        };
        // Some callers leave; what they asked for is done all the same.
        let is_answered = random.u32(0..30) != 0;
        calls.push(Call { request, is_look_up, start, end: is_answered.then_some((end, seen)) });
    }
    calls
}

const SEEDS: std::ops::Range<u64> = 0..20;

async fn a_right_service_is_never_refused() {
    let mut outcomes: HashMap<&str, usize> = HashMap::new();
    for seed in SEEDS {
        let history = history(seed, Fault::None);
        assert_eq!(check(&history), Vec::<String>::new(), "seed {seed}");
        for (_, seen) in history.iter().filter_map(|call| call.end.as_ref()) {
            *outcomes.entry(seen.outcome).or_default() += 1;
        }
    }
    assert!(outcomes.len() == 6 && outcomes.values().all(|count| *count > 200), "all cases: {outcomes:?}");
}

fn always_refused(fault: Fault) {
    for seed in SEEDS {
        assert_ne!(check(&history(seed, fault)), Vec::<String>::new(), "{fault:?} with seed {seed} was taken");
    }
}

fn key(text: &str) -> Key {
    (if text.starts_with(char::is_alphabetic) { 'e' } else { 'p' }, text.to_owned())
}

fn call(start: u64, end: u64, request: &[&str], outcome: &'static str, contacts: &[i64], has: &[&str]) -> Call {
    let (emails, phones): (Vec<Key>, Vec<Key>) = has.iter().map(|text| key(text)).partition(|key| key.0 == 'e');
    let values = |keys: Vec<Key>| keys.into_iter().map(|key| key.1).collect();
    let seen = Seen { outcome, contacts: contacts.to_vec(), emails: values(emails), phones: values(phones) };
    let is_look_up = matches!(outcome, "found" | "unknown");
    Call { request: request.iter().map(|text| key(text)).collect(), is_look_up, start, end: Some((end, seen)) }
}

/// The smallest history of each kind, and the rule that refuses it.
async fn what_is_wrong_is_named() {
    let created = call(0, 10, &["a", "1"], "created", &[1], &["a", "1"]);
    let linked = call(20, 30, &["b", "1"], "linked", &[1, 2], &["a", "b", "1"]);
    assert_eq!(check(&[created.clone(), linked.clone()]), Vec::<String>::new());
    let refused = |more: Call, rule: &str| {
        let said = check(&[created.clone(), linked.clone(), more]);
        assert!(said.iter().any(|said| said.contains(rule)), "not \"{rule}\": {said:?}");
    };
    let stale = |start| call(start, 50, &["1"], "matched", &[1], &["a", "1"]);
    refused(stale(40), "acknowledged before");
    assert_eq!(check(&[created.clone(), linked.clone(), stale(25)]), Vec::<String>::new(), "they overlap");
    refused(call(40, 50, &["a"], "created", &[3], &["a"]), "done before");
    refused(call(5, 50, &["a", "1"], "created", &[3], &["a", "1"]), "neither before nor after");
    refused(call(40, 50, &["c"], "matched", &[3], &["c"]), "nobody can have brought");
    refused(call(40, 50, &["a"], "matched", &[1, 2], &["a", "b", "c", "1"]), "by no request");
    refused(call(40, 50, &["a"], "matched", &[2, 1], &["a", "b", "1"]), "another order");
    refused(call(40, 50, &["a"], "matched", &[1, 2, 7], &["a", "b", "1"]), "no call brought");
    refused(call(40, 50, &["c", "9"], "created", &[2], &["c", "9"]), "two calls brought");
    refused(call(40, 50, &["a"], "unknown", &[], &[]), "is not found");
    refused(call(40, 50, &["a"], "found", &[1], &["a", "1"]), "acknowledged before");
    refused(call(40, 50, &["c"], "found", &[3], &["c"]), "nobody had sent");
    refused(call(40, 50, &["a"], "unknown", &[1, 2], &["a", "b", "1"]), "cannot be");
    let looked_up =
        [call(15, 25, &["b"], "unknown", &[], &[]), call(40, 50, &["b"], "found", &[1, 2], &["a", "b", "1"])];
    assert_eq!(check(&[&[created.clone(), linked.clone()][..], &looked_up].concat()), Vec::<String>::new());
    refused(call(40, 50, &["a"], "matched", &[1, 2], &["b", "1"]), "cannot be");
}
