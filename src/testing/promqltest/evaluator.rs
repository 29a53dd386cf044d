//! Whoever answers the queries of a test file.

use async_trait::async_trait;

use super::answer::{AnnotatedAnswer, Answer};
use crate::error::Error;
use crate::model::{AnnotationKind, StepGrid, TimestampMs};
use crate::query::{QueryEngine, QueryOptions, QueryResult};

/// Answers queries over the data of a test: the engine itself, or a gateway in front of servers that hold the data.
#[async_trait]
pub trait Evaluator: Send + Sync {
    /// Evaluates at one time.
    async fn instant(&self, query: &str, time: TimestampMs) -> Result<AnnotatedAnswer, Error>;

    /// Evaluates at every step; `end` is the end as asked, at or behind the last step.
    async fn range(&self, query: &str, grid: StepGrid, end: TimestampMs) -> Result<AnnotatedAnswer, Error>;
}

#[async_trait]
impl Evaluator for QueryEngine {
    async fn instant(&self, query: &str, time: TimestampMs) -> Result<AnnotatedAnswer, Error> {
        let result = Self::instant(self, query, time, &QueryOptions::default()).await?;
        annotated(query, &result)
    }

    async fn range(&self, query: &str, grid: StepGrid, end: TimestampMs) -> Result<AnnotatedAnswer, Error> {
        let result = self.range_to(query, grid, end, &QueryOptions::default()).await?;
        annotated(query, &result)
    }
}

fn annotated(query: &str, result: &QueryResult) -> Result<AnnotatedAnswer, Error> {
    let texts = |kind: AnnotationKind| {
        let own = result.annotations.iter().filter(|annotation| annotation.kind == kind);
        own.map(|annotation| annotation.render(query)).collect()
    };
    Ok(AnnotatedAnswer {
        answer: Answer::from_query_value(&result.value)?,
        warnings: texts(AnnotationKind::Warning),
        infos: texts(AnnotationKind::Info),
    })
}
