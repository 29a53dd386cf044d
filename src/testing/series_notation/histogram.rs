//! Native histograms in series notation.
//!
//! | key | means | left out |
//! |---|---|---|
//! | `schema`, `sum`, `count` | those fields | 0 |
//! | `z_bucket`, `z_bucket_w` | observations in the zero bucket, its threshold | 0 |
//! | `offset`, `buckets` | index of the first positive bucket, counts from there on | 0, none |
//! | `n_offset`, `n_buckets` | the same on the negative side | 0, none |
//! | `custom_values` | the bounds of custom buckets (schema -53) | none |
//! | `counter_reset_hint` | `unknown`, `reset`, `not_reset` or `gauge` | unknown; a test does not look at it then |
//!
//! Source: Prometheus v3.14 promql/parser/generated_parser.y (histogram_desc_item) and parse.go buildHistogramFromMap.

use std::fmt::Write;
use std::sync::Arc;

use super::{Cursor, NotationError, format_float, identifier_length};
use crate::model::{BucketSpan, Buckets, CounterResetHint, NativeHistogram};

/// Gaps between spans are written as empty buckets up to this many; wider ones are only named.
const WRITTEN_GAP_MAX: i64 = 1_000;

const HINTS: [(&str, CounterResetHint); 4] = [
    ("unknown", CounterResetHint::Unknown),
    ("reset", CounterResetHint::Reset),
    ("not_reset", CounterResetHint::NotReset),
    ("gauge", CounterResetHint::Gauge),
];

/// A histogram that was read.
#[derive(Clone, Debug, Default)]
pub(super) struct WrittenHistogram {
    pub(super) histogram: NativeHistogram,
    /// Was the reset hint spelled out?
    pub(super) hint_is_written: bool,
    offset: i32,
    negative_offset: i32,
}

/// Reads `{{key:value …}}`.
pub(super) fn parse_histogram(cursor: &mut Cursor<'_>) -> Result<WrittenHistogram, NotationError> {
    cursor.expect("{{")?;
    if !cursor.rest().contains("}}") {
        return Err(cursor.error("histogram has no closing \"}}\""));
    }
    let mut written = WrittenHistogram::default();
    let mut seen: Vec<String> = Vec::new();
    loop {
        cursor.skip_space();
        if cursor.eat("}}") {
            return written.finish(cursor);
        }
        let key_at = cursor.at;
        let key = cursor.take(identifier_length(cursor.rest(), false)).to_ascii_lowercase();
        if seen.contains(&key) {
            return Err(NotationError { offset: key_at, message: format!("key {key:?} stands twice in a histogram") });
        }
        written.read_field(&key, key_at, cursor)?;
        if !cursor.rest().starts_with([' ', '\t']) && !cursor.rest().starts_with("}}") {
            return Err(cursor.error("expected a space or \"}}\""));
        }
        seen.push(key);
    }
}

impl WrittenHistogram {
    fn read_field(&mut self, key: &str, key_at: usize, cursor: &mut Cursor<'_>) -> Result<(), NotationError> {
        let histogram = &mut self.histogram;
        let known = [
            "schema",
            "sum",
            "count",
            "z_bucket",
            "z_bucket_w",
            "custom_values",
            "buckets",
            "offset",
            "n_buckets",
            "n_offset",
            "counter_reset_hint",
        ];
        if !known.contains(&key) {
            let message = format!("{key:?} is no key of a histogram; write one of {}", known.join(", "));
            return Err(NotationError { offset: key_at, message });
        }
        cursor.expect(":")?;
        match key {
            "schema" => histogram.schema = cursor.integer()?,
            "sum" => histogram.sum = cursor.plain_number()?,
            "count" => histogram.count = cursor.plain_number()?,
            "z_bucket" => histogram.zero_count = cursor.plain_number()?,
            "z_bucket_w" => histogram.zero_threshold = cursor.plain_number()?,
            "custom_values" => histogram.custom_bounds = Arc::from(cursor.number_list()?),
            "buckets" => histogram.positive.counts = cursor.number_list()?,
            "offset" => self.offset = cursor.integer()?,
            "n_buckets" => histogram.negative.counts = cursor.number_list()?,
            "n_offset" => self.negative_offset = cursor.integer()?,
            _ => {
                histogram.counter_reset_hint = cursor.hint()?;
                self.hint_is_written = true;
            }
        }
        Ok(())
    }

    fn finish(mut self, cursor: &Cursor<'_>) -> Result<Self, NotationError> {
        let sides = [(&mut self.histogram.positive, self.offset), (&mut self.histogram.negative, self.negative_offset)];
        for (buckets, offset) in sides {
            let length = u32::try_from(buckets.counts.len()).map_err(|_| cursor.error("too many buckets"))?;
            if length > 0 {
                buckets.spans = vec![BucketSpan { offset, length }];
            }
        }
        Ok(self)
    }
}

