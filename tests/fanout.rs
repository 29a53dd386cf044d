//! What replicas do, by what the group's policy is: result, warnings, kind of error. Real sockets, no sleeps.

mod support;

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::StreamExt;
use quiver::config::{Auth, HttpClientConfig, PromxyConfig, Secret, SecretSource, ServerGroupConfig, StaticConfig};
use quiver::downstream::SampleTimes;
use quiver::error::{Error, ErrorKind};
use quiver::model::{
    DurationMs, Labels, MatchOp, Matcher, MetadataRequest, PartialResponse, QueryContext, SamplesTable, SelectForm,
    SelectRequest, SeriesStream, SourcePolicy, StepGrid, StepsTable, TimestampMs,
};
use quiver::query::{EngineOptions, QueryEngine, QueryOptions};
use quiver::scan::{GroupsSource, ScanRequest, SeriesSource};
use quiver::servergroup::ServerGroupSet;
use support::{Asked, Reply, Server, refusing_address};

/// The wait of groups whose replicas hang; a good replica must answer within it even on a busy machine.
const SHORT: Duration = Duration::from_millis(400);

fn group(addresses: &[String]) -> ServerGroupConfig {
    ServerGroupConfig {
        name: Some("eu".to_owned()),
        static_configs: vec![StaticConfig { targets: addresses.to_vec(), labels: Labels::default() }],
        http_client: HttpClientConfig { dial_timeout: Duration::from_secs(5), ..HttpClientConfig::default() },
        ..ServerGroupConfig::default()
    }
}

fn source(groups: Vec<ServerGroupConfig>) -> GroupsSource {
    let set = ServerGroupSet::try_new(&PromxyConfig { server_groups: groups }).expect("a good config");
    GroupsSource::new(Arc::new(set))
}

fn grid() -> StepGrid {
    StepGrid::with_count(TimestampMs(60_000), DurationMs(30_000), 3)
}

fn steps_of(matchers: Vec<Matcher>) -> SelectRequest {
    SelectRequest { matchers, form: SelectForm::Steps { grid: grid(), lookback: DurationMs(300_000) } }
}

fn up() -> SelectRequest {
    steps_of(vec![Matcher::equal("__name__", "up")])
}

/// Labels and cells of each series: `{…} 1 _ 3`.
async fn select(source: &GroupsSource, request: &SelectRequest, context: &QueryContext) -> Result<Vec<String>, Error> {
    let mut rows = Vec::new();
    for mut batches in source.open(&ScanRequest::of_all(request.clone(), SampleTimes::StepTimes), context) {
        while let Some(batch) = batches.next().await.transpose()? {
            rows.extend(rows_of(&batch, &request.form));
        }
    }
    Ok(rows)
}

/// The stream of the first part.
fn open_first(source: &GroupsSource, request: SelectRequest, sample_times: SampleTimes) -> SeriesStream {
    source.open(&ScanRequest::of_all(request, sample_times), &QueryContext::default()).swap_remove(0)
}

fn rows_of(batch: &arrow::record_batch::RecordBatch, form: &SelectForm) -> Vec<String> {
    match form {
        SelectForm::Samples { .. } => {
            let table = SamplesTable::try_new(batch).expect("a samples table");
            let row = |row| {
                let (times, values) = table.series(row);
                let samples: Vec<String> = times.iter().zip(values).map(|(t, v)| format!("{v}@{t}")).collect();
                format!("{} {}", table.labels(row), samples.join(" "))
            };
            (0..table.row_count()).map(row).collect()
        }
        SelectForm::Steps { .. } => {
            let table = StepsTable::try_new(batch).expect("a steps table");
            assert!(table.is_timed());
            let row = |row| {
                let cells: Vec<String> =
                    table.row(row).map(|cell| cell.map_or("_".to_owned(), |value| value.to_string())).collect();
                format!("{} {}", table.labels(row), cells.join(" "))
            };
            (0..table.row_count()).map(row).collect()
        }
    }
}

fn warnings(context: &QueryContext) -> Vec<String> {
    context.annotations.snapshot().into_iter().map(|annotation| annotation.text).collect()
}

