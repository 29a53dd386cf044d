//! What the tokens of a query response mean: the envelope, and the series in it.

use super::super::series_builder::{PushError, SeriesBuilder};
use super::DecodeLimits;
use super::number::{parse_timestamp, parse_value};
use super::plain_items::{take_plain_labels, take_plain_samples};
use super::scanner::{Container, JsonEvents, Literal, Problem, Taken};
use super::text::RawText;
use crate::model::EncodedLabelsBuilder;

/// The longest known key is much shorter; a key that is cut is unknown.
const KEY_BYTES_MAX: usize = 64;
/// The longest text of a number that Go prints has about 330 digits.
const VALUE_BYTES_MAX: usize = 1024;

/// The keys that mean something, of all objects together.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
enum Key {
    Status,
    Data,
    ErrorType,
    Error,
    Warnings,
    Infos,
    ResultType,
    Result,
    Metric,
    Value,
    Values,
    Histogram,
    Histograms,
    Unknown,
}

/// The containers that the scan is in, outermost first.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
enum Frame {
    Top,
    Data,
    Annotations,
    Result,
    Series,
    Metric,
    Values,
    Sample,
    Histograms,
    Skipped,
}

#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(super) enum ResultType {
    Scalar,
    String,
    Vector,
    Matrix,
}

/// What `result` turned out to be. `resultType` may come later.
#[derive(Clone, PartialEq, Debug)]
pub(super) enum Shape {
    /// No `result` yet.
    Absent,
    /// An empty array, or null.
    Empty,
    /// An array that began with a number.
    Pair { timestamp_ms: i64, text: Option<String> },
    /// Series; all alike once the first of them had samples.
    Series(Option<SamplesKey>),
}

/// The key under which a series has its samples.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(super) enum SamplesKey {
    Value,
    Values,
}

/// What one series has shown of itself.
#[derive(Default, Debug)]
struct SeriesState {
    seen: u16,
    has_histograms: bool,
    samples_key: Option<SamplesKey>,
}

/// The listener. Its fields are what [`super::QueryResponseDecoder`] makes the response of.
#[derive(Debug)]
pub(super) struct QueryEvents {
    limits: DecodeLimits,
    frames: Vec<Frame>,
    /// The key whose value comes next.
    key: Key,
    /// Keys of the envelope and of `data` that were there.
    seen: u16,
    pub(super) is_success: Option<bool>,
    pub(super) error_type: String,
    pub(super) error: String,
    pub(super) warnings: Annotations,
    pub(super) infos: Annotations,
    pub(super) result_type: Option<ResultType>,
    pub(super) shape: Shape,
    pub(super) series: SeriesBuilder,
    pub(super) series_count: usize,
    pub(super) histogram_series: usize,
    current: SeriesState,
    labels: EncodedLabelsBuilder,
    label_name: String,
    /// How many members of the current sample are there, and its time.
    sample_length: u8,
    timestamp_ms: i64,
    scratch: String,
}

/// Warnings or infos, so many as are worth keeping.
#[derive(Default, Debug)]
pub(super) struct Annotations {
    pub(super) texts: Vec<String>,
    omitted: usize,
}

impl Annotations {
    fn add(&mut self, text: &RawText<'_>, limits: &DecodeLimits) {
        if self.texts.len() < limits.annotations_max {
            self.texts.push(text.read_lossy());
        } else {
            self.omitted += 1;
        }
    }

    /// The texts; the last one says how many were left out.
    pub(super) fn finish(mut self, kind: &str) -> Vec<String> {
        if self.omitted > 0 {
            self.texts.push(format!("{} more {kind} annotations omitted", self.omitted));
        }
        self.texts
    }
}

impl QueryEvents {
    pub(super) fn new(limits: DecodeLimits) -> Self {
        Self {
            limits,
            frames: Vec::new(),
            key: Key::Unknown,
            seen: 0,
            is_success: None,
            error_type: String::new(),
            error: String::new(),
            warnings: Annotations::default(),
            infos: Annotations::default(),
            result_type: None,
            shape: Shape::Absent,
            series: SeriesBuilder::new(limits.samples_max),
            series_count: 0,
            histogram_series: 0,
            current: SeriesState::default(),
            labels: EncodedLabelsBuilder::default(),
            label_name: String::new(),
            sample_length: 0,
            timestamp_ms: 0,
            scratch: String::new(),
        }
    }

