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
