//! Decompression of gzip, bounded in bytes and piece by piece.

use std::io::{self, Write};

use flate2::write::GzDecoder;

use super::errors::ApiError;

/// How much of a compressed text is read at once, in bytes. Between two pieces other tasks have their turn: a piece
/// takes a millisecond at most, whatever it contains.
pub(crate) const PIECE: usize = 4 * 1024;

/// Decompresses one gzip member to at most so many bytes.
///
/// Not the layers of `tower-http` or tonic's own decompression: neither makes a pause, and a text of 1 MiB that is made
/// for it (90,000 blocks without a byte in them) keeps a thread busy for 150 ms.
pub(crate) struct Gunzip {
    decoder: GzDecoder<Bounded>,
    limit: usize,
}

impl Gunzip {
    pub(crate) fn new(limit: usize) -> Self {
        Self { decoder: GzDecoder::new(Bounded { bytes: Vec::new(), limit }), limit }
    }

    /// Reads the next piece, of [`PIECE`] bytes at most.
    ///
    /// # Errors
    /// [`ApiError::TooLarge`] or [`ApiError::Malformed`].
    pub(crate) fn read(&mut self, piece: &[u8]) -> Result<(), ApiError> {
        let limit = self.limit;
        self.decoder.write_all(piece).map_err(|error| explain(&error, limit))
    }

    /// Returns the text.
    ///
    /// # Errors
    /// As [`Gunzip::read`]; also if the text is cut off.
    pub(crate) fn finish(self) -> Result<Vec<u8>, ApiError> {
        let limit = self.limit;
        self.decoder.finish().map(|text| text.bytes).map_err(|error| explain(&error, limit))
    }
}

fn explain(error: &io::Error, limit: usize) -> ApiError {
    if error.kind() == io::ErrorKind::StorageFull {
        ApiError::TooLarge { limit }
    } else {
        ApiError::Malformed("the request is not valid gzip".to_owned())
    }
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
        let mut decoder = Gunzip::new(limit);
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
}
