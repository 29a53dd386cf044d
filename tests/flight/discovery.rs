//! What a client finds out before it asks.

use arrow::datatypes::Schema;
use arrow_flight::{Action, Criteria, Empty, FlightDescriptor, FlightInfo, HandshakeRequest};
use futures::TryStreamExt;
use prost::Message;
use quiver::model::MetricMetadata;
use tonic::{Code, Request, Status};

use super::server::{Server, instant_ticket, store, two_jobs};

async fn info(server: &Server, descriptor: FlightDescriptor) -> Result<FlightInfo, Status> {
    Ok(server.client().get_flight_info(Request::new(descriptor)).await?.into_inner())
}

#[tokio::test]
async fn a_flight_has_the_schema_and_the_ticket_of_its_tables() {
    let server = Server::start(two_jobs()).await;
    let descriptors = [
        r#"{"query": "hits", "time": 60}"#,
        r#"{"query": "hits", "time": 60, "form": "samples", "label_columns": ["job"], "histograms": true}"#,
        r#"{"query": "hits", "time": 60, "form": "native"}"#,
        r#"{"query": "hits[1m]", "time": 60}"#,
        r#"{"query": "hits", "start": 0, "end": 60, "step": 10}"#,
        r#"{"query": "1", "time": 60}"#,
        r#"{"query": "'a'", "time": 60}"#,
    ];
    let commands = descriptors.map(FlightDescriptor::new_cmd).into_iter();
    let as_protobuf = FlightDescriptor::new_cmd(instant_ticket("hits", 60_000).encode_to_vec());
    for descriptor in commands.chain([as_protobuf]) {
        let info = info(&server, descriptor.clone()).await.expect("known");
        assert_eq!(info.flight_descriptor.as_ref(), Some(&descriptor));
        assert_eq!((info.total_records, info.total_bytes), (-1, -1));
        let [endpoint] = info.endpoint.as_slice() else { panic!("one endpoint") };
        assert!(endpoint.location.is_empty(), "over the same connection");
        let ticket = endpoint.ticket.clone().expect("a ticket").ticket;
        let answer = server.get(ticket).await.expect("answered");
        let announced = Schema::try_from(info).expect("a schema");
        assert_eq!(*answer.schema, announced);
        let result = server.client().get_schema(Request::new(descriptor.clone())).await.expect("known").into_inner();
        assert_eq!(Schema::try_from(&result).expect("a schema"), announced);
        let polled = server.client().poll_flight_info(Request::new(descriptor)).await.expect("known").into_inner();
        assert!(polled.flight_descriptor.is_none() && polled.info.is_some(), "there is nothing to wait for");
    }
}