    fn frame(&self) -> Option<Frame> {
        self.frames.last().copied()
    }

    /// What a container means where the scan is.
    fn frame_of(&self, container: Container) -> Result<Frame, Problem> {
        use Container::{Array, Object};
        let Some(frame) = self.frame() else {
            return if container == Object { Ok(Frame::Top) } else { Err(Problem::Expected("an object")) };
        };
        match (frame, self.key, container) {
            (Frame::Top | Frame::Data | Frame::Series, Key::Unknown, _) => Ok(Frame::Skipped),
            (Frame::Top, Key::Data, Object) => Ok(Frame::Data),
            (Frame::Top, Key::Warnings | Key::Infos, Array) => Ok(Frame::Annotations),
            (Frame::Data, Key::Result, Array) => Ok(Frame::Result),
            (Frame::Result, _, Object) if !matches!(self.shape, Shape::Pair { .. }) => Ok(Frame::Series),
            (Frame::Series, Key::Metric, Object) => Ok(Frame::Metric),
            (Frame::Series, Key::Value, Array) | (Frame::Values, _, Array) => Ok(Frame::Sample),
            (Frame::Series, Key::Values, Array) => Ok(Frame::Values),
            (Frame::Series, Key::Histogram | Key::Histograms, Array) => Ok(Frame::Histograms),
            (Frame::Histograms | Frame::Skipped, _, _) => Ok(Frame::Skipped),
            _ => Err(Problem::Expected(self.wanted())),
        }
    }

    /// What belongs where the scan is, in words.
    fn wanted(&self) -> &'static str {
        match (self.frame(), self.key) {
            (None, _) | (Some(Frame::Top), Key::Data) | (Some(Frame::Series), Key::Metric) => "an object",
            (Some(Frame::Top), Key::Warnings | Key::Infos)
            | (Some(Frame::Data), Key::Result)
            | (Some(Frame::Series), _) => "an array",
            (Some(Frame::Result), _) => match (&self.shape, self.sample_length) {
                (Shape::Pair { .. }, 1) => "a string",
                (Shape::Pair { .. }, _) => "the end of a time and a value",
                (Shape::Series(_), _) => "a series",
                _ => "a series or a time",
            },
            (Some(Frame::Values), _) => "an array of a time and a value",
            (Some(Frame::Sample), _) => match self.sample_length {
                0 => "a time",
                1 => "a value in quotes",
                _ => "the end of a time and a value",
            },
            _ => "a string",
        }
    }

    fn begin_series(&mut self) {
        if !matches!(self.shape, Shape::Series(_)) {
            self.shape = Shape::Series(None);
        }
        self.current = SeriesState::default();
        self.labels.clear();
    }

    fn end_series(&mut self) -> Result<(), Problem> {
        if self.current.seen & bit(Key::Metric) == 0 {
            return Err(Problem::Invalid("series without \"metric\"".to_owned()));
        }
        if let Shape::Series(key) = &mut self.shape {
            if key.is_some() && self.current.samples_key.is_some() && *key != self.current.samples_key {
                return Err(Problem::Invalid("series with \"value\" beside series with \"values\"".to_owned()));
            }
            *key = key.or(self.current.samples_key);
        }
        self.histogram_series += usize::from(self.current.has_histograms);
        let labels = self.labels.finish().map_err(|error| Problem::Invalid(error.to_string()))?;
        self.series.end_series(labels);
        self.series_count += 1;
        Ok(())
    }

    fn begin_samples(&mut self, key: SamplesKey) -> Result<(), Problem> {
        if self.current.samples_key.replace(key).is_some() {
            return Err(Problem::Invalid("series with both \"value\" and \"values\"".to_owned()));
        }
        Ok(())
    }

    fn push_sample(&mut self, text: &RawText<'_>) -> Result<(), Problem> {
        let text = text.read(&mut self.scratch)?;
        let value =
            parse_value(text).ok_or_else(|| Problem::Invalid(format!("{:?} is not a sample value", short(text))))?;
        self.series.push(self.timestamp_ms, value).map_err(|error| match error {
            PushError::NotAscending => Problem::Invalid("sample not later than the sample before it".to_owned()),
            PushError::TooMany => Problem::TooManySamples,
        })
    }

    fn push_label(&mut self, value: &RawText<'_>) -> Result<(), Problem> {
        let value = value.read(&mut self.scratch)?;
        self.labels.push(&self.label_name, value);
        if self.labels.byte_count() > self.limits.label_set_bytes_max {
            return Err(Problem::Invalid(format!("label set larger than {} bytes", self.limits.label_set_bytes_max)));
        }
        Ok(())
    }

    fn mark_seen(&mut self, key: Key) -> Result<(), Problem> {
        let seen = if self.frame() == Some(Frame::Series) { &mut self.current.seen } else { &mut self.seen };
        if key != Key::Unknown && *seen & bit(key) != 0 {
            return Err(Problem::Invalid("the same key twice".to_owned()));
        }
        *seen |= bit(key);
        Ok(())
    }
}

