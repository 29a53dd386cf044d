//! Numbers as Go prints them. Clients compare these texts, so they must match to the digit.
//!
//! | form | where Prometheus uses it | 1e-7 | 1e6 | 1e21 |
//! |---|---|---|---|---|
//! | API | samples of vectors and matrices | `1e-07` | `1000000` | `1e+21` |
//! | plain | scalars, labels made by `count_values` | `0.0000001` | `1000000` | `1000000000000000000000` |
//! | exponent | values in `/rules` and `/alerts` | `1e-07` | `1e+06` | `1e+21` |
//!
//! All print the shortest digits that read back as the same float, the even ones where two are equally near (the standard
//! library would take the larger); `NaN`, `+Inf`, `-Inf` and `-0` are alike in all.

/// Whole numbers below this are exact in a float, and so are their digits as an integer.
const WHOLE_MAX: f64 = 9_007_199_254_740_992.0;
/// A float has at most 17 significant digits.
const DIGITS_MAX: usize = 17;

/// As Prometheus' API prints a sample's value: plain, but with an exponent below 1e-6 and from 1e21.
/// As Prometheus v3.14 util/jsonutil MarshalFloat.
#[inline]
pub fn write_api_float(value: f64, out: &mut Vec<u8>) {
    let magnitude = value.abs();
    if magnitude != 0.0 && !(1e-6..1e21).contains(&magnitude) {
        // NaN and the infinities come here too.
        write_exponent_float(value, out);
    } else {
        write_plain_float(value, out);
    }
}

/// As Go's `strconv.FormatFloat(value, 'f', -1, 64)`: never an exponent.
#[inline]
pub fn write_plain_float(value: f64, out: &mut Vec<u8>) {
    let magnitude = value.abs();
    if magnitude < WHOLE_MAX && value.trunc() == value {
        if value.is_sign_negative() {
            out.push(b'-');
        }
        out.extend_from_slice(itoa::Buffer::new().format(magnitude as u64).as_bytes());
        return;
    }
    if write_special(value, out) {
        return;
    }
    let mut buffer = zmij::Buffer::new();
    let text = buffer.format_finite(value).as_bytes();
    if memchr::memchr(b'e', text).is_none() {
        out.extend_from_slice(text.strip_suffix(b".0").unwrap_or(text));
    } else {
        Decimal::parse(text).write_plain(out);
    }
}

/// As Go's `strconv.FormatFloat(value, 'e', -1, 64)`: always an exponent of at least two digits.
pub fn write_exponent_float(value: f64, out: &mut Vec<u8>) {
    if !write_special(value, out) {
        Decimal::parse(zmij::Buffer::new().format_finite(value).as_bytes()).write_exponent(out);
    }
}

/// As Go's `strconv.FormatFloat(value, 'g', -1, 64)` and `%g`: an exponent below 1e-4 and from 1e6.
pub fn write_general_float(value: f64, out: &mut Vec<u8>) {
    let magnitude = value.abs();
    if magnitude != 0.0 && !(1e-4..1e6).contains(&magnitude) {
        write_exponent_float(value, out);
    } else {
        write_plain_float(value, out);
    }
}

/// A time in seconds as Prometheus' API prints it in samples: no fraction or exactly three digits of it, `1.500`.
/// As Prometheus v3.14 util/jsonutil MarshalTimestamp.
#[inline]
pub fn write_timestamp(timestamp_ms: i64, out: &mut Vec<u8>) {
    if timestamp_ms < 0 {
        out.push(b'-');
    }
    let ms = timestamp_ms.unsigned_abs();
    out.extend_from_slice(itoa::Buffer::new().format(ms / 1000).as_bytes());
    let fraction = ms % 1000;
    if fraction != 0 {
        let digit = |unit: u64| b'0' + (fraction / unit % 10) as u8;
        out.extend_from_slice(&[b'.', digit(100), digit(10), digit(1)]);
    }
}

/// A time in seconds as Prometheus' API prints it in scalars and strings: a JSON float, `1.5`.
pub fn write_float_seconds(timestamp_ms: i64, out: &mut Vec<u8>) {
    // Between 0.001 and 1e16 JSON's floats have no exponent.
    write_plain_float(timestamp_ms as f64 / 1000.0, out);
}

/// [`write_plain_float`] as text.
pub fn format_plain_float(value: f64) -> String {
    text_of(|out| write_plain_float(value, out))
}

