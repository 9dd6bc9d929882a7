//! The place that a call got in the queue when its head arrived.

use std::sync::Arc;

use http::Extensions;

use crate::resolver::Reserved;

/// What keeps the place of a call in the queue. The listener puts it into the extensions of the request. If nobody
/// takes the place, it is given back when the call ends.
pub trait KeepsPlace: Send + Sync {
    /// Returns the place, once.
    fn take(&self) -> Reserved;
}

/// Puts the keeper of a call's place into the extensions of the request.
pub(crate) fn put_place(extensions: &mut Extensions, keeper: Arc<dyn KeepsPlace>) {
    extensions.insert(keeper);
}

/// Takes the place of the call with these extensions; none if it got none.
pub(crate) fn take_place(extensions: &Extensions) -> Reserved {
    extensions.get().map_or_else(Reserved::default, |keeper: &Arc<dyn KeepsPlace>| keeper.take())
}
