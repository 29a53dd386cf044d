//! What would be done for a query, as messages.

use super::proto;
use super::trailer::cut;
use crate::downstream::KnownLeaf;
use crate::model::{SelectForm, SelectRequest, Selector};
use crate::query::Explanation;
use crate::servergroup::{Judgement, PartLeaf, TargetLeaf, Verdict};

/// So many rows of parts and targets are told; a message of them stays below 4 MiB, which every client takes.
const ROWS_MAX: usize = 10_000;

/// The answer of an explanation, with a bounded number of rows.
pub(super) fn explain_response(explanation: Explanation) -> proto::ExplainResponse {
    let mut room = Room { rows: ROWS_MAX, is_cut: false };
    let expressions = explanation.pushed.into_iter().map(|(expression, parts)| proto::ExplainedExpression {
        expression: cut(&expression),
        parts: room.take(parts, |(part, judgement)| explained_part(&part, &judgement)),
    });
    let expressions = expressions.collect();
    let here = explanation.evaluated_here.iter();
    let evaluated_here =
        here.map(|(expression, reason)| proto::KeptExpression { expression: cut(expression), reason: cut(reason) });
    let evaluated_here = evaluated_here.collect();
    let selectors =
        explanation.selectors.into_iter().map(|(request, parts)| explained_selector(&request, parts, &mut room));
    let selectors = selectors.collect();
    proto::ExplainResponse { plan: explanation.text, expressions, evaluated_here, selectors, is_cut: room.is_cut }
}

/// How many rows there may still be.
struct Room {
    rows: usize,
    is_cut: bool,
}

impl Room {
    fn take<I, T>(&mut self, items: Vec<I>, row: impl Fn(I) -> T) -> Vec<T> {
        self.is_cut |= items.len() > self.rows;
        let rows: Vec<T> = items.into_iter().take(self.rows).map(row).collect();
        self.rows -= rows.len();
        rows
    }
}

fn explained_part(part: &str, Judgement { verdict, reason }: &Judgement) -> proto::ExplainedPart {
    let decision = match verdict {
        Verdict::Ask => proto::PartDecision::Servers,
        Verdict::Exact => proto::PartDecision::Quiver,
        Verdict::Nothing => proto::PartDecision::Nothing,
    };
    proto::ExplainedPart { part: cut(part), decision: decision.into(), reason: cut(reason) }
}

fn explained_selector(request: &SelectRequest, parts: Vec<PartLeaf>, room: &mut Room) -> proto::ExplainedSelector {
    let (after, until, is_by_step) = match request.form {
        SelectForm::Samples { start, end } => (start, end, false),
        SelectForm::Steps { grid, lookback } => (grid.start() - lookback, grid.last(), true),
    };
    let mut told = Vec::new();
    for PartLeaf { part, why_not, targets } in parts {
        if room.rows == 0 {
            room.is_cut = true;
            break;
        }
        room.rows -= 1;
        told.push(proto::SelectorPart {
            part: cut(&part),
            is_asked: why_not.is_none(),
            reason: cut(&why_not.unwrap_or_default()),
            targets: room.take(targets, selector_target),
        });
    }
    let selector = Selector { matchers: request.matchers.clone() }.to_string();
    proto::ExplainedSelector { selector: cut(&selector), after_ms: after.0, until_ms: until.0, is_by_step, parts: told }
}

fn selector_target(TargetLeaf { url, leaf, is_left_out }: TargetLeaf) -> proto::SelectorTarget {
    let (leaf, leaf_reason) = leaf_words(leaf);
    proto::SelectorTarget { target: url, leaf, leaf_reason, is_left_out }
}

/// How a target is read, and why not in a better way; empty words where there is nothing to say.
pub(super) fn leaf_words(leaf: KnownLeaf) -> (String, String) {
    match leaf {
        KnownLeaf::NotYet => (String::new(), String::new()),
        KnownLeaf::Reads { leaf, why } => (leaf.to_owned(), cut(&why.unwrap_or_default())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_bounded_and_the_answer_says_so() {
        let parts = |count: usize| -> Vec<(String, Judgement)> {
            (0..count).map(|part| (part.to_string(), Judgement::ask("mode trust"))).collect()
        };
        for (counts, told, is_cut) in [
            ([ROWS_MAX - 1, 1], [ROWS_MAX - 1, 1], false),
            ([ROWS_MAX - 1, 2], [ROWS_MAX - 1, 1], true),
            ([ROWS_MAX + 1, 2], [ROWS_MAX, 0], true),
        ] {
            let pushed = counts.map(|count| ("x".repeat(100_000), parts(count))).into();
            let response = explain_response(Explanation { pushed, ..Explanation::default() });
            let rows: Vec<usize> = response.expressions.iter().map(|expression| expression.parts.len()).collect();
            assert_eq!((rows, response.is_cut), (told.to_vec(), is_cut));
            assert!(response.expressions[0].expression.len() < 2_000, "texts are cut");
        }
    }
}
