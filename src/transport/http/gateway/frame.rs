//! The frames of gRPC: a flag and a length before each message.

use bytes::{Buf, Bytes, BytesMut};
use prost::Message;
use prost_reflect::{DynamicMessage, MessageDescriptor};
use tonic::Status;

/// The bytes before a message: whether it is compressed, and its length.
const PREFIX: usize = 5;

/// Returns a message with its frame.
pub(super) fn encode(message: &DynamicMessage) -> Bytes {
    let size = message.encoded_len();
    let mut bytes = Vec::with_capacity(PREFIX + size);
    bytes.push(0);
    // A request has far less than 4 GiB: its JSON has a limit.
    bytes.extend_from_slice(&u32::try_from(size).unwrap_or(u32::MAX).to_be_bytes());
    // A vector grows.
    let _ = message.encode(&mut bytes);
    bytes.into()
}

/// Returns the next message if all of it has arrived.
pub(super) fn decode(
    received: &mut BytesMut,
    descriptor: &MessageDescriptor,
) -> Result<Option<DynamicMessage>, Status> {
    let Some((&[flag, a, b, c, d], rest)) = received.split_first_chunk() else { return Ok(None) };
    let size = u32::from_be_bytes([a, b, c, d]) as usize;
    if rest.len() < size {
        return Ok(None);
    }
    received.advance(PREFIX);
    let bytes = received.split_to(size);
    let message = DynamicMessage::decode(descriptor.clone(), &bytes[..]);
    // The call accepts no compression.
    message.ok().filter(|_| flag == 0).map(Some).ok_or_else(|| Status::internal("the answer cannot be read"))
}
