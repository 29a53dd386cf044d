//! Whole tables of many replicas into one, sorted by labels.

use arrow::record_batch::RecordBatch;

use super::row_index::{RowIndex, RowPlace};
use super::sparse_steps::{SparseSteps, SparseStepsBuilder};
use super::{
    MergePolicy, MergeValue, Samples, StartedSample, StartedSamples, StepCell, is_mixed_row, merge_samples,
    merge_steps, mixed_cells,
};
use crate::error::Error;
use crate::model::{
    LabelsRef, SamplesTable, SamplesTableBuilder, StepGrid, StepsTable, StepsTableBuilder, TimestampMs,
};

/// A merged batch is cut behind the series that reaches this: 4 MiB of values. A batch may be larger by one series.
const BATCH_CELLS: usize = 512 * 1024;
/// … or behind so many series, where they are short.
const BATCH_ROWS: usize = 8 * 1024;

/// Which table is merged.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum TableForm {
    /// Samples tables.
    Samples,
    /// Timed steps tables.
    TimedSteps {
        /// Cells a row.
        step_count: usize,
    },
    /// Tables of sparse steps; merged they become timed steps tables.
    SparseSteps {
        /// The steps; a sample that lies on none of them is an error.
        grid: StepGrid,
    },
}

/// What one replica answered.
#[derive(Clone, Debug)]
pub struct ReplicaTables {
    /// Who it is, for error texts.
    pub name: String,
    /// Its tables, in any order of rows.
    pub batches: Vec<RecordBatch>,
}

/// Merges the tables of all replicas, series by series, as the batches are taken. The order of `replicas` does not matter to
/// the numbers. Batches come sorted by labels, each label set once; there are none where there are no rows.
///
/// A label set that one replica has in several rows is glued together if the rows are disjoint (in samples' time spans, or in
/// steps); else the merge ends with an error that names the replica: a series that contradicts itself has no right answer.
/// Fails at once on tables of another form.
pub fn merge_tables(form: TableForm, replicas: Vec<ReplicaTables>, policy: MergePolicy) -> Result<MergedTables, Error> {
    let mut names = Vec::with_capacity(replicas.len());
    let (mut tables, mut owners) = (Vec::new(), Vec::new());
    for (owner, replica) in replicas.into_iter().enumerate() {
        names.push(replica.name);
        owners.extend(std::iter::repeat_n(owner, replica.batches.len()));
        tables.extend(replica.batches);
    }
    for table in &tables {
        check_form(form, table)?;
    }
    let index = RowIndex::try_new(&tables)?;
    let untouched = index.is_in_place() && !matches!(form, TableForm::SparseSteps { .. });
    let source = Source { tables, owners, names, index };
    Ok(MergedTables { source, form, policy, at: 0, untouched })
}

pub(super) fn check_form(form: TableForm, table: &RecordBatch) -> Result<(), Error> {
    match form {
        TableForm::Samples => SamplesTable::try_new(table).map(drop),
        TableForm::TimedSteps { step_count } => {
            let steps = StepsTable::try_new(table)?;
            if steps.step_count() == step_count && steps.is_timed() {
                return Ok(());
            }
            Err(Error::internal(format!(
                "steps table of {} steps where {step_count} timed steps are due",
                steps.step_count()
            )))
        }
        TableForm::SparseSteps { .. } => SparseSteps::try_new(table).map(drop),
    }
}

/// One server's tables in the order of labels, each label set once: what [`StreamMerge`](super::StreamMerge) reads. Tables that
/// are so already pass untouched. Fails on a series that contradicts itself and on a sample that lies on no step, so that the
/// replica that said so can be left out, and not the whole answer.
pub fn sort_replica(form: TableForm, batches: Vec<RecordBatch>) -> Result<Vec<RecordBatch>, Error> {
    for table in &batches {
        check_form(form, table)?;
        if let TableForm::SparseSteps { grid } = form {
            check_on_grid(grid, table)?;
        }
    }
    let index = RowIndex::try_new(&batches)?;
    if index.is_in_place() {
        return Ok(batches.into_iter().filter(|table| table.num_rows() > 0).collect());
    }
    if let TableForm::SparseSteps { .. } = form {
        return sort_sparse_steps(&batches, &index);
    }
    let replica = ReplicaTables { name: "its answer".to_owned(), batches };
    let policy = MergePolicy { anti_affinity_ms: 0, dynamic: false, prefer_max: false };
    merge_tables(form, vec![replica], policy)?.collect()
}

