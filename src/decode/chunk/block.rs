//! Floats on their way from a chunk to a table, some at a time.

use super::{ChunkError, ChunkProblem, SampleSink, TimeWindow};

/// A whole chunk as Prometheus cuts them (120 samples) fits.
pub(super) const BLOCK_SAMPLES: usize = 128;

/// Is the rest of a chunk still of interest?
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(super) enum Progress {
    Within,
    /// All later samples are behind the window.
    PastWindow,
}

/// Decoded floats that were not handed on yet.
#[derive(Debug)]
pub(super) struct FloatBlock {
    pub(super) times: [i64; BLOCK_SAMPLES],
    pub(super) values: [f64; BLOCK_SAMPLES],
    /// Start timestamps; meaningful to [`FloatBlock::flush_started`] only.
    pub(super) starts: [i64; BLOCK_SAMPLES],
    /// Time of the last sample of the block before; of the first block the earliest time there is.
    last: Option<i64>,
}

impl Default for FloatBlock {
    fn default() -> Self {
        Self { times: [0; BLOCK_SAMPLES], values: [0.0; BLOCK_SAMPLES], starts: [0; BLOCK_SAMPLES], last: None }
    }
}

impl FloatBlock {
    /// Begins a chunk.
    pub(super) fn clear(&mut self) {
        self.last = None;
    }

    /// Hands the first `filled` samples on, without those outside of the window. A sample at the time of the one before it
    /// is dropped, as Prometheus drops it; one before that is an error.
    pub(super) fn flush(
        &mut self,
        filled: usize,
        window: TimeWindow,
        sink: &mut dyn SampleSink,
    ) -> Result<Progress, ChunkError> {
        let filled = self.order(filled)?;
        let inside = window.of(&self.times[..filled]);
        if !inside.is_empty() {
            sink.floats(&self.times[inside.clone()], &self.values[inside]);
        }
        Ok(self.progress(filled, window))
    }

    /// As [`FloatBlock::flush`], with start timestamps.
    pub(super) fn flush_started(
        &mut self,
        filled: usize,
        window: TimeWindow,
        sink: &mut dyn SampleSink,
    ) -> Result<Progress, ChunkError> {
        let filled = self.order(filled)?;
        let inside = window.of(&self.times[..filled]);
        if !inside.is_empty() {
            sink.started_floats(&self.times[inside.clone()], &self.starts[inside.clone()], &self.values[inside]);
        }
        Ok(self.progress(filled, window))
    }

    fn progress(&mut self, filled: usize, window: TimeWindow) -> Progress {
        self.last = self.times[..filled].last().copied().or(self.last);
        if self.last.is_some_and(|last| last >= window.end.0) { Progress::PastWindow } else { Progress::Within }
    }

    /// Makes the first samples strictly ascending; returns how many are left.
    fn order(&mut self, filled: usize) -> Result<usize, ChunkError> {
        let times = &self.times[..filled];
        let is_behind_last = self.last.is_none_or(|last| times.first().is_none_or(|first| last < *first));
        // Counted without a way out of the loop, so that it is done many at a time.
        let falls = times.iter().zip(times.iter().skip(1)).map(|(time, next)| usize::from(time >= next)).sum::<usize>();
        if falls == 0 && is_behind_last { Ok(filled) } else { self.drop_repeated(filled) }
    }

    #[cold]
    fn drop_repeated(&mut self, filled: usize) -> Result<usize, ChunkError> {
        let mut last = self.last;
        let mut kept = 0;
        for sample in 0..filled {
            let time = self.times[sample];
            if last.is_some_and(|last| time < last) {
                return Err(ChunkError { sample, problem: ChunkProblem::NotAscending });
            }
            if last == Some(time) {
                continue;
            }
            self.times[kept] = time;
            self.values[kept] = self.values[sample];
            self.starts[kept] = self.starts[sample];
            last = Some(time);
            kept += 1;
        }
        Ok(kept)
    }
}
