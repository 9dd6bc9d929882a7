use super::call::Call;
use super::identity_message::{identity_message, size_in_list};
use super::page::page_size;
use super::page_token::{PageToken, after_root};
use crate::proto::identity::v1 as pb;
use crate::resolver::ReadGraph;
use crate::transport::errors::ApiError;
use crate::transport::slices::Slices;

/// Answers `ListIdentities`.
///
/// A page ends before the first identity that does not fit. The first one of a page is truncated instead.
///
/// # Errors
/// As the proto says.
pub(super) async fn list_identities<R: ReadGraph>(
    call: Call<R>,
    request: &pb::ListIdentitiesRequest,
) -> Result<pb::ListIdentitiesResponse, ApiError> {
    let limit = page_size(request.page_size)?;
    let after = after_root(&request.page_token)?;
    let page = call.resolver.list_identities(call.place(), after, limit, call.deadline).await?;

    let slices = &mut Slices::of_answer(call.deadline);
    let mut room = call.room();
    let mut response = pb::ListIdentitiesResponse::default();
    let (mut next, mut last) = (page.next, None);
    for identity in &page.identities {
        let message = identity_message(identity, call.room(), slices).await?;
        let size = size_in_list(&message);
        if size > room && last.is_some() {
            next = last;
            break;
        }
        room = room.saturating_sub(size);
        last = Some(identity.root());
        response.identities.push(message);
    }
    response.next_page_token = next.map(|root| PageToken::Identities(root).encode()).unwrap_or_default();
    Ok(response)
}
