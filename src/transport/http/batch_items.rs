//! The list of items in the JSON of a batch.

use std::fmt;

use serde::Deserializer;
use serde::de::{Error, SeqAccess, Visitor};
use serde_json::value::RawValue;

use crate::transport::batch_size::{BatchSize, MAX_BATCH_ITEMS};
use crate::transport::errors::ApiError;

/// Returns the items of the list. It stops reading above the maximum of a batch.
///
/// # Errors
/// [`BatchSize::TooLong`], or [`ApiError::Malformed`] if it is not a list.
pub(super) fn read_items(list: &RawValue) -> Result<Vec<&RawValue>, ApiError> {
    let mut is_too_long = false;
    let items = serde_json::Deserializer::from_str(list.get()).deserialize_seq(Items { is_too_long: &mut is_too_long });
    items.map_err(|_| {
        if is_too_long { BatchSize::TooLong.into() } else { ApiError::Malformed("requests must be a list".to_owned()) }
    })
}

struct Items<'a> {
    is_too_long: &'a mut bool,
}

impl<'de> Visitor<'de> for Items<'_> {
    type Value = Vec<&'de RawValue>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = list.next_element()? {
            if items.len() == MAX_BATCH_ITEMS {
                *self.is_too_long = true;
                return Err(A::Error::custom("too long"));
            }
            items.push(item);
        }
        Ok(items)
    }
}
