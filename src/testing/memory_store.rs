//! Series in memory, as a source for the query engine: the storage of the embedded Prometheus.

mod histogram_chunk;
mod stored_series;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::record_batch::RecordBatch;
use async_trait::async_trait;
use futures::StreamExt;
use parking_lot::RwLock;

use self::stored_series::{StoredSeries, sample_size};
use super::{NotationError, SeriesNotation, TimedSample};
use crate::error::Error;
use crate::merge::unite_exemplars;
use crate::model::{
    CompiledMatchers, DurationMs, EncodedLabels, Exemplar, ExemplarSet, Held, Labels, LabelsRef, Matcher,
    MetadataRequest, MetricMetadata, QueryContext, Sample, SamplesTableBuilder, SelectForm, SelectRequest,
    SeriesExemplars, SeriesStream, StepGrid, StepsTableBuilder, TableSize, TimestampMs, held_tables, histogram_size,
};
use crate::scan::{ScanRequest, SelectorForm, SeriesSource};

/// A batch is cut when it holds this many samples or cells, so that even small tests see answers of several batches.
const BATCH_CELLS: usize = 8_192;

/// One part: what one server group would hold.
#[derive(Debug, Default)]
struct Part {
    series: RwLock<BTreeMap<EncodedLabels, StoredSeries>>,
    exemplars: RwLock<BTreeMap<EncodedLabels, Vec<Exemplar>>>,
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
        self.append_to_part(0, labels, [TimedSample { time: time.0, start_time: None, sample: Sample::Float(value) }])
    }

    /// Appends samples of one series to a part, in the order of their times. As Prometheus does: the same sample again is
    /// nothing, another value at a known time, an earlier time and a histogram that contradicts itself are errors; what was
    /// appended before the error stays. Reset hints of histograms come back as Prometheus' storage would give them back.
    pub fn append_to_part(
        &self,
        part: usize,
        labels: &Labels,
        samples: impl IntoIterator<Item = TimedSample>,
    ) -> Result<(), Error> {
        let mut series = self.part(part)?.series.write();
        let stored = series.entry(labels.encode()).or_default();
        samples.into_iter().try_for_each(|sample| stored.append(sample)).map_err(|error| error.in_context(labels))
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
            self.append_to_part(part, &series.labels, series.samples(start, interval))?;
        }
        Ok(())
    }

    /// Appends an exemplar of a series to a part. Unlike a Prometheus, which keeps the newest, it keeps all.
    ///
    /// # Errors
    /// A part that there is not.
    pub fn append_exemplar(&self, part: usize, series: &Labels, exemplar: Exemplar) -> Result<(), Error> {
        self.part(part)?.exemplars.write().entry(series.encode()).or_default().push(exemplar);
        Ok(())
    }

    /// The exemplars of one part.
    fn exemplars_of_part(
        part: &Part,
        selectors: &[CompiledMatchers],
        request: &MetadataRequest,
    ) -> Vec<SeriesExemplars> {
        let is_asked = |exemplar: &&Exemplar| {
            request.start.is_none_or(|start| start <= exemplar.timestamp)
                && request.end.is_none_or(|end| exemplar.timestamp <= end)
        };
        let is_selected = |labels: &EncodedLabels| {
            selectors.is_empty() || selectors.iter().any(|matchers| matchers.match_labels(labels.as_ref()))
        };
        let stored = part.exemplars.read();
        let selected = stored.iter().filter(|(labels, _)| is_selected(labels));
        selected
            .map(|(labels, exemplars)| SeriesExemplars {
                series: labels.as_ref().to_labels(),
                exemplars: exemplars.iter().filter(is_asked).cloned().collect(),
            })
            .collect()
    }

    /// Replaces what is known of a metric name.
    pub fn set_metadata(&self, metric: &str, metadata: Vec<MetricMetadata>) {
        self.metadata.write().insert(metric.to_owned(), metadata);
    }

    /// Forgets all samples and metadata.
    pub fn clear(&self) {
        for (_, part) in &self.parts {
            part.series.write().clear();
            part.exemplars.write().clear();
        }
        self.metadata.write().clear();
    }

    /// Forgets samples older than `time`, and series that have none left: what bounds a store that is appended to for ever.
    pub fn drop_before(&self, time: TimestampMs) {
        for (_, part) in &self.parts {
            part.series.write().retain(|_, series| {
                series.drop_before(time.0);
                !series.is_empty()
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

/// Raw samples with `start < t ≤ end`, stale markers kept; series without any are left out.
fn select_samples(
    series: &BTreeMap<EncodedLabels, StoredSeries>,
    matchers: &CompiledMatchers,
    (start, end): (TimestampMs, TimestampMs),
    context: &QueryContext,
) -> Result<Vec<(RecordBatch, Held)>, Error> {
    let mut batches = Vec::new();
    let mut held = context.hold(0, 0)?;
    let mut builder = SamplesTableBuilder::default();
    for (labels, stored) in series.iter().filter(|(labels, _)| matchers.match_labels(labels.as_ref())) {
        let window = stored.window(start.0, end.0);
        if window.floats.is_empty() && window.histograms.is_empty() {
            continue;
        }
        let histograms = stored.histograms(&window);
        let weight: usize = histograms.iter().map(|item| histogram_size(&item.histogram)).sum();
        context.count_samples(window.floats.len() + weight);
        held.grow(window.floats.len() + weight, 0)?;
        match stored.floats(&window) {
            (times, values, None) => builder.extend_samples(times, values),
            (times, values, Some(starts)) => {
                for ((time, start), value) in times.iter().zip(starts).zip(values) {
                    builder.push_started_sample(*time, *start, *value);
                }
            }
        }
        for item in histograms {
            builder.push_histogram(item.at, item.start_time, Arc::clone(&item.histogram));
        }
        builder.finish_series(labels.as_bytes());
        if builder.sample_count() >= BATCH_CELLS {
            batches.push(with_bytes(builder.finish(), std::mem::replace(&mut held, context.hold(0, 0)?))?);
        }
    }
    batches.push(with_bytes(builder.finish(), held)?);
    Ok(batches)
}

/// A table whose samples were counted already, with its bytes counted, too.
fn with_bytes(table: RecordBatch, mut held: Held) -> Result<(RecordBatch, Held), Error> {
    held.grow(0, TableSize::of(&table).bytes)?;
    Ok((table, held))
}

/// Timed steps; series without any are left out.
fn select_steps(
    series: &BTreeMap<EncodedLabels, StoredSeries>,
    matchers: &CompiledMatchers,
    (grid, lookback): (StepGrid, DurationMs),
    context: &QueryContext,
) -> Result<Vec<(RecordBatch, Held)>, Error> {
    let mut batches = Vec::new();
    let mut held = context.hold(0, 0)?;
    let mut builder = StepsTableBuilder::timed(grid.step_count());
    for (labels, stored) in series.iter().filter(|(labels, _)| matchers.match_labels(labels.as_ref())) {
        let cells: Vec<_> = grid.times().map(|time| stored.look_back(time.0, lookback)).collect();
        let weight: usize = cells.iter().flatten().map(|(sample, _)| sample_size(sample)).sum();
        if weight == 0 {
            continue;
        }
        context.count_samples(weight);
        held.grow(weight, 0)?;
        cells.into_iter().for_each(|cell| builder.push_timed_sample(cell));
        builder.finish_series(labels.as_bytes());
        if builder.row_count().saturating_mul(grid.step_count()) >= BATCH_CELLS {
            batches.push(with_bytes(builder.finish(), std::mem::replace(&mut held, context.hold(0, 0)?))?);
        }
    }
    batches.push(with_bytes(builder.finish(), held)?);
    Ok(batches)
}

impl MemoryStore {
    /// The series of one part that a request selects, sorted by labels.
    pub fn select(
        &self,
        part: usize,
        request: &SelectRequest,
        context: &QueryContext,
    ) -> Result<Vec<RecordBatch>, Error> {
        let held = self.select_held(part, request, context)?;
        Ok(held.into_iter().map(|(table, _)| table).collect())
    }

    fn select_held(
        &self,
        part: usize,
        request: &SelectRequest,
        context: &QueryContext,
    ) -> Result<Vec<(RecordBatch, Held)>, Error> {
        let matchers = compile(&request.matchers)?;
        let series = self.part(part)?.series.read();
        match request.form {
            SelectForm::Samples { start, end } => select_samples(&series, &matchers, (start, end), context),
            SelectForm::Steps { grid, lookback } => select_steps(&series, &matchers, (grid, lookback), context),
        }
    }
}

#[async_trait]
impl SeriesSource for MemoryStore {
    fn part_names(&self) -> Vec<String> {
        self.parts.iter().map(|(name, _)| name.clone()).collect()
    }

    fn selector_form(&self) -> SelectorForm {
        self.form
    }

    fn open(&self, scan: &ScanRequest, context: &QueryContext) -> Vec<SeriesStream> {
        let open = |part| {
            let batches = if scan.wants(part) { self.select_held(part, &scan.select, context) } else { Ok(Vec::new()) };
            match batches {
                Ok(batches) => held_tables(batches).boxed(),
                Err(error) => futures::stream::iter([Err(error)]).boxed(),
            }
        };
        (0..self.parts.len()).map(open).collect()
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

    async fn exemplars(&self, request: &MetadataRequest, context: &QueryContext) -> Result<ExemplarSet, Error> {
        let selectors = request.selectors.iter().map(|matchers| compile(matchers)).collect::<Result<Vec<_>, _>>()?;
        let answer = |(_, part): &(String, Part)| {
            let series = Self::exemplars_of_part(part, &selectors, request);
            let held = context.hold(0, series.iter().map(SeriesExemplars::byte_count).sum())?;
            Ok(ExemplarSet { series, held: vec![held] })
        };
        Ok(unite_exemplars(self.parts.iter().map(answer).collect::<Result<Vec<_>, Error>>()?))
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

    fn select(store: &MemoryStore, request: &SelectRequest) -> Result<Vec<RecordBatch>, Error> {
        store.select(0, request, &QueryContext::default())
    }

    /// One line a series; `value@minutes` for samples (floats, then histograms), `value@minutes` or `_` a step for steps.
    async fn selected(store: &MemoryStore, form: SelectForm) -> Result<Vec<String>, Error> {
        let text = |sample: Sample, time: i64| format!("{}@{}", SequenceValue::from(sample), time / 60_000);
        let mut lines = Vec::new();
        for batch in select(store, &request("x", form.clone()))? {
            if matches!(form, SelectForm::Samples { .. }) {
                let table = SamplesTable::try_new(&batch)?;
                for row in 0..table.row_count() {
                    let (times, values) = table.series(row);
                    let floats = times.iter().zip(values).map(|(time, value)| text(Sample::Float(*value), *time));
                    let histograms = table.histograms().row(row)?;
                    let histograms =
                        histograms.into_iter().map(|item| text(Sample::Histogram(item.histogram), item.at));
                    let samples: Vec<_> = floats.chain(histograms).collect();
                    lines.push(format!("{} {}", format_labels(&table.labels(row).to_labels()), samples.join(" ")));
                }
            } else {
                let table = StepsTable::try_new(&batch)?;
                for row in 0..table.row_count() {
                    let cell = |(step, sample)| Some(text(sample?, table.sample_time(row, step)?));
                    let cells = table.samples(row)?.into_iter().enumerate();
                    let cells: Vec<_> = cells.map(|cell_at| cell(cell_at).unwrap_or_else(|| "_".to_owned())).collect();
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
    async fn floats_and_histograms_take_turns_in_a_series() {
        let store = store(&["x 0 {{count:1}} 2 {{count:3}}x1 stale"]);
        assert_eq!(
            selected(&store, window(0, 9)).await.expect("answers"),
            ["x 2@2 {{count:1}}@1 {{count:3}}@3 {{count:3 counter_reset_hint:not_reset}}@4 {{sum:NaN}}@5"]
        );
        assert_eq!(selected(&store, window(0, 1)).await.expect("answers"), ["x {{count:1}}@1"]);
        let steps = SelectForm::Steps { grid: StepGrid::with_count(TimestampMs(0), MINUTE, 6), lookback: MINUTE };
        assert_eq!(
            selected(&store, steps).await.expect("answers"),
            ["x 0@0 {{count:1}}@1 2@2 {{count:3}}@3 {{count:3 counter_reset_hint:not_reset}}@4 _"]
        );
        let steps = SelectForm::Steps {
            grid: StepGrid::with_count(TimestampMs(90_000), MINUTE, 2),
            lookback: DurationMs(120_000),
        };
        assert_eq!(selected(&store, steps).await.expect("answers"), ["x {{count:1}}@1 2@2"]);
    }

    #[tokio::test]
    async fn histograms_weigh_more_than_floats_in_the_budget() {
        let store = store(&["x {{}}x1"]);
        let forms = [
            window(-1, 9),
            SelectForm::Steps { grid: StepGrid::with_count(TimestampMs(0), MINUTE, 2), lookback: MINUTE },
        ];
        for form in forms {
            let select = async |samples_max| {
                let context = QueryContext::new(None, samples_max);
                let answer = store.select(0, &request("x", form.clone()), &context);
                answer.map(|_| context.samples_loaded()).map_err(|error| error.kind())
            };
            assert_eq!(select(22).await, Ok(22));
            assert_eq!(select(21).await, Err(crate::error::ErrorKind::TooManySamples));
        }
    }

    #[tokio::test]
    async fn start_times_come_back_where_they_are_known() {
        let store = MemoryStore::new();
        let series = SeriesNotation::parse("x 1 2 {{}} 4 5").expect("valid");
        let offsets = [None, Some(-30_000), Some(-1), Some(-180_000)].map(|offset| offset.map(DurationMs));
        store
            .append_to_part(0, &series.labels, series.started_samples(TimestampMs(0), MINUTE, &offsets))
            .expect("in order");
        let starts = async |from: i64| {
            let batches = select(&store, &request("x", window(from, 9))).expect("answers");
            let table = SamplesTable::try_new(&batches[0]).expect("samples");
            let histograms = table.histograms().row(0).expect("readable");
            (table.start_times(0).map(<[i64]>::to_vec), histograms.first().and_then(|item| item.start_time))
        };
        // A start at time 0 is none.
        assert_eq!(starts(-1).await, (Some(vec![0, 30_000, 0, 0]), Some(119_999)));
        assert_eq!(starts(2).await, (None, None));
    }

    #[tokio::test]
    async fn many_series_come_in_several_sorted_batches() {
        let store = MemoryStore::new();
        for at in 0..30 {
            store.load(&[&format!("x{{n=\"{at:02}\"}} 1x999")], TimestampMs(1), DurationMs(1)).expect("valid");
        }
        let batches = select(&store, &request("x", window(0, 10))).expect("answers");
        assert!(batches.len() > 2);
        let rows: usize = batches.iter().map(RecordBatch::num_rows).sum();
        assert_eq!(rows, 30);
        let budget = QueryContext::new(None, 29_999);
        assert!(store.select(0, &request("x", window(0, 10)), &budget).is_err(), "30,000 samples are over the budget");
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
        assert!(store.append_to_part(1, &labels, []).is_err(), "there is no part 1");
    }

    #[test]
    fn a_time_has_one_sample() {
        let [float, histogram, other, marker] = ["1", "{{count:1}}", "{{count:2}}", "stale"].map(|value| {
            let series = SeriesNotation::parse(&format!("x {value}")).expect("valid");
            series.samples(TimestampMs(1000), MINUTE).remove(0)
        });
        for (first, second, fits) in [
            (&float, &float, true),
            (&float, &histogram, false),
            (&histogram, &float, false),
            (&histogram, &histogram, true),
            (&histogram, &other, false),
            (&histogram, &marker, false),
        ] {
            let samples = [first.clone(), second.clone()];
            let appended = MemoryStore::new().append_to_part(0, &Labels::from_pairs([("__name__", "x")]), samples);
            let error = "{__name__=\"x\"}: duplicate sample for timestamp 1";
            assert_eq!(appended.is_ok(), fits);
            assert!(appended.is_ok() || appended.is_err_and(|found| found.to_string() == error));
        }
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
