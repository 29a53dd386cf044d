//! `Content-Encoding`: from the bytes on the wire to the bytes of the document.

use std::fmt;

use flate2::{Decompress, FlushDecompress, Status};

use super::DecodeError;

/// Decompressed bytes are handed on in pieces of this size: they are parsed while still in the cache.
const PIECE_BYTES: usize = 64 * 1024;
/// The largest window that deflate knows, 2^15 bytes.
const WINDOW_BITS: u8 = 15;

/// The encodings that we ask a downstream for.
#[derive(Copy, Clone, PartialEq, Eq, Debug, Default)]
pub enum ContentEncoding {
    /// As it is.
    #[default]
    Identity,
    /// RFC 1952.
    Gzip,
}

impl ContentEncoding {
    /// Reads the header's value; no header is identity. Fails on an encoding that was not asked for.
    pub fn from_header(value: Option<&str>) -> Result<Self, DecodeError> {
        let value = value.unwrap_or_default().trim();
        match value.to_ascii_lowercase().as_str() {
            "" | "identity" => Ok(Self::Identity),
            "gzip" | "x-gzip" => Ok(Self::Gzip),
            _ => {
                let quoted: String = value.chars().take(20).collect();
                Err(DecodeError::Compression(format!("content encoding {quoted:?} was not asked for")))
            }
        }
    }
}

/// Undoes a content encoding piece by piece, and never gives out more bytes than allowed, however well they were
/// compressed.
pub struct ContentDecoder {
    gzip: Option<Gzip>,
    plain_bytes: u64,
    plain_bytes_max: u64,
}

struct Gzip {
    inflate: Decompress,
    piece: Vec<u8>,
    /// The last member is complete; more input begins another.
    is_at_end: bool,
    compressed_bytes: u64,
}

impl ContentDecoder {
    /// A decoder for one body that is at most `plain_bytes_max` long when decompressed.
    pub fn new(encoding: ContentEncoding, plain_bytes_max: u64) -> Self {
        let gzip = match encoding {
            ContentEncoding::Identity => None,
            ContentEncoding::Gzip => Some(Gzip {
                inflate: Decompress::new_gzip(WINDOW_BITS),
                piece: vec![0; PIECE_BYTES],
                is_at_end: false,
                compressed_bytes: 0,
            }),
        };
        Self { gzip, plain_bytes: 0, plain_bytes_max }
    }

    /// Takes the next bytes from the wire and hands plain pieces, at most 64 KiB of them at a time when compressed, to
    /// `sink`. The sink's error ends the decoding.
    pub fn feed<E: From<DecodeError>>(
        &mut self,
        chunk: &[u8],
        mut sink: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        let Some(gzip) = &mut self.gzip else {
            count(&mut self.plain_bytes, chunk.len(), self.plain_bytes_max)?;
            return sink(chunk);
        };
        let mut input = chunk;
        loop {
            let (taken, given) = gzip.step(input)?;
            input = &input[taken..];
            if given > 0 {
                count(&mut self.plain_bytes, given, self.plain_bytes_max)?;
                sink(&gzip.piece[..given])?;
            }
            let is_drained = given < gzip.piece.len();
            if input.is_empty() && is_drained {
                return Ok(());
            }
            if taken == 0 && given == 0 {
                return Err(DecodeError::Compression("gzip stream makes no progress".to_owned()).into());
            }
        }
    }

    /// Fails unless the encoded body is complete.
    pub fn finish(self) -> Result<(), DecodeError> {
        match self.gzip {
            Some(gzip) if !gzip.is_at_end => {
                let length = gzip.compressed_bytes;
                Err(DecodeError::Compression(format!("gzip stream is cut off after {length} bytes")))
            }
            _ => Ok(()),
        }
    }
}

impl Gzip {
    /// One call of the decompressor: how many bytes of input were taken, how many of `piece` were filled.
    fn step(&mut self, input: &[u8]) -> Result<(usize, usize), DecodeError> {
        if self.is_at_end {
            if input.is_empty() {
                return Ok((0, 0));
            }
            // RFC 1952 allows one member behind the other.
            self.inflate = Decompress::new_gzip(WINDOW_BITS);
            self.is_at_end = false;
        }
        let (taken_before, given_before) = (self.inflate.total_in(), self.inflate.total_out());
        let status = self.inflate.decompress(input, &mut self.piece, FlushDecompress::None).map_err(|error| {
            let at = self.compressed_bytes;
            DecodeError::Compression(format!("bad gzip stream behind byte {at}: {error}"))
        })?;
        self.is_at_end = status == Status::StreamEnd;
        // Both are bounded by the lengths of slices.
        let taken = (self.inflate.total_in() - taken_before) as usize;
        let given = (self.inflate.total_out() - given_before) as usize;
        self.compressed_bytes += taken as u64;
        Ok((taken, given))
    }
}

