//! The replicas of a bucket, asked at once and merged while they answer.
//!
//! Every replica is read by a task of its own that runs a few tables ahead. A replica holds the merge up only as long as
//! its patience lasts, counted over the times in which nothing but its next table was missing.
//!
//! | replicas of a bucket | result |
//! |---|---|
//! | all ended properly | everything, merged |
//! | some ended, some failed | everything of those that ended, what the others had sent in whole series, and a warning for each failure |
//! | one goes on, one is silent | as if it had failed, when its patience is over |
//! | one is unhealthy, another is not | the unhealthy one is not asked, and a warning says so, unless nobody else begins to answer |
//! | none ended | an error that names each; with `ignore_error` nothing, with `downgrade_error` a warning and nothing; what the query says of partial responses wins |
//! | the query's own limits were reached, or a gateway asks itself | that error, at once |

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use arrow::record_batch::RecordBatch;
use futures::stream::{self, StreamExt};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::fanout::{FailurePolicy, FanOut, GroupName, ends_the_query};
use super::look_back::look_back;
use super::replica::{Replica, to_ask};
use super::replica_health::CallClass;
use crate::downstream::{Downstream, SampleTimes, SelectedForm, TargetUrl};
use crate::error::Error;
use crate::merge::{MergePolicy, ReadyTables, ReplicaTables, StreamMerge, TableForm, merge_tables};
use crate::model::{Held, QueryContext, SelectForm, SelectRequest, SeriesStream, held_tables, hold_tables};

/// So many tables of a replica may wait to be merged; it is not read further ahead. A table is about a mebibyte.
const TABLES_AHEAD: usize = 2;

/// One bucket to be asked for a selector.
#[derive(Debug)]
pub(super) struct ReplicaScan {
    pub group: GroupName,
    pub replicas: Vec<Arc<Replica>>,
    /// The group's `timeout`, which each request observes by itself.
    pub timeout: Option<Duration>,
    pub failure_policy: FailurePolicy,
    pub merge_policy: MergePolicy,
    pub request: Arc<SelectRequest>,
    pub sample_times: SampleTimes,
    pub context: QueryContext,
}

impl ReplicaScan {
    /// Asks all replicas at once. The stream has what they hold, merged: samples tables or timed steps tables, sorted by labels,
    /// each label set once. Dropping it ends the requests.
    pub(super) fn start(self) -> SeriesStream {
        let context = self.context.clone();
        // Where a failed group is left out, none of it may be out already when it fails.
        let is_held_back = self.failure_policy != FailurePolicy::Fail;
        let merging = Merging::start(self);
        if is_held_back {
            return stream::once(merging.whole(context)).flat_map(tables_or_error).boxed();
        }
        let tables = stream::try_unfold(merging, |mut merging| async move {
            Ok(merging.next_table().await?.map(|table| (table, merging)))
        });
        hold_tables(tables.boxed(), &context).boxed()
    }
}

fn tables_or_error(tables: Result<Vec<(RecordBatch, Held)>, Error>) -> SeriesStream {
    match tables {
        Ok(tables) => held_tables(tables).boxed(),
        Err(error) => stream::iter([Err(error)]).boxed(),
    }
}

/// What comes with a table on its way to the merge.
#[derive(Debug)]
struct TableGuard {
    _memory: Held,
    _place: OwnedSemaphorePermit,
}

#[derive(Debug)]
enum Event {
    /// The replica begins to answer.
    Begun(SelectedForm),
    Table(RecordBatch, TableGuard),
    Ended,
    Failed(Error),
}

/// How far a replica is.
#[derive(Debug, PartialEq)]
enum State {
    /// It is unhealthy and its pair is not.
    LeftOut,
    Asked,
    Answering(SelectedForm),
    Ended,
    Failed(Error),
}

impl State {
    fn is_live(&self) -> bool {
        matches!(self, Self::Asked | Self::Answering(_))
    }
}

/// How the replicas' tables are merged.
#[derive(Copy, Clone, Debug)]
enum Shape {
    /// All answer in one form, which is merged as it is.
    Same(TableForm),
    /// Some answer with timed steps, or some with samples and some with steps: everything becomes timed steps first.
    AllToSteps { step_count: usize },
}

