//! A server without a network: what a server group asks, answered from a store in memory as remote read would.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use futures::StreamExt;
use futures::stream;

use super::MemoryStore;
use crate::config::Scheme;
use crate::downstream::{Ability, Downstream, SampleTimes, Selected, SelectedForm, TargetUrl};
use crate::error::Error;
use crate::model::{
    ExemplarSet, Labels, MetadataRequest, MetricMetadata, QueryContext, SelectForm, SelectRequest, TimestampMs,
};
use crate::scan::{ScanRequest, SeriesSource};

/// Answers raw samples with everything that they have, to every form of request.
#[derive(Debug)]
pub struct MemoryDownstream {
    url: TargetUrl,
    store: Arc<MemoryStore>,
    ability: Arc<Ability>,
}

impl MemoryDownstream {
    /// A server of this name, which stands in messages in the place of an address.
    ///
    /// # Errors
    /// A name that no host could have.
    pub fn try_new(name: &str, store: Arc<MemoryStore>) -> Result<Self, Error> {
        let ability = Arc::new(Ability::of_raw_samples());
        Ok(Self { url: TargetUrl::try_new(Scheme::Http, name, "")?, store, ability })
    }
}

/// The window in which a request looks at samples: exclusive start, inclusive end.
pub(super) fn window_of(form: &SelectForm) -> (TimestampMs, TimestampMs) {
    match form {
        SelectForm::Samples { start, end } => (*start, *end),
        SelectForm::Steps { grid, lookback } => (grid.start() - *lookback, grid.last()),
    }
}

#[async_trait]
impl Downstream for MemoryDownstream {
    fn url(&self) -> &TargetUrl {
        &self.url
    }

    fn ability(&self) -> Option<Arc<Ability>> {
        Some(Arc::clone(&self.ability))
    }

    async fn select(
        &self,
        request: &SelectRequest,
        sample_times: SampleTimes,
        context: &QueryContext,
    ) -> Result<Selected, Error> {
        let (start, end) = window_of(&request.form);
        let raw = SelectRequest { matchers: request.matchers.clone(), form: SelectForm::Samples { start, end } };
        let parts = self.store.open(&ScanRequest::of_all(raw, sample_times), context);
        Ok(Selected { form: SelectedForm::Samples, tables: stream::iter(parts).flatten().boxed() })
    }

    async fn label_names(&self, request: &MetadataRequest, context: &QueryContext) -> Result<Vec<String>, Error> {
        self.store.label_names(request, context).await
    }

    async fn label_values(
        &self,
        name: &str,
        request: &MetadataRequest,
        context: &QueryContext,
    ) -> Result<Vec<String>, Error> {
        self.store.label_values(name, request, context).await
    }

    async fn series(&self, request: &MetadataRequest, context: &QueryContext) -> Result<Vec<Labels>, Error> {
        self.store.series(request, context).await
    }

    async fn exemplars(&self, request: &MetadataRequest, context: &QueryContext) -> Result<ExemplarSet, Error> {
        self.store.exemplars(request, context).await
    }

    async fn metric_metadata(
        &self,
        metric: Option<&str>,
        context: &QueryContext,
    ) -> Result<BTreeMap<String, Vec<MetricMetadata>>, Error> {
        self.store.metric_metadata(metric, context).await
    }
}
