//! Compiled patterns, and the memory that all of them may take together.

use std::sync::atomic::{AtomicUsize, Ordering};

use regex_automata::meta;
use regex_automata::nfa::thompson::WhichCaptures;
use regex_syntax::hir::Hir;

use super::error::{Fault, GoRegexError};

/// At most so large may one automaton be, in bytes. Go allows 128 MiB; this is room for `\pL{500}` or for half a megabyte of plain
/// pattern, and is reached within a second.
const BYTES_MAX: usize = 40 << 20;
/// At most so large may all automata be that live at once: one query of 64 KiB can ask for three thousand large ones. An ordinary
/// pattern takes a few kilobytes.
static ROOM: Room = Room::new(256 << 20);

/// A compiled pattern.
pub(super) struct Automaton {
    pub(super) regex: meta::Regex,
    _bytes: TakenBytes,
}

impl Automaton {
    /// Compiles a tree.
    pub(super) fn try_new(hir: &Hir, has_groups: bool, pattern: &str) -> Result<Self, GoRegexError> {
        let captures = if has_groups { WhichCaptures::All } else { WhichCaptures::Implicit };
        let config = meta::Regex::config().nfa_size_limit(Some(BYTES_MAX)).which_captures(captures).utf8_empty(true);
        // The tree is valid, so all that can fail is the size.
        let built = meta::Builder::new().configure(config).build_from_hir(hir);
        let regex = built.map_err(|_| Fault::TooLarge.at(pattern))?;
        let bytes = ROOM.take(regex.memory_usage()).ok_or_else(|| Fault::TooLarge.at(pattern))?;
        Ok(Self { regex, _bytes: bytes })
    }
}

/// A number of bytes that can be taken and is given back on drop.
pub(super) struct Room {
    bytes_max: usize,
    taken: AtomicUsize,
}

/// Bytes that were taken from a room.
pub(super) struct TakenBytes {
    room: &'static Room,
    bytes: usize,
}

impl Room {
    pub(super) const fn new(bytes_max: usize) -> Self {
        Self { bytes_max, taken: AtomicUsize::new(0) }
    }

    /// `None` where that many are not left.
    pub(super) fn take(&'static self, bytes: usize) -> Option<TakenBytes> {
        let fits = |taken: usize| taken.checked_add(bytes).filter(|sum| *sum <= self.bytes_max);
        self.taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits).ok()?;
        Some(TakenBytes { room: self, bytes })
    }
}

impl Drop for TakenBytes {
    fn drop(&mut self) {
        self.room.taken.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}
