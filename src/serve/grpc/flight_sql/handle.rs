//! Handles and tickets: they carry the statement, the server remembers nothing.

use bytes::Bytes;

use super::statement::STATEMENT_BYTES_MAX;
use crate::error::Error;
use crate::model::TimestampMs;

/// The first byte of a handle, so that a later version can tell ours.
const VERSION: u8 = 1;
/// Version and time.
const HEAD_BYTES: usize = 9;

/// A statement, and what it means by now: a ticket that is fetched twice gives the same table twice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct StatementHandle {
    pub(super) text: String,
    /// `None` of a prepared statement: whenever it is executed.
    pub(super) now: Option<TimestampMs>,
}

impl StatementHandle {
    /// Its bytes: version, `i64` of the time (the least one for none), text.
    pub(super) fn to_bytes(&self) -> Bytes {
        let mut bytes = Vec::with_capacity(HEAD_BYTES + self.text.len());
        bytes.push(VERSION);
        bytes.extend_from_slice(&self.now.map_or(i64::MIN, |now| now.0).to_be_bytes());
        bytes.extend_from_slice(self.text.as_bytes());
        bytes.into()
    }

    /// Reads what a client sends back, or makes up.
    pub(super) fn read(bytes: &[u8]) -> Result<Self, Error> {
        let refused = |why: &str| Error::bad_data(format!("statement handle {why}, ask for a new one"));
        if bytes.len() > HEAD_BYTES + STATEMENT_BYTES_MAX {
            return Err(refused("is too long"));
        }
        let Some(([VERSION, time @ ..], text)) = bytes.split_first_chunk::<HEAD_BYTES>() else {
            return Err(refused("is none of this server's"));
        };
        let now = match i64::from_be_bytes(*time) {
            i64::MIN => None,
            now => Some(TimestampMs(now)),
        };
        let text = std::str::from_utf8(text).map_err(|_| refused("is not text"))?;
        Ok(Self { text: text.to_owned(), now })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_handle_is_its_statement() {
        for now in [None, Some(TimestampMs(-1)), Some(TimestampMs(1_700_000_000_000))] {
            for text in ["", "up", "é"] {
                let handle = StatementHandle { text: text.to_owned(), now };
                assert_eq!(StatementHandle::read(&handle.to_bytes()), Ok(handle));
            }
        }
    }

    #[test]
    fn what_is_no_handle_is_refused() {
        for (bytes, why) in [
            (&b""[..], "statement handle is none of this server's, ask for a new one"),
            (b"\x02\0\0\0\0\0\0\0\0up", "statement handle is none of this server's, ask for a new one"),
            (b"\x01\0\0\0", "statement handle is none of this server's, ask for a new one"),
            (b"\x01\0\0\0\0\0\0\0\0\xff", "statement handle is not text, ask for a new one"),
            (&[1; HEAD_BYTES + STATEMENT_BYTES_MAX + 1], "statement handle is too long, ask for a new one"),
        ] {
            assert_eq!(StatementHandle::read(bytes).expect_err(why).message(), why);
        }
    }
}