fn sort_sparse_steps(batches: &[RecordBatch], index: &RowIndex) -> Result<Vec<RecordBatch>, Error> {
    let views = batches.iter().map(SparseSteps::try_new).collect::<Result<Vec<_>, _>>()?;
    let (mut sorted, mut builder, mut at) = (Vec::new(), SparseStepsBuilder::default(), 0);
    let mut steps = Vec::new();
    loop {
        let rows = index.same_series(at);
        let Some(first) = rows.first() else { break };
        steps.clear();
        rows.iter().for_each(|place| steps.extend(views[place.table as usize].steps(place.row as usize)));
        // A grid that was asked in pieces comes piece by piece.
        steps.sort_by_key(|(step_ms, ..)| *step_ms);
        if steps.windows(2).any(|pair| pair[0].0 == pair[1].0) {
            let labels = LabelsRef::new(index.labels(*first));
            return Err(Error::execution(format!("the same series came twice with overlapping samples: {labels}")));
        }
        steps.iter().for_each(|(step_ms, value, time_ms)| builder.push_step(*step_ms, *value, *time_ms));
        builder.finish_series(index.labels(*first));
        at += rows.len();
        if builder.sample_count() >= BATCH_CELLS || builder.row_count() >= BATCH_ROWS {
            sorted.push(builder.finish());
        }
    }
    if builder.row_count() > 0 {
        sorted.push(builder.finish());
    }
    Ok(sorted)
}

fn check_on_grid(grid: StepGrid, table: &RecordBatch) -> Result<(), Error> {
    let steps = SparseSteps::try_new(table)?;
    for row in 0..table.num_rows() {
        if let Some((time_ms, ..)) =
            steps.steps(row).find(|(time_ms, ..)| grid.index_of(TimestampMs(*time_ms)).is_none())
        {
            let time = TimestampMs(time_ms);
            return Err(Error::execution(format!("answered a sample at {time}, which is no step of the query")));
        }
    }
    Ok(())
}

/// The batches of a merge; ends behind the first error.
#[derive(Debug)]
pub struct MergedTables {
    source: Source,
    form: TableForm,
    policy: MergePolicy,
    /// The number of the next row in the index; or of the next table where all pass untouched.
    at: usize,
    untouched: bool,
}

#[derive(Debug)]
struct Source {
    tables: Vec<RecordBatch>,
    /// Of each table, which replica it belongs to.
    owners: Vec<usize>,
    names: Vec<String>,
    index: RowIndex,
}

impl Iterator for MergedTables {
    type Item = Result<RecordBatch, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.untouched {
            // Nothing to merge: the tables themselves, but for empty ones.
            let from = self.at.min(self.source.tables.len());
            let next = self.source.tables[from..].iter().position(|table| table.num_rows() > 0)?;
            self.at = from + next + 1;
            return Some(Ok(self.source.tables[from + next].clone()));
        }
        let batch = match self.form {
            TableForm::Samples => self.next_samples(),
            TableForm::TimedSteps { step_count } => {
                let views = self.source.tables.iter().map(StepsTable::try_new).collect::<Result<Vec<_>, _>>();
                views.and_then(|views| next_steps(&self.source, &self.policy, &mut self.at, step_count, &views))
            }
            TableForm::SparseSteps { grid } => {
                let views = self.source.tables.iter().map(SparseSteps::try_new).collect::<Result<Vec<_>, _>>();
                views.and_then(|views| {
                    let views: Vec<_> = views.into_iter().map(|view| (view, grid)).collect();
                    next_steps(&self.source, &self.policy, &mut self.at, grid.step_count(), &views)
                })
            }
        };
        if batch.is_err() {
            self.at = usize::MAX;
        }
        batch.transpose()
    }
}

