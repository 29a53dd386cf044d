//! The HTTP API of a Prometheus-compatible server.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use arrow::record_batch::RecordBatch;
use async_trait::async_trait;
use parking_lot::Mutex;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::Instant;

use super::http_client::{ApiCall, BodySink, CallMethod, HttpClient};
use super::instrument::{CallMeter, JSON, TargetInstrument};
use super::response_error::{bad_answer, from_envelope, unavailable};
use super::target_url::label_name_in_path;
use super::{Downstream, SampleTimes, Selected, TargetUrl, select};
use crate::decode::{
    ApiResponse, DecodeError, DecodeLimits, DecodedResult, QueryResponse, QueryResponseDecoder, ResponseStatus,
    decode_exemplars, decode_metric_metadata, decode_series, decode_strings,
};
use crate::error::{Error, ErrorKind};
use crate::model::{
    Annotation, AnnotationKind, DurationMs, ExemplarSet, Held, Labels, Matcher, MetadataRequest, MetricMetadata,
    QueryContext, SelectRequest, Selector, SeriesExemplars, StepGrid, TimestampMs,
};
use crate::telemetry::{CallKind, TargetMetrics};

/// Answers of names, values, label sets and metadata are read whole; none may be larger than this when decompressed.
const METADATA_BODY_BYTES_MAX: usize = 512 * 1024 * 1024;

/// Of exemplars a Prometheus keeps 100,000 if it is told nothing else: some 30 MB.
const EXEMPLARS_BODY_BYTES_MAX: usize = 256 * 1024 * 1024;
/// A body of exemplars while it is decoded: itself, and what is made of it, which has the same texts and two pointers each.
const BYTES_PER_BODY_BYTE: usize = 4;

/// A server that needs longer than this for a trifle is not well.
const PROBE_WAIT: Duration = Duration::from_secs(2);
/// So many calls of one target are in flight at a time; others wait. A Prometheus evaluates 20 queries at a time.
const CALLS_AT_A_TIME: usize = 64;

/// What was decoded is counted here, as long as it is in memory.
pub(super) type Guards = Mutex<Vec<Held>>;

/// One server, asked over its HTTP API. The client is shared by the targets of a group.
#[derive(Clone, Debug)]
pub struct HttpDownstream {
    client: Arc<HttpClient>,
    url: TargetUrl,
    instrument: TargetInstrument,
    places: Arc<Semaphore>,
}

impl HttpDownstream {
    /// Asks `url` through `client`.
    pub fn new(client: Arc<HttpClient>, url: TargetUrl) -> Self {
        let instrument = TargetInstrument::unseen(&url);
        Self { client, url, instrument, places: Arc::new(Semaphore::new(CALLS_AT_A_TIME)) }
    }

    /// Measures its calls there.
    #[must_use]
    pub fn measured(self, instrument: TargetInstrument) -> Self {
        Self { instrument, ..self }
    }

    /// Makes a call when the target has a place for it. An answer is read whole while nobody else waits for it, so a place is
    /// always given back.
    async fn call(
        &self,
        call: &ApiCall,
        context: &QueryContext,
        meter: &CallMeter,
        sink: &mut dyn BodySink,
    ) -> Result<(), Error> {
        let _place = self.place(context).await?;
        self.client.call(&self.url, call, context, meter, sink).await
    }