/// [`write_exponent_float`] as text.
pub fn format_exponent_float(value: f64) -> String {
    text_of(|out| write_exponent_float(value, out))
}

/// [`write_general_float`] as text.
pub fn format_general_float(value: f64) -> String {
    text_of(|out| write_general_float(value, out))
}

fn text_of(write: impl FnOnce(&mut Vec<u8>)) -> String {
    let mut out = Vec::new();
    write(&mut out);
    String::from_utf8(out).expect("numbers are ASCII")
}

/// Writes what has no digits. Returns whether the value was that.
fn write_special(value: f64, out: &mut Vec<u8>) -> bool {
    let word: &[u8] = if value.is_nan() {
        b"NaN"
    } else if value == f64::INFINITY {
        b"+Inf"
    } else if value == f64::NEG_INFINITY {
        b"-Inf"
    } else {
        return false;
    };
    out.extend_from_slice(word);
    true
}

/// The shortest digits of a finite float and where its point is: `0.d₁d₂… × 10^point`. Zero is one digit 0.
struct Decimal {
    is_negative: bool,
    digits: [u8; DIGITS_MAX],
    digit_count: usize,
    point: i32,
}

impl Decimal {
    /// Takes the printed form of a float apart: `-12.5`, `0.00012`, `1.5e300`, `1e-7`.
    fn parse(text: &[u8]) -> Self {
        let (is_negative, text) = match text.strip_prefix(b"-") {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let (mantissa, exponent) = match memchr::memchr(b'e', text) {
            Some(at) => (&text[..at], parse_exponent(&text[at + 1..])),
            None => (text, 0),
        };
        let mut decimal = Self { is_negative, digits: [b'0'; DIGITS_MAX], digit_count: 0, point: exponent };
        let mut is_fraction = false;
        for byte in mantissa {
            match *byte {
                b'.' => is_fraction = true,
                b'0' if decimal.digit_count == 0 => decimal.point -= i32::from(is_fraction),
                digit => {
                    if let Some(slot) = decimal.digits.get_mut(decimal.digit_count) {
                        *slot = digit;
                        decimal.digit_count += 1;
                    }
                    decimal.point += i32::from(!is_fraction);
                }
            }
        }
        while decimal.digit_count > 0 && decimal.digits[decimal.digit_count - 1] == b'0' {
            decimal.digit_count -= 1;
        }
        if decimal.digit_count == 0 {
            decimal.digit_count = 1;
            decimal.point = 1;
        }
        decimal
    }

    fn digits(&self) -> &[u8] {
        &self.digits[..self.digit_count]
    }

    fn write_plain(&self, out: &mut Vec<u8>) {
        if self.is_negative {
            out.push(b'-');
        }
        let digits = self.digits();
        let zeros = |count: usize| std::iter::repeat_n(b'0', count);
        match usize::try_from(self.point) {
            Ok(whole) if whole >= digits.len() => {
                out.extend_from_slice(digits);
                out.extend(zeros(whole - digits.len()));
            }
            Ok(whole) if whole > 0 => {
                out.extend_from_slice(&digits[..whole]);
                out.push(b'.');
                out.extend_from_slice(&digits[whole..]);
            }
            _ => {
                out.extend_from_slice(b"0.");
                out.extend(zeros(self.point.unsigned_abs() as usize));
                out.extend_from_slice(digits);
            }
        }
    }

    fn write_exponent(&self, out: &mut Vec<u8>) {
        if self.is_negative {
            out.push(b'-');
        }
        let digits = self.digits();
        out.push(digits[0]);
        if digits.len() > 1 {
            out.push(b'.');
            out.extend_from_slice(&digits[1..]);
        }
        let exponent = self.point - 1;
        out.extend_from_slice(if exponent < 0 { b"e-" } else { b"e+" });
        let exponent = exponent.unsigned_abs();
        if exponent < 10 {
            out.push(b'0');
        }
        out.extend_from_slice(itoa::Buffer::new().format(exponent).as_bytes());
    }
}

/// An exponent with at most three digits and perhaps a sign.
fn parse_exponent(text: &[u8]) -> i32 {
    let unsigned = text.strip_prefix(b"-").or_else(|| text.strip_prefix(b"+")).unwrap_or(text);
    let magnitude = unsigned.iter().fold(0, |number, digit| number * 10 + i32::from(digit - b'0'));
    if text.first() == Some(&b'-') { -magnitude } else { magnitude }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn api(value: f64) -> String {
        text_of(|out| write_api_float(value, out))
    }

    /// Printed by Go 1.26: bits, API form, 'f' with -1, 'e' with -1.
    const GO: [(u64, &str, &str, &str); 34] = [
        (0x0000_0000_0000_0000, "0", "0", "0e+00"),
        (0x8000_0000_0000_0000, "-0", "-0", "-0e+00"),
        (0x3ff0_0000_0000_0000, "1", "1", "1e+00"),
        (0xbff0_0000_0000_0000, "-1", "-1", "-1e+00"),
        (0x3fb9_9999_9999_999a, "0.1", "0.1", "1e-01"),
        (0x3ff8_0000_0000_0000, "1.5", "1.5", "1.5e+00"),
        (0xc002_0000_0000_0000, "-2.25", "-2.25", "-2.25e+00"),
        (0x4059_0000_0000_0000, "100", "100", "1e+02"),
        (0x419d_6f34_5400_0000, "123456789", "123456789", "1.23456789e+08"),
        (0x41d4_2c2b_0100_0000, "1353755652", "1353755652", "1.353755652e+09"),
        (0x412e_8480_0000_0000, "1000000", "1000000", "1e+06"),
        (0x430c_6bf5_2634_0000, "1000000000000000", "1000000000000000", "1e+15"),
        (0x430c_6bf5_2633_fff8, "999999999999999", "999999999999999", "9.99999999999999e+14"),
        (0x4340_0000_0000_0000, "9007199254740992", "9007199254740992", "9.007199254740992e+15"),
        (0x4341_c379_37e0_8000, "10000000000000000", "10000000000000000", "1e+16"),
        (0x437b_69b4_ba63_0f35, "123456789012345680", "123456789012345680", "1.2345678901234568e+17"),
        (0x4415_af1d_78b5_8c40, "100000000000000000000", "100000000000000000000", "1e+20"),
        (0x444b_1ae4_d6e2_ef4f, "999999999999999900000", "999999999999999900000", "9.999999999999999e+20"),
        (0x444b_1ae4_d6e2_ef50, "1e+21", "1000000000000000000000", "1e+21"),
        (0xc44b_1ae4_d6e2_ef50, "-1e+21", "-1000000000000000000000", "-1e+21"),
        (0x4454_542b_a12a_337c, "1.5e+21", "1500000000000000000000", "1.5e+21"),
        (0x3ee4_f8b5_88e3_68f1, "0.00001", "0.00001", "1e-05"),
        (0x3eb0_c6f7_a0b5_ed8d, "0.000001", "0.000001", "1e-06"),
        (0x3eb4_b66d_a6c0_b2a4, "0.0000012345678", "0.0000012345678", "1.2345678e-06"),
        (0x3e7a_d7f2_9abc_af48, "1e-07", "0.0000001", "1e-07"),
        (0xbe7a_d7f2_9abc_af48, "-1e-07", "-0.0000001", "-1e-07"),
        (0x3fd3_3333_3333_3334, "0.30000000000000004", "0.30000000000000004", "3.0000000000000004e-01"),
        (0x4480_f0cf_064d_d592, "1e+22", "10000000000000000000000", "1e+22"),
        (0x4009_21fb_5444_2d18, "3.141592653589793", "3.141592653589793", "3.141592653589793e+00"),
        // Exactly between two shortest texts: the even one.
        (0x430c_6bf5_2634_0002, "1000000000000000.2", "1000000000000000.2", "1.0000000000000002e+15"),
        (0x430c_6bf5_2634_0006, "1000000000000000.8", "1000000000000000.8", "1.0000000000000008e+15"),
        (0x7ff0_0000_0000_0000, "+Inf", "+Inf", "+Inf"),
        (0xfff0_0000_0000_0000, "-Inf", "-Inf", "-Inf"),
        (0x7ff8_0000_0000_0001, "NaN", "NaN", "NaN"),
    ];

    #[test]
    fn the_three_forms_are_gos() {
        for (bits, api_form, plain, exponent) in GO {
            let value = f64::from_bits(bits);
            assert_eq!(
                (api(value).as_str(), format_plain_float(value).as_str(), format_exponent_float(value).as_str()),
                (api_form, plain, exponent)
            );
        }
        for (value, text) in [
            (f64::MAX, "1.7976931348623157e+308"),
            (f64::MIN_POSITIVE, "2.2250738585072014e-308"),
            (5e-324, "5e-324"),
            (1e100, "1e+100"),
            (1.2345678e-67, "1.2345678e-67"),
        ] {
            assert_eq!((api(value).as_str(), format_exponent_float(value).as_str()), (text, text));
        }
    }

    #[test]
    fn the_general_form_has_an_exponent_below_a_ten_thousandth_and_from_a_million() {
        for (value, text) in [
            (0.0, "0"),
            (-0.0, "-0"),
            (0.0001, "0.0001"),
            (0.00009999, "9.999e-05"),
            (999999.5, "999999.5"),
            (1e6, "1e+06"),
            (-123456789.0, "-1.23456789e+08"),
            (f64::NAN, "NaN"),
            (f64::INFINITY, "+Inf"),
            (f64::NEG_INFINITY, "-Inf"),
        ] {
            assert_eq!(format_general_float(value), text);
        }
    }

    #[test]
    fn times_of_samples_have_three_digits_or_none() {
        for (ms, text) in [
            (0, "0"),
            (1, "0.001"),
            (10, "0.010"),
            (100, "0.100"),
            (1_001, "1.001"),
            (1_010, "1.010"),
            (1_500, "1.500"),
            (1_000, "1"),
            (-1, "-0.001"),
            (12_345_678_123_456_555, "12345678123456.555"),
            (i64::MIN, "-9223372036854775.808"),
        ] {
            assert_eq!(text_of(|out| write_timestamp(ms, out)), text);
        }
    }

    #[test]
    fn times_of_scalars_are_floats() {
        for (ms, text) in [
            (0, "0"),
            (1, "0.001"),
            (10, "0.01"),
            (-1_500, "-1.5"),
            (1_435_781_451_781, "1435781451.781"),
            (i64::MAX, "9223372036854776"),
            (i64::MIN, "-9223372036854776"),
        ] {
            assert_eq!(text_of(|out| write_float_seconds(ms, out)), text);
        }
    }

    /// Floats of every magnitude, and those that programs make: whole, with few decimals, near powers of ten.
    fn float() -> impl Strategy<Value = f64> {
        prop_oneof![
            any::<f64>(),
            any::<i64>().prop_map(|whole| whole as f64),
            (-1_000_000_000i64..1_000_000_000).prop_map(|hundredths| hundredths as f64 / 100.0),
            (0u64..1 << 33, 1u64..8)
                .prop_map(|(whole, eighths)| (1u64 << 50) as f64 + whole as f64 + eighths as f64 / 8.0),
            (-30i32..30, -3i64..4).prop_map(|(exponent, ulps)| {
                let power: f64 = format!("1e{exponent}").parse().expect("a number");
                f64::from_bits(power.to_bits().wrapping_add_signed(ulps))
            }),
        ]
        .prop_filter("finite", |value| value.is_finite())
    }

    proptest! {
        #[test]
        fn plain_floats_are_as_the_standard_library_prints_them(value in float()) {
            let shortest = format!("{value}");
            let places = shortest.split_once('.').map_or(0, |(_, fraction)| fraction.len());
            // Of two shortest texts equally near, Go takes the even one and the standard library the larger; with the
            // number of places given it takes the even one too.
            let expected = if places > 0 { format!("{value:.places$}") } else { shortest };
            prop_assert_eq!(format_plain_float(value), expected);
        }

        #[test]
        fn exponents_are_as_the_standard_library_prints_them_but_padded(value in float()) {
            let shortest = format!("{value:e}");
            let places = shortest.find('e').and_then(|end| shortest[..end].split_once('.')).map_or(0, |(_, digits)| digits.len());
            let text = format!("{value:.places$e}");
            let (mantissa, exponent) = text.split_once('e').expect("has an exponent");
            let exponent: i32 = exponent.parse().expect("a number");
            prop_assert_eq!(format_exponent_float(value), format!("{mantissa}e{exponent:+03}"));
        }

        #[test]
        fn the_api_form_is_one_of_the_two(value in float()) {
            let has_exponent = value != 0.0 && (value.abs() < 1e-6 || value.abs() >= 1e21);
            let expected = if has_exponent { format_exponent_float(value) } else { format_plain_float(value) };
            prop_assert_eq!(api(value), expected);
        }
    }
}