#[derive(Debug)]
struct Merging {
    scan: ReplicaScan,
    events: mpsc::UnboundedReceiver<(usize, Event)>,
    states: Vec<State>,
    /// When each was asked, and when it began to answer.
    asked_at: Vec<Instant>,
    begun_at: Vec<Option<Instant>>,
    /// For those who may have to be asked later.
    sender: Option<mpsc::UnboundedSender<(usize, Event)>>,
    /// How long nothing but the replica's next table was missing.
    lags: Vec<Duration>,
    started: Instant,
    /// What came before it was known how to merge it.
    early: VecDeque<(usize, Event)>,
    merge: Option<(Shape, StreamMerge<TableGuard>)>,
    ready: Option<ReadyTables<TableGuard>>,
    is_judged: bool,
    /// No replica answered in full, and the group's policy is to go on without it.
    is_left_out: bool,
    /// Dropping it aborts who is still being asked.
    asked: JoinSet<()>,
}

impl Merging {
    fn start(scan: ReplicaScan) -> Self {
        let (sender, events) = mpsc::unbounded_channel();
        let (replica_count, started) = (scan.replicas.len(), Instant::now());
        let is_asked = to_ask(&scan.replicas);
        let mut merging = Self {
            scan,
            events,
            states: (0..replica_count).map(|_| State::LeftOut).collect(),
            asked_at: vec![started; replica_count],
            begun_at: vec![None; replica_count],
            sender: Some(sender),
            lags: vec![Duration::ZERO; replica_count],
            started,
            early: VecDeque::new(),
            merge: None,
            ready: None,
            is_judged: false,
            is_left_out: false,
            asked: JoinSet::new(),
        };
        (0..replica_count).filter(|replica| is_asked[*replica]).for_each(|replica| merging.ask(replica));
        if !is_asked.contains(&false) {
            // That the last of them is gone shows when there is no sender any more.
            merging.sender = None;
        }
        merging
    }

    fn ask(&mut self, replica: usize) {
        let Some(events) = self.sender.clone() else { return };
        let (scan, downstream) = (&self.scan, Arc::clone(self.scan.replicas[replica].downstream()));
        let (request, context) = (Arc::clone(&scan.request), scan.context.clone());
        self.asked.spawn(read_replica(replica, downstream, request, scan.sample_times, context, events));
        self.states[replica] = State::Asked;
        self.asked_at[replica] = Instant::now();
    }

    /// Nobody who was asked has begun to answer: asks those who were left out.
    fn ask_left_out(&mut self) {
        let left_out = (0..self.states.len()).filter(|replica| self.states[*replica] == State::LeftOut);
        left_out.collect::<Vec<_>>().into_iter().for_each(|replica| self.ask(replica));
    }

    fn failed(&mut self, replica: usize, error: Error) {
        self.scan.replicas[replica].failed(CallClass::Select, self.asked_at[replica], &error);
        self.states[replica] = State::Failed(error);
    }

    /// All merged tables, or none of them if the group is left out.
    async fn whole(mut self, context: QueryContext) -> Result<Vec<(RecordBatch, Held)>, Error> {
        let mut tables = Vec::new();
        while let Some(table) = self.next_table().await? {
            let held = context.hold_table(&table)?;
            tables.push((table, held));
        }
        if self.is_left_out {
            tables.clear();
        }
        Ok(tables)
    }

    /// The next merged table; `None` behind the last.
    async fn next_table(&mut self) -> Result<Option<RecordBatch>, Error> {
        if self.merge.is_none() {
            self.begin().await?;
        }
        loop {
            if let Some(table) = self.ready.as_mut().and_then(Iterator::next) {
                let table = self.finished(table?)?;
                if table.num_rows() > 0 {
                    return Ok(Some(table));
                }
                continue;
            }
            // Frees what was merged.
            self.ready = None;
            let Some((_, merge)) = self.merge.as_mut() else { return Ok(None) };
            self.ready = merge.take_ready()?;
            if self.ready.is_some() {
                continue;
            }
            let wanted: Vec<usize> = merge.wanted().collect();
            if wanted.is_empty() {
                self.judge()?;
                return Ok(None);
            }
            if let Some((replica, event)) = self.next_event(&wanted).await? {
                self.take(replica, event)?;
            }
        }
    }

