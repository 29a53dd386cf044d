//! The things that can be asked of a source of series.

use super::{DurationMs, Matcher, StepGrid, TimestampMs};

/// One selector to be fetched.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd)]
pub struct SelectRequest {
    /// All must match; the metric name is a matcher on `__name__`.
    pub matchers: Vec<Matcher>,
    /// In which form the samples are wanted.
    pub form: SelectForm,
}

/// Raw samples, or one sample a step.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd)]
pub enum SelectForm {
    /// A samples table with `start < t ≤ end`, stale markers kept where the transport can carry them.
    Samples {
        /// Exclusive.
        start: TimestampMs,
        /// Inclusive.
        end: TimestampMs,
    },
    /// A timed steps table: at each step the newest sample not older than `lookback`, with that sample's own time. A stale
    /// marker that a part knows of is such a sample, as the number that it is: it hides older samples of other parts, and
    /// whoever unites the parts takes it out.
    Steps {
        /// The steps, offset and `@` already applied.
        grid: StepGrid,
        /// A sample is visible at step `t` when `t - lookback < its time ≤ t`.
        lookback: DurationMs,
    },
}

/// A question about series rather than samples.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct MetadataRequest {
    /// Each inner list is one `match[]`; any of them may match. Empty: everything.
    pub selectors: Vec<Vec<Matcher>>,
    /// Inclusive; `None` is open.
    pub start: Option<TimestampMs>,
    /// Inclusive; `None` is open.
    pub end: Option<TimestampMs>,
    /// At most so many answers; `None` or 0 is no limit.
    pub limit: Option<usize>,
}
