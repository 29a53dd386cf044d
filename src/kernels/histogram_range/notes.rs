//! What a range function has to say about the histograms that it met.

/// A warning or an info of Prometheus; the promql room knows its text.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum RangeNote {
    /// Warning: a window of numbers and histograms has no result.
    MixedFloatsAndHistograms,
    /// Warning: a gauge was taken for a counter.
    NotCounter,
    /// Warning: a counter was taken for a gauge.
    NotGauge,
    /// Warning: exponential and custom buckets do not go together; no result.
    MixedSchemas,
    /// Warning: a sum of some that came after a reset and some that certainly did not.
    ResetCollision,
    /// Warning: the start timestamp of a sample lies before the sample before it.
    StartTimesOverlap,
    /// Info: different custom bounds were reconciled in an addition.
    ReconciledInAddition,
    /// Info: different custom bounds were reconciled in a subtraction.
    ReconciledInSubtraction,
    /// Info: different custom bounds were reconciled in a sum or a mean.
    ReconciledInAggregation,
    /// Info: only the numbers of a window were looked at.
    HistogramsIgnored,
}

impl RangeNote {
    const ALL: [Self; 10] = [
        Self::MixedFloatsAndHistograms,
        Self::NotCounter,
        Self::NotGauge,
        Self::MixedSchemas,
        Self::ResetCollision,
        Self::StartTimesOverlap,
        Self::ReconciledInAddition,
        Self::ReconciledInSubtraction,
        Self::ReconciledInAggregation,
        Self::HistogramsIgnored,
    ];
}

/// A set of notes.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
pub struct RangeNotes(u16);

impl RangeNotes {
    /// The set of one note.
    pub fn only(note: RangeNote) -> Self {
        Self(1 << note as u8)
    }

    /// Adds a note.
    pub fn insert(&mut self, note: RangeNote) {
        self.0 |= 1 << note as u8;
    }

    /// Adds all of another set.
    pub fn extend(&mut self, others: Self) {
        self.0 |= others.0;
    }

    /// Is there none?
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The notes in it, warnings first.
    pub fn iter(self) -> impl Iterator<Item = RangeNote> {
        RangeNote::ALL.into_iter().filter(move |note| self.0 & (1 << *note as u8) != 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_gives_back_what_went_in() {
        let mut notes = RangeNotes::default();
        assert!(notes.is_empty());
        for note in [RangeNote::HistogramsIgnored, RangeNote::NotCounter, RangeNote::NotCounter] {
            notes.insert(note);
        }
        notes.extend(RangeNotes::only(RangeNote::MixedFloatsAndHistograms));
        let expected = [RangeNote::MixedFloatsAndHistograms, RangeNote::NotCounter, RangeNote::HistogramsIgnored];
        assert!(notes.iter().eq(expected));
        for (at, note) in RangeNote::ALL.into_iter().enumerate() {
            assert_eq!(note as usize, at);
        }
    }
}