    /// Waits until every replica has begun to answer or has failed: then it is known what is to be merged.
    async fn begin(&mut self) -> Result<(), Error> {
        loop {
            let asked: Vec<usize> = (0..self.states.len()).filter(|at| self.states[*at] == State::Asked).collect();
            if asked.is_empty() {
                let is_nobody = |state: &State| matches!(state, State::Failed(_) | State::LeftOut);
                if !self.states.contains(&State::LeftOut) || !self.states.iter().all(is_nobody) {
                    break;
                }
                self.ask_left_out();
                continue;
            }
            match self.next_event(&asked).await? {
                Some((replica, Event::Begun(form))) => {
                    self.states[replica] = State::Answering(form);
                    self.begun_at[replica] = Some(Instant::now());
                }
                Some((replica, Event::Failed(error))) if self.states[replica] == State::Asked => {
                    self.failed(replica, error);
                }
                Some(other) => self.early.push_back(other),
                None => {}
            }
        }
        self.sender = None;
        let shape = self.shape();
        let form = match shape {
            Shape::Same(form) => form,
            Shape::AllToSteps { step_count } => TableForm::TimedSteps { step_count },
        };
        let names = self.scan.replicas.iter().map(|replica| format!("{}: replica {}", self.scan.group, replica.url()));
        let mut merge = StreamMerge::new(form, self.scan.merge_policy, names);
        (0..self.states.len()).filter(|at| !self.states[*at].is_live()).for_each(|replica| merge.fail(replica));
        self.merge = Some((shape, merge));
        while let Some((replica, event)) = self.early.pop_front() {
            self.take(replica, event)?;
        }
        Ok(())
    }

    fn shape(&self) -> Shape {
        let is_of = |form: SelectedForm| move |state: &State| *state == State::Answering(form);
        let has = |form| self.states.iter().any(is_of(form));
        match &self.scan.request.form {
            SelectForm::Samples { .. } => Shape::Same(TableForm::Samples),
            SelectForm::Steps { grid, .. } => {
                let has_timed = has(SelectedForm::TimedSteps);
                match (has(SelectedForm::Samples), has_timed, has(SelectedForm::SparseSteps)) {
                    (true, false, false) => Shape::Same(TableForm::Samples),
                    (false, false, _) => Shape::Same(TableForm::SparseSteps { grid: *grid }),
                    _ => Shape::AllToSteps { step_count: grid.step_count() },
                }
            }
        }
    }

    /// What a replica sent. What cannot be merged is the replica's failure.
    fn take(&mut self, replica: usize, event: Event) -> Result<(), Error> {
        let Some((shape, merge)) = self.merge.as_mut() else { return Ok(()) };
        if !self.states[replica].is_live() {
            return Ok(());
        }
        let failure = match event {
            Event::Begun(_) => None,
            Event::Table(table, guard) => {
                let form = match &self.states[replica] {
                    State::Answering(form) => *form,
                    _ => SelectedForm::Samples,
                };
                to_shape(table, form, *shape, &self.scan.request)
                    .and_then(|table| merge.push(replica, table, guard))
                    .err()
            }
            Event::Ended => {
                merge.end(replica);
                self.states[replica] = State::Ended;
                let begun_at = self.begun_at[replica].unwrap_or_else(Instant::now);
                self.scan.replicas[replica].answered(CallClass::Select, self.asked_at[replica], begun_at);
                None
            }
            Event::Failed(error) => Some(error),
        };
        if let Some(error) = failure {
            if ends_the_query(&error) {
                return Err(error);
            }
            merge.fail(replica);
            self.failed(replica, error);
        }
        Ok(())
    }

    /// The next thing that happens, or `None` after a replica among those that are missing was given up.
    async fn next_event(&mut self, missing: &[usize]) -> Result<Option<(usize, Event)>, Error> {
        let waits_since = Instant::now();
        let give_up = self.first_to_give_up(missing, waits_since);
        let event = match give_up {
            None => self.events.recv().await,
            Some((_, at)) => match tokio::time::timeout_at(at, self.events.recv()).await {
                Ok(event) => event,
                Err(_) => {
                    self.add_lag(missing, waits_since);
                    self.give_up(give_up.map_or(0, |(replica, _)| replica));
                    return Ok(None);
                }
            },
        };
        self.add_lag(missing, waits_since);
        let lost = "asking a replica failed because of a defect in quiver; its log says where";
        let (replica, event) = event.ok_or_else(|| Error::internal(lost))?;
        match event {
            Event::Failed(error) if ends_the_query(&error) => Err(error),
            event => Ok(Some((replica, event))),
        }
    }

