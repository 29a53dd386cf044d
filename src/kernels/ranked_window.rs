//! The order of the values of a window, followed from window to window.

use std::ops::Range;

use super::quantile::interpolated;

/// Ranks a word of bits.
const WORD: usize = 64;

/// Ranks a block: 16 words.
const BLOCK: usize = 1_024;

/// Which values of a series are inside a window, by their rank in the whole series.
///
/// The series is sorted once, O(log N) a sample. Then a value enters or leaves the window by its bit, O(1), and the value at a
/// place in the window's order is found by counting bits: over the blocks, then over the words of one block, then over the bits
/// of one word: O(N/1,024 + 16 + 64) at worst. NaN sorts lowest. Of equal values, -0 and 0 are such, any may stand for the
/// others.
#[derive(Debug)]
pub(crate) struct RankedWindow {
    /// The values of the series in their order.
    sorted: Vec<f64>,
    /// Where in that order each sample of the series is.
    ranks: Vec<u32>,
    /// A bit for each rank that is inside.
    inside: Vec<u64>,
    /// How many are inside, by word and by block.
    inside_words: Vec<u32>,
    inside_blocks: Vec<u32>,
    /// The samples inside.
    samples: Range<usize>,
}

impl RankedWindow {
    /// An empty window of the series; `None` of more samples than ranks can count.
    pub(crate) fn of(values: &[f64]) -> Option<Self> {
        let count = u32::try_from(values.len()).ok()?;
        let mut order: Vec<(u64, u32)> =
            values.iter().zip(0..count).map(|(value, at)| (sort_key(*value), at)).collect();
        order.sort_unstable_by_key(|(key, _)| *key);
        let mut ranks = vec![0; values.len()];
        for (rank, (_, at)) in (0..count).zip(&order) {
            ranks[*at as usize] = rank;
        }
        Some(Self {
            sorted: order.iter().map(|(_, at)| values[*at as usize]).collect(),
            ranks,
            inside: vec![0; values.len().div_ceil(WORD)],
            inside_words: vec![0; values.len().div_ceil(WORD)],
            inside_blocks: vec![0; values.len().div_ceil(BLOCK)],
            samples: 0..0,
        })
    }

    /// Moves on to a window that lies nowhere before the last one. O(1) for each sample that enters or leaves.
    pub(crate) fn move_to(&mut self, samples: Range<usize>) {
        let kept_from = samples.start.min(self.samples.end);
        for at in self.samples.start..kept_from {
            let rank = self.ranks[at] as usize;
            self.inside[rank / WORD] &= !(1 << (rank % WORD));
            self.inside_words[rank / WORD] -= 1;
            self.inside_blocks[rank / BLOCK] -= 1;
        }
        for at in samples.start.max(self.samples.end)..samples.end {
            let rank = self.ranks[at] as usize;
            self.inside[rank / WORD] |= 1 << (rank % WORD);
            self.inside_words[rank / WORD] += 1;
            self.inside_blocks[rank / BLOCK] += 1;
        }
        self.samples = samples;
    }

    /// The `q`-quantile of the values inside; see [`super::quantile`].
    pub(crate) fn quantile(&self, q: f64) -> f64 {
        interpolated(q, self.samples.len(), |place| self.neighbours(place))
    }

    /// `mad_over_time` of the values inside, in O(log n) looks at a place; `None` where the distances to the median do not order
    /// as the values do: the median is infinite, or not a number among values that are.
    pub(crate) fn median_deviation(&self) -> Option<f64> {
        let count = self.samples.len();
        if count > 0 && self.at(0).is_nan() {
            return Some(f64::NAN);
        }
        let median = self.quantile(0.5);
        median.is_finite().then(|| {
            let distances = Distances::around(self, median);
            interpolated(0.5, count, |place| distances.neighbours(place))
        })
    }

    /// The value at a place in the order of those inside, and the one above; the same again where none is above.
    fn neighbours(&self, place: usize) -> (f64, f64) {
        let rank = self.rank_at(place);
        (self.sorted[rank], self.sorted[self.rank_above(rank).unwrap_or(rank)])
    }

    fn at(&self, place: usize) -> f64 {
        self.sorted[self.rank_at(place)]
    }

    /// The rank of the value at a place below the count of those inside.
    fn rank_at(&self, place: usize) -> usize {
        let (block, place) = skip(&self.inside_blocks, 0, place as u32);
        let (word, place) = skip(&self.inside_words, block * (BLOCK / WORD), place);
        let mut bits = self.inside[word];
        for _ in 0..place {
            bits &= bits - 1;
        }
        word * WORD + bits.trailing_zeros() as usize
    }

