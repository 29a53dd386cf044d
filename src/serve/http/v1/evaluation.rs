//! Runs a query on the cpu pool, within its time, and keeps count of it.

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use axum::http::HeaderMap;
use tokio::sync::OwnedSemaphorePermit;

use crate::error::{Error, ErrorKind};
use crate::model::{DurationMs, EvaluationMode, PATH_HEADER, PartialResponse, SourcePolicy, TimestampMs};
use crate::query::{QueryEngine, QueryOptions, QueryResult};
use crate::runtime::CpuTask;
use crate::serve::http::params::{Form, in_parameter, parse_duration_ns};
use crate::serve::http::state::ApiState;
use crate::telemetry::{Metrics, QueryTimer};

/// The engine ends a query at its deadline by itself and can say where it was. Only if it has not done so after this
/// long, a computation that never pauses, the task is given up from outside.
const GRACE: Duration = Duration::from_millis(500);

/// The time of the request, for parameters that were left out.
pub(in crate::serve) fn now() -> TimestampMs {
    let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    TimestampMs(i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX))
}

/// Values of the headers that are passed on to the downstreams. Of a header that came twice the first one, as promxy does.
/// Among them, whatever the flags say, which gateways the question has passed, this one last.
pub(in crate::serve) fn proxied_headers(state: &ApiState, headers: &HeaderMap) -> Vec<(String, String)> {
    let names = state.options().proxied_headers.iter().filter(|name| *name != PATH_HEADER);
    let passed_on =
        names.filter_map(|name| Some((name.as_str().to_owned(), headers.get(name)?.to_str().ok()?.to_owned())));
    let path = state.gateway().path_after(gateway_path(headers));
    passed_on.chain([(PATH_HEADER.to_owned(), path)]).collect()
}

/// What a request says of the gateways that it has passed.
pub(in crate::serve) fn gateway_path(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    // What is no text is refused before, see `loop_guard.rs`.
    headers.get_all(PATH_HEADER).into_iter().filter_map(|value| value.to_str().ok())
}

/// `timeout` and `lookback_delta`, in the order in which Prometheus looks at them; `mode` and who is asked, which are ours.
pub(super) fn query_options(state: &ApiState, headers: &HeaderMap, form: &Form) -> Result<QueryOptions, Error> {
    let timeout = match form.get("timeout") {
        "" => None,
        text => {
            let nanoseconds = parse_duration_ns(text).map_err(in_parameter("timeout"))?;
            Some(Duration::from_nanos(u64::try_from(nanoseconds).unwrap_or(0)))
        }
    };
    let lookback = match form.get("lookback_delta") {
        "" => None,
        text => {
            let nanoseconds =
                parse_duration_ns(text).map_err(|error| error.in_context("error parsing lookback delta duration"))?;
            // Zero and less mean the default; what is shorter than a millisecond does not.
            (nanoseconds > 0).then(|| DurationMs((nanoseconds / 1_000_000).max(1)))
        }
    };
    let mode = match form.get("mode") {
        "" => None,
        text => {
            let read = text.parse::<EvaluationMode>().map_err(|error| Error::bad_data(error.to_string()));
            Some(read.map_err(in_parameter("mode"))?)
        }
    };
    let asked_at = Some(Instant::now());
    let proxied_headers = proxied_headers(state, headers);
    let SourceChoice { partial_response, groups } = SourceChoice::parse(state, form)?;
    Ok(QueryOptions {
        timeout,
        asked_at,
        lookback,
        proxied_headers,
        mode,
        partial_response,
        groups,
        ..QueryOptions::default()
    })
}

/// Who is asked, and whether all must answer.
pub(in crate::serve::http) struct SourceChoice {
    pub(in crate::serve::http) partial_response: PartialResponse,
    pub(in crate::serve::http) groups: Option<Vec<String>>,
}

impl SourceChoice {
    /// `group`, once for each group; `partial_response`, Thanos' parameter with Go's words for yes and no.
    pub(in crate::serve::http) fn parse(state: &ApiState, form: &Form) -> Result<Self, Error> {
        let partial_response = match form.get("partial_response") {
            "" => PartialResponse::ByGroup,
            "1" | "t" | "T" | "true" | "TRUE" | "True" => PartialResponse::Allow,
            "0" | "f" | "F" | "false" | "FALSE" | "False" => PartialResponse::Refuse,
            text => {
                let text: String = text.chars().take(40).collect();
                let refused = Error::bad_data(format!(
                    "{text:?} is neither true nor false: write true for what there is, with warnings, or false for all or nothing"
                ));
                return Err(in_parameter("partial_response")(refused));
            }
        };
        let groups: Vec<String> = form.all("group").filter(|group| !group.is_empty()).map(str::to_owned).collect();
        let groups = (!groups.is_empty()).then_some(groups);
        check_groups(state, groups.as_deref()).map_err(in_parameter("group"))?;
        Ok(Self { partial_response, groups })
    }
}

/// Are these groups of the running config? The engine would say so, too, but of the query as a whole.
pub(in crate::serve) fn check_groups(state: &ApiState, groups: Option<&[String]>) -> Result<(), Error> {
    match groups {
        None => Ok(()),
        some => state.engine().source().check_groups(&SourcePolicy::new(PartialResponse::default(), some)),
    }
}

