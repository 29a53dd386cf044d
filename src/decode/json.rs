//! The answers of `/api/v1/query` and `/api/v1/query_range`, as they stream in.

mod number;
mod plain_items;
mod query_events;
mod scanner;
mod text;

use arrow::record_batch::RecordBatch;

use super::DecodeError;
use crate::model::TimestampMs;
pub(super) use number::{parse_timestamp, parse_value};
use query_events::{QueryEvents, ResultType, SamplesKey, Shape};
use scanner::JsonScanner;

/// What an answer may cost. Everything that the decoder keeps is bounded by these.
#[derive(Copy, Clone, Debug)]
pub struct DecodeLimits {
    /// At most so many samples. Default 50 million, as `--query.max-samples`; the query's own budget is the caller's to
    /// count, from what [`QueryResponseDecoder::feed`] returns.
    pub samples_max: usize,
    /// At most so many bytes of (decompressed) body. Default 4 GiB: twice what 50 million samples take.
    pub body_bytes_max: u64,
    /// Names and values of one label set. Default 1 MiB.
    pub label_set_bytes_max: usize,
    /// An error, a warning, an info or a string result. Errors and annotations are cut to it, a string result fails.
    /// Default 64 KiB, the longest query.
    pub text_bytes_max: usize,
    /// So many warnings and so many infos are kept. Default 200.
    pub annotations_max: usize,
    /// Levels of objects and arrays. Default 64; a plain answer has six.
    pub depth_max: usize,
}

impl Default for DecodeLimits {
    fn default() -> Self {
        Self {
            samples_max: 50_000_000,
            body_bytes_max: 4 << 30,
            label_set_bytes_max: 1 << 20,
            text_bytes_max: 64 << 10,
            annotations_max: 200,
            depth_max: 64,
        }
    }
}

/// Did the downstream answer the question?
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ResponseStatus {
    /// It did.
    Success,
    /// It says why not.
    Error {
        /// Prometheus' class of the error, such as `bad_data`; empty where it gave none.
        error_type: String,
        /// Its text.
        message: String,
    },
}

/// What stands under `data`.
#[derive(Clone, Debug)]
pub enum DecodedResult {
    /// Nothing: the answer is an error.
    None,
    /// One number.
    Scalar {
        /// Evaluation time.
        time: TimestampMs,
        /// The value.
        value: f64,
    },
    /// One text.
    String {
        /// Evaluation time.
        time: TimestampMs,
        /// The text.
        text: String,
    },
    /// Samples tables with one sample a series, in the order received.
    Vector(Vec<RecordBatch>),
    /// Samples tables, in the order received. Label sets may repeat: that is for the reader to judge.
    Matrix(Vec<RecordBatch>),
}

/// A whole answer.
#[derive(Clone, Debug)]
pub struct QueryResponse {
    /// Success, or the downstream's error.
    pub status: ResponseStatus,
    /// The value. Series without float samples are left out.
    pub result: DecodedResult,
    /// Warnings, in order, cut to the limits.
    pub warnings: Vec<String>,
    /// Infos, in order, cut to the limits.
    pub infos: Vec<String>,
    /// How many series had native histograms. Their JSON has lost the buckets' layout, so they are counted, not decoded:
    /// a reader who cannot do without them must refuse the answer.
    pub histogram_series: usize,
}

/// Decodes an answer piece by piece; a piece may end anywhere.
///
/// Nothing is trusted: keys may come in any order and unknown ones are skipped, but a sample that is not later than the
/// one before it, a label name that occurs twice, a missing `status` or a cut-off document is an error. After an error the
/// decoder only repeats it.
#[derive(Debug)]
pub struct QueryResponseDecoder {
    scanner: JsonScanner,
    events: QueryEvents,
    body_bytes: u64,
    body_bytes_max: u64,
    failure: Option<DecodeError>,
}

