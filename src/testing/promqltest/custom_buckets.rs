//! `load_with_nhcb`: classic histograms become native ones with custom buckets, sample by sample.
//!
//! Source: Prometheus v3.14 util/convertnhcb/convertnhcb.go and promql/promqltest/test.go appendCustomHistogram.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::script::Load;
use crate::error::Error;
use crate::kernels::native_histogram::compact;
use crate::model::{
    BucketSpan, Buckets, CUSTOM_BUCKETS_SCHEMA, Labels, LabelsBuilder, NativeHistogram, Sample, TimestampMs,
};
use crate::testing::{TimedSample, format_float};

/// The series of native histograms that the classic ones of a load mean.
///
/// # Errors
/// Bucket counts that fall, are negative or do not end in the count.
pub fn custom_bucket_series(load: &Load) -> Result<Vec<(Labels, Vec<TimedSample>)>, Error> {
    let mut histograms = BTreeMap::<Labels, BTreeMap<i64, ClassicHistogram>>::new();
    for series in &load.series {
        let labels = &series.notation.labels;
        let Some((part, base)) = part_of(labels) else { continue };
        let by_time = histograms.entry(base).or_default();
        for sample in series.notation.samples(TimestampMs(0), load.interval) {
            let Sample::Float(value) = sample.sample else { continue };
            let histogram = by_time.entry(sample.time).or_default();
            match part {
                Part::Bucket(bound) => histogram.buckets.push((bound, value)),
                Part::Count => histogram.count = Some(value),
                Part::Sum => histogram.sum = value,
            }
        }
    }
    let series = histograms.into_iter().map(|(labels, by_time)| {
        let samples = by_time.into_iter().map(|(time, histogram)| {
            let histogram = histogram.convert().map_err(|error| error.in_context(&labels))?;
            Ok(TimedSample { time, start_time: None, sample: Sample::Histogram(Arc::new(histogram)) })
        });
        let samples = samples.collect::<Result<Vec<_>, Error>>()?;
        Ok((labels, samples))
    });
    series.collect()
}

/// What a series is of a classic histogram.
#[derive(Copy, Clone)]
enum Part {
    /// The bucket up to this bound.
    Bucket(f64),
    Count,
    Sum,
}

/// The part that a series is, and the labels of the histogram; `None` for other series and bounds that are no numbers.
fn part_of(labels: &Labels) -> Option<(Part, Labels)> {
    let name = labels.get("__name__")?;
    let (part, base) = if let Some(base) = name.strip_suffix("_bucket") {
        let bound = labels.get("le")?.parse::<f64>().ok().filter(|bound| !bound.is_nan())?;
        (Part::Bucket(bound), base)
    } else if let Some(base) = name.strip_suffix("_sum") {
        (Part::Sum, base)
    } else {
        (Part::Count, name.strip_suffix("_count")?)
    };
    let mut builder = LabelsBuilder::from(labels);
    builder.set("__name__", base).remove("le");
    Some((part, builder.finish()))
}

/// The samples of a classic histogram at one time.
#[derive(Debug, Default)]
struct ClassicHistogram {
    /// Upper bounds and cumulative counts.
    buckets: Vec<(f64, f64)>,
    count: Option<f64>,
    sum: f64,
}