    /// The next rank inside above one.
    fn rank_above(&self, rank: usize) -> Option<usize> {
        let word = rank / WORD;
        // Two shifts: one by 64 would be none at all.
        let above = self.inside[word] >> (rank % WORD) >> 1;
        if above != 0 {
            return Some(rank + 1 + above.trailing_zeros() as usize);
        }
        let next = word + 1 + self.inside[word + 1..].iter().position(|bits| *bits != 0)?;
        Some(next * WORD + self.inside[next].trailing_zeros() as usize)
    }
}

/// The first count from `from` on that reaches beyond `place`, and what of the place is left then.
#[inline]
fn skip(counts: &[u32], from: usize, mut place: u32) -> (usize, u32) {
    let mut at = from;
    while counts[at] <= place {
        place -= counts[at];
        at += 1;
    }
    (at, place)
}

/// A number that orders as the values do, with NaN lowest.
fn sort_key(value: f64) -> u64 {
    if value.is_nan() {
        return 0;
    }
    let bits = value.to_bits();
    // Negative numbers order backwards. No number is as low as 0 then: that would be the bits of a NaN.
    if bits >> 63 == 1 { !bits } else { bits | 1 << 63 }
}

/// The distances of a window's values to their median: two runs that grow, from the median down and from it up. Rounding a
/// difference keeps order.
struct Distances<'a> {
    window: &'a RankedWindow,
    median: f64,
    /// How many values are in the run down.
    below: usize,
}

impl<'a> Distances<'a> {
    fn around(window: &'a RankedWindow, median: f64) -> Self {
        let count = window.samples.len();
        let mut below = count.div_ceil(2);
        // The median lies between the middle values, but for one that was rounded among subnormal numbers.
        while below > 0 && window.at(below - 1) > median {
            below -= 1;
        }
        while below < count && window.at(below) < median {
            below += 1;
        }
        Self { window, median, below }
    }

    /// The distance at a place in the order of all of them, and the one above; the same again where none is above.
    fn neighbours(&self, place: usize) -> (f64, f64) {
        let above = self.window.samples.len() - self.below;
        // How many of the first `place + 1` distances are from the run down: the fewest with which the next one down is no
        // smaller than the last one taken from the run up.
        let (mut low, mut high) = ((place + 1).saturating_sub(above), (place + 1).min(self.below));
        while low < high {
            let middle = low + (high - low) / 2;
            if self.down(middle) >= self.up(place - middle) {
                high = middle;
            } else {
                low = middle + 1;
            }
        }
        let (down, up) = (low, place + 1 - low);
        let last_down = down.checked_sub(1).map_or(f64::NEG_INFINITY, |at| self.down(at));
        let last_up = up.checked_sub(1).map_or(f64::NEG_INFINITY, |at| self.up(at));
        let last = if last_down > last_up { last_down } else { last_up };
        let next = match ((down < self.below).then(|| self.down(down)), (up < above).then(|| self.up(up))) {
            (Some(next_down), Some(next_up)) if next_down < next_up => next_down,
            (Some(next), None) | (_, Some(next)) => next,
            (None, None) => last,
        };
        (last, next)
    }

    fn down(&self, at: usize) -> f64 {
        (self.window.at(self.below - 1 - at) - self.median).abs()
    }

    fn up(&self, at: usize) -> f64 {
        (self.window.at(self.below + at) - self.median).abs()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::quantile;
    use super::*;

    fn median_deviation(values: &[f64]) -> f64 {
        let median = quantile(0.5, &mut values.to_vec());
        let mut distances: Vec<f64> = values.iter().map(|value| (value - median).abs()).collect();
        quantile(0.5, &mut distances)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(8))]

        #[test]
        fn places_are_found_over_many_words_and_blocks(
            values in proptest::collection::vec(prop_oneof![-1e3f64..1e3, (-9i32..9).prop_map(f64::from)], 3 * BLOCK),
            moves in proptest::collection::vec((0usize..700, 1usize..700), 1..12),
            q in 0.0f64..=1.0,
        ) {
            let mut ranked = RankedWindow::of(&values).expect("few values");
            let mut window = 0..0;
            for (forward, grown) in moves {
                let start = (window.start + forward).min(values.len() - 1);
                window = start..(window.end + grown).max(start + 1).min(values.len());
                ranked.move_to(window.clone());
                let inside = &values[window.clone()];
                prop_assert_eq!(ranked.quantile(q), quantile(q, &mut inside.to_vec()));
                prop_assert_eq!(ranked.median_deviation(), Some(median_deviation(inside)));
            }
        }
    }

    #[test]
    fn distances_to_an_infinite_median_are_left_to_others() {
        let values = [f64::INFINITY, f64::INFINITY, 1.0, f64::NAN];
        let mut ranked = RankedWindow::of(&values).expect("few values");
        ranked.move_to(0..3);
        assert_eq!(ranked.median_deviation(), None);
        ranked.move_to(2..3);
        assert_eq!(ranked.median_deviation(), Some(0.0));
        ranked.move_to(2..4);
        assert!(ranked.median_deviation().is_some_and(f64::is_nan));
    }
}