fn matrix(series: &[(&str, &[(i64, f64)])]) -> String {
    let one = |(labels, samples): &(&str, &[(i64, f64)])| {
        let samples: Vec<String> = samples.iter().map(|(t, v)| format!("[{},\"{v}\"]", TimestampMs(*t))).collect();
        format!(r#"{{"metric":{{{labels}}},"values":[{}]}}"#, samples.join(","))
    };
    let series: Vec<String> = series.iter().map(one).collect();
    format!(r#"{{"status":"success","data":{{"resultType":"matrix","result":[{}]}}}}"#, series.join(","))
}

const UP: &str = r#""__name__":"up","job":"a""#;

/// `up{job="a"}` scraped 5 s before each step: the values and their times, as a Prometheus answers.
fn good_body(asked: &Asked) -> String {
    if asked.param("query").is_some_and(|query| query.starts_with("timestamp(")) {
        return matrix(&[(r#""job":"a""#, &[(60_000, 55.0), (90_000, 85.0), (120_000, 115.0)])]);
    }
    matrix(&[(UP, &[(60_000, 1.0), (90_000, 2.0), (120_000, 3.0)])])
}

fn good(asked: &Asked) -> Reply {
    Reply::json(good_body(asked))
}

const GOOD_ROW: &str = r#"{__name__="up", job="a"} 1 2 3"#;

/// What a replica does with every request.
type Behaviour = fn(&Asked) -> Reply;

/// A replica that does the same with every request; `None` refuses connections.
async fn replica(behaviour: Option<Behaviour>) -> (Option<Server>, String) {
    match behaviour {
        Some(behaviour) => {
            let server = Server::start(behaviour).await;
            let address = server.address();
            (Some(server), address)
        }
        None => (None, refusing_address().await),
    }
}

/// Every fault, with the words for it and the kind of error where there is no other replica.
fn faults() -> Vec<(Option<Behaviour>, &'static str, ErrorKind)> {
    fn html(_: &Asked) -> Reply {
        Reply::Page(500, "text/html", "<html>oops</html>".to_owned())
    }
    fn json_without_status(_: &Asked) -> Reply {
        Reply::Page(401, "application/json", r#"{"error":"unauthorized"}"#.to_owned())
    }
    fn foreign_status(_: &Asked) -> Reply {
        Reply::Page(429, "application/json", r#"{"status":"Failure"}"#.to_owned())
    }
    fn foreign_error(_: &Asked) -> Reply {
        Reply::Page(500, "application/json", r#"{"message":"no route"}"#.to_owned())
    }
    fn refused_in_text(_: &Asked) -> Reply {
        Reply::Page(422, "text/plain", "unprocessable\n".to_owned())
    }
    fn login_page(_: &Asked) -> Reply {
        Reply::Page(200, "text/html", "<html>please log in</html>".to_owned())
    }
    fn text_in_200(_: &Asked) -> Reply {
        Reply::Page(200, "text/plain", "upstream request timeout".to_owned())
    }
    fn null(_: &Asked) -> Reply {
        Reply::json("null")
    }
    fn success_without_data(_: &Asked) -> Reply {
        Reply::json(r#"{"status":"success"}"#)
    }
    fn foreign_status_in_200(_: &Asked) -> Reply {
        Reply::json(r#"{"status":"Failure","message":"quota"}"#)
    }
    fn error_without_words(_: &Asked) -> Reply {
        Reply::Page(503, "application/json", r#"{"status":"error"}"#.to_owned())
    }
    fn execution(_: &Asked) -> Reply {
        Reply::Page(422, "application/json", r#"{"status":"error","errorType":"execution","error":"boom"}"#.to_owned())
    }
    fn empty_page(_: &Asked) -> Reply {
        Reply::Page(502, "text/plain", String::new())
    }
    fn empty_object(_: &Asked) -> Reply {
        Reply::json("{}")
    }
    fn empty_body(_: &Asked) -> Reply {
        Reply::json("")
    }
    fn half_document(asked: &Asked) -> Reply {
        let body = good_body(asked);
        Reply::json(&body[..body.len() / 2])
    }
    fn scalar(_: &Asked) -> Reply {
        Reply::json(r#"{"status":"success","data":{"resultType":"scalar","result":[1,"1"]}}"#)
    }
    fn off_grid(_: &Asked) -> Reply {
        Reply::json(matrix(&[(UP, &[(61_000, 1.0)])]))
    }
    fn histogram(_: &Asked) -> Reply {
        let series = r#"{"metric":{"__name__":"h"},"histograms":[[60,{"count":"1","sum":"1","buckets":[]}]]}"#;
        Reply::json(format!(r#"{{"status":"success","data":{{"resultType":"matrix","result":[{series}]}}}}"#))
    }
    fn bad_data(_: &Asked) -> Reply {
        Reply::Page(400, "application/json", r#"{"status":"error","errorType":"bad_data","error":"boom"}"#.to_owned())
    }
    fn execution_in_200(_: &Asked) -> Reply {
        Reply::json(r#"{"status":"error","errorType":"execution","error":"boom"}"#)
    }
    fn timeout(_: &Asked) -> Reply {
        Reply::Page(
            503,
            "application/json",
            r#"{"status":"error","errorType":"timeout","error":"too slow"}"#.to_owned(),
        )
    }
    vec![
        (None, "refused the connection", ErrorKind::Unavailable),
        (Some(html), "answered 500 Internal Server Error", ErrorKind::Unavailable),
        (Some(json_without_status), "answered 401 Unauthorized; check the credentials", ErrorKind::Unavailable),
        (Some(foreign_status), "answered 429 Too Many Requests", ErrorKind::Unavailable),
        (Some(foreign_error), "answered 500 Internal Server Error", ErrorKind::Unavailable),
        (Some(refused_in_text), "answered 422 Unprocessable Entity", ErrorKind::Unavailable),
        (Some(login_page), "bad answer: ", ErrorKind::Unavailable),
        (Some(text_in_200), "bad answer: ", ErrorKind::Unavailable),
        (Some(null), "bad answer: ", ErrorKind::Unavailable),
        (Some(success_without_data), "bad answer: ", ErrorKind::Unavailable),
        (Some(foreign_status_in_200), "bad answer: ", ErrorKind::Unavailable),
        (Some(error_without_words), "answered with an error that has no text", ErrorKind::Unavailable),
        (Some(execution), "execution: boom", ErrorKind::Execution),
        (Some(empty_page), "answered 502 Bad Gateway", ErrorKind::Unavailable),
        (Some(empty_object), "bad answer: answer has no \"status\"", ErrorKind::Unavailable),
        (Some(empty_body), "bad answer: ", ErrorKind::Unavailable),
        (Some(half_document), "bad answer: ", ErrorKind::Unavailable),
        (Some(|asked| Reply::Cut(good_body(asked), 40)), "in the middle of its answer", ErrorKind::Unavailable),
        (Some(|asked| Reply::CutChunks(good_body(asked))), "in the middle of its answer", ErrorKind::Unavailable),
        (Some(|asked| Reply::CutGzip(good_body(asked))), "bad answer: gzip stream is cut off", ErrorKind::Unavailable),
        (Some(|_| Reply::Trickle), "no complete answer within 4", ErrorKind::Timeout),
        (Some(|_| Reply::Hang), "no complete answer within 4", ErrorKind::Timeout),
        (Some(|_| Reply::Close), "closed the connection without an answer", ErrorKind::Unavailable),
        (Some(|_| Reply::Garbage), "answered something that is not HTTP", ErrorKind::Unavailable),
        (
            Some(|_| Reply::Redirect("http://b/?token=hunter2".into())),
            "redirects are not followed",
            ErrorKind::Unavailable,
        ),
        (Some(scalar), "bad answer: a scalar where a matrix was asked for", ErrorKind::Unavailable),
        (Some(histogram), "native histograms; the JSON API leaves out how their buckets lie", ErrorKind::Execution),
        (Some(bad_data), "bad_data: boom", ErrorKind::BadData),
        (Some(execution_in_200), "execution: boom", ErrorKind::Execution),
        (Some(timeout), "timeout: too slow", ErrorKind::Timeout),
        (Some(off_grid), "answered a sample at 61, which is no step of the query", ErrorKind::Execution),
    ]
}

#[tokio::test]
async fn one_good_replica_answers_and_the_other_is_a_warning_that_names_it() {
    let (_server, good_address) = replica(Some(good)).await;
    for (fault, words, _) in faults() {
        if words.contains("no step") {
            // Only seen when the answers are merged: a server that lies about the grid is not passed over.
            continue;
        }
        let (_faulty, bad_address) = replica(fault).await;
        for addresses in [[good_address.clone(), bad_address.clone()], [bad_address.clone(), good_address.clone()]] {
            let context = QueryContext::default();
            let source = source(vec![ServerGroupConfig { timeout: Some(SHORT), ..group(&addresses) }]);
            let rows = select(&source, &up(), &context).await;
            assert_eq!(rows.as_deref(), Ok(&[GOOD_ROW.to_owned()][..]), "{words}");
            let [warning] = &warnings(&context)[..] else { panic!("one warning: {:?}", warnings(&context)) };
            let start =
                format!("server group \"eu\": error in servergroup ord=0: error in target=http://{bad_address}: ");
            assert!(warning.starts_with(&start) && warning.contains(words), "{words}: {warning}");
            assert!(!warning.contains("hunter2"), "{warning}");
        }
    }
}

#[tokio::test]
async fn without_a_good_replica_the_query_fails_with_the_kind_of_the_fault() {
    for (fault, words, kind) in faults() {
        let (_faulty, address) = replica(fault).await;
        let context = QueryContext::default();
        let source = source(vec![ServerGroupConfig { timeout: Some(SHORT), ..group(std::slice::from_ref(&address)) }]);
        let error = select(&source, &up(), &context).await.expect_err(words);
        assert_eq!(error.kind(), kind, "{error}");
        assert!(error.message().contains(&format!("http://{address}")) && error.message().contains(words), "{error}");
        assert!(error.message().starts_with("server group \"eu\": "), "{error}");
        assert_eq!(warnings(&context), [""; 0], "{words}");
    }
}

#[tokio::test]
async fn a_dead_group_is_an_error_a_warning_or_nothing_as_the_config_says() {
    let (_server, good_address) = replica(Some(good)).await;
    let dead = [refusing_address().await, refusing_address().await];
    let text = format!(
        "server group \"us\": 0 of 2 replicas answered: error in servergroup ord=1: error in target=http://{}: refused the \
         connection; error in target=http://{}: refused the connection",
        dead[0], dead[1]
    );
    for (ignore_error, downgrade_error, expected) in [
        (false, false, Err(Error::new(ErrorKind::Unavailable, text.clone()))),
        (false, true, Ok(vec![text.clone()])),
        (true, false, Ok(vec![])),
        (true, true, Ok(vec![])),
    ] {
        let us = ServerGroupConfig { name: Some("us".into()), ignore_error, downgrade_error, ..group(&dead) };
        let source = source(vec![group(std::slice::from_ref(&good_address)), us]);
        let context = QueryContext::default();
        match (select(&source, &up(), &context).await, expected) {
            (Ok(rows), Ok(expected)) => {
                assert_eq!(rows, [GOOD_ROW]);
                assert_eq!(warnings(&context), expected);
            }
            (rows, expected) => assert_eq!(rows.err(), expected.err()),
        }
        let request = MetadataRequest { selectors: vec![], start: None, end: None, limit: None };
        let names = source.label_names(&request, &context).await;
        assert!(names.is_err(), "the good server knows no labels call, so its group fails: {names:?}");
    }
}

const EXEMPLARS: &str = r#"{"status":"success","data":[{"seriesLabels":{"__name__":"up"},"exemplars":[{"labels":{"trace_id":"x"},"value":"1","timestamp":60.500}]}]}"#;

#[tokio::test]
async fn exemplars_are_asked_for_and_missed_as_everything_else() {
    fn exemplars(_: &Asked) -> Reply {
        Reply::json(EXEMPLARS)
    }
    let request = MetadataRequest {
        selectors: vec![vec![Matcher::equal("__name__", "up")], vec![Matcher::equal("job", "a")]],
        start: Some(TimestampMs(1_500)),
        end: None,
        limit: None,
    };
    let (server, good_address) = replica(Some(exemplars)).await;
    let (_pair, pair_address) = replica(Some(exemplars)).await;
    let both = source(vec![group(&[good_address.clone(), pair_address]), group(std::slice::from_ref(&good_address))]);
    let found = both.exemplars(&request, &QueryContext::default()).await.expect("an answer");
    assert_eq!((found.series.len(), found.series[0].exemplars.len()), (1, 1), "once, of two replicas and two groups");
    assert_eq!(found.series[0].exemplars[0].timestamp, TimestampMs(60_500));
    let server = server.expect("the good one");
    let asked = server.asked();
    let [first, ..] = &asked[..] else { panic!("nobody was asked") };
    assert_eq!((first.method.as_str(), first.path.as_str()), ("POST", "/api/v1/query_exemplars"));
    assert_eq!(
        (first.param("query"), first.param("start"), first.param("end")),
        (Some(r#"up or {job="a"}"#), Some("1.500"), None)
    );
    for (fault, words, kind) in faults() {
        // Of a query alone.
        if ["no step", "native histograms"].iter().any(|of_query| words.contains(of_query)) {
            continue;
        }
        let words = if words.contains("a scalar") { "bad answer: " } else { words };
        let (_server, good_address) = replica(Some(exemplars)).await;
        let (_faulty, bad_address) = replica(fault).await;
        let group_of = |addresses: &[String]| ServerGroupConfig { timeout: Some(SHORT), ..group(addresses) };
        let context = QueryContext::default();
        let pair = source(vec![group_of(&[good_address, bad_address.clone()])]);
        let found = pair.exemplars(&request, &context).await.expect("one of two answered");
        assert_eq!(found.series.len(), 1, "{words}");
        let [warning] = &warnings(&context)[..] else { panic!("{words}: {:?}", warnings(&context)) };
        assert!(warning.contains(&bad_address) && warning.contains(words), "{words}: {warning}");

        let alone = source(vec![group_of(std::slice::from_ref(&bad_address))]);
        let error = alone.exemplars(&request, &QueryContext::default()).await.expect_err(words);
        assert_eq!(error.kind(), kind, "{error}");
    }
    let used = QueryContext::new(None, 0);
    let found = both.exemplars(&request, &used).await.expect("exemplars are no samples");
    assert!(used.budget().bytes() > 0, "they are counted");
    drop(found);
    assert_eq!(used.budget().bytes(), 0);
}

/// A query that says itself what becomes of groups that do not answer, and which groups it is about.
fn context_of(partial_response: PartialResponse, groups: Option<&[&str]>) -> QueryContext {
    let groups: Option<Vec<String>> = groups.map(|groups| groups.iter().map(|name| (*name).to_owned()).collect());
    let mut context = QueryContext::default();
    context.sources = SourcePolicy::new(partial_response, groups.as_deref());
    context
}

#[tokio::test]
async fn a_query_may_refuse_partial_answers_or_take_them_whatever_the_config_says() {
    let (_server, good_address) = replica(Some(good)).await;
    let dead = refusing_address().await;
    let text = format!(
        "server group \"us\": 0 of 1 replicas answered: error in servergroup ord=1: error in target=http://{dead}: refused \
         the connection"
    );
    for (ignore_error, downgrade_error) in [(false, false), (false, true), (true, false)] {
        let us = ServerGroupConfig {
            name: Some("us".into()),
            ignore_error,
            downgrade_error,
            ..group(std::slice::from_ref(&dead))
        };
        let source = source(vec![group(&[good_address.clone(), dead.clone()]), us]);
        let refusing = context_of(PartialResponse::Refuse, None);
        let error = select(&source, &up(), &refusing).await.expect_err("us is not there");
        assert_eq!((error.kind(), error.message()), (ErrorKind::Unavailable, &*text));

        let allowing = context_of(PartialResponse::Allow, None);
        assert_eq!(select(&source, &up(), &allowing).await, Ok(vec![GOOD_ROW.to_owned()]));
        let noted = warnings(&allowing);
        assert!(
            noted.len() == 2 && noted.contains(&text) && noted.iter().any(|text| text.contains("ord=0")),
            "{noted:?}"
        );
        assert_eq!(allowing.sources.judge(), Ok(()), "one group answered");

        // What is not asked for does not have to be there.
        let elsewhere = context_of(PartialResponse::Refuse, Some(&["eu"]));
        assert_eq!(select(&source, &up(), &elsewhere).await, Ok(vec![GOOD_ROW.to_owned()]));
        assert_eq!(warnings(&elsewhere).len(), 1, "the replica that failed beside its pair");
    }
}

#[tokio::test]
async fn who_takes_partial_answers_gets_an_error_where_there_is_none_at_all() {
    let dead = refusing_address().await;
    let source = source(vec![group(std::slice::from_ref(&dead))]);
    let context = context_of(PartialResponse::Allow, None);
    assert_eq!(select(&source, &up(), &context).await, Ok(vec![]));
    let error = context.sources.judge().expect_err("nobody answered");
    assert!(error.message().starts_with("no server group answered: server group \"eu\": 0 of 1 replicas"), "{error}");
    assert_eq!(error.kind(), ErrorKind::Unavailable);

    let request = MetadataRequest { selectors: vec![], start: None, end: None, limit: None };
    let context = context_of(PartialResponse::Allow, None);
    let names = source.label_names(&request, &context).await.expect_err("nobody answered");
    assert!(names.message().starts_with("no server group answered: "), "{names}");

    let engine = QueryEngine::new(Arc::new(source), EngineOptions::default());
    let options = QueryOptions { partial_response: PartialResponse::Allow, ..QueryOptions::default() };
    // What can be said of nothing must not be said where nobody was there.
    let error = engine.instant("absent(up)", TimestampMs(0), &options).await.expect_err("nobody answered");
    assert!(error.message().starts_with("no server group answered: "), "{error}");
    let two = engine.instant("1 + 1", TimestampMs(0), &options).await.expect("nobody is asked");
    assert!(two.annotations.is_empty());
}

#[tokio::test]
async fn a_query_asks_only_the_groups_that_it_names() {
    let (eu, us) = (Server::start(good).await, Server::start(good).await);
    let unnamed =
        ServerGroupConfig { name: None, labels: Labels::from_pairs([("sg", "us")]), ..group(&[us.address()]) };
    let source = source(vec![group(&[eu.address()]), unnamed]);
    let us_row = r#"{__name__="up", job="a", sg="us"} 1 2 3"#;
    for (chosen, rows) in [(&["eu"][..], &[GOOD_ROW][..]), (&["1"], &[us_row]), (&["1", "eu"], &[GOOD_ROW, us_row])] {
        let context = context_of(PartialResponse::ByGroup, Some(chosen));
        assert_eq!(select(&source, &up(), &context).await.expect("answers"), rows, "{chosen:?}");
    }
    let text = r#"there is no server group "0", there are "eu", "1""#;
    let unknown = || context_of(PartialResponse::ByGroup, Some(&["eu", "0"]));
    assert_eq!(select(&source, &up(), &unknown()).await, Err(Error::bad_data(text)), "it has a name");
    let request = MetadataRequest { selectors: vec![], start: None, end: None, limit: None };
    assert_eq!(source.label_names(&request, &unknown()).await, Err(Error::bad_data(text)));
    let asked = (eu.asked().len(), us.asked().len());

    let engine = QueryEngine::new(Arc::new(source), EngineOptions::default());
    let options = QueryOptions { groups: Some(vec!["nosuch".to_owned()]), ..QueryOptions::default() };
    for query in ["up", "1", "\"text\""] {
        let error = engine.instant(query, TimestampMs(0), &options).await.expect_err("unknown");
        assert_eq!(error.message(), r#"there is no server group "nosuch", there are "eu", "1""#, "{query}");
    }
    assert_eq!((eu.asked().len(), us.asked().len()), asked, "nobody was asked for it");
}

#[tokio::test]
async fn targets_with_different_labels_are_different_data_and_both_must_answer() {
    let (_server, good_address) = replica(Some(good)).await;
    let dead = refusing_address().await;
    let shard = |address: &String, name: &str| StaticConfig {
        targets: vec![address.clone()],
        labels: Labels::from_pairs([("shard", name)]),
    };
    let config = |second: &String| ServerGroupConfig {
        static_configs: vec![shard(&good_address, "1"), shard(second, "2")],
        ..group(&[])
    };
    let rows =
        select(&source(vec![config(&good_address)]), &up(), &QueryContext::default()).await.expect("both answer");
    let row = |shard| format!(r#"{{__name__="up", job="a", shard="{shard}"}} 1 2 3"#);
    assert_eq!(rows, [row(1), row(2)]);
    let error = select(&source(vec![config(&dead)]), &up(), &QueryContext::default()).await.expect_err("one is dead");
    assert!(error.message().contains("0 of 1 replicas answered"), "{error}");
    // A query for the other shard does not need it.
    let only = steps_of(vec![Matcher::equal("__name__", "up"), Matcher::new("shard", MatchOp::NotEqual, "2")]);
    let rows = select(&source(vec![config(&dead)]), &only, &QueryContext::default()).await.expect("not asked");
    assert_eq!(rows, [row(1)]);
}

#[tokio::test]
async fn a_group_whose_labels_cannot_match_is_not_asked() {
    let server = Server::start(good).await;
    let config = ServerGroupConfig { labels: Labels::from_pairs([("sg", "eu")]), ..group(&[server.address()]) };
    let source = source(vec![config]);
    let other = steps_of(vec![Matcher::equal("__name__", "up"), Matcher::equal("sg", "us")]);
    assert_eq!(select(&source, &other, &QueryContext::default()).await, Ok(vec![]));
    assert_eq!(server.asked().len(), 0);
    let own = steps_of(vec![Matcher::equal("__name__", "up"), Matcher::new("sg", MatchOp::Regex, "e.")]);
    let rows = select(&source, &own, &QueryContext::default()).await.expect("answers");
    assert_eq!(rows, [r#"{__name__="up", job="a", sg="eu"} 1 2 3"#]);
    assert_eq!(server.asked()[0].param("query"), Some("up"));
}

#[tokio::test]
async fn a_hanging_replica_without_a_group_timeout_costs_a_grace_period_not_the_query() {
    let (_server, good_address) = replica(Some(good)).await;
    let hanging = Server::start(|_| Reply::Hang).await;
    let source = source(vec![group(&[hanging.address(), good_address])]);
    // Three quarters of the deadline are less than the grace period of a second.
    let context = QueryContext::new(Instant::now().checked_add(Duration::from_millis(800)), 1_000);
    assert_eq!(select(&source, &up(), &context).await, Ok(vec![GOOD_ROW.to_owned()]));
    assert!(warnings(&context)[0].contains("its pair has answered"), "{:?}", warnings(&context));
    hanging.hung_up.notified().await;
}

#[tokio::test]
async fn the_querys_deadline_ends_every_wait() {
    for behaviour in [(|_: &Asked| Reply::Hang) as Behaviour, |_| Reply::Trickle] {
        let server = Server::start(behaviour).await;
        let context = QueryContext::new(Instant::now().checked_add(Duration::from_millis(100)), 1_000);
        let error = select(&source(vec![group(&[server.address()])]), &up(), &context).await.expect_err("hangs");
        assert_eq!(error.kind(), ErrorKind::Timeout);
        assert!(error.message().ends_with("no complete answer before the query's deadline"), "{error}");
        server.hung_up.notified().await;
    }
}

#[tokio::test]
async fn dropping_the_stream_hangs_up_on_the_servers() {
    for behaviour in [(|_: &Asked| Reply::Hang) as Behaviour, |_| Reply::Trickle] {
        let server = Server::start(behaviour).await;
        let source = source(vec![group(&[server.address()])]);
        let stream = open_first(&source, up(), SampleTimes::Needed);
        while server.asked().is_empty() {
            tokio::task::yield_now().await;
        }
        drop(stream);
        server.hung_up.notified().await;
    }
}

#[tokio::test]
async fn too_many_samples_end_the_query_though_a_replica_might_do() {
    let (_a, a) = replica(Some(good)).await;
    let (_b, b) = replica(Some(good)).await;
    let error = select(&source(vec![group(&[a, b])]), &up(), &QueryContext::new(None, 5)).await.expect_err("too many");
    assert_eq!(error.kind(), ErrorKind::TooManySamples);
}

#[tokio::test]
async fn replicas_fill_each_others_holes_by_the_times_of_their_samples() {
    // Scraped at 55 and 115 s; at 90 s it still shows the sample of 55 s.
    let with_hole = |asked: &Asked| {
        if asked.param("query").is_some_and(|query| query.starts_with("timestamp(")) {
            return Reply::json(matrix(&[(r#""job":"a""#, &[(60_000, 55.0), (90_000, 55.0), (120_000, 115.0)])]));
        }
        Reply::json(matrix(&[(UP, &[(60_000, 1.0), (90_000, 1.0), (120_000, 3.0)])]))
    };
    let (hole, whole) = (Server::start(with_hole).await, Server::start(good).await);
    for addresses in [[hole.address(), whole.address()], [whole.address(), hole.address()]] {
        let rows = select(&source(vec![group(&addresses)]), &up(), &QueryContext::default()).await;
        assert_eq!(rows, Ok(vec![GOOD_ROW.to_owned()]));
    }
    let texts: Vec<String> = whole.asked().iter().filter_map(|asked| asked.param("query").map(str::to_owned)).collect();
    assert!(texts.contains(&"up".to_owned()) && texts.contains(&"timestamp(up)".to_owned()), "{texts:?}");
}

#[tokio::test]
async fn sample_times_of_a_lone_server_are_asked_for_only_where_they_are_read() {
    let server = Server::start(good).await;
    let source = source(vec![group(&[server.address()])]);
    for (sample_times_are_read, times, requests) in [(false, 60_000, 1), (true, 55_000, 2)] {
        let before = server.asked().len();
        let needs = if sample_times_are_read { SampleTimes::Needed } else { SampleTimes::StepTimes };
        let mut batches = open_first(&source, up(), needs);
        let batch = batches.next().await.expect("one batch").expect("answers");
        assert_eq!(StepsTable::try_new(&batch).expect("a steps table").sample_time(0, 0), Some(times));
        assert_eq!(server.asked().len() - before, requests);
    }
}

#[tokio::test]
async fn without_a_fixed_metric_name_sample_times_come_from_raw_samples() {
    let body = |asked: &Asked| {
        if asked.path.ends_with("/query") {
            return Reply::json(matrix(&[(UP, &[(55_000, 1.0), (85_000, 2.0), (115_000, 3.0)])]));
        }
        Reply::json(matrix(&[(UP, &[(60_000, 1.0), (90_000, 2.0)])]))
    };
    let (a, b) = (Server::start(body).await, Server::start(body).await);
    let request = steps_of(vec![Matcher::new("__name__", MatchOp::Regex, "u.")]);
    let source = source(vec![group(&[a.address(), b.address()])]);
    let mut batches = open_first(&source, request, SampleTimes::Needed);
    let batch = batches.next().await.expect("one batch").expect("answers");
    let table = StepsTable::try_new(&batch).expect("a steps table");
    // The step evaluation decides presence: it may know of a stale marker that JSON cannot carry.
    let times: Vec<Option<i64>> = (0..3).map(|step| table.sample_time(0, step)).collect();
    assert_eq!(times, [Some(55_000), Some(85_000), None]);
    let raw = a.asked().into_iter().find(|asked| asked.path.ends_with("/query")).expect("asked for raw samples");
    assert_eq!(raw.param("query"), Some("{__name__=~\"u.\"}[360000ms]"));
    assert_eq!(raw.param("time"), Some("120"));
}

#[tokio::test]
async fn raw_samples_are_asked_as_a_range_and_lose_the_left_edge() {
    let server = Server::start(|_| Reply::json(matrix(&[(UP, &[(100, 1.0), (5_100, 2.0), (10_100, 3.0)])]))).await;
    let form = SelectForm::Samples { start: TimestampMs(100), end: TimestampMs(10_100) };
    let request = SelectRequest { matchers: vec![Matcher::equal("__name__", "up")], form };
    let rows = select(&source(vec![group(&[server.address()])]), &request, &QueryContext::default()).await;
    assert_eq!(rows, Ok(vec![r#"{__name__="up", job="a"} 2@5100 3@10100"#.to_owned()]));
    let asked = &server.asked()[0];
    assert_eq!((asked.method.as_str(), asked.path.as_str()), ("POST", "/api/v1/query"));
    assert_eq!((asked.param("query"), asked.param("time")), (Some("up[10000ms]"), Some("10.100")));
}

#[tokio::test]
async fn a_long_grid_is_asked_in_pieces() {
    let server = Server::start(|asked| {
        let start: i64 = asked.param("start").and_then(|start| start.parse().ok()).expect("whole seconds");
        let end: i64 = asked.param("end").and_then(|end| end.parse().ok()).expect("whole seconds");
        assert!(end - start < 11_000, "a server would refuse this");
        Reply::json(matrix(&[(UP, &[(start * 1000, 1.0), (end * 1000, 2.0)])]))
    })
    .await;
    let grid = StepGrid::with_count(TimestampMs(0), DurationMs(1_000), 15_000);
    let form = SelectForm::Steps { grid, lookback: DurationMs(60_000) };
    let request = SelectRequest { matchers: vec![Matcher::equal("__name__", "up")], form };
    let rows =
        select(&source(vec![group(&[server.address()])]), &request, &QueryContext::default()).await.expect("answers");
    let cells: Vec<&str> = rows[0].split_once("} ").expect("labels first").1.split(' ').collect();
    let present: Vec<usize> = (0..cells.len()).filter(|step| cells[*step] != "_").collect();
    assert_eq!((cells.len(), present), (15_000, vec![0, 10_999, 11_000, 14_999]));
    assert!(server.asked().iter().all(|asked| asked.param("lookback_delta") == Some("1m")));
}

#[tokio::test]
async fn gzip_answers_are_read_and_secrets_are_sent_but_never_shown() {
    let server = Server::start(|asked| Reply::Gzip(good_body(asked))).await;
    let dead = refusing_address().await;
    let secret = |text: &str| Secret::from(text);
    let mut config = group(&[server.address(), dead]);
    config.path_prefix = "/prom".to_owned();
    config.query_params = [("token".to_owned(), secret("hunter2"))].into();
    config.http_headers = [("X-Scope-OrgID".to_owned(), secret("hunter3"))].into();
    config.http_client.auth =
        Some(Auth::Basic { username: "me".into(), password: SecretSource::Inline(secret("hunter4")) });
    let mut context = QueryContext::default();
    context.proxied_headers = vec![
        ("X-Scope-OrgID".to_owned(), "overruled".to_owned()),
        ("X-Trace".to_owned(), "t1".to_owned()),
        ("Content-Length".to_owned(), "7".to_owned()),
    ]
    .into();
    let source = source(vec![config]);
    assert_eq!(select(&source, &up(), &context).await, Ok(vec![GOOD_ROW.to_owned()]));
    let asked = &server.asked()[0];
    assert_eq!(asked.path, "/prom/api/v1/query_range");
    assert!(asked.query.contains(&("token".to_owned(), "hunter2".to_owned())), "in the URL");
    assert!(asked.form.contains(&("token".to_owned(), "hunter2".to_owned())), "and in the form");
    for (name, value) in [
        ("authorization", "Basic bWU6aHVudGVyNA=="),
        ("x-scope-orgid", "hunter3"),
        ("x-trace", "t1"),
        ("content-type", "application/x-www-form-urlencoded"),
    ] {
        assert_eq!(asked.headers.get(name).map(String::as_str), Some(value), "{name}");
    }
    assert!(asked.headers["user-agent"].starts_with("quiver/"));
    let shown = format!("{:?} {:?}", warnings(&context), source);
    assert!(warnings(&context).len() == 1 && !shown.contains("hunter"), "{shown}");
}

#[tokio::test]
async fn warnings_of_a_server_reach_the_client() {
    let server = Server::start(|asked| {
        let body = good_body(asked);
        Reply::json(body.replacen('{', r#"{"warnings":["store x is down","PromQL warning: odd (1:1)"],"#, 1))
    })
    .await;
    let context = QueryContext::default();
    select(&source(vec![group(&[server.address()])]), &up(), &context).await.expect("answers");
    assert_eq!(warnings(&context), ["store x is down", "PromQL warning: odd"]);
}

#[tokio::test]
async fn metadata_of_all_groups_is_united_with_the_added_labels() {
    fn answer(asked: &Asked) -> Reply {
        if asked.method == "POST" {
            return Reply::Page(405, "text/plain", "no forms".to_owned());
        }
        let data = match asked.path.as_str() {
            "/api/v1/labels" => r#"["__name__","job"]"#,
            "/api/v1/label/job/values" => r#"["b","a"]"#,
            "/api/v1/label/__name__/values" => r#"["up"]"#,
            "/api/v1/series" => r#"[{"__name__":"up","job":"a","sg":"stored"}]"#,
            "/api/v1/metadata" => r#"{"up":[{"type":"gauge","help":"h","unit":""}]}"#,
            path => panic!("asked for {path}"),
        };
        let warnings =
            if asked.param("limit").is_some() { r#","warnings":["results truncated due to limit"]"# } else { "" };
        Reply::json(format!(r#"{{"status":"success","data":{data}{warnings}}}"#))
    }
    let (a, b) = (Server::start(answer).await, Server::start(answer).await);
    let eu = ServerGroupConfig { labels: Labels::from_pairs([("sg", "eu")]), ..group(&[a.address()]) };
    let us = ServerGroupConfig { labels: Labels::from_pairs([("sg", "us")]), ..group(&[b.address()]) };
    let source = source(vec![eu, us]);
    let context = QueryContext::default();
    let request = MetadataRequest { selectors: vec![], start: Some(TimestampMs(1_000)), end: None, limit: None };
    assert_eq!(source.label_names(&request, &context).await, Ok(["__name__", "job", "sg"].map(str::to_owned).to_vec()));
    assert_eq!(source.label_values("job", &request, &context).await, Ok(["a", "b"].map(str::to_owned).to_vec()));
    assert_eq!(source.label_values("sg", &request, &context).await, Ok(["eu", "us"].map(str::to_owned).to_vec()));
    assert_eq!(warnings(&context), [""; 0], "nothing is missing");
    let set = |sg| Labels::from_pairs([("__name__", "up"), ("job", "a"), ("sg", sg)]);
    assert_eq!(source.series(&request, &context).await, Ok(vec![set("eu"), set("us")]));
    let metadata = source.metric_metadata(Some("up"), &context).await.expect("answers");
    assert_eq!(metadata["up"].len(), 1);
    assert!(a.asked().iter().any(|asked| asked.path.ends_with("/labels") && asked.param("start") == Some("1")));
    // Only what can be there is asked for.
    let before = b.asked().len();
    let in_eu = MetadataRequest { selectors: vec![vec![Matcher::equal("sg", "eu")]], ..request };
    assert_eq!(source.series(&in_eu, &context).await, Ok(vec![set("eu")]));
    assert_eq!(b.asked().len(), before);
}

#[tokio::test]
async fn without_groups_or_targets_there_is_nothing() {
    let context = QueryContext::default();
    let none = source(vec![]);
    assert_eq!(none.part_names().len(), 1);
    assert_eq!(select(&none, &up(), &context).await, Ok(vec![]));
    assert_eq!(warnings(&context), [""; 0]);
    assert_eq!(select(&source(vec![group(&[])]), &up(), &context).await, Ok(vec![]));
    assert_eq!(warnings(&context), ["server group \"eu\" has no targets"]);
}
