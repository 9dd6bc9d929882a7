//! Identities and contacts as messages.

use std::sync::Arc;

use prost::Message;
use prost::encoding::encoded_len_varint;

use super::moments::timestamp;
use super::names::{contact_name, identity_name};
use crate::domain::graph::PastIdentity;
use crate::domain::{Contact, ContactId, Identifier, Identity, IdentityState};
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

/// Returns the message of an identity as it was at an earlier moment. It has no etag.
///
/// # Errors
/// [`IdentifyError::DeadlineExceeded`]. [`IdentifyError::Internal`] if the identity has no contact: a bug.
pub(super) async fn past_identity_message(
    past: &PastIdentity,
    room: usize,
    slices: &mut Slices,
) -> Result<pb::Identity, IdentifyError> {
    let identity = Identity::new(past.contacts.clone()).ok_or(IdentifyError::Internal)?;
    let message = identity_message(&Arc::new(identity), room, slices).await?;
    Ok(pb::Identity { etag: String::new(), update_time: Some(timestamp(past.updated_at)), ..message })
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
