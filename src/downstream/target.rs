//! One server, asked the best way it can be asked: over Arrow Flight where it is a Quiver, raw samples over remote read where it
//! has that, else the query API.
//!
//! | the server | asked for raw samples | asked for steps |
//! |---|---|---|
//! | is a Quiver | Flight | Flight: it knows itself whether its own servers tell of stale markers |
//! | is one that Flight does not reach | as the others, until Flight has been tried again | the same |
//! | reads raw | remote read | remote read; whoever asked looks back himself |
//! | says in its answer that it has no remote read | query API, from now on | query API, from now on |
//! | has none, or was not found out in time | query API | query API |
//! | was not found out in time, and its JSON lacks the buckets of native histograms | remote read, once it is found out | the same |

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arrow::record_batch::RecordBatch;
use async_trait::async_trait;
use futures::stream::{self, StreamExt};

use super::ability::{Ability, AbilityMemory, AbilityProbe, RemoteReadWish};
use super::flight::{FlightError, FlightLeaf};
use super::http::lacks_histogram_buckets;
use super::instrument::{CallMeter, REMOTE_READ, TargetInstrument};
use super::remote_read::{AcceptedForms, RawQuery, RawTables, ReadError, RemoteRead, TablesError};
use super::{Downstream, HttpClient, HttpDownstream, SampleTimes, Selected, SelectedForm, TargetUrl};
use crate::config::FlightConfig;
use crate::error::Error;
use crate::model::{
    DurationMs, ExemplarSet, Held, Labels, MetadataRequest, MetricMetadata, QueryContext, SelectRequest, SeriesStream,
    StepGrid,
};
use crate::telemetry::{CallKind, TargetMetrics};

/// promxy's word for raw samples.
const RAW: CallKind = CallKind { call: "get_value", leaf: REMOTE_READ };
/// External labels may turn out to be otherwise than remembered, and chunks to be of no use: each once.
const TRIES_MAX: usize = 3;

/// A server with both its APIs, and what is known of it.
#[derive(Clone, Debug)]
pub struct TargetDownstream {
    http: HttpDownstream,
    remote_read: RemoteRead,
    flight: FlightLeaf,
    memory: Arc<AbilityMemory>,
    habits: Arc<Habits>,
    instrument: TargetInstrument,
}

/// What its answers have shown.
#[derive(Debug, Default)]
struct Habits {
    /// Its series are not sorted by labels.
    is_unsorted: AtomicBool,
    /// Its chunks are in an encoding that is not known here.
    has_unknown_chunks: AtomicBool,
}

impl TargetDownstream {
    /// Asks `url` through `client`. `remote_read` forces remote read, or forbids it; `None`: where the server has it.
    /// `remote_read_path` stands behind the target's path prefix. Opens no connection.
    pub fn new(client: Arc<HttpClient>, url: TargetUrl, remote_read: Option<bool>, remote_read_path: &str) -> Self {
        let endpoint = RemoteRead::new(Arc::clone(&client), url.clone(), remote_read_path);
        let wish = RemoteReadWish::from(remote_read);
        let flight = FlightLeaf::new(Arc::clone(&client), url.clone());
        let probe = AbilityProbe::new(Arc::clone(&client), url.clone(), endpoint.clone(), wish, flight.clone());
        let instrument = TargetInstrument::unseen(&url);
        Self {
            instrument,
            http: HttpDownstream::new(client, url),
            remote_read: endpoint,
            flight,
            memory: Arc::new(AbilityMemory::new(probe)),
            habits: Arc::default(),
        }
    }

    /// Asks over Arrow Flight where the config wants that; without this, where the server says that it can be asked so.
    #[must_use]
    pub fn with_flight(self, config: FlightConfig) -> Self {
        let probe = self.memory.probe().clone().with_flight(config);
        Self { memory: Arc::new(AbilityMemory::new(probe)), ..self }
    }

    /// What Flight could not be asked is asked otherwise, from now on for a while.
    fn flight_failed(&self, ability: &Arc<Ability>, error: &Error) {
        tracing::debug!(server = %self.url(), %error, "no Arrow Flight, asking over HTTP");
        self.memory.learn_that_flight_fails(ability, error.message());
    }

    /// Measures its calls there.
    #[must_use]
    pub fn measured(self, instrument: TargetInstrument) -> Self {
        Self { http: self.http.measured(instrument.clone()), instrument, ..self }
    }

