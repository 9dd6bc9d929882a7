//! Decompression of gzip, bounded in bytes and piece by piece.

use std::collections::HashMap;
use std::io::{self, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use flate2::write::GzDecoder;
use tokio::sync::{AcquireError, OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use super::errors::ApiError;
use crate::metrics::{ShedReason, WorkMetrics};
use crate::resolver::{Caller, IdentifyError};

/// How much of a compressed text is read at once, in bytes. Between two pieces other tasks have their turn: a piece
/// takes a millisecond at most, whatever it contains.
pub(crate) const PIECE: usize = 4 * 1024;

/// What a decoder takes beside the text, in bytes: the last 32 KiB of the text, its tables, and a buffer of 32 KiB.
const DECODER: usize = 80 * 1024;

/// How long a compressed request waits for room.
const ROOM_WAIT: Duration = Duration::from_secs(1);

/// Room in memory for the texts of compressed requests, of all calls together. Clones share it.
///
/// A text of a few hundred bytes can become the largest request. Without this room, a caller of many calls would need
/// little to make the service take the largest request for each of them.
///
/// A caller has a share of it: three quarters, and at least the largest text. What it wants beyond its share waits
/// until its own texts give room back, before it asks for the room of all. So a caller delays the others by one share,
/// however many calls it makes.
#[derive(Clone, Debug)]
pub struct TextRoom(Arc<Rooms>);

#[derive(Debug)]
struct Rooms {
    all: Arc<Semaphore>,
    /// The room that one caller may have, in bytes.
    share: usize,
    /// Of the callers that have room or wait for it.
    shares: Mutex<HashMap<Caller, Weak<Share>>>,
    work: WorkMetrics,
}

/// The share of a caller.
#[derive(Debug)]
struct Share {
    caller: Caller,
    left: Arc<Semaphore>,
    rooms: Arc<Rooms>,
}

/// The room, as one caller may use it.
#[derive(Clone, Debug)]
pub(crate) struct CallerRoom(Arc<Share>);

/// Room that a text has. Dropping it gives the room back.
#[derive(Debug)]
pub(crate) struct ReservedRoom {
    _permits: [OwnedSemaphorePermit; 2],
    _share: Arc<Share>,
}

impl TextRoom {
    /// Room for so many bytes, and at least for the `largest` text. `work` counts refusals.
    pub fn new(bytes: usize, largest: usize, work: WorkMetrics) -> Self {
        let least = largest.saturating_add(DECODER);
        let bytes = bytes.max(least).min(Semaphore::MAX_PERMITS);
        let share = (bytes - bytes / 4).max(least).min(bytes);
        Self(Arc::new(Rooms { all: Arc::new(Semaphore::new(bytes)), share, shares: Mutex::default(), work }))
    }

    /// Returns the room as this caller may use it.
    pub(crate) fn for_caller(&self, caller: Caller) -> CallerRoom {
        let mut shares = self.0.shares();
        if let Some(share) = shares.get(&caller).and_then(Weak::upgrade) {
            return CallerRoom(share);
        }
        let left = Arc::new(Semaphore::new(self.0.share));
        let share = Arc::new(Share { caller, left, rooms: Arc::clone(&self.0) });
        shares.insert(caller, Arc::downgrade(&share));
        CallerRoom(share)
    }
}

impl Rooms {
    fn shares(&self) -> MutexGuard<'_, HashMap<Caller, Weak<Share>>> {
        self.shares.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut shares = self.rooms.shares();
        // The caller may have come back meanwhile, with a new share.
        if shares.get(&self.caller).is_some_and(|share| share.strong_count() == 0) {
            shares.remove(&self.caller);
        }
    }
}

impl CallerRoom {
    /// Takes room for so many bytes, if there is room now.
    pub(crate) fn try_reserve(&self, bytes: usize) -> Option<ReservedRoom> {
        let take = |room: &Arc<Semaphore>| Arc::clone(room).try_acquire_many_owned(permits(bytes)).ok();
        Some(self.reserved([take(&self.0.left)?, take(&self.0.rooms.all)?]))
    }

    /// Takes room for so many bytes. Waits a moment for it, in turn.
    ///
    /// # Errors
    /// [`IdentifyError::Overloaded`] if there is none.
    pub(crate) async fn reserve(self, bytes: usize) -> Result<ReservedRoom, ApiError> {
        let take = async |room: &Arc<Semaphore>| Arc::clone(room).acquire_many_owned(permits(bytes)).await;
        let take_both = async { Ok::<_, AcquireError>([take(&self.0.left).await?, take(&self.0.rooms.all).await?]) };
        match timeout(ROOM_WAIT, take_both).await {
            Ok(Ok(permits)) => Ok(self.reserved(permits)),
            Ok(Err(_)) | Err(_) => {
                self.0.rooms.work.count_shed(ShedReason::Compressed, 1);
                Err(IdentifyError::Overloaded.into())
            }
        }
    }

    fn reserved(&self, permits: [OwnedSemaphorePermit; 2]) -> ReservedRoom {
        ReservedRoom { _permits: permits, _share: Arc::clone(&self.0) }
    }
}

fn permits(bytes: usize) -> u32 {
    // The limit of a text is far below 4 GiB.
    u32::try_from(bytes).unwrap_or(u32::MAX)
}

/// Decompresses one gzip member to at most so many bytes.
///
/// Not the layers of `tower-http` or tonic's own decompression: neither makes a pause, and a text of 1 MiB that is made
/// for it (90,000 blocks without a byte in them) keeps a thread busy for 150 ms.
pub(crate) struct Gunzip {
    decoder: GzDecoder<Bounded>,
    /// How large the text is by what is written at its end.
    declared: usize,
    limit: usize,
}

impl Gunzip {
    /// Begins with a compressed text, which is to be read in pieces.
    pub(crate) fn new(compressed: &[u8], limit: usize) -> Self {
        let declared = declared_size(compressed);
        let decoder = GzDecoder::new(Bounded { bytes: Vec::new(), limit: declared.min(limit) });
        Self { decoder, declared, limit }
    }

    /// Returns the room that a text needs. It has to be reserved before decompression begins: the decoder takes memory
    /// too.
    pub(crate) fn room(compressed: &[u8], limit: usize) -> usize {
        declared_size(compressed).min(limit).saturating_add(DECODER)
    }

    /// Reads the next piece, of [`PIECE`] bytes at most.
    ///
    /// # Errors
    /// [`ApiError::TooLarge`] or [`ApiError::Malformed`].
    pub(crate) fn read(&mut self, piece: &[u8]) -> Result<(), ApiError> {
        self.decoder.write_all(piece).map_err(|error| self.explain(&error))
    }

    /// Returns the text.
    ///
    /// # Errors
    /// As [`Gunzip::read`]; also if the text is cut off.
    pub(crate) fn finish(mut self) -> Result<Vec<u8>, ApiError> {
        self.decoder.try_finish().map_err(|error| self.explain(&error))?;
        Ok(std::mem::take(&mut self.decoder.get_mut().bytes))
    }

    fn explain(&self, error: &io::Error) -> ApiError {
        if error.kind() == io::ErrorKind::StorageFull && self.declared > self.limit {
            ApiError::TooLarge { limit: self.limit }
        } else {
            ApiError::Malformed("the request is not valid gzip".to_owned())
        }
    }
}

/// How large a text is by what is written at its end.
fn declared_size(compressed: &[u8]) -> usize {
    compressed.last_chunk().map_or(0, |size| u32::from_le_bytes(*size) as usize)
}

/// Bytes that may not become too many.
struct Bounded {
    bytes: Vec<u8>,
    limit: usize,
}

impl Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.bytes.len() + bytes.len() > self.limit {
            return Err(io::ErrorKind::StorageFull.into());
        }
        if self.bytes.capacity() == 0 {
            self.bytes.reserve_exact(self.limit); // No more than is reserved.
        }
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;

    fn gzip(plain: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(plain).unwrap();
        encoder.finish().unwrap()
    }

    fn gunzip(compressed: &[u8], limit: usize) -> Result<Vec<u8>, ApiError> {
        let mut decoder = Gunzip::new(compressed, limit);
        compressed.chunks(PIECE).try_for_each(|piece| decoder.read(piece))?;
        decoder.finish()
    }

    #[test]
    fn the_limit_is_for_the_decompressed_bytes() {
        let plain = vec![b' '; 1 << 20];
        let bomb = gzip(&plain);
        assert!(bomb.len() < 2048);
        assert!(gunzip(&bomb, 1 << 20) == Ok(plain));
        for limit in [0, 1, 65_536, (1 << 20) - 1] {
            assert_eq!(gunzip(&bomb, limit), Err(ApiError::TooLarge { limit }), "{limit}");
        }
    }

    #[test]
    fn what_is_no_gzip_is_malformed() {
        let whole = gzip(br#"{"email":"doc@b.co"}"#);
        let (cut, mut broken) = (&whole[..whole.len() - 1], whole.clone());
        broken[whole.len() - 6] ^= 1; // Its checksum.
        let two = [&whole[..], &whole[..]].concat();
        for text in [&b""[..], b"{}", cut, &broken, &two] {
            let Err(ApiError::Malformed(message)) = gunzip(text, 1000) else { panic!("{text:?}") };
            assert_eq!(message, "the request is not valid gzip");
        }
    }

    #[test]
    fn no_text_is_larger_than_its_room() {
        let lying = |size: u32| {
            let mut compressed = gzip(&[b' '; 5_000]);
            let at = compressed.len() - 4;
            compressed[at..].copy_from_slice(&size.to_le_bytes());
            compressed
        };
        assert_eq!(Gunzip::room(&lying(5_000), 10_000), DECODER + 5_000);
        assert_eq!(Gunzip::room(&lying(u32::MAX), 10_000), DECODER + 10_000);
        assert_eq!(gunzip(&lying(5_000), 10_000).unwrap().capacity(), 5_000);
        for size in [0, 4_999, 5_001, u32::MAX] {
            assert!(matches!(gunzip(&lying(size), 10_000), Err(ApiError::Malformed(_))), "{size}");
        }
        assert_eq!(gunzip(&lying(5_001), 4_999), Err(ApiError::TooLarge { limit: 4_999 }));
    }

    fn caller(number: u32) -> Caller {
        Caller::Address(std::net::Ipv4Addr::from_bits(number).into())
    }

    #[tokio::test(start_paused = true)]
    async fn room_is_waited_for_in_turn_but_not_for_long() {
        let room = TextRoom::new(10, 100, WorkMetrics::default()).for_caller(Caller::Unknown);
        let largest = DECODER + 100;
        let all = room.try_reserve(largest).expect("at least the largest text has room");
        assert!(room.try_reserve(1).is_none());
        assert_eq!(room.clone().reserve(1).await.err(), Some(IdentifyError::Overloaded.into()));
        let (waited, ()) = tokio::join!(room.clone().reserve(largest), async {
            tokio::time::sleep(ROOM_WAIT / 2).await;
            drop(all);
        });
        assert!(waited.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn a_caller_with_everything_leaves_room_for_others() {
        let rooms = TextRoom::new(4_000_000, 100, WorkMetrics::default());
        let (one, other) = (rooms.for_caller(caller(1)), rooms.for_caller(caller(2)));
        let taken = std::iter::from_fn(|| rooms.for_caller(caller(1)).try_reserve(100_000));
        let taken: Vec<ReservedRoom> = taken.take(41).collect();
        assert_eq!(taken.len(), 30, "three quarters");
        assert!(one.clone().reserve(1).await.is_err());
        let others = other.try_reserve(1_000_000).expect("the other quarter");
        assert!(other.try_reserve(1).is_none(), "the room of all is full");
        drop((taken, others));
        assert!(one.try_reserve(3_000_000).is_some());
        drop((one, other));
        assert!(rooms.0.shares().is_empty(), "no trace stays");
    }

    /// Room for one text: each caller has one in the queue of all.
    #[tokio::test(start_paused = true)]
    async fn a_caller_of_many_calls_delays_others_by_one_share() {
        let rooms = TextRoom::new(0, 100, WorkMetrics::default());
        let text = DECODER + 100;
        let turns = Mutex::new(Vec::new());
        let call = async |number: u32| {
            let room = rooms.for_caller(caller(number)).reserve(text).await;
            turns.lock().unwrap().push(number);
            tokio::time::sleep(ROOM_WAIT / 100).await;
            drop(room.expect("room"));
        };
        let many = futures::future::join_all((0..20).map(|_| call(1)));
        tokio::join!(many, call(2));
        let place = turns.lock().unwrap().iter().position(|number| *number == 2);
        assert!(place <= Some(1), "{turns:?}");
    }
}
