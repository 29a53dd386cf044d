//! What the start timestamps of samples say: when the counter behind a sample began to count.

/// Says the start timestamp of a sample that its counter began anew after the sample before it? All in ms, a start of 0 is
/// unknown. As Prometheus v3.14 promql/functions.go `isStartTimestampReset`.
///
/// | start of this sample | reset? |
/// |---|---|
/// | unknown, or not before the sample itself | no |
/// | before the previous sample | no |
/// | after the previous sample | yes |
/// | at the previous sample | only if the start of that one is known and before it: deltas, not totals of unknown start |
pub fn is_start_time_reset(previous_start_ms: i64, previous_ms: i64, start_ms: i64, time_ms: i64) -> bool {
    if start_ms == 0 || start_ms >= time_ms {
        return false;
    }
    if start_ms != previous_ms {
        return start_ms > previous_ms;
    }
    previous_start_ms != 0 && previous_start_ms < previous_ms
}

/// Does a sample claim to have begun before the sample before it was taken, and not together with it? Two writers share the
/// series then; Prometheus warns. As Prometheus v3.14 promql/functions.go `checkStartTimeOverlap`.
pub fn start_times_overlap(previous_start_ms: i64, previous_ms: i64, start_ms: i64) -> bool {
    start_ms != 0 && start_ms < previous_ms && start_ms != previous_start_ms
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_counter_that_began_after_the_previous_sample_was_reset() {
        for (previous_start, start, is_reset) in [
            (0, 0, false),
            (50, 0, false),
            (50, 50, false),
            (50, 99, false),
            (50, 101, true),
            (0, 150, true),
            (50, 100, true),
            (0, 100, false),
            (100, 100, false),
            (101, 100, false),
            (50, 200, false),
            (50, 201, false),
        ] {
            assert_eq!(is_start_time_reset(previous_start, 100, start, 200), is_reset, "{previous_start} {start}");
        }
    }

    #[test]
    fn starts_overlap_where_neither_shared_nor_after_the_previous_sample() {
        for (previous_start, start, overlap) in
            [(0, 0, false), (50, 0, false), (50, 50, false), (50, 60, true), (0, 60, true), (50, 100, false)]
        {
            assert_eq!(start_times_overlap(previous_start, 100, start), overlap, "{previous_start} {start}");
        }
    }
}
