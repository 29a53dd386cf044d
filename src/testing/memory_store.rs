//! Series in memory, as a source for the query engine: the storage of the embedded Prometheus.

use std::collections::{BTreeMap, BTreeSet};

use arrow::record_batch::RecordBatch;
use async_trait::async_trait;
use futures::{StreamExt, stream};
use parking_lot::RwLock;

use super::{NotationError, SeriesNotation};
use crate::error::Error;
use crate::model::{
    CompiledMatchers, DurationMs, EncodedLabels, Labels, LabelsRef, Matcher, MetadataRequest, MetricMetadata,
    QueryContext, SamplesTableBuilder, SelectForm, SelectRequest, StepGrid, StepsTableBuilder, TimestampMs, is_stale,
};
use crate::scan::{SelectorForm, SeriesSource, SeriesStream};

/// A batch is cut when it holds this many samples or cells, so that even small tests see answers of several batches.
const BATCH_CELLS: usize = 8_192;

/// What a query over a series with native histograms is told.
const NO_HISTOGRAMS: &str = "native histograms are not supported yet";

/// Samples of one series; times ascend.
#[derive(Debug, Default)]
struct StoredSeries {
    timestamps: Vec<i64>,
    values: Vec<f64>,
    /// Native histograms are known by their times only: selecting one is an error, never a wrong answer.
    histogram_times: Vec<i64>,
}

/// One part: what one server group would hold.
#[derive(Debug, Default)]
struct Part {
    series: RwLock<BTreeMap<EncodedLabels, StoredSeries>>,
}

/// Holds series in memory and answers selections. Appending while queries run is safe: a query sees each part as it stood
/// when its selector was fetched.
#[derive(Debug)]
pub struct MemoryStore {
    parts: Vec<(String, Part)>,
    metadata: RwLock<BTreeMap<String, Vec<MetricMetadata>>>,
    form: SelectorForm,
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::new()
    }
}

impl MemoryStore {
    /// An empty store of one part.
    pub fn new() -> Self {
        Self::with_parts(["memory"])
    }

    /// An empty store of several parts, named for EXPLAIN. A list without names gives one part.
    pub fn with_parts<N: Into<String>>(names: impl IntoIterator<Item = N>) -> Self {
        let mut parts: Vec<_> = names.into_iter().map(|name| (name.into(), Part::default())).collect();
        if parts.is_empty() {
            parts.push(("memory".to_owned(), Part::default()));
        }
        Self { parts, metadata: RwLock::default(), form: SelectorForm::Samples }
    }

    /// The same store, which wants plain selectors to be asked for in `form`.
    #[must_use]
    pub fn answering(self, form: SelectorForm) -> Self {
        Self { form, ..self }
    }

    /// Appends one float sample to part 0.
    pub fn append(&self, labels: &Labels, time: TimestampMs, value: f64) -> Result<(), Error> {
        self.append_to_part(0, labels, &[time.0], &[value], &[])
    }

    /// Appends samples of one series to a part: floats (times in ms, ascending, as many as values) and times of native
    /// histograms. As Prometheus does: the same sample again is nothing, another value at a known time and an earlier time
    /// are errors; what was appended before the error stays.
    pub fn append_to_part(
        &self,
        part: usize,
        labels: &Labels,
        timestamps_ms: &[i64],
        values: &[f64],
        histogram_times_ms: &[i64],
    ) -> Result<(), Error> {
        let mut series = self.part(part)?.series.write();
        let stored = series.entry(labels.encode()).or_default();
        for (time, value) in timestamps_ms.iter().zip(values) {
            stored.append_float(*time, *value).map_err(|error| error.in_context(labels))?;
        }
        for time in histogram_times_ms {
            stored.append_histogram(*time).map_err(|error| error.in_context(labels))?;
        }
        Ok(())
    }

    /// Appends series in notation to part 0, value `i` at `start + i × interval`.
    pub fn load(&self, lines: &[&str], start: TimestampMs, interval: DurationMs) -> Result<(), Error> {
        self.load_part(0, lines, start, interval)
    }