    fn add_lag(&mut self, missing: &[usize], since: Instant) {
        let waited = since.elapsed();
        missing.iter().for_each(|replica| self.lags[*replica] += waited);
    }

    /// Whose patience ends first, and when; `None` where nobody is waited for by somebody who is further.
    fn first_to_give_up(&self, missing: &[usize], now: Instant) -> Option<(usize, Instant)> {
        let is_further =
            |at: usize| !missing.contains(&at) && !matches!(self.states[at], State::Failed(_) | State::LeftOut);
        if !(0..self.states.len()).any(is_further) {
            return None;
        }
        let fan_out = self.fan_out();
        let give_up_at = |replica: usize| {
            // As if the others had needed only the time in which this one was not waited for.
            let lag = self.lags[replica];
            let others_ready = now.checked_sub(lag).unwrap_or(self.started).max(self.started);
            Some((replica, fan_out.give_up_at(replica, self.started, others_ready)?))
        };
        missing.iter().filter_map(|replica| give_up_at(*replica)).min_by_key(|(_, at)| *at)
    }

    fn give_up(&mut self, replica: usize) {
        let error = self.scan.replicas[replica].left_behind(CallClass::Select, self.asked_at[replica]);
        self.states[replica] = State::Failed(error);
        if let Some((_, merge)) = self.merge.as_mut() {
            merge.fail(replica);
        }
    }

    /// A merged table as it was asked for.
    fn finished(&self, table: RecordBatch) -> Result<RecordBatch, Error> {
        match (&self.scan.request.form, &self.merge) {
            (SelectForm::Steps { grid, lookback }, Some((Shape::Same(TableForm::Samples), _))) => {
                look_back(&table, *grid, *lookback)
            }
            _ => Ok(table),
        }
    }

    /// Says, once, what the failures mean.
    fn judge(&mut self) -> Result<(), Error> {
        if std::mem::replace(&mut self.is_judged, true) {
            return Ok(());
        }
        let failure = |(replica, state): (&Arc<Replica>, &State)| match state {
            State::Failed(error) => Some((replica.url().clone(), error.clone())),
            State::LeftOut => Some((replica.url().clone(), replica.left_out())),
            _ => None,
        };
        let failures: Vec<(TargetUrl, Error)> =
            self.scan.replicas.iter().zip(&self.states).filter_map(failure).collect();
        if self.states.contains(&State::Ended) || self.states.is_empty() {
            self.fan_out().answered(&failures);
            return Ok(());
        }
        self.fan_out().fail(&failures)?;
        self.is_left_out = true;
        Ok(())
    }

    fn fan_out(&self) -> FanOut<'_> {
        FanOut {
            group: &self.scan.group,
            replicas: &self.scan.replicas,
            class: CallClass::Select,
            timeout: self.scan.timeout,
            policy: self.scan.failure_policy,
            context: &self.scan.context,
        }
    }
}

/// Reads one replica to its end.
async fn read_replica(
    index: usize,
    replica: Arc<dyn Downstream>,
    request: Arc<SelectRequest>,
    sample_times: SampleTimes,
    context: QueryContext,
    events: mpsc::UnboundedSender<(usize, Event)>,
) {
    // When nobody listens any more, the query is over.
    let tell = |event| events.send((index, event)).is_ok();
    let selected = match replica.select(&request, sample_times, &context).await {
        Ok(selected) => selected,
        Err(error) => {
            tell(Event::Failed(error));
            return;
        }
    };
    if !tell(Event::Begun(selected.form)) {
        return;
    }
    let places = Arc::new(Semaphore::new(TABLES_AHEAD));
    let mut tables = selected.tables;
    while let Some(table) = tables.next().await {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        let held = table.and_then(|table| Ok((context.hold_table(&table)?, table)));
        match held {
            Ok((memory, table)) => {
                if !tell(Event::Table(table, TableGuard { _memory: memory, _place: place })) {
                    return;
                }
            }
            Err(error) => {
                tell(Event::Failed(error));
                return;
            }
        }
    }
    tell(Event::Ended);
}

