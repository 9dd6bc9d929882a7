//! The items of an encoded batch, which are counted before they are decoded.

use bytes::{Buf, Bytes};
use prost::Message;
use prost::encoding::{DecodeContext, WireType, check_wire_type, decode_key, decode_varint, skip_field};

use crate::transport::batch_size::MAX_BATCH_ITEMS;
use crate::transport::errors::ApiError;

/// The number of the field `requests` of `BatchIdentifyRequest`, and of `identifiers` of `LookupIdentitiesRequest`.
const ITEMS: u32 = 1;

/// The encoded items of an encoded message that takes many. Nothing of it is copied.
#[derive(Clone, Debug)]
pub(super) struct EncodedItems(Bytes);

impl EncodedItems {
    pub(super) fn new(message: Bytes) -> Self {
        Self(message)
    }

    /// Returns the number of items. It stops counting above the maximum of a batch, so a message of half a million
    /// empty items costs nothing.
    pub(super) fn count_up_to_limit(&self) -> Result<usize, ApiError> {
        self.clone().take(MAX_BATCH_ITEMS + 1).try_fold(0, |count, item| item.map(|_| count + 1))
    }

    /// Returns the next item, or `None` at the end.
    fn read(&mut self) -> Result<Option<Bytes>, ApiError> {
        while self.0.has_remaining() {
            let (field, wire_type) = decode_key(&mut self.0).map_err(malformed)?;
            if field != ITEMS {
                skip_field(wire_type, field, &mut self.0, DecodeContext::default()).map_err(malformed)?;
                continue;
            }
            check_wire_type(WireType::LengthDelimited, wire_type).map_err(malformed)?;
            let length = decode_varint(&mut self.0).map_err(malformed)?;
            let length = usize::try_from(length).ok().filter(|length| *length <= self.0.remaining());
            return length.map(|length| Some(self.0.split_to(length))).ok_or_else(|| malformed("it ends too early"));
        }
        Ok(None)
    }
}

impl Iterator for EncodedItems {
    type Item = Result<Bytes, ApiError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.read().transpose()
    }
}

/// Decodes an item, or a whole message.
pub(super) fn decode<M: Message + Default>(encoded: Bytes) -> Result<M, ApiError> {
    M::decode(encoded).map_err(malformed)
}

/// The error of a message that cannot be decoded. The cause can quote the message, so it is left out.
fn malformed<E>(_cause: E) -> ApiError {
    ApiError::Malformed("the request could not be decoded".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::identity::v1 as pb;

    fn items(message: impl Into<Bytes>) -> Result<Vec<pb::IdentifyRequest>, ApiError> {
        EncodedItems::new(message.into()).map(|item| decode(item?)).collect()
    }

    #[test]
    fn items_are_what_the_whole_message_decodes_to() {
        let request = |email: Option<&str>, phone_number: Option<&str>| pb::IdentifyRequest {
            email: email.map(str::to_owned),
            phone_number: phone_number.map(str::to_owned),
            ..Default::default()
        };
        let requests =
            vec![request(Some("doc@b.co"), Some("1")), request(None, None), request(Some(&"x".repeat(300)), None)];
        let message = pb::BatchIdentifyRequest { requests: requests.clone() }.encode_to_vec();
        assert_eq!(items(message.clone()).unwrap(), requests);
        // Fields of a later version: a number, eight bytes, text, four bytes.
        let unknown = [&[0x10, 0x7f][..], &[0x19, 1, 2, 3, 4, 5, 6, 7, 8], &[0x22, 2, b'h', b'i'], &[0x2d, 1, 2, 3, 4]];
        let message = [&unknown.concat()[..], &message, &unknown.concat()].concat();
        assert_eq!(pb::BatchIdentifyRequest::decode(&message[..]).unwrap().requests, requests);
        assert_eq!(items(message.clone()).unwrap(), requests);
        assert_eq!(EncodedItems::new(message.into()).count_up_to_limit(), Ok(3));
        assert_eq!(items(Bytes::new()).unwrap(), []);
    }

    #[test]
    fn what_is_no_message_is_refused_and_never_quoted() {
        for bytes in [
            &b"doc@b.co"[..],
            &[0x0a],
            &[0x0a, 5, 0x0a, 1],
            &[0x08, 1],
            &[0x0a, 1, 0xff],
            &[0x0a, 3, 0x0a, 9, b'x'],
            &[0xff; 20],
            &[0x0a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1],
        ] {
            assert!(pb::BatchIdentifyRequest::decode(bytes).is_err(), "{bytes:?}");
            assert_eq!(items(bytes), Err(malformed("")), "{bytes:?}");
        }
    }

    #[test]
    fn counting_stops_above_the_limit() {
        let message = Bytes::from([0x0a, 0].repeat(520_000));
        assert_eq!(EncodedItems::new(message).count_up_to_limit(), Ok(MAX_BATCH_ITEMS + 1));
    }
}
