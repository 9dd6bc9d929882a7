use super::call::Call;
use super::identity_message::{contact_message, size_in_list};
use super::names::parse_identity_name;
use super::page::page_size;
use super::page_token::{PageToken, after_contact};
use crate::proto::identity::v1 as pb;
use crate::resolver::ReadGraph;
use crate::transport::errors::ApiError;
use crate::transport::invalid_field::FieldPath;

/// Answers `ListContacts`.
///
/// A page is a part of the complete identity. While a copy of that is in memory, a page costs one look at the row of
/// its root. An index for pages would make each write dearer.
///
/// # Errors
/// As the proto says.
pub(super) async fn list_contacts<R: ReadGraph>(
    call: Call<R>,
    request: &pb::ListContactsRequest,
) -> Result<pb::ListContactsResponse, ApiError> {
    let parent = parse_identity_name(&request.parent, FieldPath::Parent)?;
    let limit = page_size(request.page_size)?;
    let after = after_contact(&request.page_token, parent)?;
    let identity = call.resolver.identity_of(call.place(), parent, call.deadline).await?;
    let identity = identity.ok_or(ApiError::UnknownIdentity)?;

    let contacts = identity.contacts();
    let begin = after.map_or(0, |after| contacts.partition_point(|contact| contact.age() <= after));
    let (primary, mut room) = (identity.primary().id, call.room());
    let mut response = pb::ListContactsResponse::default();
    let mut last = None;
    for contact in contacts[begin..].iter().take(limit) {
        let message = contact_message(contact, primary);
        let size = size_in_list(&message);
        if size > room && last.is_some() {
            break;
        }
        room = room.saturating_sub(size);
        last = Some(contact.age());
        response.contacts.push(message);
    }
    if let Some(after) = last.filter(|_| begin + response.contacts.len() < contacts.len()) {
        response.next_page_token = PageToken::Contacts { parent, after }.encode();
    }
    Ok(response)
}
