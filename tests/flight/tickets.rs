//! Tickets over the wire: both spellings, and those that are none.

use prost::Message;
use quiver::serve::grpc::proto;
use tonic::Code;

use super::server::{Server, instant_ticket, query_ticket, range_ticket, two_jobs};

#[tokio::test]
async fn both_spellings_ask_the_same() {
    let server = Server::start(two_jobs()).await;
    for (json, protobuf) in [
        (r#"{"query": "sum(hits)", "time": "1970-01-01T00:01:00Z"}"#, instant_ticket("sum(hits)", 60_000)),
        (
            r#"{"query": "rate(hits[20s])", "start": 20, "end": "60", "step": "10s"}"#,
            range_ticket("rate(hits[20s])", (20_000, 60_000, 10_000)),
        ),
        (
            r#"{"query": "hits", "time": 60, "form": "samples", "label_columns": ["job"]}"#,
            proto::FlightTicket { form: 2, label_columns: vec!["job".into()], ..instant_ticket("hits", 60_000) },
        ),
    ] {
        let (json, protobuf) =
            (server.get(json).await.expect("answered"), server.get(protobuf.encode_to_vec()).await.expect("answered"));
        assert!(json.row_count() > 0);
        assert_eq!((json.rows(), json.columns()), (protobuf.rows(), protobuf.columns()));
        assert_eq!(json.header, protobuf.header);
    }
}

#[tokio::test]
async fn bad_tickets_are_refused_and_say_why() {
    let server = Server::start(two_jobs()).await;
    let unknown_field = [query_ticket("hits").encode_to_vec(), vec![0xa0, 0x06, 0x01]].concat();
    for (ticket, why) in [
        (Vec::new(), "invalid ticket: it is empty"),
        (b"hits".to_vec(), "invalid ticket: it is neither JSON, which begins with {, nor a quiver.v1.FlightTicket"),
        (b"{\"query\": 1}".to_vec(), "invalid ticket: query: it must be a text, not a number"),
        (b"{\"query\": \"hits\", \"steps\": 1}".to_vec(), "invalid ticket: \"steps\": no such key, there are query"),
        (b"{\"query\": \"hits(\"}".to_vec(), "1:6: parse error: "),
        (
            b"{\"query\": \"hits[5m]\", \"start\": 0, \"end\": 1, \"step\": 1}".to_vec(),
            "invalid expression type \"range vector\" for range query, must be Scalar or instant Vector",
        ),
        (unknown_field, "invalid ticket: 100: this version of Quiver has no such field"),
        (vec![b'{'; (1 << 20) + 1], "invalid ticket: it has 1048577 bytes, at most 1048576 are read"),
        (vec![0xff; 100], "invalid ticket: it is neither JSON"),
    ] {
        let (code, text) = server.refusal(ticket).await;
        assert_eq!(code, Code::InvalidArgument, "{text}");
        assert!(text.starts_with(why), "{text}");
    }
    // What is larger than any request is refused before it is read.
    let (code, text) = server.refusal(vec![b'{'; 3 << 20]).await;
    assert_eq!(code, Code::ResourceExhausted, "{text}");
}

#[tokio::test]
async fn options_of_a_ticket_count() {
    let server = Server::start(two_jobs()).await;
    let with = |options: &str| format!(r#"{{"query": "hits{{job=\"web\"}}", "time": 95, {options}}}"#);
    assert_eq!(server.get(with(r#""lookback_delta": "20s""#)).await.expect("answered").row_count(), 0);
    assert_eq!(server.get(with(r#""lookback_delta": 40"#)).await.expect("answered").row_count(), 1);
    let (code, text) = server.refusal(with(r#""timeout": 0"#)).await;
    assert_eq!((code, text.as_str()), (Code::DeadlineExceeded, "query timed out in query queue"));
    let (code, text) = server.refusal(with(r#""groups": ["nosuch"]"#)).await;
    assert_eq!(code, Code::InvalidArgument, "{text}");
    assert!(text.contains("nosuch"), "{text}");
    let chosen = r#"{"query": "hits", "partial_response": true, "mode": "exact", "timeout": "1m"}"#;
    let ticket = server.get(chosen).await.expect("answered").header["ticket"].clone();
    assert_eq!(
        (&ticket["partial_response"], &ticket["mode"], &ticket["timeout_ms"]),
        (&true.into(), &"exact".into(), &60_000.into())
    );
}
