//! Several windows side by side.
//!
//! A sum whose digits depend on its order must be walked in that order, one addition after the other, and each waits for the
//! one before. But windows do not wait for each other: the windows of the next few steps are walked at the same time, one lane
//! each. Every lane adds its own samples in their own order, so its digits are those of the window alone.

use super::CellSink;
use super::range_function::{Window, WindowedSeries};

/// Magnitude up to which a value is tame, 2^480: sums of such values and of their products stay finite however many there
/// are. So no lane meets an infinity, where Prometheus' sums change their ways.
pub(crate) const TAME_MAX: f64 = f64::from_bits((480 + 1023) << 52);

/// Are all values finite and of a reasonable size?
pub(crate) fn are_tame(values: &[f64]) -> bool {
    values.chunks(64).all(|some| some.iter().fold(true, |tame, value| tame & (value.abs() <= TAME_MAX)))
}

/// How many windows are walked at a time: enough to keep the adders busy, few enough for the registers.
pub(crate) const LANES: usize = 8;

/// From so many steps on lanes pay: with fewer most of them would stay empty.
const STEP_COUNT_MIN: usize = 3;

/// A number in each lane.
pub(crate) type Lane = [f64; LANES];

/// A window with samples in each lane.
pub(crate) type LaneWindows<'a> = [Window<'a>; LANES];

/// Is it right and worth while to walk these windows in lanes?
pub(crate) fn suit_lanes(series: &WindowedSeries<'_>) -> bool {
    series.windows.step_count >= STEP_COUNT_MIN && are_tame(series.values)
}

/// Pushes the kernel's result for every step, absent where the window is empty. A step whose window `is_same` as the one before
/// gets the same result without another walk: so it is where steps are closer than samples.
pub(crate) fn slide_lanes<'a>(
    series: &WindowedSeries<'a>,
    out: &mut CellSink<'_>,
    is_same: impl Fn(&Window<'a>, &Window<'a>) -> bool,
    mut kernel: impl FnMut(&LaneWindows<'a>) -> [Option<f64>; LANES],
) {
    let mut block: Vec<Window<'a>> = Vec::with_capacity(LANES);
    // The lanes of the steps that have not been pushed.
    let mut lane_of_step: Vec<Option<usize>> = Vec::with_capacity(2 * LANES);
    let mut flush = |block: &mut Vec<Window<'a>>, lane_of_step: &mut Vec<Option<usize>>| {
        let results = block.last().map(|last| {
            // Lanes without a window of their own repeat the last.
            let lanes: LaneWindows<'a> = std::array::from_fn(|lane| *block.get(lane).unwrap_or(last));
            kernel(&lanes)
        });
        for lane in lane_of_step.drain(..) {
            out.push(lane.zip(results).and_then(|(lane, results)| results[lane]));
        }
        block.clear();
    };
    series.for_each_window(|window| {
        let Some(window) = window else {
            lane_of_step.push(None);
            return;
        };
        if !block.last().is_some_and(|last| is_same(last, &window)) {
            if block.len() == LANES {
                flush(&mut block, &mut lane_of_step);
            }
            block.push(window);
        }
        lane_of_step.push(Some(block.len() - 1));
    });
    flush(&mut block, &mut lane_of_step);
}

/// A [`super::KahanSum`] in each lane, of tame values.
#[derive(Copy, Clone, Debug, Default)]
pub(crate) struct LaneSums {
    pub(crate) sum: Lane,
    pub(crate) compensation: Lane,
}

impl LaneSums {
    /// Adds a value in each lane.
    #[inline(always)]
    pub(crate) fn add(&mut self, values: &Lane) {
        for (lane, value) in values.iter().enumerate() {
            self.add_at(lane, *value);
        }
    }

