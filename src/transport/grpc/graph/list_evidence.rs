use super::call::Call;
use super::evidence_message::evidence_message;
use super::history_page::{HistoryPage, live_history};
use super::names::parse_identity_name;
use super::page::page_size;
use super::page_token::{PageToken, SetPlace, after_set};
use crate::proto::identity::v1 as pb;
use crate::resolver::ReadGraph;
use crate::transport::errors::ApiError;
use crate::transport::invalid_field::FieldPath;

/// Answers `ListEvidence`.
///
/// A page is a part of the complete history, which is read for each page: an index for pages would make each write
/// dearer.
///
/// # Errors
/// As the proto says.
pub(super) async fn answer<R: ReadGraph>(
    call: Call<R>,
    request: &pb::ListEvidenceRequest,
) -> Result<pb::ListEvidenceResponse, ApiError> {
    let parent = parse_identity_name(&request.parent, FieldPath::Parent)?;
    let page = HistoryPage { limit: page_size(request.page_size)?, room: call.room() };
    let after = after_set(&request.page_token, parent)?;
    let list = move |read| {
        let sets = live_history(read, parent)?.sets(None);
        let sets = sets.iter().map(|set| (SetPlace { seen_at: set.seen_at, name: set.name }, set)).collect();
        let (evidence, next) = page.of(sets, after, evidence_message);
        let next = next.map(|after| PageToken::Evidence { parent, after }.encode());
        Ok(pb::ListEvidenceResponse { evidence, next_page_token: next.unwrap_or_default() })
    };
    call.resolver.read_history(call.place(), parent, call.deadline, list).await?
}