    /// The same into any part.
    pub fn load_part(
        &self,
        part: usize,
        lines: &[&str],
        start: TimestampMs,
        interval: DurationMs,
    ) -> Result<(), Error> {
        for line in lines {
            let series = SeriesNotation::parse(line)
                .map_err(|error: NotationError| Error::bad_data(error.to_string()).in_context(line))?;
            let (times, values) = series.samples(start, interval);
            self.append_to_part(part, &series.labels, &times, &values, &series.histogram_times(start, interval))?;
        }
        Ok(())
    }

    /// Replaces what is known of a metric name.
    pub fn set_metadata(&self, metric: &str, metadata: Vec<MetricMetadata>) {
        self.metadata.write().insert(metric.to_owned(), metadata);
    }

    /// Forgets all samples and metadata.
    pub fn clear(&self) {
        self.parts.iter().for_each(|(_, part)| part.series.write().clear());
        self.metadata.write().clear();
    }

    /// Forgets samples older than `time`, and series that have none left: what bounds a store that is appended to for ever.
    pub fn drop_before(&self, time: TimestampMs) {
        for (_, part) in &self.parts {
            part.series.write().retain(|_, series| {
                let from = series.timestamps.partition_point(|at| *at < time.0);
                series.timestamps.drain(..from);
                series.values.drain(..from);
                series.histogram_times.retain(|at| *at >= time.0);
                series.newest().is_some()
            });
        }
    }

    /// How many series all parts hold together; the same label set in two parts counts twice.
    pub fn series_count(&self) -> usize {
        self.parts.iter().map(|(_, part)| part.series.read().len()).sum()
    }

    fn part(&self, part: usize) -> Result<&Part, Error> {
        let found = self.parts.get(part).map(|(_, part)| part);
        found.ok_or_else(|| Error::internal(format!("store has {} parts, asked for part {part}", self.parts.len())))
    }

    /// Label sets with a sample in the time window that any of the selectors matches, over all parts.
    fn matching_series(&self, request: &MetadataRequest) -> Result<BTreeSet<EncodedLabels>, Error> {
        let selectors = request.selectors.iter().map(|matchers| compile(matchers)).collect::<Result<Vec<_>, _>>()?;
        let start = request.start.map_or(i64::MIN, |time| time.0);
        let end = request.end.map_or(i64::MAX, |time| time.0);
        let mut found = BTreeSet::new();
        for (_, part) in &self.parts {
            for (labels, series) in part.series.read().iter() {
                let selected =
                    selectors.is_empty() || selectors.iter().any(|matchers| matchers.match_labels(labels.as_ref()));
                if selected && series.has_sample_in(start, end) {
                    found.insert(labels.clone());
                }
            }
        }
        Ok(found)
    }
}

fn compile(matchers: &[Matcher]) -> Result<CompiledMatchers, Error> {
    CompiledMatchers::compile(matchers).map_err(|error| Error::bad_data(error.to_string()))
}

/// The first `limit` of a list; no limit where it is `None` or 0.
fn limited<T>(items: impl IntoIterator<Item = T>, limit: Option<usize>) -> Vec<T> {
    let limit = limit.filter(|limit| *limit > 0).unwrap_or(usize::MAX);
    items.into_iter().take(limit).collect()
}

impl StoredSeries {
    fn newest(&self) -> Option<i64> {
        self.timestamps.last().max(self.histogram_times.last()).copied()
    }

    fn append_float(&mut self, time: i64, value: f64) -> Result<(), Error> {
        match self.newest() {
            Some(newest) if time < newest => Err(out_of_order(time, newest)),
            Some(newest) if time == newest => match (self.timestamps.last(), self.values.last()) {
                (Some(last), Some(known)) if *last == time && known.to_bits() == value.to_bits() => Ok(()),
                _ => Err(duplicate(time)),
            },
            _ => {
                self.timestamps.push(time);
                self.values.push(value);
                Ok(())
            }
        }
    }

