//! A gateway below, asked over Arrow Flight: the leaf of a plan, or an expression, as the tables in which the engine computes.
//!
//! | file | what it does |
//! |---|---|
//! | `ticket.rs` | a question as a ticket |
//! | `place.rs` | where the service is, by what the target tells and the config says |
//! | `answer.rs` | the messages of an answer as tables; a stream without its end is a failure |
//! | `refusal.rs` | a status as our error, and whether to ask otherwise |

mod answer;
mod place;
mod refusal;
mod ticket;

use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::record_batch::RecordBatch;
use arrow_flight::Ticket;
use arrow_flight::flight_service_client::FlightServiceClient;
use futures::stream::{self, StreamExt};
use http::HeaderMap;
use parking_lot::Mutex;
use prost::Message;
use tonic::metadata::MetadataMap;
use tonic::transport::{Channel, Endpoint};

pub(super) use answer::FlightAnswer;
pub(super) use place::{FlightPlace, find_place};
pub(super) use refusal::FlightError;

use super::instrument::{CallMeter, FLIGHT, TargetInstrument};
use super::open_answer::Patience;
use super::quiver_proto::FlightTicket;
use super::response_error::unavailable;
use super::{HttpClient, SampleTimes, Selected, SelectedForm, TargetUrl};
use crate::decode::{FlightForm, FlightQuestion, TimeWindow, samples_at_steps};
use crate::error::Error;
use crate::model::{DurationMs, Held, QueryContext, SelectForm, SelectRequest, StepGrid};
use crate::telemetry::CallKind;

/// A message is at most so large: a table of some MiB, or one series, which is never cut.
const MESSAGE_BYTES_MAX: usize = 256 << 20;
/// What may be on its way of one answer, so that a table is there when the one before it is read.
const STREAM_WINDOW_BYTES: u32 = 16 << 20;
/// The same of all answers of a server together. It is also the budget of small frames: h2 gives a connection up when small DATA
/// frames have used half of it up.
const CONNECTION_WINDOW_BYTES: u32 = 64 << 20;
/// Large frames: fewer to count for the same bytes.
const FRAME_BYTES_MAX: u32 = 1 << 20;
/// A connection that has been silent for so long is asked whether it lives …
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(30);
/// … and is dead after so long a silence.
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(20);
/// More steps than this are no question of the query service's.
const STEPS_MAX: usize = 11_000;

/// The Flight service of one server, wherever it is just now.
#[derive(Clone, Debug)]
pub(super) struct FlightLeaf {
    client: Arc<HttpClient>,
    url: TargetUrl,
    connection: Arc<Mutex<Option<(FlightPlace, Channel)>>>,
}

impl FlightLeaf {
    /// Opens no connection.
    pub(super) fn new(client: Arc<HttpClient>, url: TargetUrl) -> Self {
        Self { client, url, connection: Arc::default() }
    }

    /// Asks for nothing, to learn whether there is somebody who would answer.
    pub(super) async fn try_out(&self, place: &FlightPlace, context: &QueryContext) -> Result<(), FlightError> {
        let meter = TargetInstrument::unseen(&self.url).begin(CallKind { call: "probe", leaf: FLIGHT }, context);
        let question = FlightQuestion::Samples(TimeWindow { start: ticket::NEVER, end: ticket::NEVER });
        let mut answer = self.ask(place, ticket::of_nothing(), question, context, meter).await?;
        while answer.next().await.map_err(FlightError::Failed)?.is_some() {}
        Ok(())
    }

    /// The series of one selector. When this returns, the head of the answer is there.
    pub(super) async fn select(
        &self,
        place: &FlightPlace,
        request: &SelectRequest,
        sample_times: SampleTimes,
        context: &QueryContext,
        instrument: &TargetInstrument,
    ) -> Result<Selected, FlightError> {
        let (question, call) = match request.form {
            SelectForm::Samples { start, end } if start >= end => {
                return Ok(Selected { form: SelectedForm::Samples, tables: stream::empty().boxed() });
            }
            SelectForm::Samples { start, end } => (FlightQuestion::Samples(TimeWindow { start, end }), "get_value"),
            SelectForm::Steps { grid, lookback } => (FlightQuestion::Steps { grid, lookback }, call_of(grid)),
        };
        let meter = instrument.begin(CallKind { call, leaf: FLIGHT }, context);
        let answer = self.ask(place, ticket::of_leaf(request, sample_times), question, context, meter).await?;
        let form = match answer.form() {
            FlightForm::Samples => SelectedForm::Samples,
            FlightForm::Steps | FlightForm::TimedSteps => SelectedForm::TimedSteps,
        };
        Ok(Selected { form, tables: answer.into_stream().boxed() })
    }