    async fn place(&self, context: &QueryContext) -> Result<SemaphorePermit<'_>, Error> {
        let closed = |_| Error::internal("the places of a target are closed");
        if let Ok(place) = self.places.try_acquire() {
            return Ok(place);
        }
        let began = Instant::now();
        let place = match context.deadline {
            None => Some(self.places.acquire().await.map_err(closed)?),
            Some(deadline) => match tokio::time::timeout_at(deadline.into(), self.places.acquire()).await {
                Ok(place) => Some(place.map_err(closed)?),
                Err(_) => None,
            },
        };
        self.instrument.metrics().waited_for_slot(began.elapsed());
        place.ok_or_else(|| {
            let text = format!(
                "{CALLS_AT_A_TIME} calls are in flight, the most there may be; none ended before the query's deadline"
            );
            Error::new(ErrorKind::Timeout, text)
        })
    }

    /// Does it move range queries to multiples of their step?
    pub(super) fn snaps_range_queries(&self) -> bool {
        self.client.snaps_range_queries()
    }

    /// `/api/v1/query`: the value of an expression at one time.
    pub(super) async fn query_instant(
        &self,
        expression: &str,
        time: TimestampMs,
        lookback_delta: Option<String>,
        context: &QueryContext,
        guards: &Guards,
    ) -> Result<DecodedResult, Error> {
        let mut params = vec![("query", expression.to_owned()), ("time", time.to_string())];
        params.extend(lookback_delta.map(|lookback| ("lookback_delta", lookback)));
        self.query("query", params, context, guards).await
    }

    /// `/api/v1/query_range`: the values of an expression on a grid.
    pub(super) async fn query_range(
        &self,
        expression: &str,
        grid: StepGrid,
        lookback_delta: Option<String>,
        context: &QueryContext,
        guards: &Guards,
    ) -> Result<DecodedResult, Error> {
        let mut params = vec![
            ("query", expression.to_owned()),
            ("start", grid.start().to_string()),
            ("end", grid.last().to_string()),
            // A length in decimal seconds is written as a time is.
            ("step", TimestampMs(grid.step().0).to_string()),
        ];
        params.extend(lookback_delta.map(|lookback| ("lookback_delta", lookback)));
        self.query("query_range", params, context, guards).await
    }

    async fn query(
        &self,
        name: &'static str,
        params: Vec<(&'static str, String)>,
        context: &QueryContext,
        guards: &Guards,
    ) -> Result<DecodedResult, Error> {
        let call = ApiCall { name, method: CallMethod::Post, path: format!("api/v1/{name}"), params };
        let meter = self.instrument.begin(CallKind { call: name, leaf: JSON }, context);
        let result = self.query_metered(&call, context, &meter, guards).await;
        meter.end(&result);
        result
    }

    async fn query_metered(
        &self,
        call: &ApiCall,
        context: &QueryContext,
        meter: &CallMeter,
        guards: &Guards,
    ) -> Result<DecodedResult, Error> {
        // The query's own budget bounds the samples.
        let limits = DecodeLimits { samples_max: usize::MAX, ..DecodeLimits::default() };
        let held = context.hold(0, 0)?;
        let mut sink = QuerySink { decoder: QueryResponseDecoder::new(limits), context, meter, held };
        self.call(call, context, meter, &mut sink).await?;
        let response = sink.decoder.finish().map_err(bad_answer)?;
        guards.lock().push(sink.held);
        let result = take_result(response, context)?;
        if let DecodedResult::Vector(tables) | DecodedResult::Matrix(tables) = &result {
            meter.finished_series(tables.iter().map(RecordBatch::num_rows).sum());
        }
        Ok(result)
    }

    async fn metadata<T>(
        &self,
        call: ApiCall,
        context: &QueryContext,
        decode: impl FnOnce(&[u8]) -> Result<ApiResponse<T>, DecodeError>,
    ) -> Result<T, Error> {
        let meter = self.instrument.begin(CallKind { call: call.name, leaf: JSON }, context);
        let result = async {
            let mut sink = WholeBody(Vec::new());
            self.call(&call, context, &meter, &mut sink).await?;
            let response = decode(&sink.0).map_err(bad_answer)?;
            check_status(&response.status)?;
            annotate(response.warnings, response.infos, context);
            Ok(response.data)
        }
        .await;
        meter.end(&result);
        result
    }
}

#[async_trait]
impl Downstream for HttpDownstream {
    fn url(&self) -> &TargetUrl {
        &self.url
    }

    fn metrics(&self) -> Option<&TargetMetrics> {
        Some(self.instrument.metrics())
    }

    fn set_alone(&self) {
        self.instrument.set_alone();
    }

    async fn probe(&self) -> Result<(), Error> {
        let meter = self.instrument.begin(CallKind { call: "probe", leaf: JSON }, &QueryContext::default());
        let result = self.client.probe(&self.url, PROBE_WAIT, &meter).await;
        meter.end(&result);
        result
    }

    async fn select(
        &self,
        request: &SelectRequest,
        sample_times: SampleTimes,
        context: &QueryContext,
    ) -> Result<Selected, Error> {
        select::select(self, request, sample_times, context).await
    }

    async fn evaluate(
        &self,
        expression: &str,
        grid: StepGrid,
        lookback: DurationMs,
        context: &QueryContext,
    ) -> Result<Vec<(RecordBatch, Held)>, Error> {
        select::evaluate(self, expression, (grid, lookback), context).await
    }

    async fn label_names(&self, request: &MetadataRequest, context: &QueryContext) -> Result<Vec<String>, Error> {
        let params = metadata_params(request);
        let call =
            ApiCall { name: "label_names", method: CallMethod::PostElseGet, path: "api/v1/labels".to_owned(), params };
        self.metadata(call, context, decode_strings).await
    }

