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

/// The place of a call in the queue. A handler takes it when it has read the body.
#[derive(Clone)]
pub(crate) struct CallPlace(Option<Arc<dyn KeepsPlace>>);

impl CallPlace {
    /// Returns the place that this keeps.
    pub(crate) fn new(keeper: Arc<dyn KeepsPlace>) -> Self {
        Self(Some(keeper))
    }

    /// Returns the place of the call with these extensions.
    pub(crate) fn from_extensions(extensions: &Extensions) -> Self {
        extensions.get().cloned().unwrap_or(Self(None))
    }

    /// Takes the place, once; none if the call got none.
    pub(crate) fn take(&self) -> Reserved {
        self.0.as_ref().map_or_else(Reserved::default, |keeper| keeper.take())
    }
}