    fn append_histogram(&mut self, time: i64) -> Result<(), Error> {
        // Floats of the same call stand before the histograms, so only the times of each kind must ascend here.
        if self.timestamps.binary_search(&time).is_ok() {
            return Err(duplicate(time));
        }
        match self.histogram_times.last() {
            Some(newest) if time < *newest => Err(out_of_order(time, *newest)),
            Some(newest) if time == *newest => Ok(()),
            _ => {
                self.histogram_times.push(time);
                Ok(())
            }
        }
    }

    /// Indexes of the samples with `start < t ≤ end`; an error if a native histogram stands there.
    fn window(&self, start: i64, end: i64) -> Result<std::ops::Range<usize>, Error> {
        let first_histogram = self.histogram_times.partition_point(|time| *time <= start);
        if self.histogram_times.get(first_histogram).is_some_and(|time| *time <= end) {
            return Err(Error::execution(NO_HISTOGRAMS));
        }
        let from = self.timestamps.partition_point(|time| *time <= start);
        let to = self.timestamps.partition_point(|time| *time <= end);
        Ok(from..to.max(from))
    }

    /// The newest sample with `time - lookback < t ≤ time`, unless it is a stale marker.
    fn look_back(&self, time: i64, lookback: DurationMs) -> Result<Option<(f64, i64)>, Error> {
        let window = self.window(time.saturating_sub(lookback.0), time)?;
        let newest = window.last().map(|at| (self.values[at], self.timestamps[at]));
        Ok(newest.filter(|(value, _)| !is_stale(*value)))
    }

    fn has_sample_in(&self, start: i64, end: i64) -> bool {
        let any_in =
            |times: &[i64]| times.get(times.partition_point(|time| *time < start)).is_some_and(|at| *at <= end);
        any_in(&self.timestamps) || any_in(&self.histogram_times)
    }
}

fn out_of_order(time: i64, newest: i64) -> Error {
    let [time, newest] = [time, newest].map(TimestampMs);
    Error::bad_data(format!("out of order sample: {time} comes after {newest}"))
}

fn duplicate(time: i64) -> Error {
    Error::bad_data(format!("duplicate sample for timestamp {}", TimestampMs(time)))
}

/// Raw samples with `start < t ≤ end`, stale markers kept; series without any are left out.
fn select_samples(
    series: &BTreeMap<EncodedLabels, StoredSeries>,
    matchers: &CompiledMatchers,
    (start, end): (TimestampMs, TimestampMs),
    context: &QueryContext,
) -> Result<Vec<RecordBatch>, Error> {
    let mut batches = Vec::new();
    let mut builder = SamplesTableBuilder::default();
    for (labels, stored) in series.iter().filter(|(labels, _)| matchers.match_labels(labels.as_ref())) {
        let window = stored.window(start.0, end.0)?;
        if window.is_empty() {
            continue;
        }
        context.count_samples(window.len())?;
        builder.extend_samples(&stored.timestamps[window.clone()], &stored.values[window]);
        builder.finish_series(labels.as_bytes());
        if builder.sample_count() >= BATCH_CELLS {
            batches.push(builder.finish());
        }
    }
    batches.push(builder.finish());
    Ok(batches)
}

/// Timed steps; series without any are left out.
fn select_steps(
    series: &BTreeMap<EncodedLabels, StoredSeries>,
    matchers: &CompiledMatchers,
    (grid, lookback): (StepGrid, DurationMs),
    context: &QueryContext,
) -> Result<Vec<RecordBatch>, Error> {
    let mut batches = Vec::new();
    let mut builder = StepsTableBuilder::timed(grid.step_count());
    for (labels, stored) in series.iter().filter(|(labels, _)| matchers.match_labels(labels.as_ref())) {
        let cells = grid.times().map(|time| stored.look_back(time.0, lookback)).collect::<Result<Vec<_>, _>>()?;
        let count = cells.iter().flatten().count();
        if count == 0 {
            continue;
        }
        context.count_samples(count)?;
        cells.into_iter().for_each(|cell| builder.push_timed_cell(cell));
        builder.finish_series(labels.as_bytes());
        if builder.row_count().saturating_mul(grid.step_count()) >= BATCH_CELLS {
            batches.push(builder.finish());
        }
    }
    batches.push(builder.finish());
    Ok(batches)
}

