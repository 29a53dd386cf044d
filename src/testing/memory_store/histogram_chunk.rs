//! What a Prometheus' storage does to reset hints: it does not keep those that it is given, but says `not_reset` of what it
//! put into one chunk, and cuts a chunk wherever it saw a reset.
//!
//! Source: Prometheus v3.14 tsdb/chunkenc/float_histogram.go (appendable, appendableGauge) and histogram_meta.go
//! (counterResetHint). Chunks that are cut because they grew large are not imitated: what would be `unknown` there is
//! `not_reset` here, and both are true.

use std::sync::Arc;

use crate::error::Error;
use crate::model::{CounterResetHint, EXPONENTIAL_SCHEMA_MAX, EXPONENTIAL_SCHEMA_MIN, NativeHistogram};

/// The chunk that a series of histograms is being appended to.
#[derive(Debug)]
pub(super) struct HistogramChunk {
    is_gauge: bool,
    last: Arc<NativeHistogram>,
}

impl HistogramChunk {
    /// Appends to the chunk of a series or to a new one; returns the histogram as it is read back.
    pub(super) fn append(chunk: &mut Option<Self>, histogram: Arc<NativeHistogram>) -> Arc<NativeHistogram> {
        let is_gauge = histogram.counter_reset_hint == CounterResetHint::Gauge;
        let continues = chunk.as_ref().is_some_and(|chunk| chunk.takes(&histogram));
        let read_back = if histogram.is_stale_marker() {
            Arc::new(NativeHistogram { sum: histogram.sum, ..NativeHistogram::default() })
        } else {
            let hint = match (is_gauge, continues) {
                (true, _) => CounterResetHint::Gauge,
                (false, true) => CounterResetHint::NotReset,
                (false, false) => CounterResetHint::Unknown,
            };
            with_hint(histogram, hint)
        };
        *chunk = Some(Self { is_gauge, last: Arc::clone(&read_back) });
        read_back
    }

    fn takes(&self, next: &NativeHistogram) -> bool {
        let is_gauge = next.counter_reset_hint == CounterResetHint::Gauge;
        if is_gauge != self.is_gauge || next.counter_reset_hint == CounterResetHint::Reset {
            return false;
        }
        if next.is_stale_marker() {
            return true;
        }
        let last = &*self.last;
        let same_layout = next.schema == last.schema
            && next.zero_threshold == last.zero_threshold
            && (!next.uses_custom_buckets() || next.custom_bounds == last.custom_bounds);
        if last.is_stale_marker() || !same_layout {
            return false;
        }
        let fell = next.count < last.count
            || next.zero_count < last.zero_count
            || next.positive.has_fallen_since(&last.positive)
            || next.negative.has_fallen_since(&last.negative);
        is_gauge || !fell
    }
}

fn with_hint(histogram: Arc<NativeHistogram>, hint: CounterResetHint) -> Arc<NativeHistogram> {
    if histogram.counter_reset_hint == hint {
        return histogram;
    }
    Arc::new(NativeHistogram { counter_reset_hint: hint, ..Arc::unwrap_or_clone(histogram) })
}

/// Refuses what a Prometheus refuses to store.
///
/// Source: Prometheus v3.14 model/histogram/float_histogram.go Validate.
pub(super) fn check_histogram(histogram: &NativeHistogram) -> Result<(), Error> {
    let bad = |text: String| Err(Error::bad_data(text));
    let sides = [("positive", &histogram.positive), ("negative", &histogram.negative)];
    for (side, buckets) in sides {
        let needed: u64 = buckets.spans.iter().map(|span| u64::from(span.length)).sum();
        if needed != buckets.counts.len() as u64 {
            return bad(format!("{side} side: spans need {needed} buckets, have {} buckets", buckets.counts.len()));
        }
        if buckets.spans.iter().skip(1).any(|span| span.offset < 0) {
            return bad(format!("{side} side: a span after the first has a negative offset"));
        }
        if let Some(at) = buckets.counts.iter().position(|count| *count < 0.0) {
            return bad(format!(
                "{side} side: bucket number {} has observation count of {}",
                at + 1,
                buckets.counts[at]
            ));
        }
    }
    if histogram.count < 0.0 || histogram.zero_count < 0.0 {
        return bad("histogram's observation count should not be negative".to_owned());
    }
    if histogram.uses_custom_buckets() {
        return check_custom_buckets(histogram);
    }
    if !(EXPONENTIAL_SCHEMA_MIN..=EXPONENTIAL_SCHEMA_MAX).contains(&histogram.schema) {
        return bad(format!("histogram has an invalid schema {}", histogram.schema));
    }
    if !histogram.custom_bounds.is_empty() {
        return bad("histogram with exponential schema must not have custom bounds".to_owned());
    }
    Ok(())
}

