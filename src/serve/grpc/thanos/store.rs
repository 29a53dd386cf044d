//! `thanos.Store`: series and labels as a Querier reads them of its stores.

use std::future::Future;
use std::sync::Arc;

use http::HeaderMap;
use tonic::{Request, Response, Status};

use super::packs::{answer, packs};
use super::proto;
use super::proto::store_server::Store;
use super::replica_labels::ReplicaLabels;
use super::request::{self, Failures};
use super::series::Question;
use super::{Thanos, take_apart};
use crate::error::Error;
use crate::model::{MetadataRequest, QueryContext};
use crate::scan::SeriesSource;
use crate::serve::grpc::answer::Answer;
use crate::serve::grpc::status::status_of;
use crate::serve::http::{Notes, admit, within_deadline};

#[tonic::async_trait]
impl Store for Thanos {
    type SeriesStream = Answer<proto::SeriesResponse>;

    async fn series(&self, request: Request<proto::SeriesRequest>) -> Result<Response<Self::SeriesStream>, Status> {
        let (headers, request) = take_apart(request);
        let question = Question::try_from(&request).map_err(|error| status_of(&error))?;
        let options = request::query_options(&self.api, &headers, question.failures, 0);
        let admitted = admit(&self.api, "select", options.timeout).await.map_err(|error| status_of(&error))?;
        let (packs, receiver) = packs();
        let task = self.api.cpu().spawn(async move {
            admitted.begins();
            let engine = Arc::clone(&admitted.engine);
            let sent = match question.skips_chunks {
                true => question.send_labels(&engine, &options, packs).await,
                false => question.send_samples(&engine, &options, packs).await,
            };
            admitted.ends(sent.as_ref().copied());
            sent.map(drop)
        });
        Ok(Response::new(answer(receiver, task)))
    }

    async fn label_names(
        &self,
        request: Request<proto::LabelNamesRequest>,
    ) -> Result<Response<proto::LabelNamesResponse>, Status> {
        let (headers, request) = take_apart(request);
        let listed = Listed::try_from(&request).map_err(|error| status_of(&error))?;
        let asked = self.ask(&headers, listed, |source, request, context| async move {
            source.label_names(&request, &context).await
        });
        let (names, warnings) = asked.await?;
        Ok(Response::new(proto::LabelNamesResponse { names, warnings }))
    }

    async fn label_values(
        &self,
        request: Request<proto::LabelValuesRequest>,
    ) -> Result<Response<proto::LabelValuesResponse>, Status> {
        let (headers, request) = take_apart(request);
        if request.label.is_empty() {
            return Err(status_of(&Error::bad_data("label name parameter cannot be empty")));
        }
        let mut listed = Listed::try_from(&request).map_err(|error| status_of(&error))?;
        if listed.replica_labels.take().is_some_and(|names| names.has(&request.label)) {
            return Ok(Response::new(proto::LabelValuesResponse::default()));
        }
        let name = request.label;
        let asked = self.ask(&headers, listed, |source, request, context| async move {
            source.label_values(&name, &request, &context).await
        });
        let (values, warnings) = asked.await?;
        Ok(Response::new(proto::LabelValuesResponse { values, warnings }))
    }
}

/// A question for a list of names or values.
#[derive(Debug)]
struct Listed {
    /// Without the limit.
    request: MetadataRequest,
    failures: Failures,
    replica_labels: Option<ReplicaLabels>,
    limit: Option<usize>,
}

impl Listed {
    fn try_new(matchers: &[proto::LabelMatcher], times: (i64, i64), replica_labels: &[String]) -> Result<Self, Error> {
        let matchers = request::matchers(matchers)?;
        let (start, end) = request::label_times(times.0, times.1);
        let selectors = if matchers.is_empty() { Vec::new() } else { vec![matchers] };
        Ok(Self {
            request: MetadataRequest { selectors, start, end, limit: None },
            failures: Failures::Abort,
            replica_labels: ReplicaLabels::new(request::replica_labels(replica_labels)?),
            limit: None,
        })
    }
}

impl TryFrom<&proto::LabelNamesRequest> for Listed {
    type Error = Error;

    fn try_from(request: &proto::LabelNamesRequest) -> Result<Self, Error> {
        let times = (request.start, request.end);
        let listed = Self::try_new(&request.matchers, times, &request.without_replica_labels)?;
        let failures = Failures::of(request.partial_response_strategy, request.partial_response_disabled);
        Ok(Self { failures, limit: request::limit(request.limit), ..listed })
    }
}

impl TryFrom<&proto::LabelValuesRequest> for Listed {
    type Error = Error;

    fn try_from(request: &proto::LabelValuesRequest) -> Result<Self, Error> {
        let times = (request.start, request.end);
        let listed = Self::try_new(&request.matchers, times, &request.without_replica_labels)?;
        let failures = Failures::of(request.partial_response_strategy, request.partial_response_disabled);
        Ok(Self { failures, limit: request::limit(request.limit), ..listed })
    }
}

impl Thanos {
    /// Asks the source of the running engine for a list: its first items up to the limit, and what was noted.
    async fn ask<F, Fut>(
        &self,
        headers: &HeaderMap,
        listed: Listed,
        ask: F,
    ) -> Result<(Vec<String>, Vec<String>), Status>
    where
        F: FnOnce(Arc<dyn SeriesSource>, MetadataRequest, QueryContext) -> Fut + Send + 'static,
        Fut: Future<Output = Result<Vec<String>, Error>> + Send + 'static,
    {
        let Listed { mut request, failures, replica_labels, limit } = listed;
        // One more for each that is left out.
        let left_out = replica_labels.as_ref().map_or(0, ReplicaLabels::count);
        request.limit = limit.map(|limit| limit.saturating_add(left_out));
        let engine = self.api.engine();
        let options = request::query_options(&self.api, headers, failures, 0);
        let context = engine.context(&options);
        let annotations = context.annotations.clone();
        let source = Arc::clone(engine.source());
        let task = self.api.cpu().spawn(async move { ask(source, request, context).await });
        let timeout = options.timeout.map_or(engine.options().timeout, |asked| asked.min(engine.options().timeout));
        let mut list = within_deadline(timeout, task).await.map_err(|error| status_of(&error))?;
        if let Some(names) = &replica_labels {
            list.retain(|name| !names.has(name));
        }
        list.truncate(limit.unwrap_or(usize::MAX));
        let notes = Notes::new(&annotations.snapshot(), "");
        Ok((list, notes.warnings.into_iter().chain(notes.infos).collect()))
    }
}
