//! The server groups as a source of series: one part a group.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use futures::stream::{self, StreamExt};
use tokio_util::task::AbortOnDropHandle;

use super::{SelectorForm, SeriesSource, SeriesStream};
use crate::downstream::SampleTimes;
use crate::error::Error;
use crate::model::{Labels, MetadataRequest, MetricMetadata, QueryContext, SelectRequest};
use crate::servergroup::ServerGroupSet;

/// Reads from server groups over the HTTP API.
#[derive(Clone, Debug)]
pub struct GroupsSource {
    set: Arc<ServerGroupSet>,
}

impl GroupsSource {
    /// A source over all groups of a set.
    pub fn new(set: Arc<ServerGroupSet>) -> Self {
        Self { set }
    }

    /// The groups.
    pub fn set(&self) -> &Arc<ServerGroupSet> {
        &self.set
    }
}

impl GroupsSource {
    /// Begins to ask at once, and returns at once: failures come as the stream's first item. Dropping the stream ends the
    /// requests.
    fn begin(
        &self,
        part: usize,
        request: &SelectRequest,
        sample_times: SampleTimes,
        context: &QueryContext,
    ) -> Result<SeriesStream, Error> {
        let Some(group) = self.set.groups().get(part).map(Arc::clone) else {
            let is_the_empty_part = part == 0 && self.set.groups().is_empty();
            return if is_the_empty_part {
                Ok(stream::empty().boxed())
            } else {
                Err(Error::internal(format!("there is no part {part} of the server groups")))
            };
        };
        let (request, context) = (request.clone(), context.clone());
        let asked = AbortOnDropHandle::new(tokio::spawn(async move {
            group.select(&request, sample_times, &context).await?.merge()
        }));
        let batches = stream::once(asked).flat_map(|joined| match joined {
            Ok(Ok(merged)) => stream::iter(merged).boxed(),
            Ok(Err(error)) => failed(error),
            Err(_) => failed(Error::internal(
                "asking a server group failed because of a defect in quiver; its log says where",
            )),
        });
        Ok(batches.boxed())
    }
}

#[async_trait]
impl SeriesSource for GroupsSource {
    /// The groups' names, or places in the config. Without any group there is one part that is empty.
    fn part_names(&self) -> Vec<String> {
        let names: Vec<String> = self.set.groups().iter().map(|group| group.name()).collect();
        if names.is_empty() { vec!["no server groups".to_owned()] } else { names }
    }

    /// The query API knows no start timestamps.
    fn tells_start_times(&self) -> bool {
        false
    }

    /// JSON carries no stale markers, but a server's own step evaluation knows of them.
    fn selector_form(&self) -> SelectorForm {
        SelectorForm::Steps
    }

    async fn select(
        &self,
        part: usize,
        request: &SelectRequest,
        context: &QueryContext,
    ) -> Result<SeriesStream, Error> {
        self.begin(part, request, SampleTimes::Needed, context)
    }

    async fn select_for_values(
        &self,
        part: usize,
        request: &SelectRequest,
        context: &QueryContext,
    ) -> Result<SeriesStream, Error> {
        self.begin(part, request, SampleTimes::StepTimes, context)
    }

    async fn label_names(&self, request: &MetadataRequest, context: &QueryContext) -> Result<Vec<String>, Error> {
        self.set.label_names(request, context).await
    }

    async fn label_values(
        &self,
        name: &str,
        request: &MetadataRequest,
        context: &QueryContext,
    ) -> Result<Vec<String>, Error> {
        self.set.label_values(name, request, context).await
    }

    async fn series(&self, request: &MetadataRequest, context: &QueryContext) -> Result<Vec<Labels>, Error> {
        self.set.series(request, context).await
    }

    async fn metric_metadata(
        &self,
        metric: Option<&str>,
        context: &QueryContext,
    ) -> Result<BTreeMap<String, Vec<MetricMetadata>>, Error> {
        self.set.metric_metadata(metric, context).await
    }
}

fn failed(error: Error) -> SeriesStream {
    stream::iter([Err(error)]).boxed()
}