#[async_trait]
impl SeriesSource for MemoryStore {
    fn part_names(&self) -> Vec<String> {
        self.parts.iter().map(|(name, _)| name.clone()).collect()
    }

    fn selector_form(&self) -> SelectorForm {
        self.form
    }

    async fn select(
        &self,
        part: usize,
        request: &SelectRequest,
        context: &QueryContext,
    ) -> Result<SeriesStream, Error> {
        let matchers = compile(&request.matchers)?;
        let batches = {
            let series = self.part(part)?.series.read();
            match request.form {
                SelectForm::Samples { start, end } => select_samples(&series, &matchers, (start, end), context)?,
                SelectForm::Steps { grid, lookback } => select_steps(&series, &matchers, (grid, lookback), context)?,
            }
        };
        Ok(stream::iter(batches.into_iter().map(Ok)).boxed())
    }

    async fn label_names(&self, request: &MetadataRequest, _context: &QueryContext) -> Result<Vec<String>, Error> {
        let series = self.matching_series(request)?;
        let names: BTreeSet<String> =
            series.iter().flat_map(|labels| labels.as_ref().iter()).map(|(name, _)| name.into_owned()).collect();
        Ok(limited(names, request.limit))
    }

    async fn label_values(
        &self,
        name: &str,
        request: &MetadataRequest,
        _context: &QueryContext,
    ) -> Result<Vec<String>, Error> {
        let series = self.matching_series(request)?;
        let value = |labels: &EncodedLabels| labels.as_ref().get(name).map(|value| value.into_owned());
        let values: BTreeSet<String> = series.iter().filter_map(value).collect();
        Ok(limited(values, request.limit))
    }

    async fn series(&self, request: &MetadataRequest, _context: &QueryContext) -> Result<Vec<Labels>, Error> {
        let series = self.matching_series(request)?;
        Ok(limited(series.iter().map(|labels| LabelsRef::to_labels(labels.as_ref())), request.limit))
    }

    async fn metric_metadata(
        &self,
        metric: Option<&str>,
        _context: &QueryContext,
    ) -> Result<BTreeMap<String, Vec<MetricMetadata>>, Error> {
        let mut known = self.metadata.read().clone();
        known.retain(|name, _| metric.is_none_or(|metric| metric == name));
        known.values_mut().for_each(|list| {
            list.sort();
            list.dedup();
        });
        Ok(known)
    }
}

#[cfg(test)]
mod tests {
    use futures::TryStreamExt;

    use super::*;
    use crate::model::{MatchOp, SamplesTable, StepsTable};
    use crate::testing::{SequenceValue, format_labels};

    const MINUTE: DurationMs = DurationMs(60_000);

    fn store(lines: &[&str]) -> MemoryStore {
        let store = MemoryStore::new();
        store.load(lines, TimestampMs(0), MINUTE).expect("valid");
        store
    }

    fn request(name: &str, form: SelectForm) -> SelectRequest {
        SelectRequest { matchers: vec![Matcher::equal("__name__", name)], form }
    }

    fn window(start_min: i64, end_min: i64) -> SelectForm {
        SelectForm::Samples { start: TimestampMs(start_min * 60_000), end: TimestampMs(end_min * 60_000) }
    }

    async fn select(store: &MemoryStore, request: &SelectRequest) -> Result<Vec<RecordBatch>, Error> {
        store.select(0, request, &QueryContext::default()).await?.try_collect().await
    }

