//! ListFlights: the metrics that there are.

use std::sync::Arc;

use arrow_flight::{FlightDescriptor, FlightInfo};
use bytes::Bytes;
use futures::{StreamExt, stream};
use http::HeaderMap;
use prost::Message;
use serde::Serialize;

use super::api::{FlightApi, flight_info, schema_bytes};
use super::ticket::{Ticket, Times};
use crate::error::{Error, ErrorKind};
use crate::model::{METRIC_NAME, Matcher, MetadataRequest, MetricMetadata, Selector};
use crate::serve::grpc::answer::Answer;
use crate::serve::grpc::request::{query_options, selector};
use crate::serve::http::{Notes, within_deadline};

/// Half a kilobyte each. Who has more gives a selector.
const FLIGHTS_MAX: usize = 100_000;

/// What is known of a metric, in the metadata of its flight.
#[derive(Serialize)]
struct Metric<'a> {
    metric: &'a str,
    metadata: &'a [MetricMetadata],
    /// What was noted while the list was made; in the first flight only.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    warnings: Vec<String>,
}

impl FlightApi {
    /// A flight for each metric, sorted by name: what an instant query of its name gives. The criteria are empty, or a selector that
    /// a series of the metric must match.
    ///
    /// # Errors
    /// Criteria that are no selector, more than 100,000 metrics, a source that fails.
    pub(in crate::serve::grpc) async fn list_flights(
        &self,
        headers: &HeaderMap,
        criteria: &[u8],
    ) -> Result<Answer<FlightInfo>, Error> {
        let selectors = match criteria {
            [] => Vec::new(),
            text => {
                let text = std::str::from_utf8(text);
                let text = text.map_err(|_| Error::bad_data("invalid criteria: they are not UTF-8"))?;
                vec![selector(text).map_err(|error| error.in_context("invalid criteria"))?]
            }
        };
        // One more shows whether there is more.
        let request = MetadataRequest { selectors, start: None, end: None, limit: Some(FLIGHTS_MAX + 1) };
        let engine = self.api().engine();
        let options = query_options(self.api(), headers, None)?;
        let context = engine.context(&options);
        let annotations = context.annotations.clone();
        let source = Arc::clone(engine.source());
        let task = self.api().cpu().spawn(async move {
            let names = source.label_values(METRIC_NAME, &request, &context);
            futures::try_join!(names, source.metric_metadata(None, &context))
        });
        let most = engine.options().timeout;
        let timeout = options.timeout.map_or(most, |asked| asked.min(most));
        let (names, metadata) = within_deadline(timeout, task).await?;
        if names.len() > FLIGHTS_MAX {
            return Err(Error::new(
                ErrorKind::TooManySamples,
                format!("there are more than {FLIGHTS_MAX} metrics, give a selector as criteria"),
            ));
        }
        let instant = Ticket::of_query("vector(0)", Times::Now);
        let schema = schema_bytes(&self.schema_of(&instant)?)?;
        let mut warnings = Notes::new(&annotations.snapshot(), "").warnings;
        let flights = names.into_iter().map(move |name| {
            let metric = Metric {
                metric: &name,
                metadata: metadata.get(&name).map(Vec::as_slice).unwrap_or_default(),
                warnings: std::mem::take(&mut warnings),
            };
            let app_metadata = serde_json::to_vec(&metric).unwrap_or_default();
            let query = Selector { matchers: vec![Matcher::equal(METRIC_NAME, &name)] }.to_string();
            let ticket = Ticket::of_query(query, Times::Now).to_proto(None).encode_to_vec();
            let descriptor = FlightDescriptor::new_path(vec![name]);
            Ok(flight_info(schema.clone(), descriptor, ticket, Bytes::from(app_metadata)))
        });
        Ok(stream::iter(flights).boxed())
    }
}
