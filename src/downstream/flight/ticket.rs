//! Questions as tickets; proto/quiver/v1/flight.proto says what each field means.

use crate::downstream::SampleTimes;
use crate::downstream::quiver_proto::flight_ticket::{Question, Times};
use crate::downstream::quiver_proto::leaf_select::Form;
use crate::downstream::quiver_proto::{
    FlightTicket, LeafMatcher, LeafSamples, LeafSelect, LeafSteps, MatchOperator, QueryOptions, StepGrid as ProtoGrid,
    TableForm, TimeRange,
};
use crate::model::{
    CompiledMatchers, DurationMs, EncodedLabels, Labels, METRIC_NAME, MatchOp, Matcher, SelectForm, SelectRequest,
    StepGrid, TimestampMs,
};

/// A range from here to here is empty.
pub(super) const NEVER: TimestampMs = TimestampMs(0);

/// One selector.
pub(super) fn of_leaf(request: &SelectRequest, sample_times: SampleTimes) -> FlightTicket {
    let form = match &request.form {
        SelectForm::Samples { start, end } => Form::Raw(LeafSamples { after_ms: start.0, until_ms: end.0 }),
        SelectForm::Steps { grid, lookback } => Form::Steps(LeafSteps {
            grid: Some(ProtoGrid {
                start_ms: grid.start().0,
                step_ms: grid.step().0,
                step_count: grid.step_count() as u64,
            }),
            lookback_ms: lookback.0,
            sample_times: sample_times == SampleTimes::Needed,
        }),
    };
    leaf(&request.matchers, form)
}

/// One that every server answers at once, with no series.
pub(super) fn of_nothing() -> FlightTicket {
    let form = Form::Raw(LeafSamples { after_ms: NEVER.0, until_ms: NEVER.0 });
    leaf(&[Matcher::equal(METRIC_NAME, "up")], form)
}

/// An expression on a grid.
pub(super) fn of_query(expression: &str, grid: StepGrid, lookback: DurationMs) -> FlightTicket {
    let range = TimeRange { start_ms: grid.start().0, end_ms: grid.last().0, step_ms: grid.step().0 };
    FlightTicket {
        question: Some(Question::Query(expression.to_owned())),
        times: Some(Times::Range(range)),
        options: Some(QueryOptions { lookback_ms: Some(lookback.0), ..QueryOptions::default() }),
        form: TableForm::Native.into(),
        ..FlightTicket::default()
    }
}

fn leaf(matchers: &[Matcher], form: Form) -> FlightTicket {
    let mut all: Vec<LeafMatcher> = matchers.iter().map(of_matcher).collect();
    if selects_everything(matchers) {
        // Such selectors are refused; every series has a name.
        all.push(of_matcher(&Matcher::new(METRIC_NAME, MatchOp::Regex, ".+")));
    }
    let question = Question::Leaf(LeafSelect { matchers: all, form: Some(form) });
    FlightTicket { question: Some(question), ..FlightTicket::default() }
}

fn of_matcher(matcher: &Matcher) -> LeafMatcher {
    let op = match matcher.op {
        MatchOp::Equal => MatchOperator::Equal,
        MatchOp::NotEqual => MatchOperator::NotEqual,
        MatchOp::Regex => MatchOperator::Regex,
        MatchOp::NotRegex => MatchOperator::NotRegex,
    };
    LeafMatcher { name: matcher.name.clone(), op: op.into(), value: matcher.value.clone() }
}

/// Would a series without any labels match?
fn selects_everything(matchers: &[Matcher]) -> bool {
    let none: EncodedLabels = Labels::default().encode();
    // A pattern that cannot be read is the server's to complain about.
    CompiledMatchers::compile(matchers).is_ok_and(|matchers| matchers.match_labels(none.as_ref()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_selector_of_everything_asks_for_a_name() {
        let names = |matchers: &[Matcher]| {
            let form = Form::Raw(LeafSamples { after_ms: 1, until_ms: 2 });
            let Some(Question::Leaf(leaf)) = leaf(matchers, form).question else { panic!("a leaf") };
            leaf.matchers.into_iter().map(|matcher| matcher.value).collect::<Vec<_>>()
        };
        assert_eq!(names(&[]), [".+"]);
        assert_eq!(names(&[Matcher::new("a", MatchOp::NotEqual, "b")]), ["b", ".+"]);
        assert_eq!(names(&[Matcher::new("a", MatchOp::NotRegex, "b|"), Matcher::equal("c", "d")]), ["b|", "d"]);
    }
}
