//! An identity as the bytes of an answer.

use super::listing::{Listing, Sizes};
use super::slices::Slices;
use crate::domain::{Encoded, Encoding, IdentityState};
use crate::resolver::IdentifyError;

/// How an API writes an identity.
pub trait IdentityFormat {
    /// Where an identity keeps its bytes.
    const ENCODING: Encoding;

    /// The sizes of the parts of an identity.
    const SIZES: Sizes;

    /// Appends an identity to an answer.
    fn identity(&self, listing: &Listing<'_>, to: &mut Vec<u8>);
}

/// Appends an identity to an answer, with the contacts that fit into `room` bytes. Returns whether it has more.
///
/// An identity with many contacts keeps its bytes ([`Identity::keeps_encodings`](crate::domain::Identity)), so `room`
/// must be the same in all calls of one API.
///
/// # Errors
/// [`IdentifyError::DeadlineExceeded`].
pub async fn write_identity<F: IdentityFormat + Sync>(
    format: &F,
    identity: &IdentityState,
    room: usize,
    slices: &mut Slices,
    to: &mut Vec<u8>,
) -> Result<bool, IdentifyError> {
    let kept = identity.whole().filter(|whole| whole.keeps_encodings()).map(|whole| whole.encodings());
    if let Some(encoded) = kept.and_then(|kept| kept.get(F::ENCODING)) {
        to.extend_from_slice(&encoded.bytes);
        return Ok(encoded.is_truncated);
    }
    let listing = Listing::in_slices(identity, F::SIZES, room, slices).await?;
    let begin = to.len();
    format.identity(&listing, to);
    if let Some(kept) = kept {
        kept.keep(F::ENCODING, Encoded { bytes: to[begin..].into(), is_truncated: listing.is_truncated });
    }
    Ok(listing.is_truncated)
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::time::{Duration, Instant};

    use super::*;
    use crate::domain::{Contact, ContactId, Identifier, IdentifierKind, Identity, Link, Timestamp};

    /// Writes the number of listed contacts, and counts how often.
    #[derive(Default)]
    struct Counting(std::sync::Mutex<Cell<usize>>);

    impl IdentityFormat for Counting {
        const ENCODING: Encoding = Encoding::Json;
        const SIZES: Sizes = Sizes { value: str::len, id: |_| 10 };

        fn identity(&self, listing: &Listing<'_>, to: &mut Vec<u8>) {
            *self.0.lock().unwrap().get_mut() += 1;
            to.extend((listing.secondary_contact_ids.len() + 1).to_string().bytes());
        }
    }

    fn identity(contacts: i64) -> Identity {
        let contact = |id: i64| {
            let email = Identifier::from_stored(IdentifierKind::Email, format!("{id:05}@x.de"));
            Contact::new(ContactId(id), [email], Timestamp(id), Link::Primary)
        };
        Identity::new((1..=contacts).map(contact).collect()).unwrap()
    }

    async fn write(format: &Counting, state: &IdentityState, room: usize) -> (String, bool) {
        let mut to = b"contacts: ".to_vec();
        let slices = &mut Slices::of_answer(Instant::now() + Duration::from_secs(60));
        let is_truncated = write_identity(format, state, room, slices, &mut to).await.unwrap();
        (String::from_utf8(to).unwrap(), is_truncated)
    }

    #[tokio::test]
    async fn an_identity_with_many_contacts_is_encoded_once() {
        for (contacts, room, expected) in [(1_000, usize::MAX, ("1000", false)), (1_000, 20 * 500, ("500", true))] {
            let (format, state) = (Counting::default(), IdentityState::from(identity(contacts)));
            for _ in 0..3 {
                let (text, is_truncated) = write(&format, &state, room).await;
                assert_eq!((text, is_truncated), (format!("contacts: {}", expected.0), expected.1));
            }
            assert_eq!(format.0.lock().unwrap().get(), 1);
            // An API with another form makes its own, and so does a changed identity.
            let whole = state.whole().unwrap();
            assert_eq!(whole.encodings().get(Encoding::Proto), None);
            assert_eq!(Identity::clone(whole).encodings().get(Encoding::Json), None);
        }
        let (format, state) = (Counting::default(), IdentityState::from(identity(2)));
        assert_eq!(write(&format, &state, usize::MAX).await.0, "contacts: 2");
        assert_eq!(state.whole().unwrap().encodings().get(Encoding::Json), None, "few contacts take no memory for it");
    }
}
