//! What comes back in which table.

use arrow::datatypes::DataType;
use prost::Message;
use quiver::serve::grpc::proto;
use tonic::Code;

use super::server::{Server, instant_ticket, mixed, range_ticket, store, two_jobs};

#[tokio::test]
async fn one_time_has_a_row_a_series() {
    let server = Server::start(two_jobs()).await;
    let answer = server.get(r#"{"query": "hits", "time": 60}"#).await.expect("answered");
    assert_eq!(answer.columns(), ["labels", "timestamp", "value", "histogram"]);
    assert_eq!(
        answer.rows(),
        [
            "labels={__name__:hits,job:api,zone:é} timestamp=60 value=60",
            "labels={__name__:hits,job:web} timestamp=60 value=7"
        ]
    );
    assert_eq!(answer.header["kind"], "vector");
    assert_eq!(answer.header["grid"], serde_json::json!({"start_ms": 60_000, "step_ms": 1, "step_count": 1}));
    assert_eq!(answer.header["ticket"]["query"], "hits");
    assert_eq!(answer.trailer["warnings"], serde_json::json!([]));
    assert_eq!(answer.trailer["stats"]["series_returned"], 2);
}

#[tokio::test]
async fn a_range_has_lists_without_the_steps_that_are_absent() {
    let server = Server::start(two_jobs()).await;
    let ticket = r#"{"query": "hits", "start": 0, "end": 65, "step": "10s", "lookback_delta": "10s"}"#;
    let answer = server.get(ticket).await.expect("answered");
    assert_eq!(answer.columns(), ["labels", "timestamps", "values", "histograms"]);
    assert_eq!(
        answer.rows(),
        [
            "labels={__name__:hits,job:api,zone:é} timestamps=0,10,20,30,40,50,60 values=0,10,20,30,40,50,60",
            "labels={__name__:hits,job:web} timestamps=0,10,20,40,50,60 values=5,5,5,7,7,7"
        ]
    );
    assert_eq!(answer.header["grid"]["step_count"], 7);
    assert_eq!(answer.metadata()["quiver.grid"], "0/10000/7");
}

#[tokio::test]
async fn a_range_without_gaps_has_all_steps_of_all_series() {
    let server = Server::start(store(&[r#"x{a="1"} 1+1x3"#, r#"x{a="2"} 5+1x3"#])).await;
    let answer = server.get(range_ticket("x", (0, 30_000, 10_000)).encode_to_vec()).await.expect("answered");
    assert_eq!(
        answer.rows(),
        [
            "labels={__name__:x,a:1} timestamps=0,10,20,30 values=1,2,3,4",
            "labels={__name__:x,a:2} timestamps=0,10,20,30 values=5,6,7,8"
        ]
    );
}

#[tokio::test]
async fn raw_samples_have_lists_too() {
    let server = Server::start(two_jobs()).await;
    let answer = server.get(r#"{"query": "hits{job=\"web\"}[25s]", "time": 60}"#).await.expect("answered");
    assert_eq!(answer.columns(), ["labels", "timestamps", "values", "histograms"]);
    assert_eq!(answer.rows(), ["labels={__name__:hits,job:web} timestamps=40,50,60 values=7,7,7"]);
    assert_eq!(answer.header["kind"], "samples");
}

#[tokio::test]
async fn numbers_and_texts_have_one_row() {
    let server = Server::start(two_jobs()).await;
    let answer = server.get(r#"{"query": "1 + 1", "time": 60}"#).await.expect("answered");
    assert_eq!(
        (answer.rows(), answer.header["kind"].as_str()),
        (vec!["labels={} timestamp=60 value=2".to_owned()], Some("scalar"))
    );
    let answer = server.get(r#"{"query": "'é'", "time": 60}"#).await.expect("answered");
    assert_eq!(
        (answer.rows(), answer.header["kind"].as_str()),
        (vec!["timestamp=60 text=é".to_owned()], Some("string"))
    );
    let answer = server.get(r#"{"query": "time()", "start": 0, "end": 20, "step": 10, "form": "samples"}"#).await;
    assert_eq!(
        answer.expect("answered").rows(),
        ["series={} timestamp=0 value=0", "series={} timestamp=10 value=10", "series={} timestamp=20 value=20"]
    );
    let answer = server.get(r#"{"query": "nosuch"}"#).await.expect("answered");
    assert_eq!(answer.row_count(), 0);
}

#[tokio::test]
async fn a_table_of_samples_has_the_labels_that_were_asked_for() {
    let server = Server::start(two_jobs()).await;
    for (query, times) in [("hits", r#""start": 50, "end": 60, "step": 10"#), ("hits[15s]", r#""time": 60"#)] {
        let ticket = format!(
            r#"{{"query": "{query}", {times}, "form": "samples", "label_columns": ["zone", "job", "nosuch"]}}"#
        );
        let answer = server.get(ticket).await.expect("answered");
        assert_eq!(answer.columns(), ["series", "zone", "job", "nosuch", "timestamp", "value"]);
        let words = DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8));
        assert_eq!(*answer.schema.field(0).data_type(), words);
        assert_eq!(
            answer.rows(),
            [
                r#"series=hits{job="api",zone="é"} zone=é job=api timestamp=50 value=50"#,
                r#"series=hits{job="api",zone="é"} zone=é job=api timestamp=60 value=60"#,
                r#"series=hits{job="web"} job=web timestamp=50 value=7"#,
                r#"series=hits{job="web"} job=web timestamp=60 value=7"#
            ]
        );
    }
}

#[tokio::test]
async fn a_word_is_in_its_dictionary_once() {
    let server = Server::start(store(&[r#"x{a="1",b="2"} 1"#, r#"x{a="1",b="3"} 1"#, r#"x{b="4"} 1"#])).await;
    let ticket = r#"{"query": "x", "time": 0, "form": "samples", "label_columns": ["a"]}"#;
    let answer = server.get(ticket).await.expect("answered");
    let words = |column: usize| {
        use arrow::array::{Array, AsArray};
        answer.batches[0].column(column).as_dictionary::<arrow::datatypes::Int32Type>().values().len()
    };
    assert_eq!((words(0), words(1)), (3, 1));
}

#[tokio::test]
async fn native_histograms_are_beside_the_numbers() {
    let server = Server::start(mixed()).await;
    let at = |time: i64| instant_ticket("hits", time).encode_to_vec();
    assert_eq!(
        server.get(at(20_000)).await.expect("answered").rows(),
        [
            "labels={__name__:hits,job:api} timestamp=20 histogram=20:3",
            "labels={__name__:hits,job:web} timestamp=20 value=1"
        ]
    );
    let range = || range_ticket("hits", (0, 40_000, 10_000));
    assert_eq!(
        server.get(range().encode_to_vec()).await.expect("answered").rows(),
        [
            "labels={__name__:hits,job:api} timestamps=0,10,40 values=1,2,5 histograms=20:3,30:3",
            "labels={__name__:hits,job:web} timestamps=0,10,20,30,40 values=1,1,1,1,1"
        ]
    );
    assert_eq!(
        server.get(instant_ticket("hits[35s]", 40_000).encode_to_vec()).await.expect("answered").rows(),
        [
            "labels={__name__:hits,job:api} timestamps=10,40 values=2,5 histograms=20:3,30:3",
            "labels={__name__:hits,job:web} timestamps=10,20,30,40 values=1,1,1,1"
        ]
    );
    // Never left out in silence.
    let per_sample = proto::FlightTicket { form: proto::TableForm::PerSample.into(), ..range() };
    let (code, text) = server.refusal(per_sample.encode_to_vec()).await;
    assert_eq!(code, Code::FailedPrecondition);
    assert!(text.contains("write \"histograms\": true"), "{text}");
    let with_histograms = proto::FlightTicket { histograms: true, ..per_sample };
    let answer = server.get(with_histograms.encode_to_vec()).await.expect("answered");
    assert_eq!(answer.columns(), ["series", "timestamp", "value", "histogram"]);
    assert_eq!(
        answer.rows()[..6],
        [
            r#"series=hits{job="api"} timestamp=0 value=1"#,
            r#"series=hits{job="api"} timestamp=10 value=2"#,
            r#"series=hits{job="api"} timestamp=20 histogram=20:3"#,
            r#"series=hits{job="api"} timestamp=30 histogram=30:3"#,
            r#"series=hits{job="api"} timestamp=40 value=5"#,
            r#"series=hits{job="web"} timestamp=0 value=1"#
        ]
    );
}

#[tokio::test]
async fn compressed_tables_are_smaller_and_the_same() {
    let lines: Vec<String> = (0..50).map(|row| format!("x{{row=\"{row}\"}} 0+{row}x200")).collect();
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    let server = Server::start(store(&lines)).await;
    let mut plain = None;
    for compression in ["none", "lz4", "zstd"] {
        for form in ["series", "samples", "native"] {
            let ticket = format!(
                r#"{{"query": "x", "start": 0, "end": 2000, "step": 10, "form": "{form}", "compression": "{compression}"}}"#
            );
            let answer = server.get(ticket).await.expect("answered");
            if form != "series" {
                continue;
            }
            match &plain {
                None => plain = Some((answer.rows(), answer.bytes)),
                Some((rows, bytes)) => {
                    assert_eq!(answer.rows(), *rows, "{compression}");
                    assert!(answer.bytes * 3 < *bytes, "{compression}: {} of {bytes}", answer.bytes);
                }
            }
        }
    }
}

#[tokio::test]
async fn a_large_answer_comes_in_messages_that_every_client_takes() {
    let lines: Vec<String> = (0..300).map(|row| format!("x{{row=\"{row:03}\"}} 0+{row}x2000")).collect();
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    let server = Server::start(store(&lines)).await;
    for form in ["series", "samples", "native"] {
        let ticket = format!(r#"{{"query": "x", "start": 0, "end": 20000, "step": 10, "form": "{form}"}}"#);
        let answer = server.get(ticket).await.expect("answered");
        assert!(answer.batches.len() > 4, "{form}: {} tables", answer.batches.len());
        assert!(answer.largest < 3 << 20, "{form}: {}", answer.largest);
        let expected = if form == "samples" { 300 * 2_001 } else { 300 };
        assert_eq!(answer.row_count(), expected, "{form}");
        assert_eq!(answer.trailer["stats"]["series_returned"], 300, "{form}");
    }
}

#[tokio::test]
async fn a_series_that_is_larger_than_a_message_comes_to_who_takes_it() {
    let server = Server::start(store(&["x 0+1x300000", "y 1"])).await;
    let ticket = r#"{"query": "{__name__=~\"x|y\"}[60d]", "time": 3000000}"#;
    let status = server.get(ticket).await.expect_err("4 MiB are what this client takes");
    assert_eq!(status.code(), Code::OutOfRange, "{status}");
    let request = tonic::Request::new(arrow_flight::Ticket { ticket: ticket.into() });
    let mut client = server.client().max_decoding_message_size(64 << 20);
    let answer = super::server::Answer::read(client.do_get(request).await.expect("begun").into_inner()).await;
    let answer = answer.expect("answered");
    assert_eq!(answer.row_count(), 2);
    assert!((300_001 * 16..300_001 * 16 + 10_000).contains(&answer.largest), "{}", answer.largest);
}