/// One replica's table in the form in which all are merged.
fn to_shape(
    table: RecordBatch,
    form: SelectedForm,
    shape: Shape,
    request: &SelectRequest,
) -> Result<RecordBatch, Error> {
    match (shape, &request.form) {
        (Shape::AllToSteps { .. }, SelectForm::Steps { grid, lookback }) => match form {
            SelectedForm::Samples => look_back(&table, *grid, *lookback),
            SelectedForm::TimedSteps => Ok(table),
            SelectedForm::SparseSteps => {
                let alone = ReplicaTables { name: "its answer".to_owned(), batches: vec![table] };
                let form = TableForm::SparseSteps { grid: *grid };
                let steps = merge_tables(form, vec![alone], MergePolicy::BETWEEN_GROUPS)?;
                let steps = steps.collect::<Result<Vec<_>, _>>()?;
                let schema = crate::model::timed_steps_schema(grid.step_count());
                arrow::compute::concat_batches(&schema, &steps).map_err(|error| Error::internal(error.to_string()))
            }
        },
        _ => Ok(table),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use async_trait::async_trait;
    use parking_lot::Mutex;

    use super::*;
    use crate::config::Scheme;
    use crate::downstream::Selected;
    use crate::error::ErrorKind;
    use crate::merge::SparseStepsBuilder;
    use crate::model::{
        DurationMs, Labels, MetadataRequest, MetricMetadata, SamplesTable, SamplesTableBuilder, StepGrid, StepsTable,
        StepsTableBuilder, TimestampMs,
    };

    type Sent = Result<RecordBatch, Error>;

    /// Answers with whatever the test sends; ends when the test drops its sender.
    #[derive(Debug)]
    struct Scripted {
        url: TargetUrl,
        form: SelectedForm,
        tables: Mutex<Option<mpsc::UnboundedReceiver<Sent>>>,
    }

    #[async_trait]
    impl Downstream for Scripted {
        fn url(&self) -> &TargetUrl {
            &self.url
        }
        async fn select(&self, _: &SelectRequest, _: SampleTimes, _: &QueryContext) -> Result<Selected, Error> {
            let tables = self.tables.lock().take().ok_or_else(|| Error::internal("asked twice"))?;
            let tables = stream::unfold(tables, |mut tables| async { Some((tables.recv().await?, tables)) });
            Ok(Selected { form: self.form, tables: tables.boxed() })
        }
        async fn label_names(&self, _: &MetadataRequest, _: &QueryContext) -> Result<Vec<String>, Error> {
            Ok(Vec::new())
        }
        async fn label_values(&self, _: &str, _: &MetadataRequest, _: &QueryContext) -> Result<Vec<String>, Error> {
            Ok(Vec::new())
        }
        async fn series(&self, _: &MetadataRequest, _: &QueryContext) -> Result<Vec<Labels>, Error> {
            Ok(Vec::new())
        }
        async fn metric_metadata(
            &self,
            _: Option<&str>,
            _: &QueryContext,
        ) -> Result<BTreeMap<String, Vec<MetricMetadata>>, Error> {
            Ok(BTreeMap::new())
        }
    }

    /// A bucket of scripted replicas, and where to send their tables.
    struct Setup {
        scan: ReplicaScan,
        replicas: Vec<mpsc::UnboundedSender<Sent>>,
    }

    fn setup(forms: &[SelectedForm], request: SelectForm, context: &QueryContext) -> Setup {
        let (mut replicas, mut senders) = (Vec::new(), Vec::new());
        for (number, form) in forms.iter().enumerate() {
            let (sender, tables) = mpsc::unbounded_channel();
            let url = TargetUrl::try_new(Scheme::Http, &format!("r{number}"), "").expect("a host");
            replicas.push(Replica::new(Arc::new(Scripted { url, form: *form, tables: Mutex::new(Some(tables)) })));
            senders.push(sender);
        }
        let scan = ReplicaScan {
            group: GroupName { ordinal: 0, name: None },
            replicas,
            timeout: None,
            failure_policy: FailurePolicy::Fail,
            merge_policy: MergePolicy { anti_affinity_ms: 0, ..MergePolicy::default() },
            request: Arc::new(SelectRequest { matchers: Vec::new(), form: request }),
            sample_times: SampleTimes::Needed,
            context: context.clone(),
        };
        Setup { scan, replicas: senders }
    }

    const RAW: SelectForm = SelectForm::Samples { start: TimestampMs(0), end: TimestampMs(1_000) };

    fn labels(name: &str) -> Vec<u8> {
        Labels::from_pairs([("n", name)]).encode().into_bytes()
    }

    /// One series with samples at these times, of that value.
    fn samples(name: &str, times: &[i64]) -> Sent {
        let mut builder = SamplesTableBuilder::default();
        times.iter().for_each(|time| builder.push_sample(*time, 1.0));
        builder.finish_series(&labels(name));
        Ok(builder.finish())
    }

    fn rows(table: &RecordBatch) -> Vec<String> {
        let table = SamplesTable::try_new(table).expect("a samples table");
        (0..table.row_count()).map(|row| format!("{} {:?}", table.labels(row), table.series(row).0)).collect()
    }

    async fn all(mut stream: SeriesStream) -> Result<Vec<String>, Error> {
        let mut all = Vec::new();
        while let Some(table) = stream.next().await.transpose()? {
            all.extend(rows(&table));
        }
        Ok(all)
    }

    fn warnings(context: &QueryContext) -> Vec<String> {
        context.annotations.snapshot().into_iter().map(|annotation| annotation.text).collect()
    }

    #[tokio::test]
    async fn series_come_out_while_replicas_go_on() {
        let context = QueryContext::default();
        let Setup { scan, replicas } = setup(&[SelectedForm::Samples; 2], RAW, &context);
        let mut stream = scan.start();
        for replica in &replicas {
            replica.send(samples("a", &[1, 2])).expect("is read");
            replica.send(samples("b", &[1, 2])).expect("is read");
        }
        let first = stream.next().await.expect("a table").expect("merges");
        assert_eq!(rows(&first)[0], r#"{n="a"} [1, 2]"#);
        drop(replicas);
        assert_eq!(all(stream).await.map(|rest| rows(&first).len() + rest.len()), Ok(2));
        assert_eq!(warnings(&context), [""; 0]);
        assert_eq!((context.budget().samples(), context.budget().bytes()), (0, 0), "everything was given back");
    }

    #[tokio::test]
    async fn of_a_replica_that_breaks_off_whole_series_stay_and_its_pair_gives_the_rest() {
        let context = QueryContext::default();
        let Setup { scan, replicas } = setup(&[SelectedForm::Samples; 2], RAW, &context);
        replicas[0].send(samples("a", &[1])).expect("is read");
        replicas[0].send(Err(Error::new(ErrorKind::Unavailable, "cut off"))).expect("is read");
        replicas[1].send(samples("a", &[2])).expect("is read");
        replicas[1].send(samples("b", &[2])).expect("is read");
        drop(replicas);
        let expected = [r#"{n="a"} [1, 2]"#, r#"{n="b"} [2]"#];
        assert_eq!(all(scan.start()).await, Ok(expected.map(str::to_owned).to_vec()));
        let [warning] = &warnings(&context)[..] else { panic!("one warning: {:?}", warnings(&context)) };
        assert!(warning.contains("http://r0") && warning.ends_with("cut off"), "{warning}");
    }

    #[tokio::test]
    async fn without_any_whole_answer_the_policy_decides_and_no_part_gets_out() {
        for (policy, expected, warning_count) in [
            (FailurePolicy::Fail, Err(ErrorKind::Unavailable), 0),
            (FailurePolicy::Warn, Ok(Vec::<String>::new()), 1),
            (FailurePolicy::Ignore, Ok(Vec::new()), 0),
        ] {
            let context = QueryContext::default();
            let Setup { mut scan, replicas } = setup(&[SelectedForm::Samples; 2], RAW, &context);
            scan.failure_policy = policy;
            for replica in &replicas {
                replica.send(samples("a", &[1])).expect("is read");
                replica.send(Err(Error::new(ErrorKind::Unavailable, "cut off"))).expect("is read");
            }
            assert_eq!(all(scan.start()).await.map_err(|error| error.kind()), expected, "{policy:?}");
            assert_eq!(warnings(&context).len(), warning_count, "{policy:?}");
        }
    }

    #[tokio::test]
    async fn a_replica_that_stops_in_the_middle_is_left_behind_before_the_query_ends() {
        let deadline = std::time::Instant::now().checked_add(Duration::from_millis(60));
        let context = QueryContext::new(deadline, 1_000);
        let Setup { scan, replicas } = setup(&[SelectedForm::Samples; 2], RAW, &context);
        let [stopped, whole] = &replicas[..] else { panic!("two replicas") };
        stopped.send(samples("a", &[1])).expect("is read");
        whole.send(samples("a", &[1])).expect("is read");
        whole.send(samples("b", &[1])).expect("is read");
        let stopped = stopped.clone();
        drop(replicas);
        let expected = [r#"{n="a"} [1]"#, r#"{n="b"} [1]"#];
        assert_eq!(all(scan.start()).await, Ok(expected.map(str::to_owned).to_vec()));
        let [warning] = &warnings(&context)[..] else { panic!("one warning: {:?}", warnings(&context)) };
        assert!(warning.contains("http://r0") && warning.contains("no complete answer within"), "{warning}");
        drop(stopped);
    }

    #[tokio::test]
    async fn a_replica_out_of_order_fails_alone() {
        let context = QueryContext::default();
        let Setup { scan, replicas } = setup(&[SelectedForm::Samples; 2], RAW, &context);
        replicas[0].send(samples("b", &[1])).expect("is read");
        replicas[0].send(samples("a", &[1])).expect("is read");
        replicas[1].send(samples("a", &[1])).expect("is read");
        drop(replicas);
        let expected = [r#"{n="a"} [1]"#, r#"{n="b"} [1]"#];
        assert_eq!(all(scan.start()).await, Ok(expected.map(str::to_owned).to_vec()));
        assert!(warnings(&context)[0].contains("its series are not in order"), "{:?}", warnings(&context));
    }

    #[tokio::test]
    async fn raw_samples_and_steps_meet_as_steps() {
        let context = QueryContext::default();
        let grid = StepGrid::with_count(TimestampMs(10), DurationMs(10), 2);
        let steps = SelectForm::Steps { grid, lookback: DurationMs(10) };
        let sparse = || {
            let mut builder = SparseStepsBuilder::default();
            builder.push_step(20, 7.0, 12);
            builder.finish_series(&labels("a"));
            Ok(builder.finish())
        };
        let timed = || {
            let mut builder = StepsTableBuilder::timed(2);
            builder.push_timed_cell(None);
            builder.push_timed_cell(Some((7.0, 12)));
            builder.finish_series(&labels("a"));
            Ok(builder.finish())
        };
        for (forms, expected) in [
            ([SelectedForm::Samples, SelectedForm::Samples], [Some((1.0, 9)), Some((1.0, 14))]),
            ([SelectedForm::Samples, SelectedForm::SparseSteps], [Some((1.0, 9)), Some((1.0, 14))]),
            ([SelectedForm::SparseSteps, SelectedForm::SparseSteps], [None, Some((7.0, 12))]),
            ([SelectedForm::TimedSteps, SelectedForm::TimedSteps], [None, Some((7.0, 12))]),
            ([SelectedForm::TimedSteps, SelectedForm::SparseSteps], [None, Some((7.0, 12))]),
            ([SelectedForm::TimedSteps, SelectedForm::Samples], [Some((1.0, 9)), Some((1.0, 14))]),
        ] {
            let Setup { scan, replicas } = setup(&forms, steps.clone(), &context);
            for (replica, form) in replicas.iter().zip(forms) {
                let table = match form {
                    SelectedForm::Samples => samples("a", &[9, 14]),
                    SelectedForm::SparseSteps => sparse(),
                    SelectedForm::TimedSteps => timed(),
                };
                replica.send(table).expect("is read");
            }
            drop(replicas);
            let mut stream = scan.start();
            let table = stream.next().await.expect("a table").expect("merges");
            let table = StepsTable::try_new(&table).expect("a steps table");
            let cells = [0, 1].map(|step| table.cell(0, step).zip(table.sample_time(0, step)));
            assert_eq!(cells, expected, "{forms:?}");
        }
    }
}
