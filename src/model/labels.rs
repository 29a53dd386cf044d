//! Label sets, and the canonical bytes in which they travel.
//!
//! The encoding is the names and values in name order, each escaped and ended by a zero byte:
//!
//! | byte in the text | encoded |
//! |---|---|
//! | `00` | `01 01` |
//! | `01` | `01 02` |
//! | any other | itself |
//! | end of a name or value | `00` |
//!
//! An ended text is smaller than any longer text that begins with it, so comparing encoded sets as bytes is Prometheus'
//! `labels.Compare`: name, value, name, value …, fewer labels first. The empty set is zero bytes. Nobody outside of this
//! file knows these bytes.
//!
//! A plan with delayed name removal marks series whose metric name goes at the end. The mark travels in front of the set as
//! a label with an empty name, which no set from outside can have. It is no label: accessors, subsets and texts pass over
//! it. Only whoever copies whole bytes hands it on, and whoever compares whole bytes sees it.

use std::borrow::Cow;
use std::fmt;

use thiserror::Error;

use super::selector::write_label_pair;

/// The name of the label that holds the metric name.
pub const METRIC_NAME: &str = "__name__";

const END: u8 = 0;
const ESCAPE: u8 = 1;

/// An empty name with the value `1`.
const NAME_DROPPED: [u8; 3] = [END, b'1', END];

/// Why bytes are not a label set.
#[derive(Debug, Error, PartialEq, Eq, Clone, Copy)]
pub enum LabelsError {
    /// A name or value has no end.
    #[error("label set ends in the middle of a label")]
    Truncated,
    /// An escape byte is followed by something that cannot follow it.
    #[error("label set has a bad escape")]
    BadEscape,
    /// A name or value is not UTF-8.
    #[error("label set is not valid UTF-8")]
    NotUtf8,
    /// Names are not strictly ascending.
    #[error("label names are not in ascending order")]
    NotSorted,
    /// A name or a value is empty.
    #[error("label set has an empty name or value")]
    Empty,
}

/// A label set: pairs sorted by name, names unique, no empty value (an empty value is an absent label).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Labels(Vec<(Box<str>, Box<str>)>);

impl Labels {
    /// The pairs in any order; a later pair replaces an earlier one of the same name, an empty value removes it.
    pub fn from_pairs<N: AsRef<str>, V: AsRef<str>>(pairs: impl IntoIterator<Item = (N, V)>) -> Self {
        let mut builder = LabelsBuilder::default();
        for (name, value) in pairs {
            builder.set(name.as_ref(), value.as_ref());
        }
        builder.finish()
    }

    /// The value of a label, if it is there.
    pub fn get(&self, name: &str) -> Option<&str> {
        let at = self.0.binary_search_by(|(own, _)| (**own).cmp(name)).ok()?;
        Some(&self.0[at].1)
    }

    /// Pairs in name order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (&**name, &**value))
    }

    /// How many labels there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Is it the empty set?
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Its canonical bytes.
    pub fn encode(&self) -> EncodedLabels {
        let mut bytes = Vec::with_capacity(self.0.iter().map(|(name, value)| name.len() + value.len() + 2).sum());
        for (name, value) in &self.0 {
            encode_text(name.as_bytes(), &mut bytes);
            encode_text(value.as_bytes(), &mut bytes);
        }
        EncodedLabels(bytes)
    }
}

impl fmt::Display for Labels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("{")?;
        for (index, (name, value)) in self.iter().enumerate() {
            if index > 0 {
                f.write_str(", ")?;
            }
            write_label_pair(f, name, value)?;
        }
        f.write_str("}")
    }
}

impl serde::Serialize for Labels {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.iter())
    }
}

/// Builds a label set pair by pair.
#[derive(Clone, Default, Debug)]
pub struct LabelsBuilder(std::collections::BTreeMap<Box<str>, Box<str>>);

impl LabelsBuilder {
    /// Sets a label; an empty value removes it.
    pub fn set(&mut self, name: &str, value: &str) -> &mut Self {
        if value.is_empty() {
            self.0.remove(name);
        } else {
            self.0.insert(name.into(), value.into());
        }
        self
    }

    /// Removes a label.
    pub fn remove(&mut self, name: &str) -> &mut Self {
        self.0.remove(name);
        self
    }

    /// The finished set.
    pub fn finish(self) -> Labels {
        Labels(self.0.into_iter().collect())
    }
}

impl From<&Labels> for LabelsBuilder {
    fn from(labels: &Labels) -> Self {
        Self(labels.0.iter().cloned().collect())
    }
}

