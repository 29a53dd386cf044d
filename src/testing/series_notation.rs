//! Series as Prometheus' own tests write them: `up{job="a"} 1+2x5 _ stale` ⇄ labels and samples.
//!
//! | token | values |
//! |---|---|
//! | `1.5`, `-Inf`, `nan` | that number |
//! | `_`, `_x3` | one absent sample, three of them |
//! | `stale` | the stale marker |
//! | `1x3` | 1 1 1 1 |
//! | `1+2x3`, `9-2x3` | 1 3 5 7, 9 7 5 3, made by repeated addition |
//! | `{{sum:1 count:2 buckets:[2]}}`, with `xN` | a native histogram, or N+1 of it (keys: `series_notation/histogram.rs`) |
//! | `{{…}}+{{…}}xN`, `{{…}}-{{…}}xN` | native histograms made by repeated addition |

mod histogram;

use std::fmt;
use std::sync::Arc;

use thiserror::Error;

pub use self::histogram::format_histogram;
use self::histogram::{WrittenHistogram, parse_histogram, write_histogram};
use super::go_string::unquote;
use crate::kernels::native_histogram::{HistogramError, add, histograms_equal, subtract};
use crate::model::{
    CounterResetHint, DurationMs, Labels, LabelsBuilder, NativeHistogram, Sample, TimestampMs, format_label_name,
    is_stale, stale_marker,
};

/// One line never means more values than this: `1x999999999` would otherwise fill the memory. Histograms that are made by
/// addition count with all their buckets.
const VALUES_MAX: usize = 1_000_000;

/// Why a line is not a series, and at which byte of it.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
#[error("column {}: {message}", .offset + 1)]
pub struct NotationError {
    /// Byte offset in the text that was read.
    pub offset: usize,
    /// What is wrong.
    pub message: String,
}

/// What stands at one time of a series.
#[derive(Clone, Debug)]
pub enum SequenceValue {
    /// No sample.
    Absent,
    /// A float sample; the stale marker is one of them.
    Float(f64),
    /// A native histogram.
    Histogram {
        /// The histogram.
        histogram: Arc<NativeHistogram>,
        /// Was its reset hint spelled out? Only then a test looks at it.
        hint_is_written: bool,
    },
}

impl SequenceValue {
    /// The sample, if there is one.
    pub fn sample(&self) -> Option<Sample> {
        match self {
            Self::Absent => None,
            Self::Float(value) => Some(Sample::Float(*value)),
            Self::Histogram { histogram, .. } => Some(Sample::Histogram(Arc::clone(histogram))),
        }
    }
}

impl From<Sample> for SequenceValue {
    fn from(sample: Sample) -> Self {
        match sample {
            Sample::Float(value) => Self::Float(value),
            Sample::Histogram(histogram) => {
                let hint_is_written = histogram.counter_reset_hint != CounterResetHint::Unknown;
                Self::Histogram { histogram, hint_is_written }
            }
        }
    }
}

/// Floats are equal when their bits are: a stale marker is no other NaN, and -0 is not 0. So are histograms, and their hints
/// must agree.
impl PartialEq for SequenceValue {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Absent, Self::Absent) => true,
            (Self::Float(a), Self::Float(b)) => a.to_bits() == b.to_bits() || both_plain_nan(*a, *b),
            (
                Self::Histogram { histogram, hint_is_written },
                Self::Histogram { histogram: other, hint_is_written: other_is_written },
            ) => {
                hint_is_written == other_is_written
                    && histogram.counter_reset_hint == other.counter_reset_hint
                    && histograms_equal(histogram, other)
            }
            _ => false,
        }
    }
}

fn both_plain_nan(a: f64, b: f64) -> bool {
    a.is_nan() && b.is_nan() && !is_stale(a) && !is_stale(b)
}

impl fmt::Display for SequenceValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Absent => f.write_str("_"),
            Self::Histogram { histogram, hint_is_written } => {
                f.write_str(&write_histogram(histogram, *hint_is_written))
            }
            Self::Float(value) if is_stale(*value) => f.write_str("stale"),
            Self::Float(value) => f.write_str(&format_float(*value)),
        }
    }
}

