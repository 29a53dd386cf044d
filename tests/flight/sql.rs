//! Flight SQL, asked by the client of arrow-flight.

use arrow::array::AsArray;
use arrow::datatypes::{Schema, UInt32Type};
use arrow::record_batch::RecordBatch;
use arrow::util::display::array_value_to_string;
use arrow_flight::sql::client::FlightSqlServiceClient;
use arrow_flight::sql::{
    CommandGetCrossReference, CommandGetDbSchemas, CommandGetExportedKeys, CommandGetPrimaryKeys, CommandGetTables,
    CommandGetXdbcTypeInfo, CommandPreparedStatementQuery, CommandStatementQuery, ProstMessageExt, SqlInfo,
    TicketStatementQuery,
};
use arrow_flight::{Action, FlightDescriptor, FlightInfo, Ticket};
use futures::TryStreamExt;
use prost::Message;
use tonic::transport::Channel;
use tonic::{Code, Request};

use super::server::{Server, mixed, store, two_jobs};

type Client = FlightSqlServiceClient<Channel>;

fn client(server: &Server) -> Client {
    Client::new_from_inner(server.client())
}

/// The table of a FlightInfo, which has the schema that the info promises.
async fn fetch(client: &mut Client, info: FlightInfo) -> Result<Vec<RecordBatch>, String> {
    let [endpoint] = info.endpoint.as_slice() else { panic!("one endpoint: {info:?}") };
    let ticket = endpoint.ticket.clone().expect("a ticket");
    let promised: Schema = info.try_decode_schema().expect("a schema");
    let mut stream = client.do_get(ticket).await.map_err(|error| error.to_string())?;
    let mut tables = Vec::new();
    while let Some(table) = stream.try_next().await.map_err(|error| error.to_string())? {
        assert_eq!(*table.schema(), promised);
        tables.push(table);
    }
    assert_eq!(stream.schema().map(|schema| schema.as_ref().clone()), Some(promised));
    Ok(tables)
}

/// Every row as its cells.
fn rows(tables: &[RecordBatch]) -> Vec<String> {
    let rows = tables.iter().flat_map(|table| (0..table.num_rows()).map(move |row| (table, row)));
    rows.map(|(table, row)| {
        let cells = table.columns().iter().map(|column| array_value_to_string(column, row).expect("a cell"));
        cells.collect::<Vec<_>>().join(" | ")
    })
    .collect()
}

async fn ask(server: &Server, statement: &str) -> Result<Vec<String>, String> {
    let mut client = client(server);
    let info = client.execute(statement.to_owned(), None).await.map_err(|error| error.to_string())?;
    Ok(rows(&fetch(&mut client, info).await?))
}

async fn columns(server: &Server, statement: &str) -> Vec<String> {
    let info = client(server).execute(statement.to_owned(), None).await.expect("a statement");
    let schema: Schema = info.try_decode_schema().expect("a schema");
    schema.fields().iter().map(|field| field.name().clone()).collect()
}