#[tokio::test]
async fn a_path_is_a_metric_or_a_selector() {
    let server = Server::start(store(&[r#"hits{job="a"} 1"#, r#"{"http.hits", job="b"} 2"#, "sum 3"])).await;
    for (path, selector) in [
        ("hits", "hits"),
        ("hits{job=\"a\"}", "hits{job=\"a\"}"),
        ("http.hits", "{__name__=\"http.hits\"}"),
        ("sum", "sum"),
        ("5", "{__name__=\"5\"}"),
    ] {
        let info = info(&server, FlightDescriptor::new_path(vec![path.to_owned()])).await.expect("known");
        let ticket = info.endpoint[0].ticket.clone().expect("a ticket").ticket;
        let answer = server.get(ticket).await.expect("answered");
        assert_eq!(answer.header["ticket"]["query"], selector);
    }
    for (descriptor, why) in [
        (FlightDescriptor::new_path(vec![]), "invalid descriptor: its path has 0 parts"),
        (FlightDescriptor::new_path(vec!["a".into(), "b".into()]), "invalid descriptor: its path has 2 parts"),
        (FlightDescriptor::new_path(vec![String::new()]), "invalid descriptor: its path is empty"),
        (FlightDescriptor::new_path(vec!["up{".into()]), "1:4: parse error: "),
        (FlightDescriptor::new_cmd("up"), "invalid ticket: it is neither JSON"),
        (FlightDescriptor::default(), "invalid descriptor: it must be a command"),
    ] {
        let status = info(&server, descriptor.clone()).await.expect_err(why);
        assert_eq!(status.code(), Code::InvalidArgument, "{status}");
        assert!(status.message().starts_with(why), "{status}");
        let status = server.client().get_schema(Request::new(descriptor)).await.expect_err(why);
        assert!(status.message().starts_with(why), "{status}");
    }
}

#[tokio::test]
async fn flights_are_the_metrics_that_there_are() {
    let source = store(&[r#"hits{job="a"} 1"#, r#"{"http.hits", job="b"} 2"#, r#"misses{job="a"} 3"#]);
    let meaning = MetricMetadata { metric_type: "counter".into(), help: "Requests.".into(), unit: String::new() };
    source.set_metadata("hits", vec![meaning]);
    let server = Server::start(source).await;
    let list = async |criteria: &str| -> Result<Vec<(String, String)>, Status> {
        let criteria = Criteria { expression: criteria.to_owned().into() };
        let flights = server.client().list_flights(Request::new(criteria)).await?.into_inner();
        let flights: Vec<FlightInfo> = flights.try_collect().await?;
        let mut listed = Vec::new();
        for flight in flights {
            let ticket = flight.endpoint[0].ticket.clone().expect("a ticket").ticket;
            assert_eq!(server.get(ticket).await?.columns(), ["labels", "timestamp", "value", "histogram"]);
            let name = flight.flight_descriptor.expect("a descriptor").path.join("/");
            listed.push((name, String::from_utf8(flight.app_metadata.to_vec()).expect("JSON")));
        }
        Ok(listed)
    };
    let hits = r#"{"metric":"hits","metadata":[{"type":"counter","help":"Requests.","unit":""}]}"#;
    let of = |name: &str, text: &str| (name.to_owned(), text.to_owned());
    assert_eq!(
        list("").await.expect("listed"),
        [
            of("hits", hits),
            of("http.hits", r#"{"metric":"http.hits","metadata":[]}"#),
            of("misses", r#"{"metric":"misses","metadata":[]}"#)
        ]
    );
    assert_eq!(list(r#"{job="b"}"#).await.expect("listed").len(), 1);
    assert_eq!(list(r#"{job="c"}"#).await.expect("listed").len(), 0);
    let status = list("hits[5m]").await.expect_err("no selector");
    assert_eq!(status.code(), Code::InvalidArgument);
    assert!(status.message().starts_with("invalid criteria: "), "{status}");
}

#[tokio::test]
async fn whoever_shakes_hands_is_let_in_and_whoever_writes_is_not() {
    let server = Server::start(two_jobs()).await;
    let mut client = server.client();
    let hello = futures::stream::iter([HandshakeRequest::default()]);
    let answers: Vec<_> = client.handshake(hello).await.expect("let in").into_inner().try_collect().await.expect("one");
    assert_eq!(answers.len(), 1);
    let actions: Vec<_> = client
        .list_actions(Request::new(Empty {}))
        .await
        .expect("listed")
        .into_inner()
        .try_collect()
        .await
        .expect("all");
    let names: Vec<&str> = actions.iter().map(|action| action.r#type.as_str()).collect();
    assert_eq!(names, ["CreatePreparedStatement", "ClosePreparedStatement"]);

    let refused = client.do_put(futures::stream::empty()).await.expect_err("no writes");
    assert_eq!(
        (refused.code(), refused.message()),
        (Code::Unimplemented, "DoPut is not there: Quiver reads from its servers and writes to none")
    );
    let refused = client.do_exchange(futures::stream::empty()).await.expect_err("no writes");
    assert_eq!(refused.code(), Code::Unimplemented);
    let refused = client.do_action(Request::new(Action::new("Fly", ""))).await.expect_err("unknown");
    assert_eq!(refused.message(), "there is no action \"Fly\"; ListActions names those that there are");
}