    /// Adds a value in one lane.
    ///
    /// Kahan's rule finds the rounding error on one of two branches, by which number is larger. Without an overflow that error
    /// is a float, so whatever finds it exactly finds the same one: here Knuth's sum, which needs no branch. (A zero error may
    /// have another sign, which is lost in a compensation that starts at +0.)
    #[inline(always)]
    pub(crate) fn add_at(&mut self, lane: usize, value: f64) {
        let sum = self.sum[lane];
        let total = sum + value;
        let value_added = total - sum;
        let error = (sum - (total - value_added)) + (value - value_added);
        self.compensation[lane] += error;
        self.sum[lane] = total;
    }

    /// Sums with what they lost.
    #[inline(always)]
    pub(crate) fn totals(&self) -> Lane {
        std::array::from_fn(|lane| self.sum[lane] + self.compensation[lane])
    }
}

/// Samples of a window that are taken at a time.
const STRIDE: usize = 4;

/// Calls `all(state, values)` with the next value of every lane as long as each has one, then `one(state, lane, value)` for
/// what is left, and gives the state.
#[inline(always)]
pub(crate) fn walk_lanes<S: Copy>(
    windows: &LaneWindows<'_>,
    state: S,
    all: impl Fn(&mut S, &Lane),
    one: impl Fn(&mut S, usize, f64),
) -> S {
    let shared = shared_len(windows) / STRIDE * STRIDE;
    let mut state = walk_shared(windows.map(|window| &window.values[..shared]), state, all);
    for (lane, window) in windows.iter().enumerate() {
        for value in &window.values[shared..] {
            one(&mut state, lane, *value);
        }
    }
    state
}

/// A function of its own, whose state never leaves the registers: nobody asks it for one lane.
#[inline(never)]
#[expect(clippy::needless_range_loop, reason = "one index runs through all lanes")]
fn walk_shared<S: Copy>(shared: [&[f64]; LANES], mut state: S, all: impl Fn(&mut S, &Lane)) -> S {
    let strides = shared.map(|values| values.as_chunks::<STRIDE>().0);
    for at in 0..strides[0].len() {
        let stride: [&[f64; STRIDE]; LANES] = std::array::from_fn(|lane| &strides[lane][at]);
        for at in 0..STRIDE {
            all(&mut state, &std::array::from_fn(|lane| stride[lane][at]));
        }
    }
    state
}

/// How many samples each of the windows has at least.
pub(crate) fn shared_len(windows: &LaneWindows<'_>) -> usize {
    windows.iter().map(|window| window.values.len()).min().unwrap_or(0)
}

/// Kahan's sums of windows of tame values.
pub(crate) fn lane_sums(windows: &LaneWindows<'_>) -> LaneSums {
    walk_lanes(windows, LaneSums::default(), LaneSums::add, LaneSums::add_at)
}

/// Welford's variance with Kahan's sums in each lane, of windows of tame values; see
/// [`super::over_time_functions::variance`].
pub(crate) fn lane_variances(windows: &LaneWindows<'_>) -> Lane {
    #[derive(Copy, Clone, Default)]
    struct Variances {
        count: Lane,
        mean: LaneSums,
        squares: LaneSums,
    }
    let state = walk_lanes(
        windows,
        Variances::default(),
        |state, values| {
            let mean = state.mean.totals();
            let from_old_mean: Lane = std::array::from_fn(|lane| values[lane] - mean[lane]);
            // All lanes have as many values until here.
            state.count = state.count.map(|count| count + 1.0);
            let count = state.count[0];
            state.mean.add(&from_old_mean.map(|distance| distance / count));
            let mean = state.mean.totals();
            state.squares.add(&std::array::from_fn(|lane| from_old_mean[lane] * (values[lane] - mean[lane])));
        },
        |state, lane, value| {
            state.count[lane] += 1.0;
            let from_old_mean = value - (state.mean.sum[lane] + state.mean.compensation[lane]);
            state.mean.add_at(lane, from_old_mean / state.count[lane]);
            let from_new_mean = value - (state.mean.sum[lane] + state.mean.compensation[lane]);
            state.squares.add_at(lane, from_old_mean * from_new_mean);
        },
    );
    let squares = state.squares.totals();
    std::array::from_fn(|lane| squares[lane] / state.count[lane])
}