#[tokio::test]
async fn a_row_is_a_sample_and_labels_are_columns() {
    let server = Server::start(two_jobs()).await;
    let answer = ask(&server, "TQL EVAL (0, 30, '10s') hits{job=\"web\"}").await.expect("an answer");
    assert_eq!(
        answer,
        [
            r#"hits{job="web"} | hits | web | 1970-01-01T00:00:00Z | 5.0"#,
            r#"hits{job="web"} | hits | web | 1970-01-01T00:00:10Z | 5.0"#,
            r#"hits{job="web"} | hits | web | 1970-01-01T00:00:20Z | 5.0"#,
            r#"hits{job="web"} | hits | web | 1970-01-01T00:00:30Z | 5.0"#,
        ]
    );
    for (statement, wanted) in [
        ("TQL EVAL (0, 30, 10) hits", &["series", "__name__", "job", "zone", "timestamp", "value"][..]),
        ("TQL EVAL (0, 30, 10) rate(hits[20s])", &["series", "job", "zone", "timestamp", "value"]),
        ("TQL EVAL (0, 30, 10) sum by (zone, nosuch) (hits)", &["series", "nosuch", "zone", "timestamp", "value"]),
        ("TQL EVAL (0, 30, 10) time()", &["series", "timestamp", "value"]),
        ("vector(1)", &["series", "timestamp", "value"]),
        ("\"é\"", &["timestamp", "text"]),
        ("TQL EXPLAIN hits", &["plan"]),
    ] {
        assert_eq!(columns(&server, statement).await, wanted, "{statement}");
    }
    // Of what the servers have summed the order is theirs.
    let mut sum = ask(&server, "TQL EVAL (20, 20, 1) sum by (zone) (hits) # both").await.expect("an answer");
    sum.sort_unstable();
    assert_eq!(sum, [r#"{zone="é"} | é | 1970-01-01T00:00:20Z | 20.0"#, r#"{} |  | 1970-01-01T00:00:20Z | 5.0"#]);
}

#[tokio::test]
async fn labels_named_as_columns_are_in_the_series_only() {
    let server = Server::start(store(&[r#"x{value="a",timestamp="b",series="c",job="d"} 1x3"#])).await;
    let statement = "TQL EVAL (0, 0, 1) x";
    assert_eq!(columns(&server, statement).await, ["series", "__name__", "job", "timestamp", "value"]);
    let answer = ask(&server, statement).await.expect("an answer");
    assert_eq!(answer, [r#"x{job="d",series="c",timestamp="b",value="a"} | x | d | 1970-01-01T00:00:00Z | 1.0"#]);
}

#[tokio::test]
async fn lookback_is_an_argument() {
    let server = Server::start(two_jobs()).await;
    let count = async |statement: &str| ask(&server, statement).await.expect("an answer").len();
    assert_eq!(count("TQL EVAL (200, 200, 1) hits").await, 2);
    assert_eq!(count("TQL EVAL (200, 200, 1, '10s') hits").await, 0);
}

#[tokio::test]
async fn prepared_statements_are_stateless() {
    let server = Server::start(two_jobs()).await;
    let mut client = client(&server);
    let statement = "TQL EVAL (20, 20, 1) sum(hits)".to_owned();
    let mut prepared = client.prepare(statement, None).await.expect("prepared");
    assert_eq!(prepared.parameter_schema().expect("a schema").fields().len(), 0);
    assert_eq!(prepared.dataset_schema().expect("a schema").fields().len(), 3);
    for _ in 0..2 {
        let info = prepared.execute().await.expect("executed");
        assert_eq!(rows(&fetch(&mut client, info).await.expect("an answer")), ["{} | 1970-01-01T00:00:20Z | 25.0"]);
    }
    prepared.close().await.expect("closed");
    let failed = client.prepare("sum(".to_owned(), None).await.expect_err("refused").to_string();
    assert!(failed.contains("1:5: parse error: "), "{failed}");
}

#[tokio::test]
async fn what_is_wrong_is_told_with_its_place() {
    let server = Server::start(two_jobs()).await;
    for (statement, why) in [
        ("TQL EVAL (0, 1, 1) sum(hits", "1:28: parse error: unclosed left parenthesis"),
        (
            "TQL EVAL (0, 1, 1) hits[5m]",
            "a range vector has no value at each step, ask for an instant vector or a scalar",
        ),
        ("TQL EVAL (0, 11001, 1) hits", "1:21: more than 11001 steps from start to end"),
        ("up; up", "1:5: something stands behind the ; that ends the statement"),
        ("", "statement ends, expected a PromQL expression, such as up"),
    ] {
        let failed = ask(&server, statement).await.expect_err(statement);
        assert!(failed.contains(why), "{failed}");
    }
    #[cfg(not(feature = "sql"))]
    for statement in ["SELECT 1", "COPY x TO '/tmp/x'", "DROP TABLE hits"] {
        let failed = ask(&server, statement).await.expect_err(statement);
        assert!(failed.contains("is SQL, which this Quiver was built without"), "{failed}");
    }
    let server = Server::start(mixed()).await;
    let failed = ask(&server, "TQL EVAL (20, 20, 1) hits").await.expect_err("histograms are no numbers");
    assert!(failed.contains("native histograms"), "{failed}");
}

#[cfg(feature = "sql")]
#[tokio::test]
async fn sql_reads_promql_and_nothing_else() {
    let server = Server::start(two_jobs()).await;
    let statement =
        "SELECT label(labels, 'job') AS job, timestamp, value FROM promql('hits', 0, 10, '10s') ORDER BY 1, 2";
    assert_eq!(columns(&server, statement).await, ["job", "timestamp", "value"]);
    let answer = ask(&server, statement).await.expect("an answer");
    assert_eq!(
        answer,
        [
            "api | 1970-01-01T00:00:00Z | 0.0",
            "api | 1970-01-01T00:00:10Z | 10.0",
            "web | 1970-01-01T00:00:00Z | 5.0",
            "web | 1970-01-01T00:00:10Z | 5.0",
        ]
    );
    let labels = ask(&server, "SELECT labels, value FROM promql('hits{job=\"web\"}', 10)").await.expect("an answer");
    assert_eq!(labels, ["{__name__: hits, job: web} | 5.0"]);
    let mut client = client(&server);
    let mut prepared =
        client.prepare("SELECT count(*) AS n FROM promql('hits', 20)".to_owned(), None).await.expect("one");
    for _ in 0..2 {
        let info = prepared.execute().await.expect("executed");
        assert_eq!(rows(&fetch(&mut client, info).await.expect("an answer")), ["2"]);
    }
    for (statement, why) in [
        ("COPY (SELECT 1) TO '/tmp/x'", "SQL here reads only, ask with SELECT"),
        ("SET datafusion.execution.batch_size = 1", "SQL here reads only, ask with SELECT"),
        ("CREATE EXTERNAL TABLE x STORED AS CSV LOCATION '/etc/passwd'", "SQL here reads only, ask with SELECT"),
        ("SELECT * FROM '/etc/passwd'", "say from when: WHERE timestamp >"),
        ("SELECT nosuch FROM promql('hits')", "nosuch"),
    ] {
        let failed = ask(&server, statement).await.expect_err(statement);
        assert!(failed.contains(why), "{failed}");
    }
}

#[tokio::test]
async fn plans_are_a_row_a_line() {
    let server = Server::start(two_jobs()).await;
    let plan = ask(&server, "TQL EXPLAIN (0, 20, 10) sum(hits)").await.expect("a plan");
    assert!(plan[0] == "logical plan" && plan.iter().any(|line| line.contains("TableScan")), "{plan:?}");
    assert!(!plan.iter().any(|line| line.contains("samples read")));
    let cost = ask(&server, "TQL ANALYZE (0, 20, 10) sum(hits)").await.expect("a plan");
    assert!(cost.iter().any(|line| line.contains("samples read")), "{cost:?}");
}

#[tokio::test]
async fn metrics_are_tables() {
    let lines = ["http_requests_total 1x5", "http:requests:rate 1x5", "up{job=\"a\"} 1x5", "Up 1x5"];
    let server = Server::start(store(&lines)).await;
    let mut client = client(&server);
    let info = client.get_catalogs().await.expect("catalogs");
    assert_eq!(rows(&fetch(&mut client, info).await.expect("a table")), ["quiver"]);
    for (catalog, pattern, count) in
        [(None, None, 1), (Some("quiver"), Some("m%"), 1), (Some(""), None, 0), (None, Some("x"), 0)]
    {
        let asked = CommandGetDbSchemas {
            catalog: catalog.map(str::to_owned),
            db_schema_filter_pattern: pattern.map(str::to_owned),
        };
        let info = client.get_db_schemas(asked).await.expect("schemas");
        let found = rows(&fetch(&mut client, info).await.expect("a table"));
        assert_eq!(found, ["quiver | metrics"][..count], "{catalog:?} {pattern:?}");
    }
    let info = client.get_table_types().await.expect("types");
    assert_eq!(rows(&fetch(&mut client, info).await.expect("a table")), ["TABLE"]);
    let all = ["Up", "http:requests:rate", "http_requests_total", "up"];
    for (pattern, wanted) in [
        (None, &all[..]),
        (Some("%"), &all),
        (Some("http%"), &["http:requests:rate", "http_requests_total"]),
        (Some("http_requests%"), &["http:requests:rate", "http_requests_total"]),
        (Some(r"http\_requests%"), &["http_requests_total"]),
        (Some("up"), &["up"]),
        (Some("_p"), &["Up", "up"]),
        (Some(""), &[]),
        (Some("nosuch"), &[]),
    ] {
        let asked =
            CommandGetTables { table_name_filter_pattern: pattern.map(str::to_owned), ..CommandGetTables::default() };
        let info = client.get_tables(asked).await.expect("tables");
        let found = rows(&fetch(&mut client, info).await.expect("a table"));
        let wanted: Vec<String> = wanted.iter().map(|name| format!("quiver | metrics | {name} | TABLE")).collect();
        assert_eq!(found, wanted, "{pattern:?}");
    }
}

#[tokio::test]
async fn a_table_tells_its_columns() {
    let server = Server::start(two_jobs()).await;
    let mut client = client(&server);
    let asked = CommandGetTables { include_schema: true, ..CommandGetTables::default() };
    let info = client.get_tables(asked).await.expect("tables");
    let tables = fetch(&mut client, info).await.expect("a table");
    let message = tables[0].column(4).as_binary::<i32>().value(0).to_vec();
    let schema = Schema::try_from(arrow_flight::IpcMessage(message.into())).expect("a schema");
    let names: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
    assert_eq!(names, ["series", "__name__", "job", "zone", "timestamp", "value"]);
}

#[tokio::test]
async fn metrics_have_no_keys_but_drivers_get_their_tables() {
    let server = Server::start(two_jobs()).await;
    let mut client = client(&server);
    let (table, catalog, db_schema) = ("hits".to_owned(), None, None);
    let primary =
        CommandGetPrimaryKeys { catalog: catalog.clone(), db_schema: db_schema.clone(), table: table.clone() };
    let exported = CommandGetExportedKeys { catalog, db_schema, table };
    let infos = [
        (6, client.get_primary_keys(primary).await),
        (13, client.get_exported_keys(exported).await),
        (13, client.get_cross_reference(CommandGetCrossReference::default()).await),
    ];
    for (column_count, info) in infos {
        let info = info.expect("an answer");
        let schema = info.clone().try_decode_schema().expect("a schema");
        assert_eq!(schema.fields().len(), column_count);
        assert!(rows(&fetch(&mut client, info).await.expect("a table")).is_empty());
    }
}

#[tokio::test]
async fn the_server_tells_what_it_is() {
    let server = Server::start(two_jobs()).await;
    let mut client = client(&server);
    let asked = vec![SqlInfo::FlightSqlServerName, SqlInfo::FlightSqlServerReadOnly];
    let info = client.get_sql_info(asked).await.expect("infos");
    let tables = fetch(&mut client, info).await.expect("a table");
    assert_eq!(tables[0].column(0).as_primitive::<UInt32Type>().values(), &[0, 3]);
    let info = client.get_xdbc_type_info(CommandGetXdbcTypeInfo { data_type: None }).await.expect("types");
    assert_eq!(fetch(&mut client, info).await.expect("a table")[0].num_rows(), 3);
    assert!(!client.handshake("a", "b").await.expect("everybody").is_empty());
    assert_eq!(client.token().map(String::as_str), Some("quiver"));
    assert_eq!(ask(&server, "vector(7)").await.expect("an answer").len(), 1);
}

#[tokio::test]
async fn what_would_write_is_refused_with_what_to_do() {
    let server = Server::start(two_jobs()).await;
    let mut client = client(&server);
    let update = client.execute_update("hits".to_owned(), None).await.expect_err("an update").to_string();
    assert!(update.contains("Quiver is read-only"), "{update}");
    let begun = client.begin_transaction().await.expect_err("a transaction").to_string();
    assert!(begun.contains("Quiver has no transactions: turn autocommit on"), "{begun}");
    let in_one = client.execute("hits".to_owned(), Some("x".into())).await.expect_err("a transaction").to_string();
    assert!(in_one.contains("Quiver has no transactions"), "{in_one}");
    let actions: Vec<String> = server
        .client()
        .list_actions(arrow_flight::Empty {})
        .await
        .expect("a list")
        .into_inner()
        .map_ok(|action| action.r#type)
        .try_collect()
        .await
        .expect("actions");
    assert_eq!(actions, ["CreatePreparedStatement", "ClosePreparedStatement"]);
}

#[tokio::test]
async fn made_up_handles_and_commands_are_refused() {
    let server = Server::start(two_jobs()).await;
    let mut plain = server.client();
    let none_of_ours = "statement handle is none of this server's, ask for a new one";
    let handles: [Vec<u8>; 2] = [
        TicketStatementQuery { statement_handle: "x".into() }.as_any().encode_to_vec(),
        CommandPreparedStatementQuery { prepared_statement_handle: "x".into() }.as_any().encode_to_vec(),
    ];
    for ticket in handles {
        let status = plain.do_get(Ticket { ticket: ticket.into() }).await.expect_err("refused");
        assert_eq!((status.code(), status.message()), (Code::InvalidArgument, none_of_ours));
    }
    // A message of Flight SQL that is none of a statement, and bytes that are none of its fields.
    let any = arrow_flight::sql::Any {
        type_url: "type.googleapis.com/arrow.flight.protocol.sql.CommandStatementQuery".to_owned(),
        value: vec![0xff; 8].into(),
    };
    let descriptor = FlightDescriptor::new_cmd(any.encode_to_vec());
    assert!(plain.get_flight_info(descriptor.clone()).await.is_err());
    assert!(plain.do_get(Ticket { ticket: any.encode_to_vec().into() }).await.is_err());
    let action = Action { r#type: "CreatePreparedStatement".to_owned(), body: vec![0xff; 8].into() };
    assert!(plain.do_action(Request::new(action)).await.is_err());
    // The same bytes as a query are answered, and so is the schema of a statement.
    let query = CommandStatementQuery { query: "TQL EVAL (0, 10, 10) hits".to_owned(), transaction_id: None };
    let command = FlightDescriptor::new_cmd(query.as_any().encode_to_vec());
    assert!(!plain.get_schema(command).await.expect("a schema").into_inner().schema.is_empty());
}