/// The shortest text that reads back as the same number; an exponent where digits alone would be long.
pub fn format_float(value: f64) -> String {
    let size = value.abs();
    if value.is_nan() {
        "NaN".to_owned()
    } else if value.is_infinite() {
        if value > 0.0 { "+Inf" } else { "-Inf" }.to_owned()
    } else if size == 0.0 || (1e-6..1e21).contains(&size) {
        format!("{value}")
    } else {
        format!("{value:e}")
    }
}

/// A label set with the values at consecutive times.
#[derive(Clone, Debug, PartialEq)]
pub struct SeriesNotation {
    /// The label set, with `__name__`.
    pub labels: Labels,
    /// One value a time.
    pub values: Vec<SequenceValue>,
}

impl SeriesNotation {
    /// Reads `name{label="value"} values`.
    pub fn parse(line: &str) -> Result<Self, NotationError> {
        let (labels, values_at) = parse_labels(line)?;
        let values = parse_values(&line[values_at..]).map_err(|error| error.moved(values_at))?;
        Ok(Self { labels, values })
    }

    /// The samples, value `i` at `start + i × interval`.
    pub fn samples(&self, start: TimestampMs, interval: DurationMs) -> Vec<TimedSample> {
        self.started_samples(start, interval, &[])
    }

    /// The same with start timestamps: `start_offsets[i]` is the distance of that of value `i` from the time of the value.
    pub fn started_samples(
        &self,
        start: TimestampMs,
        interval: DurationMs,
        start_offsets: &[Option<DurationMs>],
    ) -> Vec<TimedSample> {
        let timed = |(index, value): (usize, &SequenceValue)| {
            let time = time_of(index, start, interval);
            let offset = start_offsets.get(index).copied().flatten();
            let start_time = offset.map(|offset| time.saturating_add(offset.0));
            Some(TimedSample { time, start_time, sample: value.sample()? })
        };
        self.values.iter().enumerate().filter_map(timed).collect()
    }
}

/// A sample at its time.
#[derive(Clone, Debug, PartialEq)]
pub struct TimedSample {
    /// When it was taken, ms.
    pub time: i64,
    /// Since when it counts, ms, where that is known.
    pub start_time: Option<i64>,
    /// The sample.
    pub sample: Sample,
}

fn time_of(index: usize, start: TimestampMs, interval: DurationMs) -> i64 {
    start.0.saturating_add(interval.0.saturating_mul(index as i64))
}

/// Reads back as the same series; runs of equal values are written as `axN`.
impl fmt::Display for SeriesNotation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", format_labels(&self.labels), format_values(&self.values))
    }
}

/// `name{a="b"}`, `{a="b"}`, `{}`, `{"a name", a="b"}`: as promqltest reads it.
pub fn format_labels(labels: &Labels) -> String {
    let name = labels.get("__name__").unwrap_or("");
    let bare = !name.is_empty() && identifier_length(name, true) == name.len();
    let mut pairs: Vec<String> = Vec::new();
    if !bare && !name.is_empty() {
        pairs.push(crate::model::quote_label_value(name));
    }
    for (label, value) in labels.iter().filter(|(label, _)| *label != "__name__") {
        pairs.push(format!("{}={}", format_label_name(label), crate::model::quote_label_value(value)));
    }
    match (bare, pairs.is_empty()) {
        // A metric called `expect` would be read as a directive of promqltest.
        (true, true) if name != "expect" => name.to_owned(),
        (true, _) => format!("{name}{{{}}}", pairs.join(", ")),
        (false, _) => format!("{{{}}}", pairs.join(", ")),
    }
}

/// The values of a line; runs of four and more equal ones as `axN`.
pub fn format_values(values: &[SequenceValue]) -> String {
    let mut tokens = Vec::new();
    for run in values.chunk_by(|a, b| a == b) {
        let token = run[0].to_string();
        match (&run[0], run.len()) {
            (SequenceValue::Absent, count @ 4..) => tokens.push(format!("_x{count}")),
            (SequenceValue::Float(value), count @ 4..) if !is_stale(*value) => {
                tokens.push(format!("{token}x{}", count - 1));
            }
            (_, count) => tokens.extend(std::iter::repeat_n(token, count)),
        }
    }
    tokens.join(" ")
}

