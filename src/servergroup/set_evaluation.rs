//! Which parts of all groups may be asked to evaluate an expression: those whose series no other part can have.

use super::group::ServerGroup;
use super::{Covered, EvaluateRequest, Evaluated, Judgement, ServerGroupSet, Verdict};
use crate::error::Error;
use crate::model::QueryContext;

/// How two parts are kept apart.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
enum Apart {
    /// A label has another value here than there.
    ByLabels,
    /// One of their groups says so in the config.
    ByWord,
    /// Not for sure.
    No,
}

impl ServerGroupSet {
    /// A judgement for each part, in their order. Asks nobody.
    pub fn judge(&self, request: &EvaluateRequest, context: &QueryContext) -> Vec<Judgement> {
        let parts: Vec<(&ServerGroup, usize)> = self.parts().map(|(group, bucket)| (&**group, bucket)).collect();
        let mut judgements: Vec<Judgement> =
            parts.iter().map(|(group, bucket)| judge_alone(group, *bucket, request, context)).collect();
        let reached: Vec<usize> =
            (0..parts.len()).filter(|part| judgements[*part].verdict != Verdict::Nothing).collect();
        for part in reached.iter().copied().filter(|part| judgements[*part].verdict == Verdict::Ask).collect::<Vec<_>>()
        {
            let other =
                reached.iter().copied().find(|other| *other != part && may_share(parts[part], parts[*other], request));
            if let Some(other) = other {
                let (group, bucket) = parts[other];
                let name = group.bucket_name(bucket);
                let text =
                    format!("{name:?} may hold the same series: no label tells them apart, and neither says disjoint");
                judgements[part] = Judgement::exact(text);
            }
        }
        judgements
    }

    /// Asks one part.
    pub async fn evaluate(
        &self,
        part: usize,
        request: &EvaluateRequest,
        context: &QueryContext,
    ) -> Result<Evaluated, Error> {
        match self.parts().nth(part) {
            Some((group, bucket)) => group.evaluate_bucket(bucket, request, context).await,
            None => Ok(Evaluated::needs_exact(format!("there is no part {part}"))),
        }
    }
}

fn judge_alone(group: &ServerGroup, bucket: usize, request: &EvaluateRequest, context: &QueryContext) -> Judgement {
    if !group.is_chosen(context) {
        return Judgement::nothing("the query is about other groups");
    }
    let (after, until) = request.reads;
    match (group.buckets().get(bucket).map(|own| own.is_reached(request)), group.covered(after, until, context)) {
        (None, _) => Judgement::exact("it has no targets"),
        (Some(false), _) => Judgement::nothing("its labels do not match"),
        (Some(true), Covered::Nothing) => Judgement::nothing("it has no samples of that time"),
        (Some(true), Covered::Part) => Judgement::exact("only some of its samples count"),
        (Some(true), Covered::Whole) => group.judge_bucket(bucket, request),
    }
}

/// May the parts hold the same series, or series that become the same where names go?
fn may_share(one: (&ServerGroup, usize), other: (&ServerGroup, usize), request: &EvaluateRequest) -> bool {
    match apart(one, other) {
        Apart::ByLabels => false,
        Apart::ByWord => request.may_unite_names(),
        Apart::No => true,
    }
}

fn apart<'a>(one: (&'a ServerGroup, usize), other: (&'a ServerGroup, usize)) -> Apart {
    let bucket = |(group, bucket): (&'a ServerGroup, usize)| group.buckets().get(bucket);
    // A group without targets has no series.
    let (Some(a), Some(b)) = (bucket(one), bucket(other)) else { return Apart::ByLabels };
    if a.is_distinct_from(b) {
        return Apart::ByLabels;
    }
    let other_group = !std::ptr::eq(one.0, other.0);
    if other_group && (one.0.is_disjoint() || other.0.is_disjoint()) { Apart::ByWord } else { Apart::No }
}
