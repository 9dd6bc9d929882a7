use super::call::Call;
use super::identity_message::{identity_message, past_identity_message};
use super::moments::{check_read_time, parse_read_time, timestamp};
use super::names::parse_identity_name;
use crate::domain::graph::PastIdentity;
use crate::domain::{ContactId, Timestamp};
use crate::proto::identity::v1 as pb;
use crate::resolver::ReadGraph;
use crate::store::HistoryRead;
use crate::transport::errors::ApiError;
use crate::transport::invalid_field::FieldPath;
use crate::transport::slices::Slices;

/// Answers `GetIdentity`.
///
/// # Errors
/// As the proto says.
pub(super) async fn get_identity<R: ReadGraph>(
    call: Call<R>,
    request: &pb::GetIdentityRequest,
) -> Result<pb::GetIdentityResponse, ApiError> {
    let contact = parse_identity_name(&request.name, FieldPath::Name)?;
    if let Some(at) = parse_read_time(request.read_time.as_ref())? {
        return answer_about(call, contact, at).await;
    }
    let identity = call.resolver.identity_of(call.place(), contact, call.deadline).await?;
    let identity = identity.ok_or(ApiError::UnknownIdentity)?;
    let slices = &mut Slices::of_answer(call.deadline);
    let identity = identity_message(&identity, call.room(), slices).await?;
    Ok(pb::GetIdentityResponse { identity: Some(identity), complete_since: None })
}

/// Answers about an earlier moment.
async fn answer_about<R: ReadGraph>(
    call: Call<R>,
    contact: ContactId,
    at: Timestamp,
) -> Result<pb::GetIdentityResponse, ApiError> {
    let find = move |read| past_identity(read, contact, at);
    let found = call.resolver.read_history(call.place(), contact, call.deadline, find).await?;
    let (past, complete_since) = found?;
    let slices = &mut Slices::of_answer(call.deadline);
    let identity = past_identity_message(&past, call.room(), slices).await?;
    Ok(pb::GetIdentityResponse { identity: Some(identity), complete_since: complete_since.map(timestamp) })
}

/// Returns the identity of a contact as it was, and from when on that is exact.
fn past_identity(
    read: HistoryRead,
    contact: ContactId,
    at: Timestamp,
) -> Result<(PastIdentity, Option<Timestamp>), ApiError> {
    check_read_time(Some(at), read.now)?;
    let past = read.identity.and_then(|rows| rows.into_history().identity_at(contact, at));
    Ok((past.ok_or(ApiError::UnknownIdentity)?, read.complete_since))
}