/// Reads a label set off the front; also the offset of what follows it.
pub fn parse_labels(text: &str) -> Result<(Labels, usize), NotationError> {
    let mut cursor = Cursor::new(text);
    cursor.skip_space();
    let mut builder = LabelsBuilder::default();
    let name_length = identifier_length(cursor.rest(), true);
    if name_length > 0 {
        builder.set("__name__", cursor.take(name_length));
    }
    let space_at = cursor.at;
    cursor.skip_space();
    // Two braces after a bare name open a histogram, the first value.
    let histogram_follows = name_length > 0 && cursor.rest().starts_with("{{");
    if !histogram_follows && cursor.eat("{") {
        parse_braces(&mut cursor, &mut builder, name_length > 0)?;
    } else if name_length == 0 {
        return Err(cursor.error("expected a metric name or \"{\""));
    } else {
        cursor.at = space_at;
    }
    Ok((builder.finish(), cursor.at))
}

fn parse_braces(cursor: &mut Cursor<'_>, builder: &mut LabelsBuilder, mut named: bool) -> Result<(), NotationError> {
    let mut seen: Vec<String> = Vec::new();
    loop {
        cursor.skip_space();
        if cursor.eat("}") {
            return Ok(());
        }
        let name_at = cursor.at;
        let quoted = cursor.rest().starts_with(['"', '\'', '`']);
        let name = if quoted { cursor.quoted()? } else { cursor.label_name()? };
        cursor.skip_space();
        let is_metric_name = quoted && !cursor.rest().starts_with('=');
        let label = if is_metric_name { "__name__".to_owned() } else { name.clone() };
        if (label == "__name__" && named) || seen.contains(&label) {
            return Err(NotationError { offset: name_at, message: format!("label {label:?} stands twice") });
        }
        named |= label == "__name__";
        let value = if is_metric_name {
            name
        } else {
            cursor.expect("=")?;
            cursor.skip_space();
            cursor.quoted()?
        };
        builder.set(&label, &value);
        seen.push(label);
        cursor.skip_space();
        if !cursor.eat(",") {
            cursor.expect("}")?;
            return Ok(());
        }
    }
}

/// Reads values separated by white space.
pub fn parse_values(text: &str) -> Result<Vec<SequenceValue>, NotationError> {
    let mut cursor = Cursor::new(text);
    let mut values = Vec::new();
    loop {
        cursor.skip_space();
        if cursor.rest().is_empty() {
            return Ok(values);
        }
        let token_at = cursor.at;
        parse_item(&mut cursor, &mut values)?;
        if !cursor.rest().is_empty() && !cursor.rest().starts_with([' ', '\t']) {
            let token = cursor.text[token_at..].split_whitespace().next().unwrap_or("");
            return Err(NotationError { offset: token_at, message: format!("{token:?} is no value of a series") });
        }
    }
}

fn parse_item(cursor: &mut Cursor<'_>, values: &mut Vec<SequenceValue>) -> Result<(), NotationError> {
    if cursor.eat("_") {
        let count = if cursor.eat("x") { cursor.count()? } else { 1 };
        return push_many(cursor, values, &SequenceValue::Absent, count);
    }
    if cursor.rest().starts_with("{{") {
        return parse_histogram_item(cursor, values);
    }
    if cursor.eat("stale") {
        return push_many(cursor, values, &SequenceValue::Float(stale_marker()), 1);
    }
    let mut value = cursor.number()?;
    if cursor.eat("x") {
        let count = cursor.count()?;
        return push_many(cursor, values, &SequenceValue::Float(value), count.saturating_add(1));
    }
    if !cursor.rest().starts_with(['+', '-']) {
        return push_many(cursor, values, &SequenceValue::Float(value), 1);
    }
    let increment = cursor.number()?;
    cursor.expect("x")?;
    let count = cursor.count()?.saturating_add(1);
    check_room(cursor, values, count)?;
    for _ in 0..count {
        values.push(SequenceValue::Float(value));
        // Repeated addition, not `a + i × b`: the expected values of the suite are rounded this way.
        value += increment;
    }
    Ok(())
}

fn parse_histogram_item(cursor: &mut Cursor<'_>, values: &mut Vec<SequenceValue>) -> Result<(), NotationError> {
    let WrittenHistogram { histogram, hint_is_written, .. } = parse_histogram(cursor)?;
    let stepped = cursor.rest().starts_with("+{{") || cursor.rest().starts_with("-{{");
    if stepped {
        return parse_stepped_histograms(cursor, values, histogram);
    }
    let count = if cursor.eat("x") { cursor.count()?.saturating_add(1) } else { 1 };
    let value = SequenceValue::Histogram { histogram: Arc::new(histogram), hint_is_written };
    push_many(cursor, values, &value, count)
}

