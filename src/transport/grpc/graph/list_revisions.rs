use super::call::Call;
use super::evidence_message::revision_message;
use super::history_page::{HistoryPage, live_history};
use super::names::parse_identity_name;
use super::page::page_size;
use super::page_token::{PageToken, RevisionPlace, after_revision};
use crate::proto::identity::v1 as pb;
use crate::resolver::ReadGraph;
use crate::transport::errors::ApiError;
use crate::transport::invalid_field::FieldPath;

/// Answers `ListRevisions`. A page is a part of the complete history, as in `ListEvidence`.
///
/// # Errors
/// As the proto says.
pub(super) async fn list_revisions<R: ReadGraph>(
    call: Call<R>,
    request: &pb::ListRevisionsRequest,
) -> Result<pb::ListRevisionsResponse, ApiError> {
    let parent = parse_identity_name(&request.parent, FieldPath::Parent)?;
    let page = HistoryPage { limit: page_size(request.page_size)?, room: call.room() };
    let after = after_revision(&request.page_token, parent)?;
    let list = move |read| {
        let revisions = live_history(read, parent)?.revisions();
        let revisions = revisions.iter().map(|revision| (RevisionPlace::from_revision(revision), revision)).collect();
        let (revisions, next) = page.messages_after(revisions, after, revision_message);
        let next = next.map(|after| PageToken::Revisions { parent, after }.encode());
        Ok(pb::ListRevisionsResponse { revisions, next_page_token: next.unwrap_or_default() })
    };
    call.resolver.read_history(call.place(), parent, call.deadline, list).await?
}
