//! Native tables: what a Quiver above reads without a copy.

use std::sync::Arc;

use futures::TryStreamExt;
use prost::Message;
use quiver::model::{
    DurationMs, Matcher, SamplesTable, SelectForm, SelectRequest, StepGrid, StepsTable, TimestampMs, is_stale,
};
use quiver::query::QueryOptions;
use quiver::serve::grpc::proto::{self, flight_ticket, leaf_select};
use quiver::testing::MemoryStore;

use super::server::{Answer, Server, instant_ticket, mixed, range_ticket, store};

fn leaf_ticket(form: leaf_select::Form) -> Vec<u8> {
    let matcher =
        proto::LeafMatcher { name: "__name__".into(), op: proto::MatchOperator::Equal.into(), value: "hits".into() };
    let leaf = proto::LeafSelect { matchers: vec![matcher], form: Some(form) };
    let question = Some(flight_ticket::Question::Leaf(leaf));
    proto::FlightTicket { question, ..proto::FlightTicket::default() }.encode_to_vec()
}

fn raw(after_ms: i64, until_ms: i64) -> leaf_select::Form {
    leaf_select::Form::Raw(proto::LeafSamples { after_ms, until_ms })
}

fn steps(sample_times: bool) -> leaf_select::Form {
    let grid = Some(proto::StepGrid { start_ms: 5_000, step_ms: 10_000, step_count: 5 });
    leaf_select::Form::Steps(proto::LeafSteps { grid, lookback_ms: 300_000, sample_times })
}

/// The tables that the engine behind the server gives for the same leaf.
async fn of_engine(server: &Server, form: SelectForm) -> Vec<arrow::record_batch::RecordBatch> {
    let select = SelectRequest { matchers: vec![Matcher::equal("__name__", "hits")], form };
    let stream = server.api.engine().leaf(&select, &QueryOptions::default()).await.expect("begun");
    let tables: Vec<_> = stream.tables.try_collect().await.expect("tables");
    tables.into_iter().map(|(table, _)| table).collect()
}

fn assert_same_columns(answer: &Answer, tables: &[arrow::record_batch::RecordBatch], columns: &[&str]) {
    assert_eq!(answer.columns(), columns);
    let all = |batches: &[arrow::record_batch::RecordBatch]| {
        let batches: Vec<_> = batches
            .iter()
            .map(|batch| {
                let kept: Vec<usize> =
                    columns.iter().map(|name| batch.schema().index_of(name).expect("a column")).collect();
                batch.project(&kept).expect("projected")
            })
            .collect();
        let whole = arrow::compute::concat_batches(&batches[0].schema(), &batches).expect("alike");
        whole.columns().to_vec()
    };
    // Not `==`: NaN and stale markers are bits.
    assert_eq!(format!("{:?}", all(&answer.batches)), format!("{:?}", all(tables)));
}

fn with_markers() -> Arc<MemoryStore> {
    store(&[r#"hits{job="api"} 1 2 stale _ 5"#, r#"hits{job="web"} 1 {{schema:0 sum:4 count:3 buckets:[1 2]}}x2"#])
}

#[tokio::test]
async fn a_leaf_of_raw_samples_is_the_engine_s_own_table_with_stale_markers() {
    let server = Server::start(with_markers()).await;
    let answer = server.get(leaf_ticket(raw(0, 40_000))).await.expect("answered");
    assert_eq!(answer.metadata()["quiver.format"], "1");
    assert_eq!(answer.metadata()["quiver.form"], "samples");
    assert_eq!(answer.header["kind"], "samples");
    assert_eq!(answer.header["ticket"]["leaf"]["selector"], "hits");
    let window = SelectForm::Samples { start: TimestampMs(0), end: TimestampMs(40_000) };
    assert_same_columns(&answer, &of_engine(&server, window).await, &["labels", "samples"]);
    let table = SamplesTable::try_new(&answer.batches[0]).expect("a samples table");
    let (times, values) = table.series(0);
    assert_eq!(times, [10_000, 20_000, 40_000]);
    assert!(is_stale(values[1]) && values[0] == 2.0 && values[2] == 5.0, "{values:?}");
    assert_eq!((table.series(1).0.len(), table.histograms().row_len(1)), (0, 3));
}

#[tokio::test]
async fn a_leaf_of_steps_is_in_the_form_that_its_schema_tells() {
    // A store in memory looks back for nobody.
    let server = Server::start(with_markers()).await;
    let answer = server.get(leaf_ticket(steps(true))).await.expect("answered");
    assert_eq!(answer.metadata()["quiver.form"], "samples");
    let grid = StepGrid::with_count(TimestampMs(5_000), DurationMs(10_000), 5);
    let form = SelectForm::Steps { grid, lookback: DurationMs(300_000) };
    assert_same_columns(&answer, &of_engine(&server, form).await, &["labels", "samples"]);
}

#[tokio::test]
async fn a_leaf_of_steps_of_servers_is_timed_with_stale_markers_as_cells() {
    let server = Server::start(super::flow::groups_of(with_markers())).await;
    let grid = StepGrid::with_count(TimestampMs(5_000), DurationMs(10_000), 5);
    let form = SelectForm::Steps { grid, lookback: DurationMs(300_000) };
    let tables = of_engine(&server, form).await;

    let timed = server.get(leaf_ticket(steps(true))).await.expect("answered");
    assert_eq!(timed.metadata()["quiver.form"], "timed_steps");
    assert_eq!(timed.metadata()["quiver.grid"], "5000/10000/5");
    assert_same_columns(&timed, &tables, &["labels", "values", "sample_times"]);
    let table = StepsTable::try_new(&timed.batches[0]).expect("a steps table");
    assert_eq!((table.cell(0, 0), table.sample_time(0, 0)), (Some(1.0), Some(0)));
    assert!(table.cell(0, 2).is_some_and(is_stale), "the marker hides older samples of others");

    let plain = server.get(leaf_ticket(steps(false))).await.expect("answered");
    assert_eq!(plain.metadata()["quiver.form"], "steps");
    assert_same_columns(&plain, &tables, &["labels", "values"]);
}

#[tokio::test]
async fn a_query_travels_in_native_tables_too() {
    let server = Server::start(mixed()).await;
    let native = |ticket: proto::FlightTicket| proto::FlightTicket { form: 3, ..ticket }.encode_to_vec();
    let answer = server.get(native(range_ticket("sum(hits{job='web'})", (0, 20_000, 10_000)))).await.expect("answered");
    assert_eq!(answer.metadata()["quiver.form"], "steps");
    assert_eq!(answer.metadata()["quiver.kind"], "matrix");
    let table = StepsTable::try_new(&answer.batches[0]).expect("a steps table");
    assert_eq!((table.row_count(), table.labels(0).is_empty()), (1, true));
    assert_eq!([0, 1, 2].map(|step| table.cell(0, step)), [Some(1.0); 3]);

    let answer = server.get(native(instant_ticket("hits", 20_000))).await.expect("answered");
    assert_eq!(answer.metadata()["quiver.grid"], "20000/1/1");
    let table = StepsTable::try_new(&answer.batches[0]).expect("a steps table");
    assert_eq!((table.cell(0, 0), table.cell(1, 0)), (None, Some(1.0)));
    assert_eq!(table.histograms().row_len(0), 1);

    let answer = server.get(native(instant_ticket("hits[15s]", 40_000))).await.expect("answered");
    assert_eq!(answer.metadata()["quiver.form"], "samples");
    assert_eq!(SamplesTable::try_new(&answer.batches[0]).expect("a samples table").series(0).0, [40_000]);
}