/// Owned canonical bytes of a label set.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct EncodedLabels(Vec<u8>);

impl EncodedLabels {
    /// The bytes, as they stand in a `labels` column.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// A view with accessors.
    pub fn as_ref(&self) -> LabelsRef<'_> {
        LabelsRef(&self.0)
    }

    /// Gives the buffer up.
    pub fn into_bytes(self) -> Vec<u8> {
        self.0
    }

    /// The same set with the mark that its metric name goes at the end.
    pub fn with_name_dropped(&self) -> Self {
        let mut bytes = Vec::with_capacity(NAME_DROPPED.len() + self.0.len());
        self.as_ref().write_with_name_dropped(&mut bytes);
        Self(bytes)
    }
}

/// Why pairs are not a label set.
#[derive(Debug, Error, PartialEq, Eq, Clone)]
pub enum LabelPairsError {
    /// The same name twice.
    #[error("label name {0:?} occurs twice")]
    DuplicateName(String),
    /// A name of no letters.
    #[error("empty label name")]
    EmptyName,
}

/// Writes canonical bytes of one label set after another, from pairs in any order, and keeps its buffers between them:
/// decoders go through here once a series.
#[derive(Clone, Default, Debug)]
pub struct EncodedLabelsBuilder {
    /// All pairs as they came, encoded, also those with an empty value.
    bytes: Vec<u8>,
    /// Where each pair stands in `bytes`.
    pairs: Vec<EncodedPair>,
    /// The set in name order, where `bytes` is not it already.
    sorted: Vec<u8>,
}

#[derive(Copy, Clone, Debug)]
struct EncodedPair {
    start: usize,
    value_start: usize,
    end: usize,
}

impl EncodedPair {
    fn name(self, bytes: &[u8]) -> &[u8] {
        &bytes[self.start..self.value_start]
    }
    /// Only the end mark of the value is there.
    fn is_value_empty(self) -> bool {
        self.end == self.value_start + 1
    }
}

impl EncodedLabelsBuilder {
    /// Begins a new set.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.pairs.clear();
    }

    /// Adds a pair. An empty value is an absent label, but its name still counts against duplicates.
    pub fn push(&mut self, name: &str, value: &str) {
        let start = self.bytes.len();
        encode_text(name.as_bytes(), &mut self.bytes);
        let value_start = self.bytes.len();
        encode_text(value.as_bytes(), &mut self.bytes);
        self.pairs.push(EncodedPair { start, value_start, end: self.bytes.len() });
    }

    /// How many bytes were pushed since [`EncodedLabelsBuilder::clear`]: for a caller with a bound.
    pub fn byte_count(&self) -> usize {
        self.bytes.len()
    }

    /// The canonical bytes of the set.
    pub fn finish(&mut self) -> Result<&[u8], LabelPairsError> {
        let bytes = &self.bytes;
        // Go prints label sets sorted, so this is nearly always all there is to do.
        let is_canonical = self.pairs.windows(2).all(|pair| pair[0].name(bytes) < pair[1].name(bytes))
            && self.pairs.iter().all(|pair| !pair.is_value_empty())
            && self.pairs.first().is_none_or(|first| first.name(bytes) != [END]);
        if is_canonical {
            return Ok(&self.bytes);
        }
        self.pairs.sort_unstable_by(|a, b| a.name(bytes).cmp(b.name(bytes)));
        self.sorted.clear();
        for (index, pair) in self.pairs.iter().enumerate() {
            let name = pair.name(bytes);
            if name == [END] {
                return Err(LabelPairsError::EmptyName);
            }
            if index > 0 && self.pairs[index - 1].name(bytes) == name {
                return Err(LabelPairsError::DuplicateName(decode_text(&name[..name.len() - 1]).into_owned()));
            }
            if !pair.is_value_empty() {
                self.sorted.extend_from_slice(&bytes[pair.start..pair.end]);
            }
        }
        Ok(&self.sorted)
    }
}

/// A label name, encoded once to be looked up many times.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct EncodedLabelName(Box<[u8]>);

impl EncodedLabelName {
    /// Any name.
    pub fn new(name: &str) -> Self {
        let mut bytes = Vec::with_capacity(name.len() + 1);
        encode_text(name.as_bytes(), &mut bytes);
        Self(bytes.into())
    }
}

/// A set of label names, encoded once, to keep or drop many times.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct LabelNames(Vec<Vec<u8>>);