    async fn label_values(
        &self,
        name: &str,
        request: &MetadataRequest,
        context: &QueryContext,
    ) -> Result<Vec<String>, Error> {
        let path = format!("api/v1/label/{}/values", label_name_in_path(name));
        let call = ApiCall { name: "label_values", method: CallMethod::Get, path, params: metadata_params(request) };
        self.metadata(call, context, decode_strings).await
    }

    async fn series(&self, request: &MetadataRequest, context: &QueryContext) -> Result<Vec<Labels>, Error> {
        let mut params = metadata_params(request);
        if request.selectors.is_empty() {
            // This call alone must have a selector.
            params.push(("match[]", selector_text(&[])));
        }
        let call =
            ApiCall { name: "series", method: CallMethod::PostElseGet, path: "api/v1/series".to_owned(), params };
        self.metadata(call, context, decode_series).await
    }

    async fn exemplars(&self, request: &MetadataRequest, context: &QueryContext) -> Result<ExemplarSet, Error> {
        let path = "api/v1/query_exemplars".to_owned();
        let params = exemplar_params(request);
        let call = ApiCall { name: "query_exemplars", method: CallMethod::PostElseGet, path, params };
        let meter = self.instrument.begin(CallKind { call: call.name, leaf: JSON }, context);
        let result = async {
            let mut sink = CountedBody { body: Vec::new(), held: context.hold(0, 0)? };
            self.call(&call, context, &meter, &mut sink).await?;
            let CountedBody { body, mut held } = sink;
            let response = decode_exemplars(&body).map_err(bad_answer)?;
            drop(body);
            check_status(&response.status)?;
            annotate(response.warnings, response.infos, context);
            held.resize(0, response.data.iter().map(SeriesExemplars::byte_count).sum())?;
            Ok(ExemplarSet { series: response.data, held: vec![held] })
        }
        .await;
        meter.end(&result);
        result
    }

    async fn metric_metadata(
        &self,
        metric: Option<&str>,
        context: &QueryContext,
    ) -> Result<BTreeMap<String, Vec<MetricMetadata>>, Error> {
        let params = metric.map(|metric| ("metric", metric.to_owned())).into_iter().collect();
        let call = ApiCall { name: "metadata", method: CallMethod::Get, path: "api/v1/metadata".to_owned(), params };
        self.metadata(call, context, decode_metric_metadata).await
    }
}

/// A selector as PromQL; one without matchers would be refused and asks for everything.
pub(super) fn selector_text(matchers: &[Matcher]) -> String {
    if matchers.is_empty() {
        return r#"{__name__=~".+"}"#.to_owned();
    }
    Selector { matchers: matchers.to_vec() }.to_string()
}

fn metadata_params(request: &MetadataRequest) -> Vec<(&'static str, String)> {
    let mut params: Vec<(&str, String)> =
        request.selectors.iter().map(|matchers| ("match[]", selector_text(matchers))).collect();
    params.extend(request.start.map(|start| ("start", start.to_string())));
    params.extend(request.end.map(|end| ("end", end.to_string())));
    params.extend(request.limit.filter(|limit| *limit > 0).map(|limit| ("limit", limit.to_string())));
    params
}

/// The selectors as an expression that has them: servers take it apart again.
fn exemplar_params(request: &MetadataRequest) -> Vec<(&'static str, String)> {
    let mut selectors: Vec<String> = request.selectors.iter().map(|matchers| selector_text(matchers)).collect();
    if selectors.is_empty() {
        selectors.push(selector_text(&[]));
    }
    let mut params = vec![("query", selectors.join(" or "))];
    params.extend(request.start.map(|start| ("start", start.to_string())));
    params.extend(request.end.map(|end| ("end", end.to_string())));
    params
}

fn check_status(status: &ResponseStatus) -> Result<(), Error> {
    match status {
        ResponseStatus::Success => Ok(()),
        ResponseStatus::Error { error_type, message } => Err(from_envelope(error_type, message)),
    }
}

const LACKS_BUCKETS: &str = "the JSON API leaves out how their buckets lie, so that nothing exact can be computed from them: \
                             leave them out of the query";

/// Is it that the answer could not be had as JSON, though raw samples would do?
pub(super) fn lacks_histogram_buckets(error: &Error) -> bool {
    error.message().ends_with(LACKS_BUCKETS)
}

fn take_result(response: QueryResponse, context: &QueryContext) -> Result<DecodedResult, Error> {
    check_status(&response.status)?;
    annotate(response.warnings, response.infos, context);
    if response.histogram_series > 0 {
        return Err(Error::execution(format!(
            "answered {} series with native histograms; {LACKS_BUCKETS}",
            response.histogram_series
        )));
    }
    Ok(response.result)
}