impl JsonEvents for QueryEvents {
    fn text_bytes_max(&self, is_key: bool) -> usize {
        match (self.frame(), is_key) {
            (Some(Frame::Skipped | Frame::Histograms), _) => 0,
            (Some(Frame::Metric), _) => self.limits.label_set_bytes_max,
            (_, true) => KEY_BYTES_MAX,
            (Some(Frame::Top | Frame::Data), false) if matches!(self.key, Key::Status | Key::ResultType) => {
                KEY_BYTES_MAX
            }
            (Some(Frame::Top | Frame::Data | Frame::Series), false) if self.key == Key::Unknown => 0,
            (Some(Frame::Sample), false) => VALUE_BYTES_MAX,
            (_, false) => self.limits.text_bytes_max,
        }
    }

    fn key(&mut self, text: RawText<'_>) -> Result<(), Problem> {
        let Some(frame) = self.frame() else { return Ok(()) };
        match frame {
            Frame::Skipped => return Ok(()),
            Frame::Metric => {
                let name = text.read(&mut self.scratch)?;
                self.label_name.clear();
                self.label_name.push_str(name);
                return Ok(());
            }
            _ => {}
        }
        self.key = if text.is_cut { Key::Unknown } else { known_key(frame, text.read(&mut self.scratch)?) };
        self.mark_seen(self.key)
    }

    fn begin(&mut self, container: Container) -> Result<(), Problem> {
        let frame = self.frame_of(container)?;
        match frame {
            Frame::Series => self.begin_series(),
            Frame::Sample => {
                self.sample_length = 0;
                if self.frame() == Some(Frame::Series) {
                    self.begin_samples(SamplesKey::Value)?;
                }
            }
            Frame::Values => self.begin_samples(SamplesKey::Values)?,
            Frame::Skipped if self.frame() == Some(Frame::Histograms) => self.current.has_histograms = true,
            _ => {}
        }
        self.frames.push(frame);
        Ok(())
    }

    fn end(&mut self) -> Result<(), Problem> {
        let complete = match (self.frame(), &self.shape) {
            (Some(Frame::Sample), _) | (Some(Frame::Result), Shape::Pair { .. }) => self.sample_length == 2,
            _ => true,
        };
        if !complete {
            return Err(Problem::Expected(self.wanted()));
        }
        match self.frame() {
            Some(Frame::Result) if self.shape == Shape::Absent => self.shape = Shape::Empty,
            Some(Frame::Series) => self.end_series()?,
            _ => {}
        }
        self.frames.pop();
        Ok(())
    }

    fn text(&mut self, text: RawText<'_>) -> Result<(), Problem> {
        match (self.frame(), self.key) {
            (Some(Frame::Metric), _) => return self.push_label(&text),
            (Some(Frame::Sample), _) if self.sample_length == 1 => {
                self.sample_length = 2;
                return self.push_sample(&text);
            }
            (Some(Frame::Skipped), _) | (Some(Frame::Top | Frame::Data | Frame::Series), Key::Unknown) => {}
            (Some(Frame::Histograms), _) => self.current.has_histograms = true,
            (Some(Frame::Top), Key::Status) => {
                self.is_success = match text.read_lossy().as_str() {
                    "success" => Some(true),
                    "error" => Some(false),
                    _ => return Err(Problem::Expected("status \"success\" or \"error\"")),
                }
            }
            (Some(Frame::Top), Key::ErrorType) => self.error_type = text.read_lossy(),
            (Some(Frame::Top), Key::Error) => self.error = text.read_lossy(),
            (Some(Frame::Annotations), Key::Warnings) => self.warnings.add(&text, &self.limits),
            (Some(Frame::Annotations), _) => self.infos.add(&text, &self.limits),
            (Some(Frame::Data), Key::ResultType) => {
                self.result_type = Some(match text.read_lossy().as_str() {
                    "scalar" => ResultType::Scalar,
                    "string" => ResultType::String,
                    "vector" => ResultType::Vector,
                    "matrix" => ResultType::Matrix,
                    _ => return Err(Problem::Expected("result type \"matrix\", \"vector\", \"scalar\" or \"string\"")),
                });
            }
            (Some(Frame::Result), _) => match &mut self.shape {
                Shape::Pair { text: value @ None, .. } => {
                    *value = Some(text.read(&mut self.scratch)?.to_owned());
                    self.sample_length = 2;
                }
                _ => return Err(Problem::Expected(self.wanted())),
            },
            _ => return Err(Problem::Expected(self.wanted())),
        }
        Ok(())
    }