impl LabelNames {
    /// Any order, duplicates allowed.
    pub fn new<N: AsRef<str>>(names: impl IntoIterator<Item = N>) -> Self {
        let mut encoded: Vec<Vec<u8>> = names
            .into_iter()
            .map(|name| {
                let mut bytes = Vec::with_capacity(name.as_ref().len() + 1);
                encode_text(name.as_ref().as_bytes(), &mut bytes);
                bytes
            })
            .collect();
        encoded.sort_unstable();
        encoded.dedup();
        Self(encoded)
    }

    fn contains_encoded(&self, name: &[u8]) -> bool {
        // Lists of names are short: a scan beats a search.
        self.0.iter().any(|own| own == name)
    }

    /// The names as text, in order.
    pub fn iter(&self) -> impl Iterator<Item = Cow<'_, str>> {
        self.0.iter().map(|bytes| decode_text(&bytes[..bytes.len() - 1]))
    }
}

/// A view on the canonical bytes of a label set. Bytes that came from outside pass [`LabelsRef::try_new`] first; the accessors
/// never panic on any bytes, but their answers mean something only for a checked set.
#[derive(Copy, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct LabelsRef<'a>(&'a [u8]);

impl<'a> LabelsRef<'a> {
    /// Trusts bytes that one of this file's functions wrote.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// Checks bytes that came from outside.
    pub fn try_new(bytes: &'a [u8]) -> Result<Self, LabelsError> {
        let mut rest = bytes;
        let mut previous: Option<&[u8]> = None;
        while !rest.is_empty() {
            let (name, after_name) = take_checked(rest)?;
            let (_, after_value) = take_checked(after_name)?;
            if previous.is_some_and(|previous| previous >= name) {
                return Err(LabelsError::NotSorted);
            }
            previous = Some(name);
            rest = after_value;
        }
        Ok(Self(bytes))
    }

    /// The bytes themselves.
    pub fn as_bytes(self) -> &'a [u8] {
        self.0
    }

    /// Is it marked: will the metric name go at the end?
    pub fn is_name_dropped(self) -> bool {
        self.0.starts_with(&NAME_DROPPED)
    }

    /// The same set without the mark.
    pub fn without_mark(self) -> Self {
        Self(self.0.strip_prefix(&NAME_DROPPED).unwrap_or(self.0))
    }

    /// Appends the mark if the set has it. What is appended next is the marked set.
    pub fn write_mark(self, out: &mut Vec<u8>) {
        if self.is_name_dropped() {
            out.extend_from_slice(&NAME_DROPPED);
        }
    }

    /// Appends the set with the mark.
    pub fn write_with_name_dropped(self, out: &mut Vec<u8>) {
        out.extend_from_slice(&NAME_DROPPED);
        out.extend_from_slice(self.without_mark().0);
    }

    /// Pairs in name order, unescaped.
    pub fn iter(self) -> impl Iterator<Item = (Cow<'a, str>, Cow<'a, str>)> {
        self.raw_pairs().map(|pair| (decode_text(pair.name()), decode_text(pair.value())))
    }

    /// The value of a label.
    pub fn get(self, name: &str) -> Option<Cow<'a, str>> {
        self.get_encoded(&EncodedLabelName::new(name))
    }

    /// The value of a label whose name was encoded before; allocates only for a value with a zero or a one byte.
    pub fn get_encoded(self, name: &EncodedLabelName) -> Option<Cow<'a, str>> {
        self.raw_pairs().find(|pair| *pair.encoded_name() == *name.0).map(|pair| decode_text(pair.value()))
    }

    /// Is it the empty set?
    pub fn is_empty(self) -> bool {
        self.without_mark().0.is_empty()
    }

    /// An owned, decoded set.
    pub fn to_labels(self) -> Labels {
        Labels(self.iter().map(|(name, value)| (name.into(), value.into())).collect())
    }

    /// Appends the subset of labels that are named in `names` (`by`, `on`).
    pub fn write_keeping(self, names: &LabelNames, out: &mut Vec<u8>) {
        for pair in self.raw_pairs() {
            if names.contains_encoded(pair.encoded_name()) {
                out.extend_from_slice(pair.bytes);
            }
        }
    }

    /// Appends the subset of labels that are not named in `names` (`without`, `ignoring`, name dropping).
    pub fn write_dropping(self, names: &LabelNames, out: &mut Vec<u8>) {
        for pair in self.raw_pairs() {
            if !names.contains_encoded(pair.encoded_name()) {
                out.extend_from_slice(pair.bytes);
            }
        }
    }

    fn raw_pairs(self) -> RawPairs<'a> {
        RawPairs(self.without_mark().0)
    }
}

impl fmt::Display for LabelsRef<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.to_labels().fmt(f)
    }
}