/// `+{{…}}xN` or `-{{…}}xN` behind a first histogram. Whether the hint counts as written is up to the second.
fn parse_stepped_histograms(
    cursor: &mut Cursor<'_>,
    values: &mut Vec<SequenceValue>,
    first: NativeHistogram,
) -> Result<(), NotationError> {
    let combine = if cursor.take(1) == "+" { add } else { subtract };
    let step_at = cursor.at;
    let WrittenHistogram { histogram: step, hint_is_written, .. } = parse_histogram(cursor)?;
    cursor.expect("x")?;
    let count = cursor.count()?.saturating_add(1);
    let bucket_count = |histogram: &NativeHistogram| histogram.positive.counts.len() + histogram.negative.counts.len();
    check_room(cursor, values, count.saturating_mul(1 + bucket_count(&first) + bucket_count(&step)))?;
    let wrong = |message: String| NotationError { offset: step_at, message };
    let mut current = first;
    for index in 0..count {
        let next = if index + 1 < count {
            if current.schema > step.schema {
                let (from, to) = (step.schema, current.schema);
                return Err(wrong(format!("error combining histograms: cannot merge from schema {from} to {to}")));
            }
            combine(&current, &step).map_err(|error: HistogramError| wrong(error.to_string()))?.histogram
        } else {
            NativeHistogram::default()
        };
        let histogram = Arc::new(std::mem::replace(&mut current, next));
        values.push(SequenceValue::Histogram { histogram, hint_is_written });
    }
    Ok(())
}

fn check_room(cursor: &Cursor<'_>, values: &[SequenceValue], count: usize) -> Result<(), NotationError> {
    if values.len().saturating_add(count) > VALUES_MAX {
        return Err(cursor.error(&format!("more than {VALUES_MAX} values in one series")));
    }
    Ok(())
}

fn push_many(
    cursor: &Cursor<'_>,
    values: &mut Vec<SequenceValue>,
    value: &SequenceValue,
    count: usize,
) -> Result<(), NotationError> {
    check_room(cursor, values, count)?;
    values.extend(std::iter::repeat_n(value, count).cloned());
    Ok(())
}

/// Reads the start timestamps of an `@st` line: for each sample its distance from the sample's own time, `None` where the
/// sample has none.
///
/// | token | offsets |
/// |---|---|
/// | `_`, `_x3` | none, three times none |
/// | `-30s`, `+1m`, `0` | that one |
/// | `-1mx2` | three times -1m |
/// | `-30s-1mx2` | -30s, -1m30s, -2m30s |
pub fn parse_start_offsets(text: &str) -> Result<Vec<Option<DurationMs>>, NotationError> {
    let mut cursor = Cursor::new(text);
    let mut offsets: Vec<Option<DurationMs>> = Vec::new();
    loop {
        cursor.skip_space();
        if cursor.rest().is_empty() {
            return Ok(offsets);
        }
        let (first, increment, count) = if cursor.eat("_") {
            (None, 0, if cursor.eat("x") { cursor.count()? } else { 1 })
        } else {
            let first = cursor.signed_duration()?;
            let stepped = cursor.rest().starts_with(['+', '-']);
            let increment = if stepped { cursor.signed_duration()? } else { 0 };
            let repeated = cursor.eat("x");
            if stepped && !repeated {
                return Err(cursor.error("expected \"x\" and a count"));
            }
            (Some(first), increment, if repeated { cursor.count()?.saturating_add(1) } else { 1 })
        };
        if offsets.len().saturating_add(count) > VALUES_MAX {
            return Err(cursor.error(&format!("more than {VALUES_MAX} start timestamps in one series")));
        }
        let at =
            |index: usize| first.map(|first| DurationMs(first.saturating_add(increment.saturating_mul(index as i64))));
        offsets.extend((0..count).map(at));
    }
}

/// Length of the metric or label name at the front of a text.
fn identifier_length(text: &str, colon_allowed: bool) -> usize {
    let fits = |at: usize, byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'_' => true,
        b'0'..=b'9' => at > 0,
        b':' => colon_allowed,
        _ => false,
    };
    text.bytes().enumerate().take_while(|(at, byte)| fits(*at, *byte)).count()
}

