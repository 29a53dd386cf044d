//! Timestamps and sample values of a query response, and the fast way through a run of plain samples.

use super::super::series_builder::SeriesBuilder;
use crate::model::TimestampMs;

/// Go's `math.NaN()`: what Prometheus has in memory when its JSON says `NaN`.
const GO_NAN: f64 = f64::from_bits(0x7ff8_0000_0000_0001);

/// Milliseconds of a JSON number of seconds; `None` where they do not fit.
///
/// Up to three fraction digits, all that Prometheus prints, are read as integers and so exactly. More digits or an
/// exponent, as VictoriaMetrics may send, go through `f64` and are rounded.
pub(super) fn parse_timestamp(number: &[u8]) -> Option<i64> {
    plain_milliseconds(number).or_else(|| {
        let seconds: f64 = fast_float2::parse(number).ok()?;
        TimestampMs::from_float_seconds(seconds).map(|time| time.0)
    })
}

fn plain_milliseconds(number: &[u8]) -> Option<i64> {
    let unsigned = number.strip_prefix(b"-").unwrap_or(number);
    let whole = unsigned.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let fraction = match unsigned[whole..].split_first() {
        None => &[][..],
        Some((b'.', fraction)) if fraction.len() <= 3 => fraction,
        Some(_) => return None,
    };
    let padding = &b"000"[fraction.len()..];
    let mut ms: i64 = 0;
    for byte in unsigned[..whole].iter().chain(fraction).chain(padding) {
        if !byte.is_ascii_digit() {
            return None;
        }
        ms = ms.checked_mul(10)?.checked_add(i64::from(byte - b'0'))?;
    }
    Some(if unsigned.len() < number.len() { -ms } else { ms })
}

/// The value of a sample; `None` where the text is no number or too large for one.
pub(super) fn parse_value(text: &str) -> Option<f64> {
    match text {
        "NaN" => Some(GO_NAN),
        "+Inf" | "Inf" => Some(f64::INFINITY),
        "-Inf" => Some(f64::NEG_INFINITY),
        // Only digits and what belongs between them: the parser below knows words such as "infinity" too.
        number
            if number.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b'+' | b'-' | b'.' | b'e' | b'E')) =>
        {
            fast_float2::parse(number).ok().filter(|value: &f64| value.is_finite())
        }
        _ => None,
    }
}

/// Takes samples of the plain form `[1435781451.781,"1.5"],` off the front, as long as they come so. Stops before the first
/// that is written differently, is the last of its array, is not wholly there, or that the builder refuses: those go
/// the long way, which also finds the words for what is wrong. Returns how many bytes were taken.
pub(super) fn take_plain_samples(bytes: &[u8], series: &mut SeriesBuilder) -> usize {
    let mut rest = bytes;
    while let Some((timestamp_ms, value, behind)) = plain_sample(rest) {
        if series.push(timestamp_ms, value).is_err() {
            break;
        }
        rest = behind;
    }
    bytes.len() - rest.len()
}

#[inline]
fn plain_sample(bytes: &[u8]) -> Option<(i64, f64, &[u8])> {
    let (timestamp_ms, rest) = plain_timestamp(bytes.strip_prefix(b"[")?)?;
    let (value, rest) = plain_value(rest.strip_prefix(b",\"")?)?;
    Some((timestamp_ms, value, rest.strip_prefix(b"\"],")?))
}

/// Digits, then nothing or a point and up to three more.
#[inline]
fn plain_timestamp(bytes: &[u8]) -> Option<(i64, &[u8])> {
    let (seconds, digits) = leading_digits(bytes);
    // Fifteen digits times 1000 fit into 63 bits.
    if digits == 0 || digits > 15 || (bytes[0] == b'0' && digits > 1) {
        return None;
    }
    let rest = &bytes[digits..];
    let Some(fraction) = rest.strip_prefix(b".") else { return Some((seconds as i64 * 1000, rest)) };
    let (mut fraction_ms, digits) = leading_digits(&fraction[..fraction.len().min(4)]);
    match digits {
        1 => fraction_ms *= 100,
        2 => fraction_ms *= 10,
        3 => {}
        _ => return None,
    }
    Some((seconds as i64 * 1000 + fraction_ms as i64, &fraction[digits..]))
}

/// A finite decimal number.
#[inline]
fn plain_value(bytes: &[u8]) -> Option<(f64, &[u8])> {
    let (whole, digits) = leading_digits(bytes);
    // Counters are mostly whole numbers; fifteen digits are exact in a float.
    if (1..=15).contains(&digits) && bytes.get(digits) == Some(&b'"') {
        return Some((whole as f64, &bytes[digits..]));
    }
    let starts_plainly = digits > 0 || matches!(bytes, [b'-', b'0'..=b'9', ..]);
    if !starts_plainly {
        return None;
    }
    let (value, length): (f64, usize) = fast_float2::parse_partial(bytes).ok()?;
    value.is_finite().then(|| (value, &bytes[length..]))
}