impl MergedTables {
    fn next_samples(&mut self) -> Result<Option<RecordBatch>, Error> {
        let views = self.source.tables.iter().map(SamplesTable::try_new).collect::<Result<Vec<_>, _>>()?;
        let mut builder = SamplesTableBuilder::default();
        let (mut times, mut values) = (Vec::new(), Vec::new());
        let mut glued = Vec::new();
        loop {
            let rows = self.source.index.same_series(self.at);
            if rows.is_empty() || builder.sample_count() >= BATCH_CELLS || builder.row_count() >= BATCH_ROWS {
                break;
            }
            let labels = self.source.index.labels(rows[0]);
            let series = |place: &RowPlace| views[place.table as usize].series(place.row as usize);
            if let [only] = rows {
                builder.extend_row(&views[only.table as usize], only.row as usize)?;
            } else if rows.iter().any(|place| is_mixed_row(&views[place.table as usize], place.row as usize)) {
                merge_mixed(&self.source, &self.policy, rows, &views)?.push_into(&mut builder);
            } else {
                glued.clear();
                for pieces in self.source.by_replica(rows) {
                    let mut pieces_samples: Vec<Samples<'_>> = pieces.iter().map(series).collect();
                    glued.push(glue_samples(&mut pieces_samples).ok_or_else(|| self.source.contradiction(pieces))?);
                }
                let replicas: Vec<Samples<'_>> = glued.iter().map(GluedSamples::as_samples).collect();
                times.clear();
                values.clear();
                merge_samples(&replicas, &self.policy, &mut times, &mut values);
                builder.extend_samples(&times, &values);
            }
            builder.finish_series(labels);
            self.at += rows.len();
        }
        Ok((builder.row_count() > 0).then(|| builder.finish()))
    }
}

