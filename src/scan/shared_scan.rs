//! Leaves of a query that ask for the same are asked once.
//!
//! `x / x`, `sum(rate(x[5m])) / count(x[5m])`: each leaf has its whole plan, and whichever is executed first runs it for all. A
//! table is kept until the last reader has read it, within the query's budget. Nobody waits for anybody: a reader that comes
//! when much has gone by already, or that others would have to keep much for, runs its own plan.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{DataFusionError, Result};
use datafusion::execution::TaskContext;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties, RecordBatchStream, ReplaceChildrenOptions,
    SendableRecordBatchStream,
};
use futures::{Stream, StreamExt};
use parking_lot::Mutex;

use super::ScannedParts;
use crate::model::{Held, QueryContext};

/// At most so many bytes are kept for a reader that has not begun to read, as the right side of a cross join has not while the
/// left one is read. Far more than dashboards ask for, far less than a query may hold.
const UNREAD_BYTES_MAX: usize = 32 << 20;

/// What the leaves of one query that ask for the same have in common.
pub struct SharedScan {
    /// How many leaves there are.
    leaf_count: AtomicUsize,
    context: QueryContext,
    state: Mutex<State>,
    wakers: Arc<Wakers>,
}

impl fmt::Debug for SharedScan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedScan").field("leaf_count", &self.leaf_count()).finish_non_exhaustive()
    }
}

#[derive(Default)]
struct State {
    phase: Phase,
    stream: Option<SendableRecordBatchStream>,
    /// What not all readers have read, from the item with number `first` on.
    items: VecDeque<Item>,
    first: usize,
    bytes: usize,
    readers: Vec<Reader>,
}

#[derive(Copy, Clone, PartialEq, Eq, Default)]
enum Phase {
    /// Nobody has executed it.
    #[default]
    NotBegun,
    /// Everything since the beginning is still there.
    Open,
    /// Who comes now comes too late.
    Closed,
}

struct Item {
    table: std::result::Result<RecordBatch, Arc<DataFusionError>>,
    _held: Option<Held>,
    bytes: usize,
}

#[derive(Copy, Clone)]
enum Reader {
    /// The number of the next item to be read.
    At(usize),
    /// Gone, or sent to its own plan.
    Gone,
}

/// Wakes everybody who waits for the one stream; by reader.
#[derive(Default)]
struct Wakers(Mutex<HashMap<usize, Waker>>);

impl Wake for Wakers {
    fn wake(self: Arc<Self>) {
        let waiting = std::mem::take(&mut *self.0.lock());
        waiting.into_values().for_each(Waker::wake);
    }
}

impl SharedScan {
    /// Nothing is shared yet.
    pub fn new(context: QueryContext) -> Self {
        Self {
            leaf_count: AtomicUsize::new(0),
            context,
            state: Mutex::new(State::default()),
            wakers: Arc::new(Wakers::default()),
        }
    }

    /// One more leaf asks for this. To be called while planning.
    pub fn add_leaf(&self) {
        self.leaf_count.fetch_add(1, Ordering::Relaxed);
    }

    fn leaf_count(&self) -> usize {
        self.leaf_count.load(Ordering::Relaxed)
    }

    /// The plan of one of the leaves, which shares where there are several.
    pub fn leaf(self: &Arc<Self>, plan: Arc<dyn ExecutionPlan>) -> Arc<dyn ExecutionPlan> {
        match self.leaf_count() {
            0 | 1 => plan,
            _ => Arc::new(SharedScanExec { shared: Arc::clone(self), plan }),
        }
    }
}

impl State {
    /// Lets go what everybody has read. Until it is closed everything stays for those who have not come yet.
    fn trim(&mut self, leaf_count: usize) {
        let read = self.readers.iter().filter_map(|reader| match reader {
            Reader::At(position) => Some(*position),
            Reader::Gone => None,
        });
        let Some(everybody_has_read) = read.min() else {
            // Whoever has not come yet runs its own plan.
            *self = Self { phase: Phase::Closed, readers: std::mem::take(&mut self.readers), ..Self::default() };
            return;
        };
        if self.phase == Phase::Open && self.readers.len() < leaf_count {
            return;
        }
        while self.first < everybody_has_read {
            let Some(item) = self.items.pop_front() else { return };
            self.bytes -= item.bytes;
            self.first += 1;
            self.phase = Phase::Closed;
        }
    }