    /// Raw samples, if the first table can be had; what comes behind it may still fail.
    async fn read_raw(
        &self,
        query: &RawQuery,
        mut ability: Arc<Ability>,
        context: &QueryContext,
    ) -> Result<SeriesStream, ReadError> {
        let mut tries = 0;
        loop {
            tries += 1;
            let mut reading = self.begin_reading(query, &ability, context).await?;
            let first = match reading.next().await {
                Ok(first) => first,
                Err(TablesError::StaleExternalLabels(error)) if tries < TRIES_MAX => {
                    match self.memory.ask_anew(context).await {
                        Some(anew) if anew.reads_raw() => ability = anew,
                        _ => return Err(ReadError::Refused(error)),
                    }
                    continue;
                }
                // From now on samples are asked for.
                Err(TablesError::UnknownEncoding(_)) if tries < TRIES_MAX => continue,
                Err(error) => return Err(ReadError::Failed(error.into_error())),
            };
            return Ok(reading.into_stream(first));
        }
    }

    async fn begin_reading(
        &self,
        query: &RawQuery,
        ability: &Arc<Ability>,
        context: &QueryContext,
    ) -> Result<Reading, ReadError> {
        let Some(external) = ability.external_labels() else {
            let why = ability.why_not_raw().unwrap_or_default();
            return Err(ReadError::Refused(Error::internal(format!("remote read of a server that has none: {why}"))));
        };
        let has_unknown_chunks = self.habits.has_unknown_chunks.load(Ordering::Relaxed);
        let accepted = if has_unknown_chunks { AcceptedForms::Samples } else { AcceptedForms::ChunksElseSamples };
        let meter = self.instrument.begin(RAW, context);
        let tables = match self.remote_read.ask(query, external, accepted, context, &meter).await {
            Ok(tables) => tables,
            Err(error) => {
                meter.end(&Err::<(), _>(error.error()));
                match &error {
                    ReadError::NotSpoken(why) => self.memory.learn_that_not_spoken(ability, why.message()),
                    ReadError::Refused(_) => self.memory.forget(ability),
                    ReadError::Failed(_) => {}
                }
                return Err(error);
            }
        };
        let is_unsorted = self.habits.is_unsorted.load(Ordering::Relaxed);
        Ok(Reading {
            tables: if is_unsorted { tables.sorted() } else { tables },
            ability: Arc::clone(ability),
            memory: Arc::clone(&self.memory),
            habits: Arc::clone(&self.habits),
            meter,
        })
    }

    async fn select_raw(
        &self,
        request: &SelectRequest,
        ability: Arc<Ability>,
        context: &QueryContext,
    ) -> Result<Selected, ReadError> {
        let query = RawQuery::new(request);
        let tables =
            if query.is_empty() { stream::empty().boxed() } else { self.read_raw(&query, ability, context).await? };
        Ok(Selected { form: SelectedForm::Samples, tables })
    }
}

/// An answer that is being read. What it shows of the server is remembered.
struct Reading {
    tables: RawTables,
    ability: Arc<Ability>,
    memory: Arc<AbilityMemory>,
    habits: Arc<Habits>,
    meter: CallMeter,
}

impl Reading {
    async fn next(&mut self) -> Result<Option<RecordBatch>, TablesError> {
        let next = self.tables.next().await;
        match &next {
            Ok(None) if self.tables.was_unsorted() => self.habits.is_unsorted.store(true, Ordering::Relaxed),
            Err(TablesError::Unsorted(_)) => self.habits.is_unsorted.store(true, Ordering::Relaxed),
            Err(TablesError::UnknownEncoding(_)) => self.habits.has_unknown_chunks.store(true, Ordering::Relaxed),
            Err(TablesError::StaleExternalLabels(_)) => self.memory.forget(&self.ability),
            Ok(_) | Err(TablesError::Failed(_)) => {}
        }
        match &next {
            Ok(Some(table)) => self.meter.finished_series(table.num_rows()),
            Ok(None) => self.meter.end(&Ok::<_, Error>(())),
            Err(error) => self.meter.end(&Err::<(), _>(error.clone().into_error())),
        }
        next
    }