/// Rows of one series that are not floats alone.
fn merge_mixed(
    source: &Source,
    policy: &MergePolicy,
    rows: &[RowPlace],
    views: &[SamplesTable<'_>],
) -> Result<StartedSamples, Error> {
    let of_row = |(origin, place): (usize, &RowPlace)| {
        StartedSamples::of_row(&views[place.table as usize], place.row as usize, origin) //
    };
    let all = rows.iter().enumerate().map(of_row).collect::<Result<Vec<_>, _>>()?;
    let mut remaining = &all[..];
    let mut glued = Vec::new();
    for pieces in source.by_replica(rows) {
        let (own, rest) = remaining.split_at(pieces.len());
        remaining = rest;
        let mut samples: Vec<_> = own.iter().map(StartedSamples::as_samples).collect();
        glued.push(glue_samples(&mut samples).ok_or_else(|| source.contradiction(pieces))?);
    }
    let replicas: Vec<_> = glued.iter().map(GluedSamples::as_samples).collect();
    let mut merged = StartedSamples::default();
    merge_samples(&replicas, policy, &mut merged.times, &mut merged.samples);
    Ok(merged)
}

/// The next batch of merged cells from tables that know how to put a row into cells.
fn next_steps<V: PutCells>(
    source: &Source,
    policy: &MergePolicy,
    at: &mut usize,
    step_count: usize,
    views: &[V],
) -> Result<Option<RecordBatch>, Error> {
    let mut builder = StepsTableBuilder::timed(step_count);
    let rows_max = (BATCH_CELLS / step_count.max(1)).clamp(1, BATCH_ROWS);
    let (mut floats, mut mixed) = (CellRows::default(), CellRows::default());
    while builder.row_count() < rows_max {
        let rows = source.index.same_series(*at);
        let Some(first) = rows.first() else { break };
        let view = |place: &RowPlace| (&views[place.table as usize], place.row as usize);
        let is_mixed = rows.iter().map(view).any(|(view, row)| view.has_histograms(row));
        if is_mixed {
            mixed.fill(source, rows, step_count, |place, cells| view(place).0.put_mixed_cells(view(place).1, cells))?;
            mixed.merge(policy).iter().for_each(|cell| {
                builder.push_timed_sample(cell.as_ref().map(|(value, time)| (value.sample.clone(), *time)));
            });
        } else {
            floats.fill(source, rows, step_count, |place, cells| view(place).0.put_cells(view(place).1, cells))?;
            floats.merge(policy).iter().for_each(|cell| builder.push_timed_cell(*cell));
        }
        builder.finish_series(source.index.labels(*first));
        *at += rows.len();
    }
    Ok((builder.row_count() > 0).then(|| builder.finish()))
}

/// The cells of all replicas of one series; the room is used again for the next.
struct CellRows<V> {
    replicas: Vec<Vec<StepCell<V>>>,
    replica_count: usize,
    merged: Vec<StepCell<V>>,
}

impl<V> Default for CellRows<V> {
    fn default() -> Self {
        Self { replicas: Vec::new(), replica_count: 0, merged: Vec::new() }
    }
}

impl<V: MergeValue> CellRows<V> {
    fn fill(
        &mut self,
        source: &Source,
        rows: &[RowPlace],
        step_count: usize,
        put: impl Fn(&RowPlace, &mut [StepCell<V>]) -> Result<(), CellProblem>,
    ) -> Result<(), Error> {
        self.replica_count = 0;
        for pieces in source.by_replica(rows) {
            if self.replicas.len() == self.replica_count {
                self.replicas.push(Vec::new());
            }
            let cells = &mut self.replicas[self.replica_count];
            self.replica_count += 1;
            cells.clear();
            cells.resize(step_count, None);
            for place in pieces {
                put(place, cells).map_err(|problem| match problem {
                    CellProblem::Taken => source.contradiction(pieces),
                    CellProblem::NoStep(time_ms) => source.not_on_grid(*place, time_ms),
                    CellProblem::Broken(error) => error,
                })?;
            }
        }
        Ok(())
    }

    fn merge(&mut self, policy: &MergePolicy) -> &[StepCell<V>] {
        let cells: Vec<&[StepCell<V>]> = self.replicas[..self.replica_count].iter().map(Vec::as_slice).collect();
        self.merged.clear();
        merge_steps(&cells, policy, &mut self.merged);
        &self.merged
    }
}

/// Why a row does not fit into the cells.
enum CellProblem {
    /// An earlier row of the same series and replica has a sample at the same step.
    Taken,
    /// A sample is at a time (ms) that is no step.
    NoStep(i64),
    /// The table cannot be read.
    Broken(Error),
}

/// A view of a table whose rows can be laid out as one cell a step.
trait PutCells {
    /// Puts the row's samples where `cells` has none yet.
    fn put_cells(&self, row: usize, cells: &mut [StepCell]) -> Result<(), CellProblem>;
    /// Must the row be put as mixed cells?
    fn has_histograms(&self, row: usize) -> bool;
    /// Puts numbers and histograms.
    fn put_mixed_cells(&self, row: usize, cells: &mut [StepCell<StartedSample>]) -> Result<(), CellProblem>;
}

impl PutCells for StepsTable<'_> {
    fn has_histograms(&self, row: usize) -> bool {
        self.histograms().row_len(row) > 0
    }

    fn put_mixed_cells(&self, row: usize, cells: &mut [StepCell<StartedSample>]) -> Result<(), CellProblem> {
        let own = mixed_cells(self, row).map_err(CellProblem::Broken)?;
        for (cell, own) in cells.iter_mut().zip(own) {
            if own.is_some() && std::mem::replace(cell, own).is_some() {
                return Err(CellProblem::Taken);
            }
        }
        Ok(())
    }

    fn put_cells(&self, row: usize, cells: &mut [StepCell]) -> Result<(), CellProblem> {
        for (step, cell) in cells.iter_mut().enumerate() {
            if let (Some(value), Some(time)) = (self.cell(row, step), self.sample_time(row, step))
                && cell.replace((value, time)).is_some()
            {
                return Err(CellProblem::Taken);
            }
        }
        Ok(())
    }
}