impl ClassicHistogram {
    fn convert(mut self) -> Result<NativeHistogram, Error> {
        self.buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
        self.buckets.dedup_by(|later, first| later.0 == first.0);
        if let Some((_, count)) = self.buckets.iter().find(|(_, count)| *count < 0.0) {
            return Err(Error::bad_data(format!("bucket count must be non-negative: {}", format_float(*count))));
        }
        if let Some(pair) = self.buckets.windows(2).find(|pair| pair[1].1 < pair[0].1) {
            let [before, count] = [pair[0].1, pair[1].1].map(format_float);
            return Err(Error::bad_data(format!("count is not cumulative: {count} < {before}")));
        }
        let count = self.count.or(self.buckets.last().map(|bucket| bucket.1)).unwrap_or(0.0);
        if self.buckets.last().is_none_or(|bucket| bucket.0 != f64::INFINITY) {
            self.buckets.push((f64::INFINITY, count));
        }
        let last = self.buckets.last().map_or(0.0, |bucket| bucket.1);
        if last != count {
            let [count, last] = [count, last].map(format_float);
            return Err(Error::bad_data(format!("count mismatch: count={count} != le=+Inf count={last}")));
        }
        let before = std::iter::once(0.0).chain(self.buckets.iter().map(|bucket| bucket.1));
        let counts: Vec<f64> = self.buckets.iter().zip(before).map(|(bucket, before)| bucket.1 - before).collect();
        let length = u32::try_from(counts.len()).map_err(|_| Error::bad_data("too many buckets"))?;
        let mut histogram = NativeHistogram {
            schema: CUSTOM_BUCKETS_SCHEMA,
            count,
            sum: self.sum,
            positive: Buckets { spans: vec![BucketSpan { offset: 0, length }], counts },
            custom_bounds: self.buckets.iter().map(|bucket| bucket.0).filter(|bound| *bound != f64::INFINITY).collect(),
            ..NativeHistogram::default()
        };
        compact(&mut histogram);
        Ok(histogram)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::promqltest::{CommandKind, read_script};
    use crate::testing::{SequenceValue, format_labels};

    /// One line a series, `value@minutes`.
    fn converted(lines: &[&str]) -> Result<Vec<String>, String> {
        let text = format!("load_with_nhcb 1m\n {}\n", lines.join("\n "));
        let script = read_script("a.test", &text).expect("valid");
        let CommandKind::Load(load) = &script.commands[0].kind else { panic!("no load") };
        let series = custom_bucket_series(load).map_err(|error| error.to_string())?;
        let line = |(labels, samples): (Labels, Vec<TimedSample>)| {
            let values = samples.into_iter().map(|sample| {
                format!("{}@{}", SequenceValue::from(sample.sample), sample.time / 60_000) //
            });
            format!("{} {}", format_labels(&labels), values.collect::<Vec<_>>().join(" "))
        };
        Ok(series.into_iter().map(line).collect())
    }

    #[test]
    fn classic_series_are_gathered_by_label_set_and_time() {
        let lines = [
            "x_bucket{a=\"b\",le=\"+Inf\"} 6 _ 9",
            "x_bucket{le=\"0.5\",a=\"b\"} 1 _ 3",
            "x_bucket{le=\"2\",a=\"b\"} 4 _ 3",
            "x_sum{a=\"b\"} 7.5 _ 8",
            "x_count{a=\"b\"} 6 2 9",
            "x_bucket{a=\"c\",le=\"1\"} _ _ 2.5",
            "x_bucket{a=\"c\",le=\"oops\"} 1",
            "x_bucket{a=\"c\",le=\"NaN\"} 1",
            "x_bucket{a=\"d\"} 1",
            "y 1",
        ];
        assert_eq!(
            converted(&lines),
            Ok(vec![
                "x{a=\"b\"} {{schema:-53 count:6 sum:7.5 custom_values:[0.5 2] buckets:[1 3 2]}}@0 \
                 {{schema:-53 count:2 buckets:[2]}}@1 \
                 {{schema:-53 count:9 sum:8 custom_values:[0.5 2] buckets:[3 0 6]}}@2"
                    .to_owned(),
                "x{a=\"c\"} {{schema:-53 count:2.5 custom_values:[1] buckets:[2.5]}}@2".to_owned(),
            ])
        );
    }

    #[test]
    fn contradictions_are_refused() {
        for (lines, error) in [
            (["x_bucket{le=\"1\"} 2", "x_bucket{le=\"2\"} 1"], "count is not cumulative: 1 < 2"),
            (["x_bucket{le=\"1\"} -2", "x_count 1"], "bucket count must be non-negative: -2"),
            (["x_bucket{le=\"+Inf\"} 2", "x_count 1"], "count mismatch: count=1 != le=+Inf count=2"),
        ] {
            assert_eq!(converted(&lines), Err(format!("{{__name__=\"x\"}}: {error}")));
        }
    }
}
