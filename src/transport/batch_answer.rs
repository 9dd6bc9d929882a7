//! The answer to a batch, within the limit of its bytes.

use std::collections::HashMap;
use std::ops::Range;
use std::time::Instant;

use super::answered::Answered;
use super::batch::{ItemCounts, ItemResult};
use super::errors::ApiError;
use super::identity_bytes::IdentityFormat;
use super::listing::{ENVELOPE, Listing};
use super::slices::Slices;
use crate::domain::{ContactId, StateKey};

/// How an API writes the results of a batch. Each function appends to the answer.
pub trait BatchFormat: IdentityFormat {
    /// What stands before the results.
    const BEGIN: &'static [u8];

    /// What stands between two results.
    const BETWEEN: &'static [u8];

    /// What stands after the results.
    const END: &'static [u8];

    /// Writes what stands before the identity in a result. The identity has so many bytes.
    fn before_identity(&self, answered: &Answered, identity: usize, to: &mut Vec<u8>);

    /// Writes what stands after it.
    fn after_identity(&self, answered: &Answered, to: &mut Vec<u8>);

    /// Writes the result of an item that failed.
    fn error(&self, error: &ApiError, to: &mut Vec<u8>);
}

/// Returns the answer to a batch, of at most `limit` bytes, and what the log counts.
///
/// An item whose answer does not fit gets [`ApiError::AnswerTooLarge`]; smaller answers after it may still fit. An
/// identity that several items are about is encoded once.
///
/// # Errors
/// [`DeadlineExceeded`](crate::resolver::IdentifyError::DeadlineExceeded).
pub async fn encode<F: BatchFormat + Sync>(
    format: &F,
    results: &[ItemResult],
    limit: usize,
    deadline: Instant,
) -> Result<(Vec<u8>, ItemCounts), ApiError> {
    let mut slices = Slices::of_answer(deadline);
    let (unfit, mut too_large) = (ApiError::AnswerTooLarge { limit }, Vec::new());
    format.error(&unfit, &mut too_large);

    // Every item has room for an error, so only what an answer takes beyond that has to fit.
    let mut room = limit.saturating_sub(ENVELOPE);
    let (mut errors, mut error_ends) = (Vec::new(), Vec::new());
    let mut last: Option<(&ApiError, Range<usize>)> = None; // Neighbours often fail alike: it is encoded once.
    for result in results {
        room = room.saturating_sub(F::BETWEEN.len());
        match result {
            Ok(_) => room = room.saturating_sub(too_large.len()),
            Err(error) => {
                let begin = errors.len();
                match &last {
                    Some((same, range)) if *same == error => errors.extend_from_within(range.clone()),
                    _ => {
                        format.error(error, &mut errors);
                        last = Some((error, begin..errors.len()));
                    }
                }
                error_ends.push(errors.len());
                room = room.saturating_sub(errors.len() - begin);
                slices.pause().await?;
            }
        }
    }

    let mut answer = BatchAnswer { format, bytes: Vec::new(), room, encoded: HashMap::new(), misfits: HashMap::new() };
    let mut counts = ItemCounts::default();
    answer.bytes.extend_from_slice(F::BEGIN);
    let (mut error_begin, mut error_ends) = (0, error_ends.into_iter());
    for (index, result) in results.iter().enumerate() {
        if index > 0 {
            answer.bytes.extend_from_slice(F::BETWEEN);
        }
        match result {
            Ok(one) => {
                let fits = answer.push(one, too_large.len(), &mut slices).await?;
                if !fits {
                    answer.bytes.extend_from_slice(&too_large);
                }
                counts.count((!fits).then_some(&unfit));
            }
            Err(error) => {
                let end = error_ends.next().unwrap_or(error_begin);
                answer.bytes.extend_from_slice(&errors[error_begin..end]);
                error_begin = end;
                counts.count(Some(error));
            }
        }
        slices.pause().await?;
    }
    answer.bytes.extend_from_slice(F::END);
    Ok((answer.bytes, counts))
}

/// An answer in the making.
struct BatchAnswer<'a, F> {
    format: &'a F,
    bytes: Vec<u8>,
    /// Bytes that are free beyond those that are reserved for each item.
    room: usize,
    /// Where the identities in `bytes` are.
    encoded: HashMap<StateKey, Range<usize>>,
    /// Primaries with so many contacts whose identities did not fit. Identities grow and the room shrinks, so the same
    /// identity will not fit later.
    misfits: HashMap<ContactId, usize>,
}