impl PutCells for (SparseSteps<'_>, StepGrid) {
    fn has_histograms(&self, _row: usize) -> bool {
        false
    }

    fn put_mixed_cells(&self, _row: usize, _cells: &mut [StepCell<StartedSample>]) -> Result<(), CellProblem> {
        Err(CellProblem::Broken(Error::internal("sparse steps cannot hold native histograms")))
    }

    fn put_cells(&self, row: usize, cells: &mut [StepCell]) -> Result<(), CellProblem> {
        let (table, grid) = self;
        for (step_ms, value, sample_time) in table.steps(row) {
            let step = grid.index_of(TimestampMs(step_ms)).ok_or(CellProblem::NoStep(step_ms))?;
            if cells[step].replace((value, sample_time)).is_some() {
                return Err(CellProblem::Taken);
            }
        }
        Ok(())
    }
}

impl Source {
    /// The rows of one series, parted by replica.
    fn by_replica<'a>(&'a self, rows: &'a [RowPlace]) -> impl Iterator<Item = &'a [RowPlace]> {
        // Rows of one series are sorted by table, and tables stand replica by replica.
        rows.chunk_by(|a, b| self.owners[a.table as usize] == self.owners[b.table as usize])
    }

    fn not_on_grid(&self, place: RowPlace, time_ms: i64) -> Error {
        let name = &self.names[self.owners[place.table as usize]];
        Error::execution(format!(
            "{name}: answered a sample at {}, which is no step of the query",
            TimestampMs(time_ms)
        ))
    }

    fn contradiction(&self, pieces: &[RowPlace]) -> Error {
        let place = pieces[0];
        let labels = LabelsRef::new(self.index.labels(place));
        let name = &self.names[self.owners[place.table as usize]];
        Error::execution(format!("{name}: the same series came twice with overlapping samples: {labels}"))
    }
}

/// One replica's samples of a series, borrowed where they are in one piece.
enum GluedSamples<'a, V = f64> {
    Whole(Samples<'a, V>),
    Glued(Vec<i64>, Vec<V>),
}

impl<V> GluedSamples<'_, V> {
    fn as_samples(&self) -> Samples<'_, V> {
        match self {
            Self::Whole(samples) => *samples,
            Self::Glued(times, values) => (times, values),
        }
    }
}

