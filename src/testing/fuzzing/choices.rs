//! Where random decisions come from: the bytes of a fuzzer, or a seed.

/// Makes decisions. The same bytes, or the same seed, make the same ones.
#[derive(Debug)]
pub struct Choices<'a>(Source<'a>);

#[derive(Debug)]
enum Source<'a> {
    Bytes(&'a [u8]),
    Seed(u64),
}

impl<'a> Choices<'a> {
    /// A byte, or eight, a decision. Once they are used up the first possibility is taken for ever: what is generated has to
    /// come to an end with it.
    pub fn from_bytes(bytes: &'a [u8]) -> Self {
        Self(Source::Bytes(bytes))
    }

    /// Decisions without end. SplitMix64 (Steele, Lea, Flood 2014): small, and the same everywhere.
    pub fn from_seed(seed: u64) -> Self {
        Self(Source::Seed(seed))
    }

    /// Are all bytes used up?
    pub fn is_used_up(&self) -> bool {
        matches!(self.0, Source::Bytes([]))
    }

    /// 0 ≤ x < `bound`; 0 where `bound` is 0. The bias does not matter here.
    pub fn below(&mut self, bound: usize) -> usize {
        if bound < 2 {
            return 0;
        }
        match &mut self.0 {
            Source::Bytes(bytes) if bound <= 256 => {
                let Some((first, rest)) = bytes.split_first() else { return 0 };
                *bytes = rest;
                usize::from(*first) % bound
            }
            Source::Bytes(_) | Source::Seed(_) => (self.bits() % bound as u64) as usize,
        }
    }

    /// True in `percent` of a hundred cases; false once the bytes are used up.
    pub fn chance(&mut self, percent: usize) -> bool {
        // From above, so that a zero means no.
        self.below(100) >= 100_usize.saturating_sub(percent)
    }

    /// One of a list, which must not be empty.
    pub fn pick<'t, T: ?Sized>(&mut self, list: &[&'t T]) -> &'t T {
        list[self.below(list.len())]
    }

    /// Any 64 bits, such as those of a float.
    pub fn bits(&mut self) -> u64 {
        match &mut self.0 {
            Source::Bytes(bytes) => {
                let mut word = [0; 8];
                let (taken, rest) = bytes.split_at(bytes.len().min(word.len()));
                word[..taken.len()].copy_from_slice(taken);
                *bytes = rest;
                u64::from_le_bytes(word)
            }
            Source::Seed(state) => {
                *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
                let mut bits = *state;
                bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
                bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
                bits ^ (bits >> 31)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_decide_until_they_are_used_up() {
        let mut choices = Choices::from_bytes(&[7, 255, 1, 0, 0, 0, 0, 0, 0, 0, 9]);
        assert_eq!((choices.below(5), choices.chance(50), choices.below(1), choices.bits()), (2, true, 0, 1));
        assert_eq!((choices.is_used_up(), choices.below(256), choices.is_used_up()), (false, 9, true));
        assert_eq!(
            (choices.below(5), choices.chance(99), choices.bits(), choices.pick(&["a", "b"])),
            (0, false, 0, "a")
        );
    }

    #[test]
    fn a_seed_decides_for_ever_and_always_the_same() {
        let drawn = |seed| -> Vec<usize> {
            let mut choices = Choices::from_seed(seed);
            (0..100).map(|_| choices.below(10)).collect()
        };
        assert_eq!(drawn(1), drawn(1));
        assert_ne!(drawn(1), drawn(2));
        assert!((0..10).all(|number| drawn(3).contains(&number)));
    }
}