    /// Are that many steps no more than the service takes at a time?
    pub(super) fn evaluates_on(grid: StepGrid) -> bool {
        grid.step_count() <= STEPS_MAX
    }

    /// The values of an expression on a grid, as [`Downstream::evaluate`](super::Downstream::evaluate) has them.
    pub(super) async fn evaluate(
        &self,
        place: &FlightPlace,
        expression: &str,
        (grid, lookback): (StepGrid, DurationMs),
        context: &QueryContext,
        instrument: &TargetInstrument,
    ) -> Result<Vec<(RecordBatch, Held)>, FlightError> {
        let meter = instrument.begin(CallKind { call: call_of(grid), leaf: FLIGHT }, context);
        let ticket = ticket::of_query(expression, grid, lookback);
        let mut answer = self.ask(place, ticket, FlightQuestion::Values(grid), context, meter).await?;
        let mut tables = Vec::new();
        while let Some(table) = answer.next().await.map_err(FlightError::Failed)? {
            let arrived = context.hold_table(&table).map_err(FlightError::Failed)?;
            let samples = samples_at_steps(&table, grid).map_err(FlightError::Failed)?;
            let held = context.hold_table(&samples).map_err(FlightError::Failed)?;
            drop((table, arrived));
            tables.push((samples, held));
        }
        Ok(tables)
    }

    async fn ask(
        &self,
        place: &FlightPlace,
        ticket: FlightTicket,
        question: FlightQuestion,
        context: &QueryContext,
        meter: CallMeter,
    ) -> Result<FlightAnswer, FlightError> {
        let begun = self.begin(place, ticket, question, context, meter.clone()).await;
        if let Err(error) = &begun {
            meter.end(&Err::<(), _>(error.error().clone()));
        }
        begun
    }

    async fn begin(
        &self,
        place: &FlightPlace,
        ticket: FlightTicket,
        question: FlightQuestion,
        context: &QueryContext,
        meter: CallMeter,
    ) -> Result<FlightAnswer, FlightError> {
        let mut request = tonic::Request::new(Ticket { ticket: ticket.encode_to_vec().into() });
        *request.metadata_mut() = self.metadata(context).map_err(FlightError::Failed)?;
        if let Some(deadline) = context.deadline {
            request.set_timeout(deadline.saturating_duration_since(Instant::now()));
        }
        let channel = self.channel(place).map_err(FlightError::NotSpoken)?;
        let mut service = FlightServiceClient::new(channel).max_decoding_message_size(MESSAGE_BYTES_MAX);
        let mut patience = Patience::new(self.client.timeout(), context);
        let asked = patience.wait(service.do_get(request)).await.map_err(FlightError::Failed)?;
        let messages = asked.map_err(|status| FlightError::of_head(&self.url, &status))?.into_inner();
        meter.first_byte();
        FlightAnswer::begin(self.url.clone(), messages, question, patience, meter, context.clone()).await
    }

    /// The client's headers and ours, without those that belong to a connection of another kind.
    fn metadata(&self, context: &QueryContext) -> Result<MetadataMap, Error> {
        let mut headers = HeaderMap::new();
        self.client.add_headers(&mut headers, context)?;
        let is_foreign = |name: &str| {
            name.starts_with("grpc-")
                || ["accept-encoding", "keep-alive", "proxy-connection", "te", "upgrade", "user-agent"].contains(&name)
        };
        let foreign: Vec<_> = headers.keys().filter(|name| is_foreign(name.as_str())).cloned().collect();
        foreign.iter().for_each(|name| {
            headers.remove(name);
        });
        Ok(MetadataMap::from_headers(headers))
    }

    /// The connection, which is opened when something is sent over it, and again when it has ended.
    fn channel(&self, place: &FlightPlace) -> Result<Channel, Error> {
        let mut connection = self.connection.lock();
        if let Some((known, channel)) = &*connection
            && known == place
        {
            return Ok(channel.clone());
        }
        let odd =
            |error: tonic::transport::Error| unavailable(format!("{place} is no address for Arrow Flight: {error}"));
        let endpoint = Endpoint::from_shared(format!("http://{place}")).map_err(odd)?;
        let channel = endpoint
            .initial_stream_window_size(STREAM_WINDOW_BYTES)
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
            .max_frame_size(FRAME_BYTES_MAX)
            .http2_keep_alive_interval(KEEP_ALIVE_INTERVAL)
            .keep_alive_timeout(KEEP_ALIVE_TIMEOUT)
            .user_agent(HttpClient::OUR_NAME)
            .map_err(odd)?
            .connect_with_connector_lazy(self.client.dialer());
        *connection = Some((place.clone(), channel.clone()));
        Ok(channel)
    }
}

/// promxy's words for the calls of the HTTP API that would be made.
fn call_of(grid: StepGrid) -> &'static str {
    if grid.step_count() == 1 { "query" } else { "query_range" }
}