impl QueryResponseDecoder {
    /// A decoder for one answer.
    pub fn new(limits: DecodeLimits) -> Self {
        Self {
            scanner: JsonScanner::new(limits.depth_max),
            events: QueryEvents::new(limits),
            body_bytes: 0,
            body_bytes_max: limits.body_bytes_max,
            failure: None,
        }
    }

    /// Takes the next piece of the body. Returns how many samples it completed, so that the caller can count them against
    /// a budget and stop.
    pub fn feed(&mut self, chunk: &[u8]) -> Result<usize, DecodeError> {
        if let Some(failure) = &self.failure {
            return Err(failure.clone());
        }
        let samples_before = self.events.series.sample_count();
        self.body_bytes = self.body_bytes.saturating_add(chunk.len() as u64);
        let fed = if self.body_bytes > self.body_bytes_max {
            let problem = format!("answer larger than {} bytes", self.body_bytes_max);
            Err(DecodeError::Invalid { offset: self.body_bytes_max, problem })
        } else {
            self.scanner.feed(chunk, &mut self.events)
        };
        match fed {
            Ok(()) => Ok(self.events.series.sample_count() - samples_before),
            Err(error) => {
                self.failure = Some(error.clone());
                Err(error)
            }
        }
    }

    /// The answer. Fails unless the document is complete and says what it is.
    pub fn finish(self) -> Result<QueryResponse, DecodeError> {
        if let Some(failure) = self.failure {
            return Err(failure);
        }
        self.scanner.finish()?;
        let mut events = self.events;
        let is_success = events.is_success.ok_or_else(|| incomplete("answer has no \"status\""))?;
        let warnings = std::mem::take(&mut events.warnings).finish("warning");
        let infos = std::mem::take(&mut events.infos).finish("info");
        let histogram_series = events.histogram_series;
        let (status, result) = if is_success {
            (ResponseStatus::Success, result_of(events)?)
        } else {
            // Half an answer beside an error is no answer.
            let error_type = std::mem::take(&mut events.error_type);
            let message = std::mem::take(&mut events.error);
            (ResponseStatus::Error { error_type, message }, DecodedResult::None)
        };
        Ok(QueryResponse { status, result, warnings, infos, histogram_series })
    }
}

/// Holds what the result is said to be against what it looks like.
fn result_of(events: QueryEvents) -> Result<DecodedResult, DecodeError> {
    let Some(result_type) = events.result_type else {
        return Err(incomplete("answer has no \"resultType\""));
    };
    match (result_type, events.shape) {
        (_, Shape::Absent) => Err(incomplete("answer has no \"result\"")),
        (ResultType::Vector, Shape::Empty | Shape::Series(None | Some(SamplesKey::Value))) => {
            Ok(DecodedResult::Vector(events.series.finish()))
        }
        (ResultType::Matrix, Shape::Empty | Shape::Series(None | Some(SamplesKey::Values))) => {
            Ok(DecodedResult::Matrix(events.series.finish()))
        }
        (ResultType::Scalar, Shape::Pair { timestamp_ms, text: Some(text) }) => {
            let value = parse_value(&text).ok_or_else(|| incomplete("scalar is not a number"))?;
            Ok(DecodedResult::Scalar { time: TimestampMs(timestamp_ms), value })
        }
        (ResultType::String, Shape::Pair { timestamp_ms, text: Some(text) }) => {
            Ok(DecodedResult::String { time: TimestampMs(timestamp_ms), text })
        }
        (result_type, _) => {
            let name = match result_type {
                ResultType::Scalar => "scalar",
                ResultType::String => "string",
                ResultType::Vector => "vector",
                ResultType::Matrix => "matrix",
            };
            Err(incomplete(&format!("answer says \"resultType\" is {name:?}, but \"result\" is something else")))
        }
    }
}

fn incomplete(problem: &str) -> DecodeError {
    DecodeError::Incomplete(problem.to_owned())
}

#[cfg(test)]
mod tests;