/// `None` where two pieces overlap in time.
fn glue_samples<'a, V: MergeValue>(pieces: &mut [Samples<'a, V>]) -> Option<GluedSamples<'a, V>> {
    if let [whole] = pieces {
        return Some(GluedSamples::Whole(*whole));
    }
    pieces.sort_by_key(|(times, _)| times.first().copied());
    let (mut all_times, mut all_values) = (Vec::new(), Vec::<V>::new());
    for (times, values) in pieces {
        if let (Some(last), Some(first)) = (all_times.last(), times.first())
            && last >= first
        {
            return None;
        }
        all_times.extend_from_slice(times);
        all_values.extend_from_slice(values);
    }
    Some(GluedSamples::Glued(all_times, all_values))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;
    use crate::merge::{SparseStepsBuilder, sparse_steps_at_step_times};
    use crate::model::{DurationMs, Labels};

    fn labels(text: &str) -> Vec<u8> {
        Labels::from_pairs(text.split(',').filter_map(|pair| pair.split_once('='))).encode().into_bytes()
    }

    /// Rows of labels and sample times; the value is the time.
    fn samples_table(rows: &[(&str, &[i64])]) -> RecordBatch {
        let mut builder = SamplesTableBuilder::default();
        for (text, times) in rows {
            times.iter().for_each(|time| builder.push_sample(*time, *time as f64));
            builder.finish_series(&labels(text));
        }
        builder.finish()
    }

    fn steps_table(rows: &[(&str, &[Option<i64>])]) -> RecordBatch {
        let mut builder = StepsTableBuilder::timed(rows[0].1.len());
        for (text, cells) in rows {
            cells.iter().for_each(|time| builder.push_timed_cell(time.map(|time| (time as f64, time))));
            builder.finish_series(&labels(text));
        }
        builder.finish()
    }

    fn replica(name: &str, batches: Vec<RecordBatch>) -> ReplicaTables {
        ReplicaTables { name: name.to_owned(), batches }
    }

    fn policy() -> MergePolicy {
        MergePolicy { anti_affinity_ms: 10, ..MergePolicy::default() }
    }

    fn merge(form: TableForm, replicas: Vec<ReplicaTables>) -> Result<Vec<RecordBatch>, Error> {
        merge_tables(form, replicas, policy())?.collect()
    }

    fn rows_of_samples(batches: &[RecordBatch]) -> Vec<(String, Vec<i64>)> {
        let rows = |batch| {
            let table = SamplesTable::try_new(batch).expect("samples table");
            let row = move |row| (table.labels(row).to_string(), table.series(row).0.to_vec());
            (0..table.row_count()).map(row).collect::<Vec<_>>()
        };
        batches.iter().flat_map(rows).collect()
    }

    fn rows_of_steps(batches: &[RecordBatch]) -> Vec<(String, Vec<Option<i64>>)> {
        let rows = |batch| {
            let table = StepsTable::try_new(batch).expect("steps table");
            let cells = move |row| (0..table.step_count()).map(|step| table.sample_time(row, step)).collect();
            (0..table.row_count()).map(|row| (table.labels(row).to_string(), cells(row))).collect::<Vec<_>>()
        };
        batches.iter().flat_map(rows).collect()
    }

    #[test]
    fn series_of_all_replicas_come_sorted_and_merged() {
        let a = replica("a", vec![samples_table(&[("j=c", &[0, 60]), ("j=a", &[0, 30])])]);
        let b = replica("b", vec![samples_table(&[("j=b", &[5])]), samples_table(&[("j=c", &[30])])]);
        for replicas in [vec![a.clone(), b.clone()], vec![b, a]] {
            let merged = merge(TableForm::Samples, replicas).expect("merges");
            let expected = [(r#"{j="a"}"#, vec![0, 30]), (r#"{j="b"}"#, vec![5]), (r#"{j="c"}"#, vec![0, 30, 60])];
            assert_eq!(rows_of_samples(&merged), expected.map(|(labels, times)| (labels.to_owned(), times)));
        }
    }

    #[test]
    fn tables_in_order_pass_untouched() {
        let batches = vec![samples_table(&[("j=a", &[0])]), samples_table(&[]), samples_table(&[("j=b", &[0])])];
        let merged = merge(TableForm::Samples, vec![replica("a", batches.clone())]).expect("merges");
        assert_eq!(merged, [batches[0].clone(), batches[2].clone()]);
        assert_eq!(merge(TableForm::Samples, vec![]).expect("merges"), []);
        assert_eq!(merge(TableForm::Samples, vec![replica("a", vec![])]).expect("merges"), []);
    }

    #[test]
    fn disjoint_pieces_within_a_replica_are_glued() {
        let a = replica("a", vec![samples_table(&[("j=a", &[100, 110]), ("j=a", &[1, 2, 3])])]);
        let merged = merge(TableForm::Samples, vec![a]).expect("merges");
        assert_eq!(rows_of_samples(&merged), [(r#"{j="a"}"#.to_owned(), vec![1, 2, 3, 100, 110])]);
        let b = replica("b", vec![steps_table(&[("j=a", &[None, Some(2)]), ("j=a", &[Some(1), None])])]);
        let merged = merge(TableForm::TimedSteps { step_count: 2 }, vec![b]).expect("merges");
        assert_eq!(rows_of_steps(&merged), [(r#"{j="a"}"#.to_owned(), vec![Some(1), Some(2)])]);
    }

    #[test]
    fn a_series_that_contradicts_itself_is_an_error_that_names_the_replica() {
        let a = replica("http://a:9090", vec![samples_table(&[("j=a", &[1, 5]), ("j=a", &[5, 9])])]);
        let b = replica("http://b:9090", vec![samples_table(&[("j=a", &[1])])]);
        let error = merge(TableForm::Samples, vec![b, a]).expect_err("overlaps");
        assert_eq!(error.kind(), ErrorKind::Execution);
        let text = r#"http://a:9090: the same series came twice with overlapping samples: {j="a"}"#;
        assert_eq!(error.message(), text);
        let c = replica("http://c:9090", vec![steps_table(&[("j=a", &[Some(1)]), ("j=a", &[Some(1)])])]);
        let error = merge(TableForm::TimedSteps { step_count: 1 }, vec![c]).expect_err("overlaps");
        assert!(error.message().starts_with("http://c:9090: "), "{error}");
    }

    #[test]
    fn steps_of_all_replicas_are_merged_cell_by_cell() {
        let a = replica("a", vec![steps_table(&[("j=a", &[Some(0), None, Some(60)])])]);
        let b =
            replica("b", vec![steps_table(&[("j=a", &[Some(5), Some(35), None]), ("j=b", &[None, None, Some(1)])])]);
        let merged = merge(TableForm::TimedSteps { step_count: 3 }, vec![a, b]).expect("merges");
        let expected = [
            (r#"{j="a"}"#.to_owned(), vec![Some(0), Some(35), Some(60)]),
            (r#"{j="b"}"#.to_owned(), vec![None, None, Some(1)]),
        ];
        assert_eq!(rows_of_steps(&merged), expected);
    }

    #[test]
    fn sparse_steps_become_cells() {
        let grid = StepGrid::with_count(TimestampMs(0), DurationMs(30), 3);
        let sparse = |rows: &[(&str, &[(i64, i64)])]| {
            let mut builder = SparseStepsBuilder::default();
            for (text, steps) in rows {
                steps.iter().for_each(|(step, time)| builder.push_step(*step, *time as f64, *time));
                builder.finish_series(&labels(text));
            }
            vec![builder.finish()]
        };
        let a = replica("a", sparse(&[("j=b", &[(0, -5), (60, 55)]), ("j=a", &[(30, 30)])]));
        let b = replica("b", sparse(&[("j=b", &[(30, 20)]), ("j=b", &[(0, -20)])]));
        let merged = merge(TableForm::SparseSteps { grid }, vec![a.clone(), b]).expect("merges");
        let expected = [
            (r#"{j="a"}"#.to_owned(), vec![None, Some(30), None]),
            (r#"{j="b"}"#.to_owned(), vec![Some(-5), Some(20), Some(55)]),
        ];
        assert_eq!(rows_of_steps(&merged), expected);

        let at_steps = sparse_steps_at_step_times(&samples_table(&[("j=a", &[0, 60])])).expect("a samples table");
        let alone = merge(TableForm::SparseSteps { grid }, vec![replica("a", vec![at_steps])]).expect("merges");
        assert_eq!(rows_of_steps(&alone), [(r#"{j="a"}"#.to_owned(), vec![Some(0), None, Some(60)])]);

        let off_grid = replica("http://c:9090", sparse(&[("j=a", &[(31_500, 30)])]));
        let error = merge(TableForm::SparseSteps { grid }, vec![off_grid, a]).expect_err("off the grid");
        assert_eq!(error.message(), "http://c:9090: answered a sample at 31.500, which is no step of the query");
    }

    #[test]
    fn tables_of_another_form_are_refused() {
        let untimed = StepsTableBuilder::new(2).finish();
        for (form, table) in [
            (TableForm::Samples, steps_table(&[("j=a", &[None])])),
            (TableForm::TimedSteps { step_count: 2 }, samples_table(&[])),
            (TableForm::TimedSteps { step_count: 2 }, steps_table(&[("j=a", &[None])])),
            (TableForm::TimedSteps { step_count: 2 }, untimed),
        ] {
            assert!(merge_tables(form, vec![replica("a", vec![table])], policy()).is_err(), "{form:?}");
        }
    }

    #[test]
    fn large_results_are_cut_into_batches() {
        let names: Vec<String> = (0..BATCH_ROWS + 10).map(|number| format!("j={number:06}")).collect();
        let rows: Vec<(&str, &[i64])> = names.iter().map(|name| (name.as_str(), &[1i64][..])).collect();
        let twice = vec![replica("a", vec![samples_table(&rows)]), replica("b", vec![samples_table(&rows)])];
        let merged = merge(TableForm::Samples, twice).expect("merges");
        assert_eq!(merged.iter().map(RecordBatch::num_rows).collect::<Vec<_>>(), [BATCH_ROWS, 10]);
    }
}
