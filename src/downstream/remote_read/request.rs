//! What is asked: a selector and a range of time, as the body of a POST.

use bytes::Bytes;
use prost::Message;

use super::ExternalLabels;
use crate::downstream::prometheus_proto::{Query, ReadHints, ReadRequest, read_request::ResponseType};
use crate::error::Error;
use crate::model::{DurationMs, Matcher, SelectForm, SelectRequest, TimestampMs};

/// Raw samples of one selector.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::downstream) struct RawQuery {
    pub matchers: Vec<Matcher>,
    /// Exclusive.
    pub start: TimestampMs,
    /// Inclusive.
    pub end: TimestampMs,
    /// The distance of the steps that will be looked at, where there are steps: a hint for the server.
    step: Option<DurationMs>,
}

/// In which forms an answer is welcome.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(in crate::downstream) enum AcceptedForms {
    /// Chunks as they are stored, or else samples.
    ChunksElseSamples,
    /// Samples, from a server whose chunks cannot be read.
    Samples,
}

impl RawQuery {
    /// The raw samples that a request needs; those of steps reach back by the lookback.
    pub(in crate::downstream) fn new(request: &SelectRequest) -> Self {
        let (start, end, step) = match request.form {
            SelectForm::Samples { start, end } => (start, end, None),
            SelectForm::Steps { grid, lookback } => {
                (grid.start() - lookback, grid.last(), (grid.step_count() > 1).then(|| grid.step()))
            }
        };
        Self { matchers: request.matchers.clone(), start, end, step }
    }

    /// Can no sample be in it?
    pub(in crate::downstream) fn is_empty(&self) -> bool {
        self.start >= self.end
    }

    /// The message, compressed.
    pub(super) fn encode(&self, external: &ExternalLabels, accepted: AcceptedForms) -> Result<Bytes, Error> {
        // Both ends of the range are part of it there. Prometheus reads the range of the hints, where there are any.
        let (start, end) = (self.start.0.saturating_add(1), self.end.0);
        let step_ms = self.step.map_or(0, |step| step.0);
        let hints = ReadHints { step_ms, start_ms: start, end_ms: end, ..ReadHints::default() };
        let query = Query {
            start_timestamp_ms: start,
            end_timestamp_ms: end,
            matchers: external.matchers_to_send(&self.matchers),
            hints: Some(hints),
        };
        encode_request(vec![query], accepted)
    }
}

/// A request for nothing: whoever speaks remote read answers its head, and no work is done for it.
pub(super) fn encode_empty_request() -> Result<Bytes, Error> {
    encode_request(Vec::new(), AcceptedForms::ChunksElseSamples)
}

fn encode_request(queries: Vec<Query>, accepted: AcceptedForms) -> Result<Bytes, Error> {
    let accepted_response_types = match accepted {
        AcceptedForms::ChunksElseSamples => vec![ResponseType::StreamedXorChunks.into(), ResponseType::Samples.into()],
        AcceptedForms::Samples => vec![ResponseType::Samples.into()],
    };
    let message = ReadRequest { queries, accepted_response_types }.encode_to_vec();
    let compressed = snap::raw::Encoder::new().compress_vec(&message);
    compressed.map(Bytes::from).map_err(|error| Error::bad_data(format!("the selector is too long: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Labels, MatchOp, StepGrid};

    fn decoded(body: &[u8]) -> ReadRequest {
        let message = snap::raw::Decoder::new().decompress_vec(body).expect("snappy");
        ReadRequest::decode(&*message).expect("a message")
    }

    fn query(form: SelectForm) -> RawQuery {
        RawQuery::new(&SelectRequest { matchers: vec![Matcher::equal("__name__", "up")], form })
    }

    #[test]
    fn the_range_is_asked_with_both_ends_inside() {
        let samples = SelectForm::Samples { start: TimestampMs(1_000), end: TimestampMs(5_000) };
        let grid = StepGrid::with_count(TimestampMs(10_000), DurationMs(15), 3);
        let steps = SelectForm::Steps { grid, lookback: DurationMs(300) };
        let instant = SelectForm::Steps { grid: StepGrid::instant(TimestampMs(7)), lookback: DurationMs(5) };
        for (form, start, end, step) in [(samples, 1_001, 5_000, 0), (steps, 9_701, 10_030, 15), (instant, 3, 7, 0)] {
            let body = query(form).encode(&ExternalLabels::default(), AcceptedForms::ChunksElseSamples).expect("short");
            let mut request = decoded(&body);
            assert_eq!(request.accepted_response_types, [1, 0]);
            let asked = request.queries.remove(0);
            assert_eq!((asked.start_timestamp_ms, asked.end_timestamp_ms), (start, end));
            let hints = asked.hints.expect("hints");
            assert_eq!((hints.start_ms, hints.end_ms, hints.step_ms, hints.func.as_str()), (start, end, step, ""));
            assert_eq!((asked.matchers[0].r#type, asked.matchers[0].name.as_str()), (0, "__name__"));
            assert!(request.queries.is_empty());
        }
    }

    #[test]
    fn external_labels_are_seen_to() {
        let external = ExternalLabels::new(&Labels::from_pairs([("replica", "a")]), vec![[].into()]);
        let matchers = vec![Matcher::equal("replica", "a"), Matcher::new("job", MatchOp::NotRegex, "x.*")];
        let form = SelectForm::Samples { start: TimestampMs(0), end: TimestampMs(1) };
        let raw = RawQuery::new(&SelectRequest { matchers, form });
        let mut request = decoded(&raw.encode(&external, AcceptedForms::Samples).expect("short"));
        assert_eq!(request.accepted_response_types, [0]);
        let types: Vec<i32> = request.queries.remove(0).matchers.iter().map(|matcher| matcher.r#type).collect();
        assert_eq!(types, [2, 3]);
        assert!(decoded(&encode_empty_request().expect("short")).queries.is_empty());
    }

    #[test]
    fn ranges_at_the_end_of_time_do_not_overflow() {
        let all = query(SelectForm::Samples { start: TimestampMs(i64::MAX), end: TimestampMs(i64::MAX) });
        assert!(all.is_empty() && all.encode(&ExternalLabels::default(), AcceptedForms::ChunksElseSamples).is_ok());
        let grid = StepGrid::instant(TimestampMs(i64::MIN));
        let early = query(SelectForm::Steps { grid, lookback: DurationMs(5) });
        assert!(early.is_empty() && early.encode(&ExternalLabels::default(), AcceptedForms::ChunksElseSamples).is_ok());
    }
}