    /// Does no longer keep anything for those who have not begun.
    fn close(&mut self, leaf_count: usize) {
        self.phase = Phase::Closed;
        for reader in &mut self.readers {
            if matches!(reader, Reader::At(0)) && self.first == 0 {
                *reader = Reader::Gone;
            }
        }
        self.trim(leaf_count);
    }

    fn push(&mut self, table: Result<RecordBatch>, context: &QueryContext) {
        let held = match &table {
            Ok(table) => {
                context.hold_table(table).map(Some).map_err(|error| DataFusionError::External(Box::new(error)))
            }
            Err(_) => Ok(None),
        };
        let (table, held) = match (table, held) {
            (Ok(table), Ok(held)) => (Ok(table), held),
            (Err(error), _) | (_, Err(error)) => (Err(Arc::new(error)), None),
        };
        if table.is_err() {
            self.stream = None;
        }
        let bytes = held.as_ref().map_or(0, Held::bytes);
        self.bytes += bytes;
        self.items.push_back(Item { table, _held: held, bytes });
    }
}

/// One of several leaves that ask for the same.
#[derive(Debug)]
struct SharedScanExec {
    shared: Arc<SharedScan>,
    plan: Arc<dyn ExecutionPlan>,
}

impl SharedScanExec {
    fn of_children(&self, children: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        let plan = children.into_iter().next();
        let plan = plan.ok_or_else(|| DataFusionError::Internal("SharedScanExec has one child".to_owned()))?;
        Ok(Arc::new(Self { shared: Arc::clone(&self.shared), plan }))
    }
}

impl DisplayAs for SharedScanExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SharedScanExec: asked once for {} leaves", self.shared.leaf_count())
    }
}

impl ExecutionPlan for SharedScanExec {
    fn name(&self) -> &'static str {
        "SharedScanExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        self.plan.properties()
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.plan]
    }

    fn replace_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
        _options: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        self.of_children(children)
    }

    fn with_new_children(self: Arc<Self>, children: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        self.of_children(children)
    }

    fn apply_expressions(
        &self,
        _visit: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        // Who asks some of the parts alone asks for something else.
        if context.session_config().get_extension::<ScannedParts>().is_some() {
            return self.plan.execute(partition, context);
        }
        let mut state = self.shared.state.lock();
        match state.phase {
            Phase::Closed => return self.plan.execute(partition, context),
            Phase::NotBegun => {
                state.stream = Some(self.plan.execute(partition, Arc::clone(&context))?);
                state.phase = Phase::Open;
            }
            Phase::Open => {}
        }
        state.readers.push(Reader::At(0));
        Ok(Box::pin(SharedStream {
            shared: Arc::clone(&self.shared),
            number: state.readers.len() - 1,
            own: None,
            plan: Arc::clone(&self.plan),
            context,
        }))
    }
}

/// A reader of what is shared.
struct SharedStream {
    shared: Arc<SharedScan>,
    /// Which of the readers.
    number: usize,
    /// Its own plan, once it must run it.
    own: Option<SendableRecordBatchStream>,
    plan: Arc<dyn ExecutionPlan>,
    context: Arc<TaskContext>,
}

impl Stream for SharedStream {
    type Item = Result<RecordBatch>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if let Some(own) = &mut self.own {
            return own.poll_next_unpin(cx);
        }
        let shared = Arc::clone(&self.shared);
        let mut state = shared.state.lock();
        let Reader::At(position) = state.readers[self.number] else {
            drop(state);
            let own = self.plan.execute(0, Arc::clone(&self.context));
            return match own {
                Ok(own) => self.own.insert(own).poll_next_unpin(cx),
                Err(error) => Poll::Ready(Some(Err(error))),
            };
        };
        if position == state.first + state.items.len() {
            let Some(mut stream) = state.stream.take() else { return Poll::Ready(None) };
            // Registered before the stream is asked: whoever it wakes from then on finds us.
            shared.wakers.0.lock().insert(self.number, cx.waker().clone());
            let polled = stream.poll_next_unpin(&mut Context::from_waker(&Waker::from(Arc::clone(&shared.wakers))));
            state.stream = Some(stream);
            match polled {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(None) => state.stream = None,
                Poll::Ready(Some(table)) => state.push(table, &shared.context),
            }
            shared.wakers.0.lock().remove(&self.number);
            Arc::clone(&shared.wakers).wake();
            if state.stream.is_none() && position == state.first + state.items.len() {
                return Poll::Ready(None);
            }
        }
        let next = state.items[position - state.first].table.clone();
        state.readers[self.number] = Reader::At(position + 1);
        state.trim(shared.leaf_count());
        if state.bytes > UNREAD_BYTES_MAX {
            state.close(shared.leaf_count());
        }
        Poll::Ready(Some(next.map_err(DataFusionError::Shared)))
    }
}

