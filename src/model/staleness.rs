//! The stale marker: the one NaN that means "this series ended here".

/// Bits of Prometheus' stale marker. Every other NaN is an ordinary value.
pub const STALE_MARKER_BITS: u64 = 0x7ff0_0000_0000_0002;

/// The stale marker as a float.
pub fn stale_marker() -> f64 {
    f64::from_bits(STALE_MARKER_BITS)
}

/// Is this value the stale marker (and not just any NaN)?
pub fn is_stale(value: f64) -> bool {
    value.to_bits() == STALE_MARKER_BITS
}
