//! Any batches, with contacts deleted between them, against the brute-force model.

#![no_main]

use arbitrary::Arbitrary;
use identity::domain::model::{Model, Tables, show};
use identity::domain::{ContactId, Identifier, IdentifierKind, Observation};
use libfuzzer_sys::fuzz_target;

#[derive(Arbitrary, Debug)]
struct Batch {
    /// Of each observation, the numbers of its e-mails and of its phones.
    observations: Vec<(Vec<u8>, Vec<u8>)>,
    /// How far the database's clock goes on, or back.
    step: i8,
    /// The contact that is deleted by SQL afterwards.
    delete: Option<u8>,
}

#[derive(Arbitrary, Debug)]
struct History {
    batches: Vec<Batch>,
    /// Maximum contacts of an identity.
    max_contacts: Option<u8>,
}

fn observation((emails, phones): &(Vec<u8>, Vec<u8>)) -> Option<Observation> {
    let of = |kind| move |number: &u8| Identifier::from_stored(kind, (number % 16).to_string());
    let emails = emails.iter().take(3).map(of(IdentifierKind::Email));
    Observation::new(emails.chain(phones.iter().take(3).map(of(IdentifierKind::Phone)))).ok()
}

fuzz_target!(|history: History| {
    let History { batches, max_contacts } = history;
    let max_contacts = max_contacts.map(|limit| usize::from(limit).max(1));
    let mut model = Model { max_contacts, ..Model::default() };
    let mut tables = Tables { max_contacts, ..Tables::default() };
    let mut now = 1_000_000;
    let (mut is_forward, mut is_whole) = (true, true);
    for batch in batches.iter().take(12) {
        let observations: Vec<Observation> = batch.observations.iter().take(24).filter_map(observation).collect();
        now += i64::from(batch.step);
        is_forward &= batch.step > 0;
        let answers = tables.identify(&observations, now); // Checks the rows.
        if is_whole {
            for (answer, observation) in answers.iter().zip(&observations) {
                let (mut answer, mut expected) = (show(answer), model.observe(observation));
                if !is_forward {
                    // Age and order of arrival disagree; who belongs together stays the same.
                    for list in [&mut answer, &mut expected].into_iter().flatten() {
                        list.contacts.sort();
                        list.values.iter_mut().for_each(|values| values.sort());
                    }
                }
                assert_eq!(answer, expected);
            }
        }
        if let Some(index) = batch.delete.filter(|index| usize::from(*index) < tables.contacts.len()) {
            tables.deleted.insert(ContactId(i64::from(index) + 1));
            is_whole = false;
        }
    }
});
