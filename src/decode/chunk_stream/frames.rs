//! Cuts the body into frames and checks them.

use super::super::DecodeError;
use super::super::protobuf::{Uvarint, read_uvarint};
use super::text::{TEXT_BYTES_MAX, shown_text};

const CHECKSUM_BYTES: usize = 4;

/// Takes the message of a frame and where it begins in the body.
type TakeMessage<'a> = &'a mut dyn FnMut(&[u8], u64) -> Result<(), DecodeError>;

/// The frames of a body that comes in pieces.
#[derive(Debug)]
pub(super) struct Frames {
    frame_bytes_max: usize,
    /// The start of a frame whose end has not come yet.
    partial: Vec<u8>,
    /// Where the next frame, or the one in `partial`, begins in the body.
    offset: u64,
}

/// Parts of a frame, in bytes.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
struct Header {
    length_bytes: usize,
    message_bytes: usize,
}

impl Header {
    fn frame_bytes(self) -> usize {
        self.length_bytes + CHECKSUM_BYTES + self.message_bytes
    }
}

impl Frames {
    pub(super) fn new(frame_bytes_max: usize) -> Self {
        Self { frame_bytes_max, partial: Vec::new(), offset: 0 }
    }

    /// Hands the messages of all frames that are complete to `take`. Frames within one piece are not copied.
    pub(super) fn feed(&mut self, mut bytes: &[u8], take: TakeMessage<'_>) -> Result<(), DecodeError> {
        if !self.partial.is_empty() {
            let Some(rest) = self.complete_partial(bytes, take)? else { return Ok(()) };
            bytes = rest;
        }
        while let Some(header) = self.header(bytes)? {
            if bytes.len() < header.frame_bytes() {
                break;
            }
            let (frame, rest) = bytes.split_at(header.frame_bytes());
            self.check_and_take(header, frame, rest, take)?;
            bytes = rest;
        }
        self.partial.extend_from_slice(bytes);
        Ok(())
    }

    /// Fails unless the body ended behind a frame.
    pub(super) fn finish(&self) -> Result<(), DecodeError> {
        if self.partial.is_empty() {
            return Ok(());
        }
        Err(told_error(&self.partial, self.offset).unwrap_or_else(|| DecodeError::Truncated {
            length: self.offset.saturating_add(self.partial.len() as u64),
            expected: "the rest of a frame",
        }))
    }

    /// Adds to the frame that has begun; returns what is behind it, `None` where it is still not complete.
    fn complete_partial<'a>(
        &mut self,
        mut bytes: &'a [u8],
        take: TakeMessage<'_>,
    ) -> Result<Option<&'a [u8]>, DecodeError> {
        let header = loop {
            if let Some(header) = self.header(&self.partial)? {
                break header;
            }
            let Some((first, rest)) = bytes.split_first() else { return Ok(None) };
            self.partial.push(*first);
            bytes = rest;
        };
        let missing = header.frame_bytes().saturating_sub(self.partial.len());
        let (own, rest) = bytes.split_at(missing.min(bytes.len()));
        self.partial.extend_from_slice(own);
        if own.len() < missing {
            return Ok(None);
        }
        let mut frame = std::mem::take(&mut self.partial);
        let taken = self.check_and_take(header, &frame, rest, take);
        frame.clear();
        self.partial = frame;
        taken.map(|()| Some(rest))
    }

    /// What the start of a frame says of it; `None` where even that is not complete.
    fn header(&self, bytes: &[u8]) -> Result<Option<Header>, DecodeError> {
        match read_uvarint(bytes) {
            Uvarint::Incomplete => Ok(None),
            Uvarint::Value(length, length_bytes) if length <= self.frame_bytes_max as u64 => {
                Ok(Some(Header { length_bytes, message_bytes: length as usize }))
            }
            Uvarint::Value(length, _) => {
                let problem = format!("a frame of {length} bytes, at most {} are taken", self.frame_bytes_max);
                Err(self.damaged(bytes, problem))
            }
            Uvarint::TooLong => Err(self.damaged(bytes, "a frame without length".to_owned())),
        }
    }

    fn check_and_take(
        &mut self,
        header: Header,
        frame: &[u8],
        behind: &[u8],
        take: TakeMessage<'_>,
    ) -> Result<(), DecodeError> {
        let (checksum, message) = frame[header.length_bytes..].split_at(CHECKSUM_BYTES);
        if crc32c::crc32c(message).to_be_bytes() != checksum {
            // What is taken for a frame may be the start of a longer text.
            let bytes: Vec<u8> = frame.iter().chain(behind).take(TEXT_BYTES_MAX).copied().collect();
            return Err(self.damaged(&bytes, "a frame with a wrong checksum".to_owned()));
        }
        take(message, self.offset.saturating_add((header.length_bytes + CHECKSUM_BYTES) as u64))?;
        self.offset = self.offset.saturating_add(frame.len() as u64);
        Ok(())
    }

    fn damaged(&self, bytes: &[u8], problem: String) -> DecodeError {
        told_error(bytes, self.offset).unwrap_or(DecodeError::Invalid { offset: self.offset, problem })
    }
}

/// The error that a server tells as text where a frame should be.
fn told_error(bytes: &[u8], offset: u64) -> Option<DecodeError> {
    let text = shown_text(bytes)?;
    Some(DecodeError::Incomplete(format!("the server broke off after {offset} bytes: {text}")))
}
