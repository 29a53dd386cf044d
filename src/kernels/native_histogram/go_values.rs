//! What Prometheus computed: `go_values.txt` was printed by a program around v3.14's own `FloatHistogram`, fed with random
//! histograms: of all schemas, zero buckets and custom bounds, with gaps, empty buckets, infinities and NaN.
//!
//! A histogram is `hint|schema|zero threshold|zero count|count|sum|positive spans|counts|negative spans|counts|bounds`.

use super::*;
use crate::model::{BucketSpan, Buckets, CounterResetHint, NativeHistogram};

fn list<T>(text: &str, parse: impl Fn(&str) -> T) -> Vec<T> {
    if text == "-" { Vec::new() } else { text.split(',').map(parse).collect() }
}

fn number(text: &str) -> f64 {
    text.parse().expect("a number")
}

fn side(spans: &str, counts: &str) -> Buckets {
    let span = |text: &str| {
        let (offset, length) = text.split_once(':').expect("offset:length");
        BucketSpan { offset: offset.parse().expect("an offset"), length: length.parse().expect("a length") }
    };
    Buckets { spans: list(spans, span), counts: list(counts, number) }
}

fn histogram(text: &str) -> NativeHistogram {
    let fields: Vec<&str> = text.split('|').collect();
    NativeHistogram {
        counter_reset_hint: CounterResetHint::from_code(fields[0].parse().expect("a hint")).expect("a hint"),
        schema: fields[1].parse().expect("a schema"),
        zero_threshold: number(fields[2]),
        zero_count: number(fields[3]),
        count: number(fields[4]),
        sum: number(fields[5]),
        positive: side(fields[6], fields[7]),
        negative: side(fields[8], fields[9]),
        custom_bounds: list(fields[10], number).into(),
    }
}

/// Everything to the digit, NaN alike, spans without those that cover nothing.
fn shown(histogram: &NativeHistogram) -> String {
    let mut shown = histogram.clone();
    for buckets in [&mut shown.positive, &mut shown.negative] {
        let mut carried = 0;
        buckets.spans.retain_mut(|span| {
            span.offset += carried;
            carried = if span.length == 0 { span.offset } else { 0 };
            span.length > 0
        });
    }
    format!("{shown:?}")
}

fn combined(result: Result<Combined, HistogramError>) -> (String, String) {
    let combined = result.expect("alike");
    let flags = [combined.counter_reset_collision, combined.bounds_reconciled].map(|flag| if flag { '1' } else { '0' });
    (shown(&combined.histogram), flags.iter().collect())
}

fn with_note((value, note): (f64, Option<NanObservations>)) -> String {
    let note = match note {
        None => "-",
        Some(NanObservations::QuantileIsNan) => "nan",
        Some(NanObservations::QuantileIsSkewed) => "skew",
        Some(NanObservations::FractionLeavesOut) => "left",
    };
    format!("{value:?} {note}")
}

fn check(line: &str) {
    let fields: Vec<&str> = line.split(' ').collect();
    let first = || histogram(fields[1]);
    let last = || histogram(fields[fields.len() - 1]);
    let is_true = fields[fields.len() - 1] == "1";
    match fields[0] {
        "add" => assert_eq!(
            combined(add(&first(), &histogram(fields[2]))),
            (shown(&histogram(fields[3])), fields[4].to_owned()),
            "{line}"
        ),
        "sub" => assert_eq!(
            combined(subtract(&first(), &histogram(fields[2]))),
            (shown(&histogram(fields[3])), fields[4].to_owned()),
            "{line}"
        ),
        "reset" => assert_eq!(detect_reset(&first(), &histogram(fields[2])), is_true, "{line}"),
        "equal" => assert_eq!(histograms_equal(&first(), &histogram(fields[2])), is_true, "{line}"),
        "schema" => {
            assert_eq!(shown(&to_schema(&first(), fields[2].parse().expect("a schema"))), shown(&last()), "{line}")
        }
        "compact" | "scale" | "divide" | "trim_upper" | "trim_lower" => {
            let mut changed = first();
            match fields[0] {
                "compact" => compact(&mut changed),
                "scale" => scale(&mut changed, number(fields[2])),
                "trim_upper" => trim_upper(&mut changed, number(fields[2])),
                "trim_lower" => trim_lower(&mut changed, number(fields[2])),
                _ => divide(&mut changed, number(fields[2])),
            }
            assert_eq!(shown(&changed), shown(&last()), "{line}");
        }
        "sum" | "mean" => {
            let histograms: Vec<NativeHistogram> = fields[1].split(';').map(histogram).collect();
            let mut sum = HistogramSum::new(&histograms[0]);
            let mut mean = HistogramMean::new(&histograms[0]);
            for histogram in &histograms[1..] {
                sum.add(histogram).expect("alike");
                mean.add(histogram).expect("alike");
            }
            let result = if fields[0] == "sum" { sum.finish() } else { mean.finish() };
            assert_eq!(shown(&result), shown(&last()), "{line}");
        }
        "quantile" => {
            let got = histogram_quantile(number(fields[2]), &first());
            assert_eq!(with_note(got), format!("{:?} {}", number(fields[3]), fields[4]), "{line}");
        }
        "fraction" => {
            let (lower, upper) = fields[2].split_once(',').expect("two bounds");
            let got = histogram_fraction(number(lower), number(upper), &first());
            assert_eq!(with_note(got), format!("{:?} {}", number(fields[3]), fields[4]), "{line}");
        }
        "stdvar" => {
            let variance = number(fields[2]);
            assert_eq!(format!("{:?}", histogram_stdvar(&first())), format!("{variance:?}"), "{line}");
            assert_eq!(format!("{:?}", histogram_stddev(&first())), format!("{:?}", variance.sqrt()), "{line}");
        }
        "text" => assert_eq!(crate::encode::format_histogram(&first()).replace(' ', "_"), fields[2], "{line}"),
        "buckets" => {
            let digit = |flag| if flag { '1' } else { '0' };
            let mut ours: Vec<String> = Vec::new();
            for bucket in first().buckets() {
                let flags = [digit(bucket.lower_inclusive), digit(bucket.upper_inclusive)];
                ours.push(format!("{:?},{:?},{}{},{:?}", bucket.lower, bucket.upper, flags[0], flags[1], bucket.count));
            }
            let theirs = |bucket: &str| {
                let parts: Vec<&str> = bucket.split(',').collect();
                format!("{:?},{:?},{},{:?}", number(parts[0]), number(parts[1]), parts[2], number(parts[3]))
            };
            let expected: Vec<String> =
                if fields[2] == "-" { Vec::new() } else { fields[2].split(';').map(theirs).collect() };
            assert_eq!(ours, expected, "{line}");
            let mut reversed: Vec<_> = first().buckets_rev().collect();
            reversed.reverse();
            assert_eq!(format!("{reversed:?}"), format!("{:?}", first().buckets().collect::<Vec<_>>()), "{line}");
        }
        other => panic!("unknown case {other}"),
    }
}

#[test]
fn arithmetic_gives_the_digits_of_prometheus() {
    include_str!("go_values.txt").lines().for_each(check);
}
