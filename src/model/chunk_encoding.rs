//! The ways in which Prometheus compresses samples into chunks.

use std::fmt;

/// How a chunk is compressed; the numbers are those of Prometheus.
#[derive(Copy, Clone, PartialEq, Eq, Hash, Debug)]
#[repr(u8)]
pub enum ChunkEncoding {
    /// Floats.
    Xor = 1,
    /// Native histograms with integer counts.
    Histogram = 2,
    /// Native histograms with float counts.
    FloatHistogram = 3,
    /// Floats, with start timestamps if there are any.
    Xor2 = 4,
    /// Native histograms with integer counts, with start timestamps.
    HistogramSt = 5,
    /// Native histograms with float counts, with start timestamps.
    FloatHistogramSt = 6,
}

impl ChunkEncoding {
    /// All of them, by number.
    pub const ALL: [Self; 6] =
        [Self::Xor, Self::Histogram, Self::FloatHistogram, Self::Xor2, Self::HistogramSt, Self::FloatHistogramSt];

    /// The encoding of a number; `None` for one that Prometheus 3.14 does not know.
    pub fn from_code(code: u64) -> Option<Self> {
        Self::ALL.into_iter().find(|encoding| u64::from(*encoding as u8) == code)
    }
}

impl fmt::Display for ChunkEncoding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Xor => "XOR",
            Self::Histogram => "HISTOGRAM",
            Self::FloatHistogram => "FLOAT_HISTOGRAM",
            Self::Xor2 => "XOR2",
            Self::HistogramSt => "HISTOGRAM_ST",
            Self::FloatHistogramSt => "FLOAT_HISTOGRAM_ST",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_numbers_are_those_of_prometheus() {
        let named: Vec<String> =
            (0..9).filter_map(|code| Some(format!("{code} {}", ChunkEncoding::from_code(code)?))).collect();
        let expected =
            ["1 XOR", "2 HISTOGRAM", "3 FLOAT_HISTOGRAM", "4 XOR2", "5 HISTOGRAM_ST", "6 FLOAT_HISTOGRAM_ST"];
        assert_eq!(named, expected);
        assert_eq!(ChunkEncoding::from_code(u64::MAX), None);
    }
}
