//! The short way through runs of samples and labels that are written the way Prometheus writes them. It stops before the
//! first item that is written differently or is not wholly there: that one goes the long way, token by token, which also
//! finds the words for what is wrong.

use super::super::series_builder::SeriesBuilder;
use super::scanner::Taken;
use super::text::plain_length;
use crate::model::EncodedLabelsBuilder;

/// Takes samples of the form `[1435781451.781,"1.5"]` off the front. Stops before the first that the builder refuses.
pub(super) fn take_plain_samples(bytes: &[u8], series: &mut SeriesBuilder) -> Taken {
    take_items(bytes, |rest| {
        let (timestamp_ms, value, behind) = plain_sample(rest)?;
        series.push(timestamp_ms, value).ok()?;
        Some(behind)
    })
}

/// Takes labels of the form `"job":"api"`, without escapes, off the front. Stops before the first that would make the label
/// set larger than allowed.
pub(super) fn take_plain_labels(bytes: &[u8], labels: &mut EncodedLabelsBuilder, bytes_max: usize) -> Taken {
    take_items(bytes, |rest| {
        let (name, behind) = plain_text(rest)?;
        let (value, behind) = plain_text(behind.strip_prefix(b":")?)?;
        if labels.byte_count() + name.len() + value.len() + 2 > bytes_max {
            return None;
        }
        labels.push(name, value);
        Some(behind)
    })
}

/// Takes items and the commas between them, as long as `take_item` takes one and gives the rest behind it.
#[inline]
fn take_items<'a>(bytes: &'a [u8], mut take_item: impl FnMut(&'a [u8]) -> Option<&'a [u8]>) -> Taken {
    let mut rest = bytes;
    while let Some(behind) = take_item(rest) {
        match behind.strip_prefix(b",") {
            Some(next) => rest = next,
            None => return Taken { length: bytes.len() - behind.len(), ends_with_comma: false },
        }
    }
    let length = bytes.len() - rest.len();
    Taken { length, ends_with_comma: length > 0 }
}

/// The text in the quotes at the front.
#[inline]
fn plain_text(bytes: &[u8]) -> Option<(&str, &[u8])> {
    let inside = bytes.strip_prefix(b"\"")?;
    let (text, end) = inside.split_at(plain_length(inside));
    Some((std::str::from_utf8(text).ok()?, end.strip_prefix(b"\"")?))
}

#[inline]
fn plain_sample(bytes: &[u8]) -> Option<(i64, f64, &[u8])> {
    let (timestamp_ms, rest) = plain_timestamp(bytes.strip_prefix(b"[")?)?;
    let (value, rest) = plain_value(rest.strip_prefix(b",\"")?)?;
    Some((timestamp_ms, value, rest.strip_prefix(b"\"]")?))
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

    use super::super::number::{parse_timestamp, parse_value};
    use super::*;
    use crate::model::TimestampMs;

    /// § stands where the taking stops.
    fn check(text: &str, take: impl FnOnce(&[u8]) -> Taken) {
        let length = text.find('§').expect("is marked");
        let ends_with_comma = text[..length].ends_with(',');
        let taken = take(text.replace('§', "").as_bytes());
        assert_eq!(taken, Taken { length, ends_with_comma }, "{text}");
    }

    #[test]
    fn only_plain_whole_samples_are_taken() {
        for text in [
            r#"[1,"2"],[3,"4"],[5,"6"]§]"#,
            r#"[1,"2"],[3,"4"],§"#,
            r#"[1.5,"-2.5e-7"],§ [2,"1"]"#,
            r#"[1,"2"]§ ,"#,
            r#"[1,"2"]§"#,
            r#"[1,"2"],§[3,"#,
            r#"§[1,"2""#,
            r#"§[1,2],"#,
            r#"§[1, "2"],"#,
            r#"§[-1,"2"],"#,
            r#"§[01,"2"],"#,
            r#"§[1.,"2"],"#,
            r#"§[1.2345,"2"],"#,
            r#"§[1e3,"2"],"#,
            r#"§[1234567890123456,"2"],"#,
            r#"§[1,"NaN"],"#,
            r#"§[1,"-Inf"],"#,
            r#"§[1,"-inf"],"#,
            r#"§[1,"1e999"],"#,
            r#"§[1,"2\u0033"],"#,
            r#"§[1,""],"#,
            r#"[2,"2"],§[1,"2"],"#,
            r#"[1,"1"],[2,"1"],[3,"1"],§[4,"1"]"#,
            "§]",
            "§",
        ] {
            check(text, |bytes| take_plain_samples(bytes, &mut SeriesBuilder::new(3)));
        }
    }

    #[test]
    fn only_plain_whole_labels_are_taken() {
        for text in [
            r#""a":"1","b":"é"§}"#,
            r#""a":"1",§"b":"2"#,
            r#""a":"1",§"b":"\n"}"#,
            r#""a":""§}"#,
            r#""a":"1",§"b": "2"}"#,
            r#"§"a":1}"#,
            r#""a":"1","b":"2","c":"3",§"d":"four"}"#,
            "§\"a\":\"\u{1}\"}",
            "§}",
        ] {
            check(text, |bytes| take_plain_labels(bytes, &mut EncodedLabelsBuilder::default(), 16));
        }
        assert_eq!(
            take_plain_labels(b"\"a\":\"\xff\",", &mut EncodedLabelsBuilder::default(), 100),
            Taken::default(),
            "not UTF-8"
        );
    }

    proptest! {
        #[test]
        fn the_short_way_reads_what_the_long_way_reads(ms in 0i64..1_000_000_000_000_000, value in any::<f64>()) {
            prop_assume!(value.is_finite());
            let seconds = TimestampMs(ms).to_string();
            let pair = format!("[{seconds},\"{value:?}\"]rest");
            let taken = plain_sample(pair.as_bytes()).map(|(time, value, rest)| (time, value.to_bits(), rest));
            prop_assert_eq!(taken, Some((ms, value.to_bits(), &b"rest"[..])));
            prop_assert_eq!(parse_timestamp(seconds.as_bytes()), Some(ms));
            prop_assert_eq!(parse_value(&format!("{value}")).map(f64::to_bits), Some(value.to_bits()));
        }
    }
}
