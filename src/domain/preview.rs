use super::contact::{ContactId, Timestamp};
use super::observation::Observation;
use super::plan::{Answer, Refusal};
use super::planner::plan;
use super::snapshot::Snapshot;

/// Later than every contact. A contact that is only planned is the youngest, whatever the clock of the database says.
const AFTER_ALL: Timestamp = Timestamp(i64::MAX / 2);

/// Returns the answer that an observation would get now: that of [`plan`], without a row for what is new.
///
/// A new contact is in the answer and has the id [`ContactId::UNKNOWN`]: only the tables can give it one.
/// `known` must say who owns each identifier of the observation.
///
/// # Errors
/// The refusal that the observation would get.
pub fn preview(observation: &Observation, known: &Snapshot, max_contacts: usize) -> Result<Answer, Refusal> {
    let known = known.restricted_to(observation);
    let plan = plan(std::slice::from_ref(observation), &known, AFTER_ALL, max_contacts);
    let unknown = vec![ContactId::UNKNOWN; plan.new_contacts.len()];
    let answer = plan.answers(&unknown).pop();
    answer.unwrap_or_else(|| unreachable!("a plan has an answer for each observation"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::model::{Expected, Tables, show};
    use super::super::{Identifier, IdentifierKind, Outcome};
    use super::*;

    fn identifier(kind: usize, number: u8) -> Identifier {
        Identifier::from_stored(IdentifierKind::ALL[kind % 2], number.to_string())
    }

    fn observing(given: &[(usize, u8)]) -> Observation {
        Observation::new(given.iter().map(|(kind, number)| identifier(*kind, *number))).unwrap()
    }

    /// Up to four identifiers, so that an observation can also join three customers and bring something new.
    fn observation() -> impl Strategy<Value = Observation> {
        prop::collection::vec((0..2_usize, 0..7_u8), 1..=4).prop_map(|given| observing(&given))
    }

    /// What happens to the tables beside an observation.
    #[derive(Clone, Debug)]
    enum Deed {
        Nothing,
        Ignore(u8),
        StopIgnoring(u8),
        /// By an operator.
        Delete(usize),
    }

    fn deed() -> impl Strategy<Value = Deed> {
        prop_oneof![
            12 => Just(Deed::Nothing),
            1 => (0..14_u8).prop_map(Deed::Ignore),
            1 => (0..14_u8).prop_map(Deed::StopIgnoring),
            1 => (0..30_usize).prop_map(Deed::Delete),
        ]
    }

    /// An answer in which what is new has no id. Ids of the tables are given in order.
    fn without_ids(answer: Result<Expected, Refusal>, rows_before: usize) -> Result<Expected, Refusal> {
        answer.map(|mut answer| {
            let is_new = |id: i64| usize::try_from(id).unwrap() > rows_before;
            let contacts = answer.contacts.iter().map(|id| if is_new(*id) { 0 } else { *id });
            answer.contacts = contacts.collect();
            answer
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]

        /// The same observation comes next and is carried out.
        #[test]
        fn the_answer_is_what_the_observation_gets_next(
            history in prop::collection::vec((observation(), deed()), 1..40),
            max_contacts in prop_oneof![Just(1_000_usize), 1..6_usize],
        ) {
            let mut tables = Tables { max_contacts: Some(max_contacts), ..Tables::default() };
            for ((observation, deed), now) in history.iter().zip((1_000..).step_by(1_000)) {
                let about = |number: &u8| identifier(usize::from(number % 2), number / 2);
                match deed {
                    Deed::Nothing => {}
                    Deed::Ignore(number) => tables.ignore(&about(number)),
                    Deed::StopIgnoring(number) => tables.stop_ignoring(&about(number)),
                    Deed::Delete(index) => tables.deleted.extend(tables.contacts.get(*index).map(|row| row.id)),
                }
                let rows_before = tables.contacts.len();
                let known = tables.snapshot(std::slice::from_ref(observation));
                let answer = show(&preview(observation, &known, max_contacts));
                let carried_out = tables.identify(std::slice::from_ref(observation), now);
                prop_assert_eq!(answer, without_ids(show(&carried_out[0]), rows_before));
            }
        }
    }

    /// A group of requests is read together.
    #[test]
    fn customers_of_other_requests_are_left_out() {
        let mut tables = Tables::default();
        let both = [observing(&[(0, 1), (1, 1)]), observing(&[(0, 2), (1, 2)])];
        tables.identify(&both, 1_000);
        let known = tables.snapshot(&both).restricted_to(&both[1]);
        assert_eq!(known.identities().iter().map(|one| one.root().0).collect::<Vec<_>>(), [2]);
        let answer = preview(&observing(&[(0, 2), (1, 3)]), &tables.snapshot(&both), 10).unwrap();
        let contacts: Vec<i64> = answer.identity.contacts().map(|contact| contact.id.0).collect();
        assert_eq!((answer.outcome, contacts), (Outcome::Linked, vec![2, 0]));
    }
}