/// One label as it stands in the bytes: name, end, value, end.
struct RawPair<'a> {
    bytes: &'a [u8],
    name_length: usize,
}

impl<'a> RawPair<'a> {
    fn encoded_name(&self) -> &'a [u8] {
        &self.bytes[..=self.name_length]
    }
    fn name(&self) -> &'a [u8] {
        &self.bytes[..self.name_length]
    }
    fn value(&self) -> &'a [u8] {
        &self.bytes[self.name_length + 1..self.bytes.len() - 1]
    }
}

struct RawPairs<'a>(&'a [u8]);

impl<'a> Iterator for RawPairs<'a> {
    type Item = RawPair<'a>;

    fn next(&mut self) -> Option<RawPair<'a>> {
        let name_length = memchr::memchr(END, self.0)?;
        let value_length = memchr::memchr(END, &self.0[name_length + 1..])?;
        let (bytes, rest) = self.0.split_at(name_length + 1 + value_length + 1);
        self.0 = rest;
        Some(RawPair { bytes, name_length })
    }
}

fn encode_text(text: &[u8], out: &mut Vec<u8>) {
    if memchr::memchr2(END, ESCAPE, text).is_none() {
        out.extend_from_slice(text);
    } else {
        for byte in text {
            match *byte {
                byte @ (END | ESCAPE) => out.extend_from_slice(&[ESCAPE, byte + 1]),
                byte => out.push(byte),
            }
        }
    }
    out.push(END);
}

fn decode_text(encoded: &[u8]) -> Cow<'_, str> {
    if memchr::memchr(ESCAPE, encoded).is_none() {
        return String::from_utf8_lossy(encoded);
    }
    let mut text = Vec::with_capacity(encoded.len());
    let mut bytes = encoded.iter();
    while let Some(byte) = bytes.next() {
        match *byte {
            ESCAPE => text.push(bytes.next().map_or(ESCAPE, |code| code.wrapping_sub(1))),
            byte => text.push(byte),
        }
    }
    Cow::Owned(String::from_utf8_lossy(&text).into_owned())
}

