//! Asks every part that may be asked, evaluates here what a part cannot answer, and makes one table of it.

use std::fmt;
use std::sync::Arc;

use arrow::record_batch::RecordBatch;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{DataFusionError, Result};
use datafusion::execution::TaskContext;
use datafusion::physical_expr::{EquivalenceProperties, PhysicalExpr};
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType, reset_plan_states};
use datafusion::physical_plan::stream::RecordBatchReceiverStreamBuilder;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, Distribution, ExecutionPlan, InputDistributionRequirements, Partitioning,
    PlanProperties, ReplaceChildrenOptions, SendableRecordBatchStream,
};
use futures::{StreamExt, TryStreamExt};

use super::node::Pushdown;
use super::recombine::Combined;
use crate::model::{Annotation, AnnotationKind, EvaluatedBy, PartEvaluation};
use crate::promql::functions::external;
use crate::scan::{ScannedParts, with_config};
use crate::servergroup::{Evaluated, ExactScope, Judgement, Verdict};

/// Batches that may wait for the operator above.
const BATCHES_AHEAD: usize = 2;

/// Why a part is not asked that could be.
const NOT_ALONE: &str = "another part cannot be asked";

/// One server that mixes both says so; then what is left out there must be left out everywhere.
const MIXED: &str = "encountered a mix of histograms and floats for aggregation";

/// Runs a pushdown. Where no part is to be asked, it is the exact plan and nothing else.
#[derive(Clone, Debug)]
pub struct PushdownExec {
    pushdown: Pushdown,
    exact: Arc<dyn ExecutionPlan>,
    properties: Arc<PlanProperties>,
}

impl PushdownExec {
    /// A pushdown over the physical plan that computes the same here.
    pub fn new(pushdown: Pushdown, exact: Arc<dyn ExecutionPlan>) -> Self {
        let properties = PlanProperties::new(
            EquivalenceProperties::new(exact.schema()),
            Partitioning::UnknownPartitioning(1),
            EmissionType::Incremental,
            Boundedness::Bounded,
        );
        Self { pushdown, exact, properties: Arc::new(properties) }
    }

    fn over(&self, children: Vec<Arc<dyn ExecutionPlan>>) -> Result<Self> {
        let one = || DataFusionError::Internal("PushdownExec has one child".to_owned());
        let exact = children.into_iter().next().ok_or_else(one)?;
        Ok(Self::new(self.pushdown.clone(), exact))
    }

    fn judgements(&self) -> Vec<(String, Judgement)> {
        let Pushdown { source, request, context, .. } = &self.pushdown;
        source.part_names().into_iter().zip(source.judge(request, context)).collect()
    }

    /// The sub-expression, and what would be done about it for each part.
    pub fn decisions(&self) -> (String, Vec<(String, Judgement)>) {
        let mut parts = self.judgements();
        if self.is_all_here(&parts) {
            for (_, judgement) in parts.iter_mut().filter(|(_, judgement)| judgement.verdict == Verdict::Ask) {
                *judgement = Judgement::exact(NOT_ALONE);
            }
        }
        (self.pushdown.text.clone(), parts)
    }

    /// Is nobody asked, or may nobody be asked because somebody cannot?
    fn is_all_here(&self, parts: &[(String, Judgement)]) -> bool {
        let any = |verdict| parts.iter().any(|(_, judgement)| judgement.verdict == verdict);
        !any(Verdict::Ask) || (any(Verdict::Exact) && !self.pushdown.recombination.takes_exact_parts())
    }

    /// All parts are evaluated here, as if nothing could be asked.
    fn execute_exact(&self, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        reset_plan_states(Arc::clone(&self.exact))?.execute(0, context)
    }

    /// The plan reads nothing of parts that are not among these.
    fn execute_for(&self, parts: Vec<bool>, context: &TaskContext) -> Result<SendableRecordBatchStream> {
        let parts = Arc::new(ScannedParts(Arc::from(parts)));
        self.execute_exact(with_config(context, |config| config.with_extension(parts)))
    }

    fn note(&self, part: &str, by: EvaluatedBy, reason: &str) {
        self.pushdown.context.part_evaluations.add(PartEvaluation {
            expression: self.pushdown.text.clone(),
            part: part.to_owned(),
            by,
            reason: reason.to_owned(),
        });
    }