/// Hands a server's annotations on. Their positions are those in the text that we sent, not in the client's: they go.
pub(super) fn annotate(warnings: Vec<String>, infos: Vec<String>, context: &QueryContext) {
    let of_kind = |kind| move |text: String| Annotation { kind, text: without_position(text), span: None };
    warnings
        .into_iter()
        .map(of_kind(AnnotationKind::Warning))
        .for_each(|annotation| context.annotations.add(annotation));
    infos.into_iter().map(of_kind(AnnotationKind::Info)).for_each(|annotation| context.annotations.add(annotation));
}

/// `PromQL info: … (1:6)` without its ` (1:6)`.
fn without_position(mut text: String) -> String {
    let is_position = |position: &str| {
        position
            .split_once(':')
            .is_some_and(|(line, column)| line.parse::<u32>().is_ok() && column.parse::<u32>().is_ok())
    };
    if let Some((before, position)) = text.strip_suffix(')').and_then(|text| text.rsplit_once(" ("))
        && text.starts_with("PromQL ")
        && is_position(position)
    {
        text.truncate(before.len());
    }
    text
}

/// What a decoded sample weighs: a time and a value.
const SAMPLE_BYTES: usize = 16;

struct QuerySink<'a> {
    decoder: QueryResponseDecoder,
    context: &'a QueryContext,
    meter: &'a CallMeter,
    held: Held,
}

impl BodySink for QuerySink<'_> {
    fn feed(&mut self, piece: &[u8]) -> Result<(), Error> {
        let samples = self.decoder.feed(piece).map_err(bad_answer)?;
        self.context.count_samples(samples);
        self.meter.decoded(samples);
        self.held.grow(samples, samples.saturating_mul(SAMPLE_BYTES))
    }
}

struct WholeBody(Vec<u8>);

impl BodySink for WholeBody {
    fn feed(&mut self, piece: &[u8]) -> Result<(), Error> {
        if self.0.len() + piece.len() > METADATA_BODY_BYTES_MAX {
            return Err(unavailable(format!("bad answer: larger than {METADATA_BODY_BYTES_MAX} bytes")));
        }
        self.0.extend_from_slice(piece);
        Ok(())
    }
}

/// A body that is counted while it comes, with what will be made of it.
struct CountedBody {
    body: Vec<u8>,
    held: Held,
}

impl BodySink for CountedBody {
    fn feed(&mut self, piece: &[u8]) -> Result<(), Error> {
        if self.body.len() + piece.len() > EXEMPLARS_BODY_BYTES_MAX {
            return Err(unavailable(format!("bad answer: larger than {EXEMPLARS_BODY_BYTES_MAX} bytes")));
        }
        self.held.grow(0, piece.len().saturating_mul(BYTES_PER_BODY_BYTE))?;
        self.body.extend_from_slice(piece);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::MatchOp;

    #[test]
    fn positions_in_our_own_text_are_taken_off() {
        for (text, expected) in [
            (
                "PromQL info: metric might not be a counter: \"a\" (1:6)",
                "PromQL info: metric might not be a counter: \"a\"",
            ),
            ("PromQL warning: odd (1:x)", "PromQL warning: odd (1:x)"),
            ("PromQL warning: odd", "PromQL warning: odd"),
            ("results truncated (1:2)", "results truncated (1:2)"),
        ] {
            assert_eq!(without_position(text.to_owned()), expected);
        }
    }

    #[test]
    fn metadata_requests_say_only_what_was_asked() {
        assert_eq!(metadata_params(&MetadataRequest { selectors: vec![], start: None, end: None, limit: Some(0) }), []);
        let request = MetadataRequest {
            selectors: vec![
                vec![Matcher::equal("__name__", "up")],
                vec![],
                vec![Matcher::new("a", MatchOp::NotEqual, "b")],
            ],
            start: Some(TimestampMs(1_500)),
            end: Some(TimestampMs(2_000)),
            limit: Some(10),
        };
        let expected = [
            ("match[]", "up"),
            ("match[]", r#"{__name__=~".+"}"#),
            ("match[]", r#"{a!="b"}"#),
            ("start", "1.500"),
            ("end", "2"),
            ("limit", "10"),
        ];
        assert_eq!(metadata_params(&request), expected.map(|(name, value)| (name, value.to_owned())));
        let selectors = r#"up or {__name__=~".+"} or {a!="b"}"#;
        let expected = [("query", selectors), ("start", "1.500"), ("end", "2")];
        assert_eq!(exemplar_params(&request), expected.map(|(name, value)| (name, value.to_owned())));
        let everything = MetadataRequest { selectors: vec![], start: None, end: None, limit: None };
        assert_eq!(exemplar_params(&everything), [("query", r#"{__name__=~".+"}"#.to_owned())]);
    }
}