/// The number at the front and how many digits it has; wraps around where it is far too long.
#[inline]
fn leading_digits(bytes: &[u8]) -> (u64, usize) {
    let mut number: u64 = 0;
    let mut digits = 0;
    while let Some(digit) = bytes.get(digits).map(|byte| byte.wrapping_sub(b'0')).filter(|digit| *digit < 10) {
        number = number.wrapping_mul(10).wrapping_add(u64::from(digit));
        digits += 1;
    }
    (number, digits)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn timestamps_are_exact_up_to_milliseconds_and_rounded_beyond() {
        for (number, ms) in [
            ("0", Some(0)),
            ("-0", Some(0)),
            ("1435781451", Some(1_435_781_451_000)),
            ("1435781451.781", Some(1_435_781_451_781)),
            ("1435781451.78", Some(1_435_781_451_780)),
            ("1.5", Some(1_500)),
            ("-1.001", Some(-1_001)),
            ("9223372036854775.807", Some(i64::MAX)),
            ("1.0004", Some(1_000)),
            ("1.0005", Some(1_001)),
            ("1.43578145178e9", Some(1_435_781_451_780)),
            ("1e3", Some(1_000_000)),
            ("92233720368547758.08", None),
            ("1e300", None),
            ("-1e300", None),
        ] {
            assert_eq!(parse_timestamp(number.as_bytes()), ms, "{number}");
        }
    }

    #[test]
    fn values_are_decimal_numbers_or_gos_words() {
        for (text, value) in [
            ("0", 0.0),
            ("-0", -0.0),
            ("1.5", 1.5),
            ("+1.5", 1.5),
            (".5", 0.5),
            ("5.", 5.0),
            ("1e-07", 1e-7),
            ("1.7976931348623157e+308", f64::MAX),
            ("4.9406564584124654e-324", 5e-324),
            ("1e-400", 0.0),
            ("+Inf", f64::INFINITY),
            ("Inf", f64::INFINITY),
            ("-Inf", f64::NEG_INFINITY),
        ] {
            assert_eq!(parse_value(text).map(f64::to_bits), Some(value.to_bits()), "{text}");
        }
        assert_eq!(parse_value("NaN").map(f64::to_bits), Some(0x7ff8_0000_0000_0001));
        for text in
            ["", " 1", "1 ", "nan", "inf", "infinity", "1e999", "-1e999", "0x10", "1_0", "1e", "e1", "--1", "1.2.3"]
        {
            assert_eq!(parse_value(text), None, "{text:?}");
        }
    }

    #[test]
    fn only_plain_whole_samples_are_taken_the_short_way() {
        for (bytes, taken) in [
            (r#"[1,"2"],[3,"4"],[5,"6"]]"#, 16),
            (r#"[1.5,"-2.5e-7"],"#, 16),
            (r#"[1,"2"]"#, 0),
            (r#"[1,"2"] ,"#, 0),
            (r#"[1,2],"#, 0),
            (r#"[1, "2"],"#, 0),
            (r#"[-1,"2"],"#, 0),
            (r#"[01,"2"],"#, 0),
            (r#"[1.,"2"],"#, 0),
            (r#"[1.2345,"2"],"#, 0),
            (r#"[1e3,"2"],"#, 0),
            (r#"[1234567890123456,"2"],"#, 0),
            (r#"[1,"NaN"],"#, 0),
            (r#"[1,"-Inf"],"#, 0),
            (r#"[1,"-inf"],"#, 0),
            (r#"[1,"1e999"],"#, 0),
            (r#"[1,"2\u0033"],"#, 0),
            (r#"[1,""],"#, 0),
            (r#"[2,"2"],[1,"2"],"#, 8),
            ("", 0),
        ] {
            assert_eq!(take_plain_samples(bytes.as_bytes(), &mut SeriesBuilder::new(100)), taken, "{bytes}");
        }
    }

    proptest! {
        #[test]
        fn the_short_way_reads_what_the_long_way_reads(ms in 0i64..1_000_000_000_000_000, value in any::<f64>()) {
            prop_assume!(value.is_finite());
            let seconds = TimestampMs(ms).to_string();
            let pair = format!("[{seconds},\"{value:?}\"],rest");
            let taken = plain_sample(pair.as_bytes()).map(|(time, value, rest)| (time, value.to_bits(), rest));
            prop_assert_eq!(taken, Some((ms, value.to_bits(), &b"rest"[..])));
            prop_assert_eq!(parse_timestamp(seconds.as_bytes()), Some(ms));
            prop_assert_eq!(parse_value(&format!("{value}")).map(f64::to_bits), Some(value.to_bits()));
        }
    }
}
