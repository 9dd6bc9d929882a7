//! `StreamIdentify`: one open stream.

use std::pin::Pin;

use futures::stream::unfold;
use futures::{Stream, StreamExt};
use tokio_util::task::AbortOnDropHandle;
use tonic::{Request, Status, Streaming};

use super::answer_buffer::answer_buffer;
use super::identity_api::IdentityApi;
use super::stream_driver::StreamDriver;
use crate::proto::identity::v1 as pb;
use crate::resolver::Identify;
use crate::transport::batch::StreamItemCounts;

/// The answers of a stream.
pub(super) type AnswerStream = Pin<Box<dyn Stream<Item = Result<pb::StreamIdentifyResponse, Status>> + Send>>;

/// Returns the answers of a stream.
///
/// A task of its own does the work, so that a client that takes no answers does not keep permits that others wait for.
/// The task stops reading when too many answers wait. An answer becomes a message only when it is polled. When the
/// client goes away, everything under way is dropped.
pub(super) fn answer_stream<R: Identify>(
    api: &IdentityApi<R>,
    request: Request<Streaming<pb::StreamIdentifyRequest>>,
    counts: StreamItemCounts,
) -> AnswerStream {
    let (sender, receiver) = answer_buffer(api.settings.limits.answer_limit);
    let driver = StreamDriver::new(api, request, sender, counts);
    let task = AbortOnDropHandle::new(tokio::spawn(driver.run()));
    unfold((receiver, task), |(mut receiver, task)| async {
        receiver.next().await.map(|next| (next, (receiver, task)))
    })
    .boxed()
}
