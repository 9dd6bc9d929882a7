use bytes::Bytes;

use super::call::Call;
use super::identifiers::parse_some;
use super::identity_message::{identifier_message, identity_message, past_identity_message, size_in_list};
use super::moments::{check_read_time, parse_read_time, timestamp};
use crate::domain::{Identifier, Timestamp};
use crate::proto::identity::v1 as pb;
use crate::resolver::ReadGraph;
use crate::transport::batch_size::MAX_BATCH_ITEMS;
use crate::transport::errors::ApiError;
use crate::transport::grpc::batch_request::{self, EncodedItems};
use crate::transport::invalid_field::{FieldPath, FieldProblem, IdentifierList, MAX_IDENTIFIERS};
use crate::transport::slices::Slices;

/// Decodes a request, unless it has too many identifiers. Those are not decoded.
///
/// # Errors
/// As the proto says.
pub(super) fn decode(message: Bytes) -> Result<pb::LookupIdentitiesRequest, ApiError> {
    const { assert!(MAX_IDENTIFIERS <= MAX_BATCH_ITEMS, "counting stops above that") };
    if EncodedItems::new(message.clone()).count_up_to_limit()? > MAX_IDENTIFIERS {
        let path = FieldPath::List(IdentifierList::Identifiers);
        return Err(ApiError::of_field(path, FieldProblem::TooManyIdentifiers));
    }
    batch_request::decode(message)
}

/// Answers `LookupIdentities`.
///
/// # Errors
/// As the proto says.
pub(super) async fn lookup_identities<R: ReadGraph>(
    call: Call<R>,
    request: &pb::LookupIdentitiesRequest,
) -> Result<pb::LookupIdentitiesResponse, ApiError> {
    let identifiers = parse_some(IdentifierList::Identifiers, &request.identifiers, &call.identify)?;
    if let Some(at) = parse_read_time(request.read_time.as_ref())? {
        return answer_about(call, identifiers, at).await;
    }
    let found = call.resolver.look_up(call.place(), identifiers, call.deadline).await?;
    let slices = &mut Slices::of_answer(call.deadline);
    let mut answer = ResponseBuilder::new(&call, &found.unknown, found.identities.len())?;
    for identity in &found.identities {
        answer.add(identity_message(identity, answer.room, slices).await?)?;
    }
    Ok(answer.response)
}

/// Answers about an earlier moment.
async fn answer_about<R: ReadGraph>(
    call: Call<R>,
    identifiers: Vec<Identifier>,
    at: Timestamp,
) -> Result<pb::LookupIdentitiesResponse, ApiError> {
    let found = call.resolver.look_up_at(call.place(), identifiers, at, call.deadline).await?;
    check_read_time(Some(at), found.now)?;
    if found.is_too_large {
        return Err(ApiError::LookUpTooLarge { limit: call.answer_limit });
    }
    let slices = &mut Slices::of_answer(call.deadline);
    let mut answer = ResponseBuilder::new(&call, &found.unknown, found.identities.len())?;
    for identity in &found.identities {
        answer.add(past_identity_message(identity, answer.room, slices).await?)?;
    }
    answer.response.complete_since = found.complete_since.map(timestamp);
    Ok(answer.response)
}

/// An answer in the making.
struct ResponseBuilder {
    response: pb::LookupIdentitiesResponse,
    /// How many bytes are left.
    room: usize,
    limit: usize,
    /// Whether there is one identity: it may be truncated.
    is_of_one: bool,
}

impl ResponseBuilder {
    /// Begins an answer of so many identities.
    fn new<R: ReadGraph>(call: &Call<R>, unknown: &[Identifier], identities: usize) -> Result<Self, ApiError> {
        let limit = call.answer_limit;
        let unknown: Vec<pb::Identifier> = unknown.iter().map(identifier_message).collect();
        let taken: usize = unknown.iter().map(size_in_list).sum();
        let room = call.room().checked_sub(taken).ok_or(ApiError::LookUpTooLarge { limit })?;
        let response = pb::LookupIdentitiesResponse { unknown, ..Default::default() };
        Ok(Self { response, room, limit, is_of_one: identities == 1 })
    }

    fn add(&mut self, identity: pb::Identity) -> Result<(), ApiError> {
        let size = size_in_list(&identity);
        if !self.is_of_one && (identity.truncated || size > self.room) {
            return Err(ApiError::LookUpTooLarge { limit: self.limit });
        }
        self.room = self.room.saturating_sub(size);
        self.response.identities.push(identity);
        Ok(())
    }
}