    /// One line a series; `value@minutes` for samples, `value@minutes` or `_` a step for steps.
    async fn selected(store: &MemoryStore, form: SelectForm) -> Result<Vec<String>, Error> {
        let text = |value: f64, time: i64| format!("{}@{}", SequenceValue::Float(value), time / 60_000);
        let mut lines = Vec::new();
        for batch in select(store, &request("x", form.clone())).await? {
            if matches!(form, SelectForm::Samples { .. }) {
                let table = SamplesTable::try_new(&batch)?;
                for row in 0..table.row_count() {
                    let (times, values) = table.series(row);
                    let samples: Vec<_> = times.iter().zip(values).map(|(time, value)| text(*value, *time)).collect();
                    lines.push(format!("{} {}", format_labels(&table.labels(row).to_labels()), samples.join(" ")));
                }
            } else {
                let table = StepsTable::try_new(&batch)?;
                for row in 0..table.row_count() {
                    let cell = |step| {
                        let time = table.sample_time(row, step)?;
                        Some(text(table.cell(row, step)?, time))
                    };
                    let cells = (0..table.step_count()).map(|step| cell(step).unwrap_or_else(|| "_".to_owned()));
                    let cells: Vec<_> = cells.collect();
                    lines.push(format!("{} {}", format_labels(&table.labels(row).to_labels()), cells.join(" ")));
                }
            }
        }
        Ok(lines)
    }

    #[tokio::test]
    async fn raw_windows_are_left_open_sorted_and_keep_stale_markers() {
        let store = store(&["x{b=\"2\"} 0 1 2 stale 4 5", "x{a=\"1\"} _ 1 _x3", "y 1x9"]);
        assert_eq!(
            selected(&store, window(0, 4)).await.expect("answers"),
            ["x{a=\"1\"} 1@1", "x{b=\"2\"} 1@1 2@2 stale@3 4@4"]
        );
        assert_eq!(selected(&store, window(4, 9)).await.expect("answers"), ["x{b=\"2\"} 5@5"]);
        assert!(selected(&store, window(5, 9)).await.expect("answers").is_empty());
        assert!(
            selected(&store, window(9, 5)).await.expect("answers").is_empty(),
            "a window turned round holds nothing"
        );
    }

    #[tokio::test]
    async fn steps_look_back_and_stop_at_stale_markers() {
        let store = store(&["x 0 1 _ _ stale _ 6"]);
        let steps = |lookback_min: i64| SelectForm::Steps {
            grid: StepGrid::with_count(TimestampMs(0), MINUTE, 8),
            lookback: DurationMs(lookback_min * 60_000),
        };
        assert_eq!(selected(&store, steps(2)).await.expect("answers"), ["x 0@0 1@1 1@1 _ _ _ 6@6 6@6"]);
        assert_eq!(selected(&store, steps(5)).await.expect("answers"), ["x 0@0 1@1 1@1 1@1 _ _ 6@6 6@6"]);
    }

    #[tokio::test]
    async fn selecting_native_histograms_is_an_error_only_where_they_stand() {
        let store = store(&["x 0 1 {{count:1}} 3"]);
        assert_eq!(selected(&store, window(-1, 1)).await.expect("only floats"), ["x 0@0 1@1"]);
        assert_eq!(selected(&store, window(2, 5)).await.expect("left open"), ["x 3@3"]);
        let error = selected(&store, window(1, 2)).await.expect_err("a histogram stands at 2m");
        assert_eq!(error, Error::execution("native histograms are not supported yet"));
        let steps = SelectForm::Steps { grid: StepGrid::instant(TimestampMs(120_000)), lookback: MINUTE };
        assert!(selected(&store, steps).await.is_err());
    }

    #[tokio::test]
    async fn many_series_come_in_several_sorted_batches() {
        let store = MemoryStore::new();
        for at in 0..30 {
            store.load(&[&format!("x{{n=\"{at:02}\"}} 1x999")], TimestampMs(1), DurationMs(1)).expect("valid");
        }
        let batches = select(&store, &request("x", window(0, 10))).await.expect("answers");
        assert!(batches.len() > 2);
        let rows: usize = batches.iter().map(RecordBatch::num_rows).sum();
        assert_eq!(rows, 30);
        let budget = QueryContext::new(None, 29_999);
        assert!(
            store.select(0, &request("x", window(0, 10)), &budget).await.is_err(),
            "30,000 samples are over the budget"
        );
    }