fn check_custom_buckets(histogram: &NativeHistogram) -> Result<(), Error> {
    let bounds = &*histogram.custom_bounds;
    let spans = &histogram.positive.spans;
    let covered: i64 = spans.iter().map(|span| i64::from(span.offset) + i64::from(span.length)).sum();
    let wrong = if histogram.zero_count != 0.0 || histogram.zero_threshold != 0.0 {
        "no zero bucket"
    } else if !histogram.negative.spans.is_empty() {
        "no negative buckets"
    } else if bounds.iter().any(|bound| bound.is_nan()) || bounds.windows(2).any(|pair| pair[0] >= pair[1]) {
        "strictly ascending bounds"
    } else if bounds.last() == Some(&f64::INFINITY) {
        "no bound of +Inf"
    } else if spans.first().is_some_and(|span| span.offset < 0) || covered > bounds.len() as i64 + 1 {
        "buckets only between their bounds"
    } else {
        return Ok(());
    };
    Err(Error::bad_data(format!("histogram with custom buckets must have {wrong}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{SeriesNotation, format_histogram};

    fn histograms(values: &str) -> Vec<Option<Arc<NativeHistogram>>> {
        let line = SeriesNotation::parse(&format!("x {values}")).expect("valid");
        let value = |value: &crate::testing::SequenceValue| match value.sample() {
            Some(crate::model::Sample::Histogram(histogram)) => Some(histogram),
            Some(crate::model::Sample::Float(marker)) if crate::model::is_stale(marker) => {
                Some(Arc::new(NativeHistogram { sum: marker, ..NativeHistogram::default() }))
            }
            _ => None,
        };
        line.values.iter().map(value).collect()
    }

    /// The hints that are read back: `?` unknown, `n` not reset, `g` gauge, `s` a stale marker; a float (`.`) ends a chunk.
    fn hints(values: &str) -> String {
        let mut chunk = None;
        let hint = |histogram: Option<Arc<NativeHistogram>>| match histogram {
            None => {
                chunk = None;
                '.'
            }
            Some(histogram) => {
                let read = HistogramChunk::append(&mut chunk, histogram);
                match read.counter_reset_hint {
                    _ if read.is_stale_marker() => 's',
                    CounterResetHint::Unknown => '?',
                    CounterResetHint::NotReset => 'n',
                    CounterResetHint::Gauge => 'g',
                    CounterResetHint::Reset => 'r',
                }
            }
        };
        histograms(values).into_iter().map(hint).collect()
    }

    #[test]
    fn hints_are_those_of_chunks() {
        for (values, expected) in [
            ("{{count:1}} {{count:1}} {{count:2}}", "?nn"),
            ("{{count:2}} {{count:1}} {{count:1}}", "??n"),
            ("{{count:1}} {{count:2 counter_reset_hint:reset}} {{count:3}}", "??n"),
            ("{{count:1 counter_reset_hint:not_reset}} {{count:0 counter_reset_hint:not_reset}}", "??"),
            ("{{count:1}} 5 {{count:2}} {{count:3}}", "?.?n"),
            (
                "{{count:2 counter_reset_hint:gauge}} {{count:1 counter_reset_hint:gauge}} {{count:1}} {{count:1}}",
                "gg?n",
            ),
            ("{{count:2}} {{count:3 counter_reset_hint:gauge}} {{count:4}}", "?g?"),
            ("{{schema:1}} {{schema:0}} {{schema:0}}", "??n"),
            ("{{z_bucket_w:1}} {{z_bucket_w:2}} {{z_bucket_w:2 z_bucket:1}} {{z_bucket_w:2}}", "??n?"),
            ("{{buckets:[1 0]}} {{buckets:[1]}} {{offset:-2 buckets:[5 0 1]}} {{offset:-2 buckets:[4 0 1]}}", "?nn?"),
            ("{{buckets:[1]}} {{}}", "??"),
            ("{{n_buckets:[1]}} {{n_buckets:[0]}}", "??"),
            (
                "{{schema:-53 custom_values:[1]}} {{schema:-53 custom_values:[1]}} {{schema:-53 custom_values:[2]}}",
                "?n?",
            ),
            ("{{count:1}} stale {{count:1}} {{count:1}}", "?s?n"),
            ("{{count:1 counter_reset_hint:gauge}} stale stale {{count:1 counter_reset_hint:gauge}}", "gssg"),
        ] {
            assert_eq!(hints(values), expected, "{values}");
        }
    }

    #[test]
    fn nothing_but_the_hint_changes() {
        let mut chunk = None;
        let text = "{{schema:2 count:4 sum:1 z_bucket:1 z_bucket_w:0.5 offset:-1 buckets:[1 0 2]}}";
        for expected in [text.to_owned(), text.replace(" offset", " counter_reset_hint:not_reset offset")] {
            let histogram = histograms(text).pop().flatten().expect("one");
            assert_eq!(format_histogram(&HistogramChunk::append(&mut chunk, histogram)), expected);
        }
    }

    #[test]
    fn what_prometheus_would_not_store_is_refused() {
        for (value, error) in [
            ("{{schema:3 count:5 sum:-1 buckets:[1 2]}}", None),
            ("{{schema:-53 custom_values:[-1 2] buckets:[1 2 3]}}", None),
            ("{{schema:9}}", Some("histogram has an invalid schema 9")),
            ("{{count:-1}}", Some("histogram's observation count should not be negative")),
            ("{{buckets:[1 -1]}}", Some("positive side: bucket number 2 has observation count of -1")),
            ("{{custom_values:[1]}}", Some("histogram with exponential schema must not have custom bounds")),
            ("{{schema:-53 z_bucket:1}}", Some("histogram with custom buckets must have no zero bucket")),
            ("{{schema:-53 n_buckets:[1]}}", Some("histogram with custom buckets must have no negative buckets")),
            (
                "{{schema:-53 custom_values:[1 1]}}",
                Some("histogram with custom buckets must have strictly ascending bounds"),
            ),
            ("{{schema:-53 custom_values:[1 Inf]}}", Some("histogram with custom buckets must have no bound of +Inf")),
            (
                "{{schema:-53 custom_values:[1] buckets:[1 1 1]}}",
                Some("histogram with custom buckets must have buckets only between their bounds"),
            ),
        ] {
            let histogram = histograms(value).pop().flatten().expect("one");
            let found = check_histogram(&histogram).map_err(|error| error.message().to_owned()).err();
            assert_eq!(found.as_deref(), error, "{value}");
        }
    }
}