    /// Asks, falls back, combines. `None`: everything has to be evaluated here.
    async fn evaluate(
        &self,
        parts: Vec<(String, Judgement)>,
        exact_beside: Option<SendableRecordBatchStream>,
        context: &TaskContext,
    ) -> Result<std::result::Result<RecordBatch, String>> {
        let Pushdown { source, request, recombination, context: query, .. } = &self.pushdown;
        let asked = parts.iter().enumerate().map(|(part, (_, judgement))| async move {
            match judgement.verdict {
                Verdict::Ask => Some(source.evaluate(part, request, query).await.map_err(external)).transpose(),
                Verdict::Exact => Ok(Some(Evaluated::needs_exact(judgement.reason.clone()))),
                Verdict::Nothing => Ok(None),
            }
        });
        let asked = futures::future::try_join_all(asked);
        let beside = async {
            match exact_beside {
                Some(stream) => stream.try_collect::<Vec<RecordBatch>>().await,
                None => Ok(Vec::new()),
            }
        };
        let (evaluated, mut exact) = futures::future::try_join(asked, beside).await?;
        let (mut answers, mut noted, mut outcomes) = (Vec::new(), Vec::new(), Vec::new());
        let mut guards = Vec::new();
        let mut fall_back = vec![false; parts.len()];
        for (part, (evaluated, (name, judgement))) in evaluated.into_iter().zip(&parts).enumerate() {
            let Some(evaluated) = evaluated else { continue };
            match evaluated {
                Evaluated::Answered { tables, annotations, reason, held } => {
                    if let Some(text) = warned(&annotations) {
                        return Ok(Err(format!("a server warned: {text}")));
                    }
                    answers.push(tables);
                    noted.extend(annotations);
                    guards.extend(held);
                    outcomes.push((name, EvaluatedBy::Servers, reason));
                }
                Evaluated::NeedsExact { scope: ExactScope::All, reason } => return Ok(Err(reason)),
                Evaluated::NeedsExact { scope: ExactScope::Part, reason } => {
                    if !recombination.takes_exact_parts() {
                        return Ok(Err(reason));
                    }
                    fall_back[part] = judgement.verdict == Verdict::Ask;
                    outcomes.push((name, EvaluatedBy::Quiver, reason));
                }
            }
        }
        if fall_back.contains(&true) {
            let stream = self.execute_for(fall_back, context)?;
            exact.extend(stream.try_collect::<Vec<RecordBatch>>().await?);
        }
        if !exact.is_empty() && query.annotations.snapshot().iter().any(|noted| noted.text.contains(MIXED)) {
            return Ok(Err("there are native histograms beside numbers".to_owned()));
        }
        match recombination.combine(request.grid, &answers, &exact).map_err(external)? {
            Combined::Unsure(reason) => Ok(Err(reason)),
            Combined::Table(table) => {
                noted.into_iter().for_each(|annotation| query.annotations.add(annotation));
                for (name, by, reason) in outcomes {
                    self.note(name, by, &reason);
                }
                Ok(Ok(table))
            }
        }
    }
}

/// A warning of PromQL's: something was left out there, and what that means for the whole only the samples tell.
fn warned(annotations: &[Annotation]) -> Option<&str> {
    let is_warning = |noted: &&Annotation| {
        noted.kind == AnnotationKind::Warning && noted.text.starts_with("PromQL ") //
    };
    annotations.iter().find(is_warning).map(|noted| noted.text.as_str())
}

impl DisplayAs for PushdownExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PushdownExec: {}", self.pushdown.describe())?;
        for (name, Judgement { verdict, reason }) in self.judgements() {
            let verdict = match verdict {
                Verdict::Ask => "pushdown",
                Verdict::Exact => "exact",
                Verdict::Nothing => "nothing",
            };
            write!(f, " [{name:?} {verdict}: {reason}]")?;
        }
        Ok(())
    }
}

impl ExecutionPlan for PushdownExec {
    fn name(&self) -> &'static str {
        "PushdownExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn input_distribution_requirements(&self) -> InputDistributionRequirements {
        InputDistributionRequirements::new(vec![Distribution::SinglePartition])
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.exact]
    }

    fn replace_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
        _options: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(Arc::new(self.over(children)?))
    }

    fn with_new_children(self: Arc<Self>, children: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(Arc::new(self.over(children)?))
    }

    fn apply_expressions(
        &self,
        _visit: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn execute(&self, _partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let parts = self.judgements();
        let here: Vec<bool> = parts.iter().map(|(_, judgement)| judgement.verdict == Verdict::Exact).collect();
        let is_mixed = here.contains(&true);
        if self.is_all_here(&parts) {
            for (name, judgement) in parts.iter().filter(|(_, judgement)| judgement.verdict != Verdict::Nothing) {
                let is_asked = judgement.verdict == Verdict::Ask;
                let reason = if is_asked { NOT_ALONE } else { &judgement.reason };
                self.note(name, EvaluatedBy::Quiver, reason);
            }
            return self.execute_exact(context);
        }
        // What is known to be evaluated here does not wait for anybody's answer.
        let beside = is_mixed.then(|| self.execute_for(here, &context)).transpose()?;
        let this = self.clone();
        let mut builder = RecordBatchReceiverStreamBuilder::new(self.schema(), BATCHES_AHEAD);
        let sender = builder.tx();
        builder.spawn(async move {
            match this.evaluate(parts, beside, &context).await? {
                Ok(table) => {
                    // Nobody reads any more: nothing is lost.
                    sender.send(Ok(table)).await.ok();
                }
                Err(reason) => {
                    for name in this.pushdown.source.part_names() {
                        this.note(&name, EvaluatedBy::Quiver, &reason);
                    }
                    let mut batches = this.execute_exact(context)?;
                    while let Some(batch) = batches.next().await {
                        if sender.send(batch).await.is_err() {
                            break;
                        }
                    }
                }
            }
            Ok(())
        });
        Ok(builder.build())
    }
}
