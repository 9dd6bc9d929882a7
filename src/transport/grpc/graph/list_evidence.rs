use super::call::Call;
use super::evidence_message::evidence_message;
use super::history_page::{HistoryPage, live_history};
use super::names::parse_identity_name;
use super::notes::read_notes;
use super::page::page_size;
use super::page_token::{PageToken, SetPlace, after_set};
use crate::domain::{MAX_EXTERNAL_REF, MAX_SOURCE};
use crate::proto::identity::v1 as pb;
use crate::resolver::ReadGraph;
use crate::transport::errors::ApiError;
use crate::transport::invalid_field::FieldPath;

/// The most bytes that a note takes in a message: two texts, a moment, and what stands before each.
const NOTE: usize = MAX_SOURCE + MAX_EXTERNAL_REF + 32;

/// Answers `ListEvidence`.
///
/// A page is a part of the complete history, which is read for each page: an index for pages would make each write
/// dearer.
///
/// # Errors
/// As the proto says.
pub(super) async fn list_evidence<R: ReadGraph>(
    call: Call<R>,
    request: &pb::ListEvidenceRequest,
) -> Result<pb::ListEvidenceResponse, ApiError> {
    let parent = parse_identity_name(&request.parent, FieldPath::Parent)?;
    let limit = page_size(request.page_size)?;
    let page = HistoryPage { limit, room: call.room().saturating_sub(limit * NOTE) };
    let after = after_set(&request.page_token, parent)?;
    let list = move |read| {
        let sets = live_history(read, parent)?.sets(None);
        let sets = sets.iter().map(|set| (SetPlace { seen_at: set.seen_at, name: set.name }, set)).collect();
        let (evidence, next) = page.messages_after(sets, after, evidence_message);
        let next = next.map(|after| PageToken::Evidence { parent, after }.encode());
        Ok::<_, ApiError>(pb::ListEvidenceResponse { evidence, next_page_token: next.unwrap_or_default() })
    };
    let mut response = call.resolver.read_history(call.place(), parent, call.deadline, list).await??;
    read_notes(&call, [&mut response.evidence]).await?;
    Ok(response)
}