/// Splits a checked text (with its end) off the front.
fn take_checked(bytes: &[u8]) -> Result<(&[u8], &[u8]), LabelsError> {
    let length = memchr::memchr(END, bytes).ok_or(LabelsError::Truncated)?;
    let text = &bytes[..length];
    if text.is_empty() {
        return Err(LabelsError::Empty);
    }
    let mut at = 0;
    while let Some(found) = memchr::memchr(ESCAPE, &text[at..]) {
        match text.get(at + found + 1) {
            Some(1 | 2) => at += found + 2,
            _ => return Err(LabelsError::BadEscape),
        }
    }
    // Escapes are ASCII on both sides, so the encoded text is UTF-8 exactly when the text is.
    std::str::from_utf8(text).map_err(|_| LabelsError::NotUtf8)?;
    Ok((&bytes[..=length], &bytes[length + 1..]))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn label_text() -> impl Strategy<Value = String> {
        prop_oneof![
            "[a-c\u{0}\u{1}\u{2}]{1,4}",
            any::<String>().prop_filter("labels are not empty", |text| !text.is_empty()),
        ]
    }

    fn label_set() -> impl Strategy<Value = Labels> {
        prop::collection::vec((label_text(), label_text()), 0..5).prop_map(Labels::from_pairs)
    }

    proptest! {
        #[test]
        fn byte_order_is_label_order(a in label_set(), b in label_set()) {
            prop_assert_eq!(a.encode().cmp(&b.encode()), a.cmp(&b));
        }

        #[test]
        fn encoding_round_trips(labels in label_set()) {
            let encoded = labels.encode();
            prop_assert_eq!(LabelsRef::try_new(encoded.as_bytes()).map(LabelsRef::to_labels), Ok(labels));
        }

        #[test]
        fn pairs_in_any_order_are_encoded_as_the_set_is(labels in label_set(), rotation in 0usize..5, dropped in label_text()) {
            let mut pairs: Vec<(&str, &str)> = labels.iter().collect();
            let rotation = rotation % pairs.len().max(1);
            pairs.rotate_left(rotation);
            let mut builder = EncodedLabelsBuilder::default();
            builder.push("left over", "from the set before");
            builder.clear();
            if labels.get(&dropped).is_none() {
                builder.push(&dropped, "");
            }
            for (name, value) in &pairs {
                builder.push(name, value);
            }
            let expected = labels.encode();
            prop_assert_eq!(builder.finish(), Ok(expected.as_bytes()));
            if let Some((name, _)) = pairs.first() {
                builder.push(name, "again");
                prop_assert_eq!(builder.finish(), Err(LabelPairsError::DuplicateName((*name).to_owned())));
            }
        }

        #[test]
        fn hostile_bytes_are_refused_or_canonical(bytes in prop::collection::vec(prop_oneof![0u8..4, any::<u8>()], 0..40)) {
            let view = LabelsRef::new(&bytes);
            for (name, _) in view.iter() {
                view.get(&name);
            }
            view.write_dropping(&LabelNames::new(["a"]), &mut Vec::new());
            if let Ok(checked) = LabelsRef::try_new(&bytes) {
                let labels = checked.to_labels().encode();
                prop_assert_eq!(labels.as_bytes(), &bytes[..]);
            }
        }

        #[test]
        fn keeping_and_dropping_are_complements(labels in label_set(), name in label_text()) {
            let encoded = labels.encode();
            let names = LabelNames::new([&name]);
            let (mut kept, mut dropped) = (Vec::new(), Vec::new());
            encoded.as_ref().write_keeping(&names, &mut kept);
            encoded.as_ref().write_dropping(&names, &mut dropped);
            let kept = LabelsRef::new(&kept).to_labels();
            prop_assert_eq!(kept.get(&name), labels.get(&name));
            prop_assert_eq!(kept.len() + LabelsRef::new(&dropped).to_labels().len(), labels.len());
        }
    }

    #[test]
    fn the_mark_of_a_dropped_name_is_no_label() {
        let plain = Labels::from_pairs([("__name__", "up"), ("job", "a")]).encode();
        let marked = plain.with_name_dropped();
        let (plain, marked) = (plain.as_ref(), marked.as_ref());
        assert!(marked.is_name_dropped() && !plain.is_name_dropped());
        assert_eq!((marked.without_mark(), plain.without_mark()), (plain, plain));
        assert_eq!(marked.to_labels(), plain.to_labels());
        assert_eq!((marked.to_string(), marked.get("")), (plain.to_string(), None));
        assert!(LabelsRef::new(&NAME_DROPPED).is_empty());
        let names = LabelNames::new(["job", ""]);
        for write in [LabelsRef::write_keeping, LabelsRef::write_dropping] {
            let (mut of_marked, mut of_plain) = (Vec::new(), Vec::new());
            write(marked, &names, &mut of_marked);
            write(plain, &names, &mut of_plain);
            assert_eq!(of_marked, of_plain);
        }
        for labels in [marked, plain] {
            let mut copy = Vec::new();
            labels.write_mark(&mut copy);
            labels.write_dropping(&LabelNames::default(), &mut copy);
            assert_eq!(copy, labels.as_bytes());
        }
    }

    #[test]
    fn the_mark_of_a_dropped_name_cannot_come_from_outside() {
        let marked = Labels::from_pairs([("a", "b")]).encode().with_name_dropped();
        assert_eq!(LabelsRef::try_new(marked.as_bytes()), Err(LabelsError::Empty));
        assert_eq!(LabelsRef::try_new(&NAME_DROPPED), Err(LabelsError::Empty));
    }

    #[test]
    fn fewer_labels_sort_first_and_capitals_before_the_name() {
        let sorted = [
            Labels::default(),
            Labels::from_pairs([("Foo", "z")]),
            Labels::from_pairs([("__name__", "a")]),
            Labels::from_pairs([("__name__", "a"), ("b", "1")]),
            Labels::from_pairs([("__name__", "ab")]),
        ];
        assert!(sorted.windows(2).all(|pair| pair[0].encode() < pair[1].encode()));
    }

    #[test]
    fn pairs_without_a_name_are_refused() {
        for value in ["", "x"] {
            let mut builder = EncodedLabelsBuilder::default();
            builder.push("", value);
            assert_eq!(builder.finish(), Err(LabelPairsError::EmptyName));
        }
    }

    #[test]
    fn bad_bytes_say_what_is_wrong() {
        for (bytes, error) in [
            (&b"a\0b"[..], LabelsError::Truncated),
            (b"a\0", LabelsError::Truncated),
            (b"a\0\0", LabelsError::Empty),
            (b"b\0x\0a\0y\0", LabelsError::NotSorted),
            (b"a\0x\0a\0y\0", LabelsError::NotSorted),
            (b"a\x01\x03\0x\0", LabelsError::BadEscape),
            (b"a\0\xff\0", LabelsError::NotUtf8),
        ] {
            assert_eq!(LabelsRef::try_new(bytes), Err(error), "{bytes:?}");
        }
    }
}