impl Cursor<'_> {
    fn integer(&mut self) -> Result<i32, NotationError> {
        let sign = usize::from(self.rest().starts_with('-'));
        let length = sign + self.digits(sign);
        let value = self.rest()[..length].parse().map_err(|_| self.error("expected a whole number"))?;
        self.at += length;
        Ok(value)
    }

    fn plain_number(&mut self) -> Result<f64, NotationError> {
        self.number().map_err(|error| NotationError { message: "expected a number".to_owned(), ..error })
    }

    /// `[1 2.5 -Inf]`, at least one number.
    fn number_list(&mut self) -> Result<Vec<f64>, NotationError> {
        self.expect("[")?;
        let mut numbers = Vec::new();
        loop {
            self.skip_space();
            if !numbers.is_empty() && self.eat("]") {
                return Ok(numbers);
            }
            numbers.push(self.plain_number()?);
            if !self.rest().starts_with([' ', '\t', ']']) {
                return Err(self.error("expected a space or \"]\""));
            }
        }
    }

    fn hint(&mut self) -> Result<CounterResetHint, NotationError> {
        let word = &self.rest()[..identifier_length(self.rest(), false)];
        let hint = HINTS.iter().find(|(name, _)| name.eq_ignore_ascii_case(word)).map(|(_, hint)| *hint);
        let hint = hint.ok_or_else(|| self.error("expected unknown, reset, not_reset or gauge"))?;
        self.at += word.len();
        Ok(hint)
    }
}

/// A histogram as promqltest writes it: `{{schema:1 count:4 sum:5 buckets:[1 2 1]}}`. What is zero, and an unknown hint, is
/// left out. Reads back as the same data; several spans become one with empty buckets in it.
pub fn format_histogram(histogram: &NativeHistogram) -> String {
    write_histogram(histogram, histogram.counter_reset_hint != CounterResetHint::Unknown)
}

pub(super) fn write_histogram(histogram: &NativeHistogram, with_hint: bool) -> String {
    let mut fields: Vec<String> = Vec::new();
    if histogram.schema != 0 {
        fields.push(format!("schema:{}", histogram.schema));
    }
    let numbers = [
        ("count", histogram.count),
        ("sum", histogram.sum),
        ("z_bucket", histogram.zero_count),
        ("z_bucket_w", histogram.zero_threshold),
    ];
    // -0 is a number of its own, and written.
    let written = numbers.iter().filter(|(_, value)| value.to_bits() != 0);
    fields.extend(written.map(|(key, value)| format!("{key}:{}", format_float(*value))));
    if !histogram.custom_bounds.is_empty() {
        fields.push(format!("custom_values:[{}]", number_list(&histogram.custom_bounds)));
    }
    if with_hint {
        let name = HINTS.iter().find(|(_, hint)| *hint == histogram.counter_reset_hint).map_or("", |(name, _)| name);
        fields.push(format!("counter_reset_hint:{name}"));
    }
    write_buckets(&mut fields, ["offset", "buckets"], &histogram.positive);
    write_buckets(&mut fields, ["n_offset", "n_buckets"], &histogram.negative);
    format!("{{{{{}}}}}", fields.join(" "))
}

fn number_list(numbers: &[f64]) -> String {
    numbers.iter().map(|number| format_float(*number)).collect::<Vec<_>>().join(" ")
}