/// Waits for work that knows its own deadline, and a little longer.
pub(in crate::serve) async fn within_deadline<T>(
    timeout: Duration,
    task: CpuTask<Result<T, Error>>,
) -> Result<T, Error> {
    match tokio::time::timeout(timeout.saturating_add(GRACE), task).await {
        Ok(ended) => ended?,
        Err(_) => Err(Error::new(ErrorKind::Timeout, "query timed out in expression evaluation")),
    }
}

/// When which part of a query took how long.
#[derive(Copy, Clone, Debug)]
pub(in crate::serve) struct Timings {
    /// Until the query got a slot and a thread.
    pub(in crate::serve) queued: Duration,
    /// From then to its result.
    pub(in crate::serve) evaluated: Duration,
}

/// A query as the API sees it: how to evaluate it, and how long it may take.
pub(in crate::serve) struct Evaluation<F> {
    /// `instant` or `range`, for the metrics.
    pub(in crate::serve) kind: &'static str,
    /// The timeout of the request.
    pub(in crate::serve) timeout: Option<Duration>,
    /// Starts it.
    pub(in crate::serve) start: F,
}

/// A query that may run: it has its slot, and is counted until it is dropped (then it was canceled) or ended.
pub(in crate::serve) struct Admitted {
    /// Evaluates it, whatever is reloaded meanwhile.
    pub(in crate::serve) engine: Arc<QueryEngine>,
    /// How long it may take from when it was asked.
    pub(in crate::serve) timeout: Duration,
    asked_at: Instant,
    metrics: Arc<Metrics>,
    timer: QueryTimer,
    slot: Option<OwnedSemaphorePermit>,
}

/// Waits for a slot. Slots are given in the order in which they were asked for; the wait counts against the timeout. `kind` is
/// for the metrics. Dropping the future takes the query out of the queue.
pub(in crate::serve) async fn admit(
    state: &ApiState,
    kind: &'static str,
    timeout: Option<Duration>,
) -> Result<Admitted, Error> {
    let asked_at = Instant::now();
    let metrics = Arc::clone(&state.options().metrics);
    let timer = metrics.query_started(kind);
    let engine = state.engine();
    let most = engine.options().timeout;
    let timeout = timeout.map_or(most, |asked| asked.min(most));
    match slot(state, timeout).await {
        Ok(slot) => Ok(Admitted { engine, timeout, asked_at, metrics, timer, slot }),
        Err(error) => {
            timer.finish(error.kind().api_type(), 0);
            Err(error)
        }
    }
}

async fn slot(state: &ApiState, timeout: Duration) -> Result<Option<OwnedSemaphorePermit>, Error> {
    let in_queue = || Error::new(ErrorKind::Timeout, "query timed out in query queue");
    if timeout.is_zero() {
        return Err(in_queue());
    }
    let Some(slots) = state.query_slots() else { return Ok(None) };
    let slot = tokio::time::timeout(timeout, slots.acquire_owned()).await.map_err(|_| in_queue())?;
    slot.map(Some).map_err(|_| Error::internal("the queue of queries is closed"))
}

impl Admitted {
    /// It has a thread now. Tells how long that took.
    pub(in crate::serve) fn begins(&self) -> Duration {
        let queued = self.asked_at.elapsed();
        self.metrics.query_queued(queued);
        queued
    }

    /// It is over: with so many samples read, or an error. Gives the slot back.
    pub(in crate::serve) fn ends(self, outcome: Result<u64, &Error>) {
        match outcome {
            Ok(samples_loaded) => self.timer.finish("success", samples_loaded),
            Err(error) => self.timer.finish(error.kind().api_type(), 0),
        }
    }
}

/// Waits for a slot, evaluates on the cpu pool, then runs `finish` there, too. Dropping the future aborts the query, or takes
/// it out of the queue.
///
/// Errors about the query text are said to be about parameter `query`, as Prometheus says it.
pub(in crate::serve) async fn evaluate<F, Fut, T>(
    state: &ApiState,
    evaluation: Evaluation<F>,
    finish: impl FnOnce(QueryResult, Timings) -> T + Send + 'static,
) -> Result<T, Error>
where
    F: FnOnce(Arc<QueryEngine>) -> Fut + Send + 'static,
    Fut: Future<Output = Result<QueryResult, Error>> + Send + 'static,
    T: Send + 'static,
{
    let mut admitted = admit(state, evaluation.kind, evaluation.timeout).await?;
    let timeout = admitted.timeout.saturating_sub(admitted.asked_at.elapsed());
    let (asked_at, metrics) = (admitted.asked_at, Arc::clone(&admitted.metrics));
    let (engine, slot) = (Arc::clone(&admitted.engine), admitted.slot.take());
    let start = evaluation.start;
    let task = state.cpu().spawn(async move {
        let started_at = Instant::now();
        metrics.query_queued(started_at - asked_at);
        let result = start(engine).await.map_err(|error| match error.kind() {
            ErrorKind::BadData => in_parameter("query")(error),
            _ => error,
        })?;
        let timings = Timings { queued: started_at - asked_at, evaluated: started_at.elapsed() };
        metrics.query_evaluated(timings.evaluated);
        let samples_loaded = result.samples_loaded;
        let finished = finish(result, timings);
        // The slot covers the result, too, as long as it is being put into words.
        drop(slot);
        Ok((finished, samples_loaded))
    });
    let ended = within_deadline(timeout, task).await;
    admitted.ends(ended.as_ref().map(|(_, samples_loaded)| *samples_loaded));
    ended.map(|(value, _)| value)
}
