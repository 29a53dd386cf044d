//! Timestamps and sample values of a query response.

use crate::model::TimestampMs;

/// Go's `math.NaN()`: what Prometheus has in memory when its JSON says `NaN`.
const GO_NAN: f64 = f64::from_bits(0x7ff8_0000_0000_0001);

/// Milliseconds of a JSON number of seconds; `None` where they do not fit.
///
/// Up to three fraction digits, all that Prometheus prints, are read as integers and so exactly. More digits or an
/// exponent, as VictoriaMetrics may send, go through `f64` and are rounded.
pub(in crate::decode) fn parse_timestamp(number: &[u8]) -> Option<i64> {
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
pub(in crate::decode) fn parse_value(text: &str) -> Option<f64> {
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

#[cfg(test)]
mod tests {
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
}