    fn into_stream(self, first: Option<RecordBatch>) -> SeriesStream {
        let Some(first) = first else { return stream::empty().boxed() };
        let rest = stream::unfold(Some(self), |reading| async move {
            let mut reading = reading?;
            match reading.next().await {
                Ok(Some(table)) => Some((Ok(table), Some(reading))),
                Ok(None) => None,
                Err(error) => Some((Err(error.into_error()), None)),
            }
        });
        stream::iter([Ok(first)]).chain(rest).boxed()
    }
}

#[async_trait]
impl Downstream for TargetDownstream {
    fn url(&self) -> &TargetUrl {
        self.http.url()
    }

    fn metrics(&self) -> Option<&TargetMetrics> {
        self.http.metrics()
    }

    fn set_alone(&self) {
        self.http.set_alone();
    }

    async fn probe(&self) -> Result<(), Error> {
        self.http.probe().await
    }

    fn ability(&self) -> Option<Arc<Ability>> {
        self.memory.known()
    }

    async fn select(
        &self,
        request: &SelectRequest,
        sample_times: SampleTimes,
        context: &QueryContext,
    ) -> Result<Selected, Error> {
        let ability = self.memory.ask(context).await;
        if let Some((ability, place)) = ability.as_ref().and_then(|ability| Some((ability, ability.flight()?))) {
            match self.flight.select(place, request, sample_times, context, &self.instrument).await {
                Ok(selected) => return Ok(selected),
                Err(FlightError::Failed(error)) => return Err(error),
                Err(FlightError::NotSpoken(error)) => self.flight_failed(ability, &error),
            }
        }
        if let Some(ability) = ability.filter(|ability| ability.reads_raw()) {
            match self.select_raw(request, ability, context).await {
                Ok(selected) => return Ok(selected),
                Err(ReadError::Failed(error)) => return Err(error),
                Err(ReadError::NotSpoken(error) | ReadError::Refused(error)) => {
                    tracing::debug!(server = %self.url(), %error, "no remote read, asking the query API");
                }
            }
        }
        let lacks_buckets = match self.http.select(request, sample_times, context).await {
            Err(error) if lacks_histogram_buckets(&error) => error,
            answered => return answered,
        };
        // Remote read has them, if it can be had after all.
        match self.memory.ask_anew(context).await.filter(|ability| ability.reads_raw()) {
            Some(ability) => match self.select_raw(request, ability, context).await {
                Ok(selected) => Ok(selected),
                Err(ReadError::Failed(error)) => Err(error),
                Err(ReadError::NotSpoken(_) | ReadError::Refused(_)) => Err(lacks_buckets),
            },
            None => Err(lacks_buckets),
        }
    }

    async fn promql_version(&self, context: &QueryContext) -> Option<(u32, u32)> {
        self.memory.ask(context).await?.version()
    }

    async fn evaluate(
        &self,
        expression: &str,
        grid: StepGrid,
        lookback: DurationMs,
        context: &QueryContext,
    ) -> Result<Vec<(RecordBatch, Held)>, Error> {
        let ability = self.memory.ask(context).await.filter(|_| FlightLeaf::evaluates_on(grid));
        if let Some((ability, place)) = ability.as_ref().and_then(|ability| Some((ability, ability.flight()?))) {
            match self.flight.evaluate(place, expression, (grid, lookback), context, &self.instrument).await {
                Ok(tables) => return Ok(tables),
                Err(FlightError::Failed(error)) => return Err(error),
                Err(FlightError::NotSpoken(error)) => self.flight_failed(ability, &error),
            }
        }
        self.http.evaluate(expression, grid, lookback, context).await
    }

    async fn label_names(&self, request: &MetadataRequest, context: &QueryContext) -> Result<Vec<String>, Error> {
        self.http.label_names(request, context).await
    }

    async fn label_values(
        &self,
        name: &str,
        request: &MetadataRequest,
        context: &QueryContext,
    ) -> Result<Vec<String>, Error> {
        self.http.label_values(name, request, context).await
    }

    async fn series(&self, request: &MetadataRequest, context: &QueryContext) -> Result<Vec<Labels>, Error> {
        self.http.series(request, context).await
    }

    async fn exemplars(&self, request: &MetadataRequest, context: &QueryContext) -> Result<ExemplarSet, Error> {
        self.http.exemplars(request, context).await
    }

    async fn metric_metadata(
        &self,
        metric: Option<&str>,
        context: &QueryContext,
    ) -> Result<BTreeMap<String, Vec<MetricMetadata>>, Error> {
        self.http.metric_metadata(metric, context).await
    }
}