/// A place in a line.
struct Cursor<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Cursor<'a> {
    fn new(text: &'a str) -> Self {
        Self { text, at: 0 }
    }

    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn error(&self, message: &str) -> NotationError {
        NotationError { offset: self.at, message: message.to_owned() }
    }

    fn skip_space(&mut self) {
        let rest = self.rest();
        self.at += rest.len() - rest.trim_start_matches([' ', '\t']).len();
    }

    fn eat(&mut self, token: &str) -> bool {
        let found = self.rest().starts_with(token);
        if found {
            self.at += token.len();
        }
        found
    }

    fn expect(&mut self, token: &str) -> Result<(), NotationError> {
        if self.eat(token) { Ok(()) } else { Err(self.error(&format!("expected {token:?}"))) }
    }

    /// The next `length` bytes; must end on a character boundary.
    fn take(&mut self, length: usize) -> &'a str {
        let taken = &self.rest()[..length];
        self.at += length;
        taken
    }

    fn label_name(&mut self) -> Result<String, NotationError> {
        match identifier_length(self.rest(), false) {
            0 => Err(self.error("expected a label name")),
            length => Ok(self.take(length).to_owned()),
        }
    }

    fn quoted(&mut self) -> Result<String, NotationError> {
        let (bytes, length) = unquote(self.rest()).map_err(|message| self.error(&message))?;
        let text = String::from_utf8(bytes).map_err(|_| self.error("text is not valid UTF-8"))?;
        self.at += length;
        Ok(text)
    }

    fn digits(&self, from: usize) -> usize {
        self.rest().as_bytes()[from..].iter().take_while(|byte| byte.is_ascii_digit()).count()
    }

    fn count(&mut self) -> Result<usize, NotationError> {
        let length = self.digits(0);
        let count = self.rest()[..length].parse().map_err(|_| self.error("expected a count"))?;
        self.at += length;
        Ok(count)
    }

    /// A decimal number, `Inf` or `NaN` in any case; a sign is allowed. Never hexadecimal: `0x3` is `0` four times.
    fn number(&mut self) -> Result<f64, NotationError> {
        let bytes = self.rest().as_bytes();
        let sign = usize::from(matches!(bytes.first(), Some(b'+' | b'-')));
        let word = bytes.get(sign..sign + 3).unwrap_or_default();
        let length = if word.eq_ignore_ascii_case(b"inf") || word.eq_ignore_ascii_case(b"nan") {
            sign + 3
        } else {
            self.decimal_length(sign)
        };
        let value = match &self.rest()[..length] {
            text if text[sign..].eq_ignore_ascii_case("nan") => f64::NAN,
            text => text.parse().map_err(|_| self.error("expected a number, \"_\", \"stale\" or a histogram"))?,
        };
        self.at += length;
        Ok(value)
    }

    fn decimal_length(&self, sign: usize) -> usize {
        let bytes = self.rest().as_bytes();
        let mut length = sign + self.digits(sign);
        if bytes.get(length) == Some(&b'.') {
            length += 1 + self.digits(length + 1);
        }
        if matches!(bytes.get(length), Some(b'e' | b'E')) {
            let signed = usize::from(matches!(bytes.get(length + 1), Some(b'+' | b'-')));
            let exponent = self.digits((length + 1 + signed).min(bytes.len()));
            if exponent > 0 {
                length += 1 + signed + exponent;
            }
        }
        length
    }

    fn signed_duration(&mut self) -> Result<i64, NotationError> {
        let start = self.at;
        let negative = self.rest().starts_with('-');
        if negative || self.rest().starts_with('+') {
            self.at += 1;
        }
        // `x` is the sign of repetition; no unit has that letter.
        let length = self.rest().bytes().take_while(|byte| byte.is_ascii_alphanumeric() && *byte != b'x').count();
        let duration = DurationMs::parse(&self.rest()[..length])
            .map_err(|error| NotationError { offset: start, message: error.to_string() })?;
        self.at += length;
        Ok(if negative { -duration.0 } else { duration.0 })
    }
}

