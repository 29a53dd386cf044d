//! The hash by which Prometheus picks series for `limit_ratio`.

use xxhash_rust::xxh64::xxh64;

use super::LabelsRef;

/// Prometheus' own hash of a label set: the same series is picked here and there. Names and values in name order, each behind
/// its length, hashed by xxHash64 with seed 0. Source: Prometheus v3.14 model/labels/labels_stringlabels.go `Labels.Hash`.
pub fn labels_hash(labels: LabelsRef<'_>) -> u64 {
    let mut bytes = Vec::with_capacity(labels.as_bytes().len());
    for (name, value) in labels.iter() {
        write_text(&name, &mut bytes);
        write_text(&value, &mut bytes);
    }
    xxh64(&bytes, 0)
}

/// The length in one byte, or as 255 and three bytes with the lowest first; then the text. Prometheus refuses longer texts.
fn write_text(text: &str, out: &mut Vec<u8>) {
    match u8::try_from(text.len()) {
        Ok(length) if length < u8::MAX => out.push(length),
        _ => {
            out.push(u8::MAX);
            out.extend_from_slice(&text.len().to_le_bytes()[..3]);
        }
    }
    out.extend_from_slice(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Labels;

    /// Printed by a program over Prometheus v3.14's own `labels` package.
    #[test]
    fn the_hashes_are_those_of_prometheus() {
        let hash = |pairs: &[(&str, &str)]| labels_hash(Labels::from_pairs(pairs.iter().copied()).encode().as_ref());
        assert_eq!(hash(&[]), 17_241_709_254_077_376_921);
        assert_eq!(hash(&[("__name__", "up")]), 17_066_213_849_227_247_093);
        let requests = [("__name__", "http_requests"), ("group", "canary"), ("instance", "0"), ("job", "api-server")];
        assert_eq!(hash(&requests), 18_045_460_440_772_787_801);
        for (length, expected) in
            [(254, 15_390_423_940_348_798_586), (255, 7_843_869_350_762_009_678), (70_000, 15_393_689_491_150_625_258)]
        {
            assert_eq!(hash(&[("a", &"x".repeat(length))]), expected, "{length}");
        }
        assert_eq!(hash(&[("ü", "\0\u{1}")]), 9_864_711_359_844_867_184);
    }
}
