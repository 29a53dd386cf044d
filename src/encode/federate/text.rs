//! Prometheus' text format 0.0.4, and OpenMetrics. Source: prometheus/common v0.70 expfmt/text_create.go and
//! openmetrics_create.go.
//!
//! | | classic | OpenMetrics |
//! |---|---|---|
//! | a number of no known kind | `untyped` | `unknown` |
//! | values | `1` | `1.0` |
//! | times | milliseconds | seconds |
//! | a histogram of gauges | `histogram`, `_sum`, `_count` | `gaugehistogram`, `_gsum`, `_gcount` |
//! | end | none | `# EOF` |

use std::sync::Arc;

use super::NameEscaping;
use super::metric::{FamilyType, Metric, classic_buckets};
use super::name_escaping::is_of_old_alphabet;
use crate::encode::number::write_general_float;
use crate::model::{NativeHistogram, Sample};

/// The last line of OpenMetrics: without it the page was cut.
pub(super) const OPEN_METRICS_END: &[u8] = b"# EOF\n";

/// Where the two text formats differ.
pub(super) struct Syntax {
    untyped: &'static str,
    gauge_histogram: &'static str,
    /// Suffixes of sum and count of a histogram of gauges.
    gauge_suffixes: (&'static str, &'static str),
    write_float: fn(f64, &mut Vec<u8>),
    write_time: fn(i64, &mut Vec<u8>),
    /// A number of observations.
    write_count: fn(f64, &mut Vec<u8>),
}

pub(super) const CLASSIC: Syntax = Syntax {
    untyped: "untyped",
    gauge_histogram: "histogram",
    gauge_suffixes: ("_sum", "_count"),
    write_float: write_classic_float,
    write_time: |time, out| out.extend_from_slice(itoa::Buffer::new().format(time).as_bytes()),
    write_count: write_classic_float,
};

pub(super) const OPEN_METRICS: Syntax = Syntax {
    untyped: "unknown",
    gauge_histogram: "gaugehistogram",
    gauge_suffixes: ("_gsum", "_gcount"),
    write_float: write_open_metrics_float,
    write_time: |time, out| write_open_metrics_float(time as f64 / 1000.0, out),
    write_count: write_open_metrics_count,
};

/// Whole numbers up to this are written with all their digits.
const WHOLE_COUNT_MAX: f64 = 9_007_199_254_740_992.0;

fn write_classic_float(value: f64, out: &mut Vec<u8>) {
    // Zero has no sign here.
    write_general_float(if value == 0.0 { 0.0 } else { value }, out);
}

fn write_open_metrics_float(value: f64, out: &mut Vec<u8>) {
    let start = out.len();
    write_classic_float(value, out);
    if value.is_finite() && !out[start..].iter().any(|byte| matches!(byte, b'e' | b'.')) {
        out.extend_from_slice(b".0");
    }
}

/// OpenMetrics counts in whole numbers; histograms that were computed have others, too.
fn write_open_metrics_count(count: f64, out: &mut Vec<u8>) {
    if (0.0..=WHOLE_COUNT_MAX).contains(&count) && count.trunc() == count {
        out.extend_from_slice(itoa::Buffer::new().format(count as u64).as_bytes());
    } else {
        write_open_metrics_float(count, out);
    }
}

/// `# TYPE` of a family. The name is escaped already.
pub(super) fn write_family_head(name: &str, family_type: FamilyType, syntax: &Syntax, out: &mut Vec<u8>) {
    let family_type = match family_type {
        FamilyType::Untyped => syntax.untyped,
        FamilyType::Histogram => "histogram",
        FamilyType::GaugeHistogram => syntax.gauge_histogram,
    };
    out.extend_from_slice(b"# TYPE ");
    write_name(name, out);
    out.push(b' ');
    out.extend_from_slice(family_type.as_bytes());
    out.push(b'\n');
}

/// A line of a number, the lines of a histogram with custom buckets. Other native histograms have none.
pub(super) fn write_metric(metric: &Metric<'_>, escaping: NameEscaping, syntax: &Syntax, out: &mut Vec<u8>) {
    let name = escaping.escape(&metric.name);
    let line = Line { name: &name, metric, escaping, syntax };
    match &metric.sample {
        Sample::Float(value) => line.write("", None, |out| (syntax.write_float)(*value, out), out),
        Sample::Histogram(histogram) => write_histogram(&line, histogram, out),
    }
}

fn write_histogram(line: &Line<'_>, histogram: &Arc<NativeHistogram>, out: &mut Vec<u8>) {
    let Syntax { write_float, write_count, .. } = line.syntax;
    let (sum, count) = match line.metric.family_type() {
        FamilyType::GaugeHistogram => line.syntax.gauge_suffixes,
        FamilyType::Histogram | FamilyType::Untyped => ("_sum", "_count"),
    };
    for (bound, cumulative) in classic_buckets(histogram) {
        line.write("_bucket", Some(bound), |out| write_count(cumulative, out), out);
    }
    if histogram.custom_bounds.last() != Some(&f64::INFINITY) {
        line.write("_bucket", Some(f64::INFINITY), |out| write_count(histogram.count, out), out);
    }
    line.write(sum, None, |out| write_float(histogram.sum, out), out);
    line.write(count, None, |out| write_count(histogram.count, out), out);
}

/// What the lines of a metric have in common.
struct Line<'a> {
    /// Escaped.
    name: &'a str,
    metric: &'a Metric<'a>,
    escaping: NameEscaping,
    syntax: &'a Syntax,
}

impl Line<'_> {
    fn write(&self, suffix: &str, le: Option<f64>, write_value: impl Fn(&mut Vec<u8>), out: &mut Vec<u8>) {
        let is_old_name = is_of_old_alphabet(self.name);
        let mut separator = b'{';
        if is_old_name {
            out.extend_from_slice(self.name.as_bytes());
            out.extend_from_slice(suffix.as_bytes());
        } else {
            // A name that needs quotes stands among the labels.
            out.push(separator);
            separator = b',';
            write_quoted(&[self.name, suffix], out);
        }
        for (name, value) in self.metric.labels() {
            out.push(separator);
            separator = b',';
            write_name(&self.escaping.escape(&name), out);
            out.push(b'=');
            write_quoted(&[&value], out);
        }
        if let Some(bound) = le {
            out.push(separator);
            separator = b',';
            out.extend_from_slice(b"le=\"");
            (self.syntax.write_float)(bound, out);
            out.push(b'"');
        }
        if separator == b',' {
            out.push(b'}');
        }
        out.push(b' ');
        write_value(out);
        out.push(b' ');
        (self.syntax.write_time)(self.metric.timestamp_ms, out);
        out.push(b'\n');
    }
}

fn write_name(name: &str, out: &mut Vec<u8>) {
    if is_of_old_alphabet(name) { out.extend_from_slice(name.as_bytes()) } else { write_quoted(&[name], out) }
}

fn write_quoted(pieces: &[&str], out: &mut Vec<u8>) {
    out.push(b'"');
    for byte in pieces.iter().flat_map(|piece| piece.bytes()) {
        match byte {
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\\' | b'"' => out.extend_from_slice(&[b'\\', byte]),
            _ => out.push(byte),
        }
    }
    out.push(b'"');
}
