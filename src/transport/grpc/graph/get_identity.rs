use super::call::Call;
use super::identity_message::identity_message;
use super::names::parse_identity_name;
use crate::proto::identity::v1 as pb;
use crate::resolver::ReadGraph;
use crate::transport::errors::ApiError;
use crate::transport::invalid_field::FieldPath;
use crate::transport::slices::Slices;

/// Answers `GetIdentity`.
///
/// # Errors
/// As the proto says.
pub(super) async fn answer<R: ReadGraph>(
    call: Call<R>,
    request: &pb::GetIdentityRequest,
) -> Result<pb::GetIdentityResponse, ApiError> {
    let contact = parse_identity_name(&request.name, FieldPath::Name)?;
    let identity = call.resolver.identity_of(call.place(), contact, call.deadline).await?;
    let identity = identity.ok_or(ApiError::UnknownIdentity)?;
    let slices = &mut Slices::of_answer(call.deadline);
    Ok(pb::GetIdentityResponse { identity: Some(identity_message(&identity, call.room(), slices).await?) })
}
