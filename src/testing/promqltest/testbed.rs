//! Where the data of a test file are, and who answers its queries.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use parking_lot::Mutex;

use super::super::{Layout, MemoryStore, TestGateway, TimedSample};
use super::AnnotatedAnswer;
use super::evaluator::Evaluator;
use super::route::{Route, Trait, Way};
use crate::error::Error;
use crate::model::{CompiledMatchers, EncodedLabels, Labels, Matcher, Sample, StepGrid, TimestampMs};
use crate::query::{EngineOptions, QueryEngine};
use crate::syntax::{ExprKind, Features, parse, walk};

/// A series of a test: labels, and samples in order of time.
pub type TestSeries = (Labels, Vec<TimedSample>);

/// Takes the data of a test file.
pub trait TestData: Send + Sync {
    /// Forgets everything.
    fn clear(&self);

    /// Adds series, or samples to known ones.
    ///
    /// # Errors
    /// Samples that a Prometheus would not store.
    fn load(&self, series: Vec<TestSeries>) -> Result<(), Error>;

    /// What the series have that a query selects, and that is lost on the way to who answers it.
    fn lost_of(&self, query: &str) -> Option<Trait> {
        let _ = query;
        None
    }
}

impl TestData for MemoryStore {
    fn clear(&self) {
        Self::clear(self);
    }

    fn load(&self, series: Vec<TestSeries>) -> Result<(), Error> {
        series.into_iter().try_for_each(|(labels, samples)| self.append_to_part(0, &labels, samples))
    }
}

/// The data in their layout, and the engine at the end of the way.
#[derive(Debug)]
pub struct Testbed {
    way: Way,
    features: Features,
    /// Holds everything: says what may be stored at all.
    union: Arc<MemoryStore>,
    loaded: Mutex<BTreeMap<Labels, Vec<TimedSample>>>,
    engine: QueryEngine,
    gateway: Option<TestGateway>,
}

impl Testbed {
    /// Starts what the way needs; empty.
    ///
    /// # Errors
    /// No free port, or a config that the gateway refuses.
    pub async fn start(way: Way, options: &EngineOptions) -> Result<Self, Error> {
        let union = Arc::new(MemoryStore::new());
        let options = &EngineOptions { mode: way.mode, ..options.clone() };
        let gateway = match (way.route, way.layout) {
            (Route::Engine, Layout::Single) => None,
            (route, layout) => Some(TestGateway::start(&layout.groups(), route.transport(), options.clone()).await?),
        };
        let engine = match &gateway {
            Some(gateway) => gateway.engine().clone(),
            None => QueryEngine::new(Arc::clone(&union) as _, options.clone()),
        };
        Ok(Self { way, features: options.features, union, loaded: Mutex::default(), engine, gateway })
    }
}

impl TestData for Testbed {
    fn clear(&self) {
        self.union.clear();
        self.loaded.lock().clear();
        self.gateway.iter().for_each(TestGateway::clear);
    }

    /// Lays everything out anew: where a series is cut depends on all of it.
    fn load(&self, series: Vec<TestSeries>) -> Result<(), Error> {
        let mut loaded = self.loaded.lock();
        for (labels, samples) in series {
            self.union.append_to_part(0, &labels, samples.iter().cloned())?;
            loaded.entry(labels).or_default().extend(samples);
        }
        let Some(gateway) = &self.gateway else { return Ok(()) };
        gateway.clear();
        for (labels, samples) in loaded.iter() {
            gateway.hold(labels, self.way.layout.place(labels, samples))?;
        }
        Ok(())
    }

    fn lost_of(&self, query: &str) -> Option<Trait> {
        let expr = parse(query, &self.features).ok()?;
        let mut selectors: Vec<CompiledMatchers> = Vec::new();
        let mut add = |matchers: &[Matcher]| selectors.extend(CompiledMatchers::compile(matchers));
        walk(&expr, &mut |expr| match &expr.kind {
            ExprKind::VectorSelector(selector) => add(&selector.matchers),
            ExprKind::MatrixSelector(range) => add(&range.selector.matchers),
            _ => {}
        });
        let is_selected =
            |labels: &EncodedLabels| selectors.iter().any(|matchers| matchers.match_labels(labels.as_ref()));
        let loaded = self.loaded.lock();
        let selected: Vec<_> = loaded.iter().filter(|(labels, _)| is_selected(&labels.encode())).collect();
        let has = |lost: &Trait| selected.iter().any(|(_, samples)| samples.iter().any(|sample| has(*lost, sample)));
        Trait::ALL.into_iter().filter(|lost| self.way.route.loses(*lost)).find(has)
    }
}

fn has(wanted: Trait, sample: &TimedSample) -> bool {
    match wanted {
        Trait::Histograms => matches!(sample.sample, Sample::Histogram(_)),
        Trait::StaleMarkers => sample.sample.is_stale_marker(),
        Trait::StartTimes => sample.start_time.is_some_and(|start| start != 0),
    }
}

/// How the warning begins that the gateway adds to whatever looks at start timestamps, where no server tells any.
const NO_START_TIMES: &str = "the servers do not tell start timestamps";

impl Testbed {
    /// The answer without what is not about the query but about the way.
    fn without_notes_on_the_way(&self, mut answer: AnnotatedAnswer) -> AnnotatedAnswer {
        if self.way.route.loses(Trait::StartTimes) {
            answer.warnings.retain(|warning| !warning.starts_with(NO_START_TIMES));
        }
        answer
    }
}

#[async_trait]
impl Evaluator for Testbed {
    async fn instant(&self, query: &str, time: TimestampMs) -> Result<AnnotatedAnswer, Error> {
        let answer = Evaluator::instant(&self.engine, query, time).await?;
        Ok(self.without_notes_on_the_way(answer))
    }

    async fn range(&self, query: &str, grid: StepGrid, end: TimestampMs) -> Result<AnnotatedAnswer, Error> {
        let answer = Evaluator::range(&self.engine, query, grid, end).await?;
        Ok(self.without_notes_on_the_way(answer))
    }
}