    #[test]
    fn appending_goes_forward_in_time() {
        let store = MemoryStore::new();
        let labels = Labels::from_pairs([("__name__", "x")]);
        let append = |time, value| store.append(&labels, TimestampMs(time), value).map_err(|error| error.to_string());
        assert_eq!(append(1000, 1.0), Ok(()));
        assert_eq!(append(1000, 1.0), Ok(()), "the same sample again is nothing");
        assert_eq!(append(1000, 2.0), Err("{__name__=\"x\"}: duplicate sample for timestamp 1".to_owned()));
        assert_eq!(append(999, 1.0), Err("{__name__=\"x\"}: out of order sample: 0.999 comes after 1".to_owned()));
        assert!(store.append_to_part(1, &labels, &[], &[], &[]).is_err(), "there is no part 1");
        assert!(store.append_to_part(0, &labels, &[], &[], &[1000]).is_err(), "a float stands there");
    }

    #[test]
    fn old_samples_and_empty_series_are_dropped() {
        let store = store(&["x 0 1 2", "y 0", "z {{}}"]);
        store.drop_before(TimestampMs(60_000));
        assert_eq!(store.series_count(), 1);
    }

    #[tokio::test]
    async fn parts_are_apart_in_selections_and_united_in_metadata() {
        let store = MemoryStore::with_parts(["eu", "us"]).answering(SelectorForm::Steps);
        store.load_part(0, &["x{a=\"1\"} 1"], TimestampMs(0), MINUTE).expect("valid");
        store.load_part(1, &["x{a=\"1\"} 1", "x{b=\"2\"} _ 1"], TimestampMs(0), MINUTE).expect("valid");
        assert_eq!(
            (store.part_names(), store.selector_form()),
            (vec!["eu".to_owned(), "us".to_owned()], SelectorForm::Steps)
        );
        assert_eq!(selected(&store, window(-1, 9)).await.expect("answers"), ["x{a=\"1\"} 1@0"]);

        let context = QueryContext::default();
        let all = MetadataRequest { selectors: Vec::new(), start: None, end: None, limit: None };
        assert_eq!(store.label_names(&all, &context).await.expect("answers"), ["__name__", "a", "b"]);
        assert_eq!(store.series(&all, &context).await.expect("answers").len(), 2);
        let late = MetadataRequest { start: Some(TimestampMs(1)), ..all.clone() };
        assert_eq!(store.label_values("b", &late, &context).await.expect("answers"), ["2"]);
        assert!(store.label_values("a", &late, &context).await.expect("answers").is_empty());
        let two = vec![vec![Matcher::equal("a", "1")], vec![Matcher::new("b", MatchOp::Regex, "[0-9]")]];
        let chosen = MetadataRequest { selectors: two, limit: Some(2), ..all.clone() };
        assert_eq!(store.label_names(&chosen, &context).await.expect("answers"), ["__name__", "a"]);
        let bad = MetadataRequest { selectors: vec![vec![Matcher::new("b", MatchOp::Regex, "[")]], ..all };
        assert!(store.series(&bad, &context).await.is_err());
    }

    #[tokio::test]
    async fn metadata_is_sorted_and_without_duplicates() {
        let store = MemoryStore::new();
        let metadata =
            |help: &str| MetricMetadata { metric_type: "gauge".to_owned(), help: help.to_owned(), unit: String::new() };
        store.set_metadata("x", vec![metadata("b"), metadata("a"), metadata("b")]);
        store.set_metadata("y", vec![metadata("c")]);
        let known = store.metric_metadata(Some("x"), &QueryContext::default()).await.expect("answers");
        assert_eq!(known, BTreeMap::from([("x".to_owned(), vec![metadata("a"), metadata("b")])]));
    }
}