impl Drop for SharedStream {
    fn drop(&mut self) {
        let mut state = self.shared.state.lock();
        state.readers[self.number] = Reader::Gone;
        state.trim(self.shared.leaf_count());
    }
}

impl RecordBatchStream for SharedStream {
    fn schema(&self) -> SchemaRef {
        self.plan.schema()
    }
}

#[cfg(test)]
mod tests {
    use datafusion::execution::config::SessionConfig;
    use datafusion::physical_expr::EquivalenceProperties;
    use datafusion::physical_plan::Partitioning;
    use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType};
    use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
    use futures::stream;

    use super::*;
    use crate::model::{StepsTableBuilder, steps_schema};

    /// Gives one table some times, with a pause now and then, and an error at the end if it is to. Counts how often it is run.
    #[derive(Debug)]
    struct Leaf {
        table: RecordBatch,
        count: usize,
        fails: bool,
        runs: Arc<AtomicUsize>,
        properties: Arc<PlanProperties>,
    }

    impl DisplayAs for Leaf {
        fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("Leaf")
        }
    }

    impl ExecutionPlan for Leaf {
        fn name(&self) -> &'static str {
            "Leaf"
        }

        fn properties(&self) -> &Arc<PlanProperties> {
            &self.properties
        }

        fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
            Vec::new()
        }

        fn replace_children(
            self: Arc<Self>,
            _: Vec<Arc<dyn ExecutionPlan>>,
            _: ReplaceChildrenOptions,
        ) -> Result<Arc<dyn ExecutionPlan>> {
            Ok(self)
        }

        fn with_new_children(self: Arc<Self>, _: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
            Ok(self)
        }

        fn apply_expressions(
            &self,
            _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
        ) -> Result<TreeNodeRecursion> {
            Ok(TreeNodeRecursion::Continue)
        }

        fn execute(&self, _: usize, _: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
            self.runs.fetch_add(1, Ordering::Relaxed);
            let end = self.fails.then(|| Err(DataFusionError::Execution("boom".to_owned())));
            let items: Vec<_> = std::iter::repeat_n(self.table.clone(), self.count).map(Ok).chain(end).collect();
            let items = stream::iter(items).enumerate().then(|(index, item)| async move {
                if index % 3 == 1 {
                    tokio::task::yield_now().await;
                }
                item
            });
            Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema(), items)))
        }
    }

    struct Shared {
        leaves: Vec<Arc<dyn ExecutionPlan>>,
        runs: Arc<AtomicUsize>,
        context: QueryContext,
    }

    /// So many leaves of one shared scan, of `count` tables with `cells` cells each.
    fn shared(leaf_count: usize, count: usize, cells: usize, fails: bool) -> Shared {
        let mut builder = StepsTableBuilder::new(cells);
        (0..cells).for_each(|_| builder.push_cell(Some(1.0)));
        builder.finish_series(b"");
        let properties = PlanProperties::new(
            EquivalenceProperties::new(steps_schema(cells)),
            Partitioning::UnknownPartitioning(1),
            EmissionType::Incremental,
            Boundedness::Bounded,
        );
        let runs = Arc::<AtomicUsize>::default();
        let leaf =
            Leaf { table: builder.finish(), count, fails, runs: Arc::clone(&runs), properties: Arc::new(properties) };
        let leaf: Arc<dyn ExecutionPlan> = Arc::new(leaf);
        let context = QueryContext::default();
        let scan = Arc::new(SharedScan::new(context.clone()));
        (0..leaf_count).for_each(|_| scan.add_leaf());
        let leaves = (0..leaf_count).map(|_| scan.leaf(Arc::clone(&leaf))).collect();
        Shared { leaves, runs, context }
    }

    /// Reads to the end or the first error; how many tables came.
    async fn read(mut stream: SendableRecordBatchStream) -> std::result::Result<usize, usize> {
        let mut count = 0;
        while let Some(table) = stream.next().await {
            table.map_err(|_| count)?;
            count += 1;
        }
        Ok(count)
    }

    fn execute(leaf: &Arc<dyn ExecutionPlan>) -> SendableRecordBatchStream {
        leaf.execute(0, Arc::new(TaskContext::default())).expect("it runs")
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn every_reader_gets_everything_and_the_leaf_is_run_once() {
        for (fails, expected) in [(false, Ok(50)), (true, Err(50))] {
            for _ in 0..20 {
                let Shared { leaves, runs, context } = shared(3, 50, 8, fails);
                let streams: Vec<_> = leaves.iter().map(execute).collect();
                let tasks = streams.into_iter().map(|stream| tokio::spawn(read(stream)));
                let counts = futures::future::join_all(tasks).await;
                assert!(counts.into_iter().all(|count| count.expect("no panic") == expected));
                assert_eq!(runs.load(Ordering::Relaxed), 1);
                assert_eq!((context.budget().samples(), context.budget().bytes()), (0, 0));
            }
        }
    }

    #[tokio::test]
    async fn readers_on_one_task_read_side_by_side() {
        let Shared { leaves, runs, context } = shared(2, 1_000, 100, false);
        let counts = futures::future::join_all(leaves.iter().map(|leaf| read(execute(leaf)))).await;
        assert_eq!(counts, [Ok(1_000), Ok(1_000)]);
        assert_eq!(runs.load(Ordering::Relaxed), 1);
        assert!(context.peak_samples() < 20_000, "{} of 100,000 are kept", context.peak_samples());
    }

    #[tokio::test]
    async fn a_reader_that_begins_late_is_waited_for_within_bounds() {
        // 10 tables of 8 MB are too many to keep, two are not.
        for (count, runs_expected) in [(10, 2), (2, 1)] {
            let Shared { leaves, runs, context } = shared(2, count, 1_000_000, false);
            let (first, second) = (execute(&leaves[0]), execute(&leaves[1]));
            assert_eq!(read(first).await, Ok(count));
            assert_eq!(read(second).await, Ok(count));
            assert_eq!(runs.load(Ordering::Relaxed), runs_expected);
            assert!(context.peak_bytes() < UNREAD_BYTES_MAX as u64 + 20_000_000, "{}", context.peak_bytes());
            assert_eq!(context.budget().bytes(), 0);
        }
        let Shared { leaves, runs, .. } = shared(2, 10, 1_000_000, false);
        assert_eq!(read(execute(&leaves[0])).await, Ok(10));
        assert_eq!(read(execute(&leaves[1])).await, Ok(10), "executed when all has gone by");
        assert_eq!(runs.load(Ordering::Relaxed), 2);
    }

    #[tokio::test]
    async fn a_reader_that_goes_is_no_burden_to_the_others() {
        let Shared { leaves, runs, context } = shared(3, 20, 100, false);
        let [mut first, mut second, third] = [0, 1, 2].map(|leaf| execute(&leaves[leaf]));
        assert!(first.next().await.is_some() && second.next().await.is_some());
        drop(third);
        drop(second);
        assert_eq!(read(first).await, Ok(19));
        assert_eq!((runs.load(Ordering::Relaxed), context.budget().bytes()), (1, 0));
        assert_eq!(read(execute(&leaves[1])).await, Ok(20), "who comes back asks by himself");

        let Shared { leaves, context, .. } = shared(2, 20, 100, false);
        let mut only = execute(&leaves[0]);
        assert!(only.next().await.is_some());
        drop(only);
        assert_eq!(context.budget().bytes(), 0);
    }

    #[tokio::test]
    async fn who_asks_some_parts_alone_does_not_share() {
        let Shared { leaves, runs, .. } = shared(2, 5, 8, false);
        let parts = SessionConfig::new().with_extension(Arc::new(ScannedParts(Arc::from([true]))));
        let context = Arc::new(TaskContext::default().with_session_config(parts));
        let streams = [leaves[0].execute(0, Arc::clone(&context)), leaves[1].execute(0, context)];
        for stream in streams {
            assert_eq!(read(stream.expect("it runs")).await, Ok(5));
        }
        assert_eq!(runs.load(Ordering::Relaxed), 2);
    }

    #[test]
    fn a_leaf_that_is_alone_is_left_as_it_is() {
        let Shared { leaves, .. } = shared(1, 5, 8, false);
        assert_eq!(leaves[0].name(), "Leaf");
    }
}