fn write_buckets(fields: &mut Vec<String>, [offset_key, counts_key]: [&str; 2], buckets: &Buckets) {
    let Some(first) = buckets.spans.first() else { return };
    if first.offset != 0 {
        fields.push(format!("{offset_key}:{}", first.offset));
    }
    let mut counts = buckets.counts.iter();
    let mut text = String::new();
    for (index, span) in buckets.spans.iter().enumerate() {
        match i64::from(span.offset) {
            _ if index == 0 => {}
            gap @ 0..=WRITTEN_GAP_MAX => text.extend((0..gap).map(|_| "0 ")),
            gap => write!(text, "(gap of {gap}) ").unwrap_or_default(),
        }
        for count in counts.by_ref().take(span.length as usize) {
            text.push_str(&format_float(*count));
            text.push(' ');
        }
    }
    fields.push(format!("{counts_key}:[{}]", text.trim_end()));
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(text: &str) -> Result<WrittenHistogram, NotationError> {
        parse_histogram(&mut Cursor::new(text))
    }

    #[test]
    fn every_key_is_read() {
        let text = "{{ Schema:-4 sum:-1.5 count:7 z_bucket:2 z_bucket_w:0.001 offset:-3 buckets:[1 0 2.5 ] n_offset:2 \
                    n_buckets:[NaN] counter_reset_hint:GAUGE  }}";
        let written = read(text).expect("valid");
        let histogram = &written.histogram;
        assert!(written.hint_is_written);
        assert_eq!(histogram.positive.spans, [BucketSpan { offset: -3, length: 3 }]);
        assert_eq!(
            format_histogram(histogram),
            "{{schema:-4 count:7 sum:-1.5 z_bucket:2 z_bucket_w:0.001 counter_reset_hint:gauge offset:-3 \
             buckets:[1 0 2.5] n_offset:2 n_buckets:[NaN]}}"
        );
        let custom = read("{{schema:-53 custom_values:[-1 2.5]}}").expect("valid").histogram;
        assert_eq!((custom.schema, &custom.custom_bounds[..]), (-53, &[-1.0, 2.5][..]));
        assert_eq!(read("{{ }}").expect("valid").histogram, NativeHistogram::default());
        assert_eq!(read("{{offset:5}}").expect("valid").histogram, NativeHistogram::default());
    }

    #[test]
    fn mistakes_name_their_column() {
        for (text, error) in [
            ("{{sum:1", "column 3: histogram has no closing \"}}\""),
            ("{{sum:1 sum:1}}", "column 9: key \"sum\" stands twice in a histogram"),
            (
                "{{sun:1}}",
                "column 3: \"sun\" is no key of a histogram; write one of schema, sum, count, z_bucket, z_bucket_w, \
                 custom_values, buckets, offset, n_buckets, n_offset, counter_reset_hint",
            ),
            ("{{sum 1}}", "column 6: expected \":\""),
            ("{{sum:}}", "column 7: expected a number"),
            ("{{sum:1count:2}}", "column 8: expected a space or \"}}\""),
            ("{{schema:1.5}}", "column 11: expected a space or \"}}\""),
            ("{{schema:99999999999}}", "column 10: expected a whole number"),
            ("{{buckets:[]}}", "column 12: expected a number"),
            ("{{buckets:[1 x]}}", "column 14: expected a number"),
            ("{{buckets:[1,2]}}", "column 13: expected a space or \"]\""),
            ("{{buckets:[1 2}}", "column 15: expected a space or \"]\""),
            ("{{counter_reset_hint:maybe}}", "column 22: expected unknown, reset, not_reset or gauge"),
        ] {
            assert_eq!(read(text).map(|_| ()).map_err(|error| error.to_string()), Err(error.to_owned()), "{text}");
        }
    }

    #[test]
    fn several_spans_are_written_as_one_and_wide_gaps_are_named() {
        let spans = [(-1, 1), (2, 2), (1_000_000, 1)].map(|(offset, length)| BucketSpan { offset, length });
        let mut histogram = NativeHistogram {
            positive: Buckets { spans: spans[..2].to_vec(), counts: vec![1.0, 2.0, 3.0] },
            ..NativeHistogram::default()
        };
        assert_eq!(format_histogram(&histogram), "{{offset:-1 buckets:[1 0 0 2 3]}}");
        histogram.positive = Buckets { spans: spans.to_vec(), counts: vec![1.0, 2.0, 3.0, 4.0] };
        assert_eq!(format_histogram(&histogram), "{{offset:-1 buckets:[1 0 0 2 3 (gap of 1000000) 4]}}");
    }

    fn side() -> impl Strategy<Value = Buckets> {
        (any::<i32>(), prop::collection::vec(-1e9_f64..1e9, 0..4)).prop_map(|(offset, counts)| Buckets {
            spans: match counts.len() {
                0 => Vec::new(),
                length => vec![BucketSpan { offset, length: length as u32 }],
            },
            counts,
        })
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back(
            (schema, count, sum, zero_count) in (any::<i32>(), any::<f64>(), any::<f64>(), any::<f64>()),
            (positive, negative) in (side(), side()),
            bounds in prop::collection::vec(-1e9_f64..1e9, 0..4),
            hint in 0i8..4,
        ) {
            let counter_reset_hint = CounterResetHint::from_code(hint).expect("a hint");
            let [count, sum, zero_count] = [count, sum, zero_count].map(|value| if value.is_nan() { 0.5 } else { value });
            let histogram = NativeHistogram {
                counter_reset_hint, schema, zero_threshold: sum.abs(), zero_count, count, sum, positive, negative,
                custom_bounds: Arc::from(bounds),
            };
            let text = format_histogram(&histogram);
            prop_assert_eq!(read(&text).map(|written| written.histogram), Ok(histogram), "{}", text);
        }

        #[test]
        fn no_text_makes_it_panic(text in "\\{\\{([a-z_]{0,9}|sum|buckets|offset|schema|:|\\[|\\]|[0-9 .\\-é]{1,9}){0,9}\\}{0,2}") {
            let _result_does_not_matter = read(&text);
        }
    }
}