fn count(plain_bytes: &mut u64, more: usize, plain_bytes_max: u64) -> Result<(), DecodeError> {
    *plain_bytes = plain_bytes.saturating_add(more as u64);
    if *plain_bytes > plain_bytes_max {
        return Err(DecodeError::Compression(format!("answer larger than {plain_bytes_max} bytes")));
    }
    Ok(())
}

impl fmt::Debug for ContentDecoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ContentDecoder")
            .field("is_gzip", &self.gzip.is_some())
            .field("plain_bytes", &self.plain_bytes)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::GzEncoder;
    use proptest::prelude::*;

    use super::*;

    fn compress(plain: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(plain).expect("writes to memory");
        encoder.finish().expect("writes to memory")
    }

    fn decompress(wire: &[u8], chunk_bytes: usize, plain_bytes_max: u64) -> Result<Vec<u8>, DecodeError> {
        let mut decoder = ContentDecoder::new(ContentEncoding::Gzip, plain_bytes_max);
        let mut plain = Vec::new();
        for chunk in wire.chunks(chunk_bytes) {
            decoder.feed(chunk, |piece| {
                assert!(piece.len() <= PIECE_BYTES);
                plain.extend_from_slice(piece);
                Ok::<(), DecodeError>(())
            })?;
        }
        decoder.finish()?;
        Ok(plain)
    }

    proptest! {
        #[test]
        fn what_was_compressed_comes_back(
            unit in prop::collection::vec(any::<u8>(), 0..200), repeats in 1usize..2_000, chunk_bytes in 1usize..5_000
        ) {
            let plain = unit.repeat(repeats);
            prop_assert_eq!(decompress(&compress(&plain), chunk_bytes, u64::MAX), Ok(plain));
        }
    }

    #[test]
    fn a_stream_cut_anywhere_is_an_error() {
        let wire = compress(b"{\"status\":\"success\"}");
        for length in 0..wire.len() {
            let error = decompress(&wire[..length], 7, u64::MAX).expect_err("cut off");
            assert_eq!(error.to_string(), format!("gzip stream is cut off after {length} bytes"));
        }
    }

    #[test]
    fn damage_is_an_error() {
        let wire = compress(b"{\"status\":\"success\"}");
        for at in [0, 1, 2, wire.len() - 8, wire.len() - 1] {
            let mut damaged = wire.clone();
            damaged[at] ^= 0x55;
            assert!(decompress(&damaged, 100, u64::MAX).is_err(), "byte {at}");
        }
        assert!(decompress(b"{\"status\":\"success\"}", 100, u64::MAX).is_err());
        let with_garbage = [&wire[..], b"garbage behind"].concat();
        assert!(decompress(&with_garbage, 100, u64::MAX).is_err());
    }

    #[test]
    fn members_follow_each_other() {
        let wire = [compress(b"one, "), compress(b""), compress(b"two")].concat();
        for chunk_bytes in [1, 5, 1_000] {
            assert_eq!(decompress(&wire, chunk_bytes, u64::MAX).as_deref(), Ok(&b"one, two"[..]));
        }
    }

    #[test]
    fn a_bomb_stops_at_the_limit() {
        let wire = compress(&vec![b' '; 10 << 20]);
        let mut decoder = ContentDecoder::new(ContentEncoding::Gzip, 1 << 20);
        let mut seen = 0;
        let result = decoder.feed(&wire, |piece| {
            seen += piece.len();
            Ok::<(), DecodeError>(())
        });
        assert_eq!(result, Err(DecodeError::Compression("answer larger than 1048576 bytes".to_owned())));
        assert!(seen <= 1 << 20);
        let mut plain = ContentDecoder::new(ContentEncoding::Identity, 3);
        assert!(plain.feed(b"1234", |_| Ok::<(), DecodeError>(())).is_err());
    }

    #[test]
    fn the_header_names_the_encoding() {
        for (value, encoding) in [
            (None, Some(ContentEncoding::Identity)),
            (Some("identity"), Some(ContentEncoding::Identity)),
            (Some(" GZIP "), Some(ContentEncoding::Gzip)),
            (Some("br"), None),
            (Some("gzip, gzip"), None),
        ] {
            assert_eq!(ContentEncoding::from_header(value).ok(), encoding, "{value:?}");
        }
    }
}