    fn literal(&mut self, literal: Literal<'_>) -> Result<(), Problem> {
        let time = |number| parse_timestamp(number).ok_or_else(|| Problem::Invalid("time out of range".to_owned()));
        match (self.frame(), self.key, literal) {
            (Some(Frame::Sample), _, Literal::Number(number)) if self.sample_length == 0 => {
                self.timestamp_ms = time(number)?;
                self.sample_length = 1;
            }
            (Some(Frame::Result), _, Literal::Number(number)) if self.shape == Shape::Absent => {
                self.shape = Shape::Pair { timestamp_ms: time(number)?, text: None };
                self.sample_length = 1;
            }
            (Some(Frame::Skipped), _, _) | (Some(Frame::Top | Frame::Data | Frame::Series), Key::Unknown, _) => {}
            (Some(Frame::Histograms), _, _) => self.current.has_histograms = true,
            // Go prints an empty slice or a missing pointer as null. A status is never empty.
            (Some(Frame::Top), key, Literal::Null) if key != Key::Status => {}
            (Some(Frame::Data), Key::Result, Literal::Null) => self.shape = Shape::Empty,
            (Some(Frame::Series), Key::Histogram | Key::Histograms, Literal::Null) => {}
            _ => return Err(Problem::Expected(self.wanted())),
        }
        Ok(())
    }

    #[inline]
    fn take_items(&mut self, bytes: &[u8]) -> Taken {
        match self.frame() {
            Some(Frame::Values) => take_plain_samples(bytes, &mut self.series),
            Some(Frame::Metric) => take_plain_labels(bytes, &mut self.labels, self.limits.label_set_bytes_max),
            _ => Taken::default(),
        }
    }

    fn place(&self) -> String {
        let mut place = String::new();
        for frame in &self.frames {
            match frame {
                Frame::Data => place.push_str("data"),
                Frame::Annotations => place.push_str("annotations"),
                Frame::Result => place.push_str(".result"),
                Frame::Series => place.push_str(&format!("[{}]", self.series_count)),
                Frame::Metric => place.push_str(".metric"),
                Frame::Values => place.push_str(".values"),
                Frame::Histograms => place.push_str(".histograms"),
                Frame::Top | Frame::Sample | Frame::Skipped => {}
            }
        }
        if place.is_empty() { place } else { format!(" in {place}") }
    }
}

fn bit(key: Key) -> u16 {
    1 << key as u16
}

fn known_key(frame: Frame, name: &str) -> Key {
    match (frame, name) {
        (Frame::Top, "status") => Key::Status,
        (Frame::Top, "data") => Key::Data,
        (Frame::Top, "errorType") => Key::ErrorType,
        (Frame::Top, "error") => Key::Error,
        (Frame::Top, "warnings") => Key::Warnings,
        (Frame::Top, "infos") => Key::Infos,
        (Frame::Data, "resultType") => Key::ResultType,
        (Frame::Data, "result") => Key::Result,
        (Frame::Series, "metric") => Key::Metric,
        (Frame::Series, "value") => Key::Value,
        (Frame::Series, "values") => Key::Values,
        (Frame::Series, "histogram") => Key::Histogram,
        (Frame::Series, "histograms") => Key::Histograms,
        _ => Key::Unknown,
    }
}

/// The beginning of a text, for quoting.
fn short(text: &str) -> &str {
    let end = text.char_indices().nth(20).map_or(text.len(), |(at, _)| at);
    &text[..end]
}
