//! Callers who only read: look-ups, identities by their contacts, histories, and pages of all identities.

use std::sync::Arc;
use std::time::Duration;

use fastrand::Rng;
use identity::domain::{Contact, ContactId, Identifier, Identity, Link, LookUp};
use identity::resolver::{IdentifyError, IdentityPage, ReadGraph, Reserved, Resolver};
use identity::store::HistoryRows;
use tokio::time::{Instant, sleep, timeout};

use super::{Failure, Fate, Schedule};
use crate::conditions::identifier;

/// What a caller asks.
#[derive(Clone, Debug)]
pub(crate) enum Question {
    LookUp(Vec<Identifier>),
    Identity(ContactId),
    History(ContactId),
    Page { after: Option<ContactId>, limit: usize },
}

/// What the caller got.
#[derive(Clone, Debug)]
pub(crate) enum Found {
    LookUp(LookUp),
    Identity(Option<Arc<Identity>>),
    History(Option<HistoryRows>),
    Page(IdentityPage),
}

/// A read, and what became of it. Its times are those of an [`Item`](super::Item).
#[derive(Clone, Debug)]
pub(crate) struct Read {
    pub(crate) question: Question,
    pub(crate) began: usize,
    pub(crate) ended: usize,
    /// `None` if its caller left, or its replica crashed.
    pub(crate) result: Option<Result<Found, Failure>>,
}

impl Schedule {
    /// A caller who only reads.
    pub(super) async fn reader(&self, calls: usize, mut random: Rng) {
        let longest_pause = random.choice([0, 5, 50]).unwrap_or(0);
        for _ in 0..calls {
            sleep(Duration::from_millis(random.u64(0..=longest_pause))).await;
            let question = self.draw_question(&mut random);
            let (deadline, leaves) = self.draw_patience(&mut random);
            let replica = random.usize(0..self.conditions.replicas);
            self.read(replica, question, deadline, leaves).await;
        }
    }

    /// In the end, when all is well again, every replica can read all there is.
    pub(super) async fn read_all(&self) {
        let tables = self.database.lock().tables();
        let identifiers = tables.identifiers.keys().map(|one| Question::LookUp(vec![one.clone()]));
        let contacts = tables.contacts.keys().map(|id| Question::Identity(*id));
        let primaries = tables.contacts.values().filter(|row| row.link == Link::Primary);
        let histories = primaries.map(|row| Question::History(row.id));
        let page = Question::Page { after: None, limit: 1_000 };
        let questions: Vec<Question> = identifiers.chain(contacts).chain(histories).chain([page]).collect();
        for replica in 0..self.conditions.replicas {
            for question in &questions {
                self.read(replica, question.clone(), self.patience(), None).await;
            }
        }
    }

    fn draw_question(&self, random: &mut Rng) -> Question {
        let count = if random.u32(0..40) == 0 { random.usize(60..=100) } else { random.usize(1..=4) };
        let mut drawn: Vec<usize> = (0..count).map(|_| random.usize(0..self.conditions.identifiers)).collect();
        drawn.sort_unstable();
        drawn.dedup();
        random.shuffle(&mut drawn);
        let (kind, contact, limit) = (random.u32(0..6), self.draw_contact(random), random.usize(1..=5));
        match kind {
            0 => Question::Identity(contact),
            1 => Question::History(contact),
            2 => Question::Page { after: random.bool().then_some(contact), limit },
            _ => Question::LookUp(drawn.into_iter().map(identifier).collect()),
        }
    }

    /// One that was in an answer. Now and then, and before there is any, one that need not be there.
    fn draw_contact(&self, random: &mut Rng) -> ContactId {
        let history = self.history.lock().unwrap();
        let contacts = history.items.iter().rev().filter_map(|item| match &item.fate {
            Fate::Answered(answer) => Some(answer.identity.contacts().map(|one| one.id)),
            Fate::Failed(_) | Fate::Abandoned => None,
        });
        let seen: Vec<ContactId> = contacts.flatten().filter(|id| *id != ContactId::UNKNOWN).take(50).collect();
        let anyone = ContactId(random.i64(1..=200));
        match random.choice(&seen) {
            Some(contact) if random.u32(0..10) > 0 => *contact,
            Some(_) | None => anyone,
        }
    }

    /// Reads, and keeps what came of it.
    async fn read(&self, replica: usize, question: Question, deadline: Duration, leaves: Option<Duration>) {
        let replica = self.replicas.lock().unwrap()[replica].clone();
        let began = self.history.lock().unwrap().event();
        let due = Instant::now() + deadline;
        self.note(|| format!("read {began} begins: {question:?}"));
        let sent = async {
            let found = find(&replica.resolver, &question, due);
            match leaves {
                Some(patience) => timeout(patience, found).await.ok(),
                None => Some(found.await),
            }
        };
        let found = replica.crashed.run_until_cancelled(sent).await.flatten();
        self.note(|| format!("read {began} ends: {found:?}"));
        let failure = |error| Failure {
            error,
            is_in_turn: false,
            is_overdue: Instant::now() >= due,
            had_hurry: deadline < self.patience(),
        };
        let result = found.map(|found| found.map_err(failure));
        let mut history = self.history.lock().unwrap();
        let ended = history.event();
        history.reads.push(Read { question, began, ended, result });
    }
}

async fn find(resolver: &Resolver, question: &Question, due: Instant) -> Result<Found, IdentifyError> {
    let (place, due) = (Reserved::default(), due.into_std());
    match question.clone() {
        Question::LookUp(identifiers) => resolver.look_up(place, identifiers, due).await.map(Found::LookUp),
        Question::Identity(contact) => resolver.identity_of(place, contact, due).await.map(Found::Identity),
        Question::History(contact) => {
            resolver.read_history(place, contact, due, |read| read.identity).await.map(Found::History)
        }
        Question::Page { after, limit } => resolver.list_identities(place, after, limit, due).await.map(Found::Page),
    }
}

/// The contacts of a history.
pub(crate) fn contacts_of(rows: &HistoryRows) -> Vec<&Contact> {
    rows.contacts.iter().map(|row| &row.contact).collect()
}
