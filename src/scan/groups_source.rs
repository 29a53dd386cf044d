//! The server groups as a source of series: one part a group.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use futures::stream::{self, StreamExt};
use tokio_util::task::AbortOnDropHandle;

use super::{ScanRequest, SelectorForm, SeriesSource};
use crate::error::Error;
use crate::model::{Labels, MetadataRequest, MetricMetadata, QueryContext, SeriesStream};
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
    fn begin(&self, part: usize, scan: &ScanRequest, context: &QueryContext) -> SeriesStream {
        let Some(group) = self.set.groups().get(part).map(Arc::clone) else { return stream::empty().boxed() };
        let (scan, context) = (scan.clone(), context.clone());
        let asked = AbortOnDropHandle::new(tokio::spawn(async move {
            group.select(&scan.select, scan.sample_times, &context).await?.merge()
        }));
        let batches = stream::once(asked).flat_map(|joined| match joined {
            Ok(Ok(merged)) => stream::iter(merged).boxed(),
            Ok(Err(error)) => failed(error),
            Err(_) => failed(Error::internal(
                "asking a server group failed because of a defect in quiver; its log says where",
            )),
        });
        batches.boxed()
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

    fn open(&self, scan: &ScanRequest, context: &QueryContext) -> Vec<SeriesStream> {
        let parts = 0..self.part_names().len();
        let open = |part| if scan.wants(part) { self.begin(part, scan, context) } else { stream::empty().boxed() };
        parts.map(open).collect()
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