impl NotationError {
    /// The same error in a text of which the read one is the part from `by`.
    fn moved(mut self, by: usize) -> Self {
        self.offset += by;
        self
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn values_of(text: &str) -> String {
        match parse_values(text) {
            Ok(values) => values.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "),
            Err(error) => format!("error: {error}"),
        }
    }

    #[test]
    fn every_form_of_value_is_read() {
        for (text, expected) in [
            ("", ""),
            ("1 2.5 -3 +4 .5 1e3 1E-3 1e+3", "1 2.5 -3 4 0.5 1000 0.001 1000"),
            ("Inf inf -INF +Inf NaN nan", "+Inf +Inf -Inf +Inf NaN NaN"),
            ("_ _x3 1", "_ _ _ _ 1"),
            ("1 stale 2", "1 stale 2"),
            ("5x2", "5 5 5"),
            ("0x3", "0 0 0 0"),
            ("Infx1 NaNx1", "+Inf +Inf NaN NaN"),
            ("1+2x3", "1 3 5 7"),
            ("9-2.5x2", "9 6.5 4"),
            ("-1-1x2", "-1 -2 -3"),
            ("-1+0x1", "-1 -1"),
            ("1e1+1e1x2", "10 20 30"),
            ("{{}} {{sum:1 count:2}}x1", "{{}} {{count:2 sum:1}} {{count:2 sum:1}}"),
            (
                "{{count:1}}+{{count:2 buckets:[1 2]}}x2",
                "{{count:1}} {{count:3 buckets:[1 2]}} {{count:5 buckets:[2 4]}}",
            ),
            (
                "{{count:5 buckets:[3 2]}}-{{count:1 buckets:[1]}}x1",
                "{{count:5 buckets:[3 2]}} {{count:4 buckets:[2 2]}}",
            ),
            ("{{schema:1}}+{{count:1}}x0", "{{schema:1}}"),
            (
                "{{schema:1}}+{{count:1}}x1",
                "error: column 14: error combining histograms: cannot merge from schema 0 to 1",
            ),
            (
                "{{schema:-53 custom_values:[1]}}+{{count:1}}x1",
                "error: column 34: cannot apply this operation on histograms with a mix of exponential and custom bucket schemas",
            ),
            ("{{buckets:[1 2 3]}}+{{buckets:[1]}}x200000", "error: column 43: more than 1000000 values in one series"),
            ("{{}}y", "error: column 1: \"{{}}y\" is no value of a series"),
            ("1+2", "error: column 4: expected \"x\""),
            ("1x", "error: column 3: expected a count"),
            ("1x-2", "error: column 3: expected a count"),
            ("stalex3", "error: column 1: \"stalex3\" is no value of a series"),
            ("1 two 3", "error: column 3: expected a number, \"_\", \"stale\" or a histogram"),
            ("12abc", "error: column 1: \"12abc\" is no value of a series"),
            ("{{sum:1", "error: column 3: histogram has no closing \"}}\""),
            ("1x99999999", "error: column 11: more than 1000000 values in one series"),
            ("_x99999999999999999999999", "error: column 3: expected a count"),
            ("é", "error: column 1: expected a number, \"_\", \"stale\" or a histogram"),
        ] {
            assert_eq!(values_of(text), expected, "{text:?}");
        }
    }

    #[test]
    fn stepped_values_are_made_by_repeated_addition() {
        let values = parse_values("0+0.1x10").expect("valid");
        assert_eq!(values[10], SequenceValue::Float((0..10).fold(0.0, |sum, _| sum + 0.1)));
        assert_ne!(values[10], SequenceValue::Float(0.1 * 10.0));
    }

    #[test]
    fn every_form_of_label_set_is_read() {
        for (text, expected) in [
            ("up", "{__name__=\"up\"}"),
            ("up 1", "{__name__=\"up\"}"),
            ("a:b_9{x=\"1\",}", "{__name__=\"a:b_9\", x=\"1\"}"),
            ("up {x='a\"b', y=`c\\`}", "{__name__=\"up\", x=\"a\\\"b\", y=\"c\\\\\"}"),
            ("{}", "{}"),
            ("{ \"a name\" , \"a.b\" = \"\\u00e9\\n\" }", "{__name__=\"a name\", \"a.b\"=\"é\\n\"}"),
            ("expect{}", "{__name__=\"expect\"}"),
        ] {
            assert_eq!(parse_labels(text).map(|(labels, _)| labels.to_string()), Ok(expected.to_owned()), "{text}");
        }
        for (text, message) in [
            ("", "column 1: expected a metric name or \"{\""),
            ("9up", "column 1: expected a metric name or \"{\""),
            ("up{", "column 4: expected a label name"),
            ("up{a}", "column 5: expected \"=\""),
            ("up{a=}", "column 6: expected a quoted text"),
            ("up{a=\"b}", "column 6: text has no closing quote"),
            ("up{a=\"\\q\"}", "column 6: bad escape in a quoted text"),
            ("up{a=\"\\xff\"}", "column 6: text is not valid UTF-8"),
            ("up{a=\"1\", a=\"2\"}", "column 11: label \"a\" stands twice"),
            ("up{\"down\"}", "column 4: label \"__name__\" stands twice"),
            ("up{a=\"1\" b=\"2\"}", "column 10: expected \"}\""),
        ] {
            assert_eq!(parse_labels(text).map_err(|error| error.to_string()), Err(message.to_owned()), "{text}");
        }
    }

    #[test]
    fn start_offsets_are_signed_durations() {
        let read = |text: &str| {
            parse_start_offsets(text).map(|offsets| offsets.iter().map(|at| at.map(|at| at.0)).collect::<Vec<_>>())
        };
        assert_eq!(read("_ _x2 -30s"), Ok(vec![None, None, None, Some(-30_000)]));
        assert_eq!(read("-30s-1mx2"), Ok(vec![Some(-30_000), Some(-90_000), Some(-150_000)]));
        assert_eq!(
            read("1ms+1mx1 0 -0ms +1mx1"),
            Ok(vec![Some(1), Some(60_001), Some(0), Some(0), Some(60_000), Some(60_000)])
        );
        assert!(read("-30s-1m").is_err() && read("5").is_err() && read("x3").is_err());
    }

    #[test]
    fn samples_stand_at_multiples_of_the_interval() {
        let series = SeriesNotation::parse("up{a=\"b\"} 1 _ {{}} stale 5").expect("valid");
        let samples = series.samples(TimestampMs(100), DurationMs(10));
        assert_eq!(samples.iter().map(|sample| sample.time).collect::<Vec<_>>(), [100, 120, 130, 140]);
        assert_eq!(samples[1].sample, Sample::Histogram(Arc::default()));
        assert!(samples[2].sample.is_stale_marker() && samples[3].sample == Sample::Float(5.0));
    }

    #[test]
    fn start_times_count_from_their_sample() {
        let series = SeriesNotation::parse("up 1 _ 3 {{}}").expect("valid");
        let offsets = [None, Some(DurationMs(1)), Some(DurationMs(-30)), Some(DurationMs(5))];
        let samples = series.started_samples(TimestampMs(100), DurationMs(10), &offsets);
        let starts: Vec<_> = samples.iter().map(|sample| (sample.time, sample.start_time)).collect();
        assert_eq!(starts, [(100, None), (120, Some(90)), (130, Some(135))]);
    }

    #[test]
    fn an_error_counts_columns_of_the_whole_line() {
        let error = SeriesNotation::parse("up{a=\"b\"} 1 oops").expect_err("no number");
        assert_eq!(error.to_string(), "column 13: expected a number, \"_\", \"stale\" or a histogram");
    }

    fn value() -> impl Strategy<Value = SequenceValue> {
        prop_oneof![
            Just(SequenceValue::Absent),
            Just(SequenceValue::Float(stale_marker())),
            Just(SequenceValue::Float(1.0)),
            any::<f64>().prop_map(|value| SequenceValue::Float(if value.is_nan() { f64::NAN } else { value })),
            Just(SequenceValue::from(Sample::Histogram(Arc::new(NativeHistogram {
                count: 1.0,
                ..NativeHistogram::default()
            })))),
        ]
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back(
            pairs in prop::collection::vec(("[a-c_:.é\"\\\\\n]{1,3}|__name__|expect", "\\PC{1,3}|expect|[a-z:]{1,4}"), 0..4),
            values in prop::collection::vec((value(), 1usize..6), 0..6),
        ) {
            let values: Vec<_> = values.into_iter().flat_map(|(value, count)| vec![value; count]).collect();
            let series = SeriesNotation { labels: Labels::from_pairs(pairs), values };
            let text = series.to_string();
            prop_assert_eq!(SeriesNotation::parse(&text), Ok(series), "{}", text);
        }

        #[test]
        fn no_text_makes_it_panic(text in "[ _x+\\-0-9a-z{}:\\[\\]\"\\\\=,.é]{0,24}|\\PC{0,24}") {
            let _result_does_not_matter = (SeriesNotation::parse(&text), parse_start_offsets(&text), parse_values(&text));
        }
    }
}
