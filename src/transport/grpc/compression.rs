//! Which answers are compressed.

use std::ops::RangeInclusive;

use tonic::Response;
use tonic::metadata::MetadataMap;

use super::errors::ACCEPT_ENCODING;

/// The sizes of the answers that are compressed, in bytes. A smaller answer costs more time than it saves. tonic
/// compresses a message in one go, and other calls would wait for a larger one: this one takes about a millisecond.
const WORTHWHILE: RangeInclusive<usize> = 1024..=64 * 1024;

/// Whether the caller says which compressions it can read, as many clients always do. tonic looks for gzip among them.
pub(super) fn accepts_compression(metadata: &MetadataMap) -> bool {
    metadata.as_ref().contains_key(ACCEPT_ENCODING)
}

/// Leaves the compression of an answer of this size to tonic if it is worthwhile.
pub(super) fn compress_if_worthwhile<M>(response: &mut Response<M>, accepts_compression: bool, size: fn(&M) -> usize) {
    if accepts_compression && !WORTHWHILE.contains(&size(response.get_ref())) {
        response.disable_compression();
    }
}
