//! The messages of an answer as tables.

use arrow::record_batch::RecordBatch;
use arrow_flight::FlightData;
use futures::Stream;
use futures::stream;
use tonic::Streaming;

use super::FlightError;
use super::refusal::error_of;
use crate::decode::{FlightDecoder, FlightForm, FlightQuestion, StepTimes, decode_flight_remarks};
use crate::downstream::TargetUrl;
use crate::downstream::http::annotate;
use crate::downstream::instrument::CallMeter;
use crate::downstream::open_answer::Patience;
use crate::downstream::response_error::{bad_answer, unavailable};
use crate::error::Error;
use crate::model::{QueryContext, TableSize};

/// An answer that is being read. Dropping it ends the call, and with it the query below.
pub(in crate::downstream) struct FlightAnswer {
    url: TargetUrl,
    messages: Streaming<FlightData>,
    decoder: FlightDecoder,
    /// For steps that come without sample times and are wanted with some.
    step_times: Option<StepTimes>,
    patience: Patience,
    meter: CallMeter,
    context: QueryContext,
    has_ended: bool,
}

impl FlightAnswer {
    /// Waits for the schema.
    pub(super) async fn begin(
        url: TargetUrl,
        mut messages: Streaming<FlightData>,
        question: FlightQuestion,
        mut patience: Patience,
        meter: CallMeter,
        context: QueryContext,
    ) -> Result<Self, FlightError> {
        let first = patience.wait(messages.message()).await.map_err(FlightError::Failed)?;
        let first = first.map_err(|status| FlightError::of_head(&url, &status))?;
        let first = first.ok_or_else(|| FlightError::Failed(cut_short()))?;
        meter.read(size_of_message(&first));
        // Whoever speaks otherwise may be understood over HTTP.
        let decoder = FlightDecoder::try_new(question, &first.data_header)
            .map_err(|error| FlightError::NotSpoken(bad_answer(error)))?;
        let step_times = match (decoder.form(), question) {
            (FlightForm::Steps, FlightQuestion::Steps { grid, .. }) => Some(StepTimes::new(grid)),
            _ => None,
        };
        Ok(Self { url, messages, decoder, step_times, patience, meter, context, has_ended: false })
    }

    /// Which tables come.
    pub(super) fn form(&self) -> FlightForm {
        self.decoder.form()
    }

    /// The next table; `None` behind the last one, when the server has said that it was the last.
    pub(super) async fn next(&mut self) -> Result<Option<RecordBatch>, Error> {
        let next = self.read_on().await;
        match &next {
            Ok(Some(_)) => {}
            Ok(None) => self.meter.end(&Ok::<_, Error>(())),
            Err(error) => self.meter.end(&Err::<(), _>(error.clone())),
        }
        next
    }

    async fn read_on(&mut self) -> Result<Option<RecordBatch>, Error> {
        loop {
            let message = self.patience.wait(self.messages.message()).await?;
            let Some(message) = message.map_err(|status| error_of(&self.url, &status))? else {
                return if self.has_ended { Ok(None) } else { Err(cut_short()) };
            };
            if self.has_ended {
                return Err(unavailable("bad answer: something came behind its end"));
            }
            self.meter.read(size_of_message(&message));
            let table = self.decoder.read(&message.data_header, message.data_body).map_err(bad_answer)?;
            if !message.app_metadata.is_empty() {
                let remarks = decode_flight_remarks(&message.app_metadata).map_err(bad_answer)?;
                annotate(remarks.warnings, remarks.infos, &self.context);
                self.has_ended = true;
            }
            let Some(table) = table else { continue };
            let samples = TableSize::of(&table).samples;
            self.context.count_samples(samples);
            self.meter.decoded(samples);
            self.meter.finished_series(table.num_rows());
            // Checking a table is work: others may want the thread.
            tokio::task::yield_now().await;
            return match &mut self.step_times {
                Some(times) => times.attach(&table).map(Some),
                None => Ok(Some(table)),
            };
        }
    }

    /// All tables. Ends behind the first error.
    pub(super) fn into_stream(self) -> impl Stream<Item = Result<RecordBatch, Error>> + Send {
        stream::unfold(Some(self), |answer| async move {
            let mut answer = answer?;
            match answer.next().await {
                Ok(Some(table)) => Some((Ok(table), Some(answer))),
                Ok(None) => None,
                Err(error) => Some((Err(error), None)),
            }
        })
    }
}

fn cut_short() -> Error {
    unavailable("ended its answer without saying that it was whole")
}

fn size_of_message(message: &FlightData) -> usize {
    message.data_header.len() + message.data_body.len() + message.app_metadata.len()
}