impl<F: BatchFormat> BatchAnswer<'_, F> {
    /// Adds the answer if it fits into the room and what is `reserved` for it. Returns whether it fits.
    async fn push(&mut self, answered: &Answered, reserved: usize, slices: &mut Slices) -> Result<bool, ApiError> {
        let identity = &answered.answer.identity;
        let (key, available) = (identity.key(), self.room + reserved);
        if let Some(range) = self.encoded.get(&key).cloned() {
            let copy = |bytes: &mut Vec<u8>| bytes.extend_from_within(range.clone());
            return Ok(range.len() <= available && self.write(answered, reserved, range.len(), copy).is_some());
        }
        let primary = identity.primary().id;
        if self.misfits.get(&primary).is_some_and(|contacts| identity.contact_count() >= *contacts) {
            return Ok(false);
        }
        let listing = Listing::in_slices(identity, F::SIZES, available, slices).await?;
        let mut written = None;
        if !listing.is_truncated {
            let mut encoded = Vec::new();
            self.format.identity(&listing, &mut encoded);
            written = self.write(answered, reserved, encoded.len(), |bytes| bytes.extend_from_slice(&encoded));
        }
        let Some(range) = written else {
            // An identity that is not as stored says nothing about later ones. What would be new is its youngest
            // contact.
            let youngest = identity.list().contacts().last().map(|contact| contact.id);
            if youngest != Some(ContactId::UNKNOWN) {
                self.misfits.insert(primary, identity.contact_count());
            }
            return Ok(false);
        };
        self.encoded.insert(key, range);
        Ok(true)
    }

    /// Writes a result, and takes it back if it does not fit. `append` writes the identity. Returns where the identity
    /// is.
    fn write(
        &mut self,
        answered: &Answered,
        reserved: usize,
        identity: usize,
        append: impl FnOnce(&mut Vec<u8>),
    ) -> Option<Range<usize>> {
        let begin = self.bytes.len();
        self.format.before_identity(answered, identity, &mut self.bytes);
        let identity_begin = self.bytes.len();
        append(&mut self.bytes);
        let range = identity_begin..self.bytes.len();
        self.format.after_identity(answered, &mut self.bytes);
        let more = (self.bytes.len() - begin).saturating_sub(reserved);
        if more > self.room {
            self.bytes.truncate(begin);
            return None;
        }
        self.room -= more;
        Some(range)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;
    use crate::domain::{Answer, Contact, Encoding, Identifier, IdentifierKind, Identity, Link, Outcome, Timestamp};
    use crate::transport::listing::Sizes;
    use crate::transport::slices::turns_of_others;

    /// Everything takes longer to write than a slice.
    struct Slow;

    fn write_slowly(to: &mut Vec<u8>) {
        std::thread::sleep(Duration::from_millis(1));
        to.push(b'x');
    }

    impl IdentityFormat for Slow {
        const ENCODING: Encoding = Encoding::Json;
        const SIZES: Sizes = Sizes { value: str::len, id: |_| 1 };

        fn identity(&self, _: &Listing<'_>, to: &mut Vec<u8>) {
            write_slowly(to);
        }
    }

    impl BatchFormat for Slow {
        const BEGIN: &'static [u8] = b"[";
        const BETWEEN: &'static [u8] = b",";
        const END: &'static [u8] = b"]";

        fn before_identity(&self, _: &Answered, _: usize, _: &mut Vec<u8>) {}

        fn after_identity(&self, _: &Answered, _: &mut Vec<u8>) {}

        fn error(&self, _: &ApiError, to: &mut Vec<u8>) {
            write_slowly(to);
        }
    }

    fn answered(id: i64) -> ItemResult {
        let identifier = Identifier::from_stored(IdentifierKind::Email, format!("{id}@x.de"));
        let contact = Contact::new(ContactId(id), [identifier], Timestamp(id), Link::Primary);
        let identity = Arc::new(Identity::new(vec![contact]).expect("a primary"));
        let answer = Answer { outcome: Outcome::Matched, identity: identity.into(), ignored: Vec::new() };
        Ok(Answered { answer, malformed: Vec::new() })
    }

    /// This thread has no other turns than those that the encoding gives away.
    #[tokio::test]
    async fn others_have_their_turns_while_an_answer_is_encoded() {
        let errors = |number: i64| Err(ApiError::Malformed(format!("item {number}")));
        for results in [(1..=20).map(answered).collect::<Vec<_>>(), (1..=20).map(errors).collect()] {
            let deadline = Instant::now() + Duration::from_secs(60);
            let (answer, turns) = turns_of_others(encode(&Slow, &results, 1 << 20, deadline)).await;
            assert_eq!(answer.map(|(_, counts)| counts.items), Ok(20));
            assert!(turns >= 20, "{turns} turns");
        }
    }
}
