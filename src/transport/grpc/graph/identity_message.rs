//! Identities and contacts as messages.

use std::sync::Arc;

use prost::Message;
use prost::encoding::encoded_len_varint;
use prost_reflect::prost_types;

use super::names::{contact_name, identity_name};
use crate::domain::{Contact, ContactId, Identifier, Identity, IdentityState, Timestamp};
use crate::proto::identity::v1 as pb;
use crate::resolver::IdentifyError;
use crate::transport::grpc::convert;
use crate::transport::listing::Listing;
use crate::transport::slices::Slices;

/// Returns the message of an identity. It lists as many contacts as fit into so many bytes.
///
/// # Errors
/// [`IdentifyError::DeadlineExceeded`].
pub(super) async fn identity_message(
    identity: &Arc<Identity>,
    room: usize,
    slices: &mut Slices,
) -> Result<pb::Identity, IdentifyError> {
    let state = IdentityState::from(Arc::clone(identity));
    let listing = Listing::in_slices(&state, convert::SIZES, room, slices).await?;
    let primary = identity.primary();
    let message = pb::Identity {
        name: identity_name(primary.id),
        // Every change of the identity gives its root a later version.
        etag: format!("{:x}-{:x}", identity.root().0, identity.version().0),
        create_time: Some(timestamp(primary.created_at)),
        update_time: Some(timestamp(identity.version())),
        ..convert::identity(&listing)
    };
    slices.pause().await?;
    Ok(message)
}

/// Returns the message of a contact of the identity with this primary.
pub(super) fn contact_message(contact: &Contact, primary: ContactId) -> pb::Contact {
    pb::Contact {
        name: contact_name(primary, contact.id),
        id: contact.id.0,
        identifiers: contact.shown().map(identifier_message).collect(),
        primary: contact.id == primary,
        create_time: Some(timestamp(contact.created_at)),
        update_time: Some(timestamp(contact.updated_at)),
    }
}

/// Returns the message of an identifier.
pub(super) fn identifier_message(identifier: &Identifier) -> pb::Identifier {
    pb::Identifier { kind: identifier.kind().name().to_owned(), value: identifier.value().to_owned() }
}

/// Returns how many bytes a message takes in a list.
pub(super) fn size_in_list(message: &impl Message) -> usize {
    let size = message.encoded_len();
    1 + encoded_len_varint(size as u64) + size
}

fn timestamp(moment: Timestamp) -> prost_types::Timestamp {
    let nanos = moment.0.rem_euclid(1_000_000) * 1_000;
    prost_types::Timestamp {
        seconds: moment.0.div_euclid(1_000_000),
        nanos: i32::try_from(nanos).unwrap_or_default(), // It is less than a second.
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_have_microseconds_also_before_1970() {
        let parts = |micros| {
            let prost_types::Timestamp { seconds, nanos } = timestamp(Timestamp(micros));
            (seconds, nanos)
        };
        assert_eq!(parts(1_700_000_000_123_456), (1_700_000_000, 123_456_000));
        assert_eq!((parts(0), parts(-1)), ((0, 0), (-1, 999_999_000)));
    }
}
