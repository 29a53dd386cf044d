//! May servers compute a sub-expression, and what is to be asked of them?
//!
//! | expression | |
//! |---|---|
//! | `rate(x[5m])`, `x > 5`, `clamp(-x, 0, 1)`, `max_over_time(rate(x[5m])[1h:1m])` | every series by itself: its server can do that |
//! | `sum by (a) (…such an expression…)`, min, max, group, count, avg, topk, bottomk, count_values | made of the parts' own |
//! | `max(x) > 5` | not as a whole: the comparison is of the maximum over all parts |
//! | two selectors | no: what matches may lie with different servers |
//! | quantile, stddev, stdvar, limitk, histogram functions, absent, scalar, label_replace, sort, info, timestamp | no |
//!
//! `find_pushable` says so of one expression; the planner asks from the outside in, so that what is pushed is as large as can be.

use super::Recombination;
use super::functions::{PushesDown, is_with_literals};
use super::recombine::PartialFold;
use super::resolve;
use crate::error::Error;
use crate::kernels::{InstantFunction, RangeFunction};
use crate::model::{DurationMs, Matcher, StepGrid, TimestampMs};
use crate::promql::operators::TopKind;
use crate::promql::plan::grouping_of;
use crate::promql::preprocess::QueryBounds;
use crate::servergroup::EvaluatedWindows;
use crate::syntax::{
    Aggregate, AggregateOp, Binary, BinaryOp, Call, Expr, ExprKind, Features, MatrixSelector, NumberLiteral, Subquery,
    UnaryOp, ValueType, VectorSelector,
};

/// More of a group than this is not asked of every part.
const TOP_MAX: f64 = 10_000.0;

/// What an expression depends on besides itself.
#[derive(Copy, Clone, Debug)]
pub struct Surroundings {
    /// The query's own times.
    pub bounds: QueryBounds,
    /// Step of subqueries that give none.
    pub default_subquery_step: DurationMs,
    /// How far plain selectors look back.
    pub lookback: DurationMs,
    /// Gated features that are on here.
    pub features: Features,
}

/// What to ask, and what to do with the answers.
#[derive(Clone, Debug, PartialEq)]
pub struct Pushable {
    /// What every part is asked, together.
    pub expressions: Vec<Expr>,
    /// How the parts' answers become one.
    pub recombination: Recombination,
    /// The matchers of the one selector.
    pub matchers: Vec<Matcher>,
    /// Samples that are read: `start < t ≤ end`.
    pub reads: (TimestampMs, TimestampMs),
    /// What a server does for each series.
    pub windows: EvaluatedWindows,
    /// Do series lose their names?
    pub drops_name: bool,
    /// See [`EvaluateRequest::agreement_proves`](crate::servergroup::EvaluateRequest::agreement_proves).
    pub agreement_proves: bool,
}

/// Why an expression is evaluated here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WhyNot(pub String);

fn why_not<T>(text: impl Into<String>) -> Result<T, WhyNot> {
    Err(WhyNot(text.into()))
}

impl From<Error> for WhyNot {
    /// Whoever plans it exactly says so to the client.
    fn from(error: Error) -> Self {
        Self(error.to_string())
    }
}

/// What may be asked of the servers instead of evaluating an instant vector here.
pub fn find_pushable(expr: &Expr, grid: StepGrid, surroundings: &Surroundings) -> Result<Pushable, WhyNot> {
    refuse_features(surroundings.features)?;
    let times = Times { first: grid.start(), last: grid.last(), count: grid.step_count() };
    let mut walk = Walk { surroundings, leaf: None };
    match &expr.without_parens().kind {
        ExprKind::Aggregate(aggregate) => walk.aggregate(aggregate, times),
        ExprKind::VectorSelector(_) => why_not("a plain selector is fetched as it is"),
        ExprKind::Unary(UnaryOp::Plus, inner) => find_pushable(inner, grid, surroundings),
        _ => {
            let own = walk.each_series(expr, times)?;
            let agreement_proves = own.extreme.is_some();
            walk.pushable(vec![own.expr], Recombination::Unite, own.drops_name, agreement_proves)
        }
    }
}

/// What they change is the answer, and servers need not have them on.
fn refuse_features(features: Features) -> Result<(), WhyNot> {
    let on = [
        (features.delayed_name_removal, "promql-delayed-name-removal"),
        (features.type_and_unit_labels, "type-and-unit-labels"),
        (features.use_start_timestamps, "use-start-timestamps"),
    ];
    match on.into_iter().find(|(is_on, _)| *is_on) {
        Some((_, name)) => why_not(format!("the feature {name} is on here and need not be on there")),
        None => Ok(()),
    }
}

/// At which times something is evaluated.
#[derive(Copy, Clone)]
struct Times {
    first: TimestampMs,
    last: TimestampMs,
    count: usize,
}

impl Times {
    fn shifted_back(self, offset: DurationMs) -> Self {
        Self { first: self.first - offset, last: self.last - offset, ..self }
    }

    fn at(time: TimestampMs) -> Self {
        Self { first: time, last: time, count: 1 }
    }
}

/// An expression whose value for a series depends on that series only.
struct EachSeries {
    expr: Expr,
    drops_name: bool,
    /// Is it the extreme of raw samples, or whether there are any: of that, agreeing replicas prove the union's.
    extreme: Option<RangeFunction>,
}

struct Leaf {
    matchers: Vec<Matcher>,
    reads: (TimestampMs, TimestampMs),
    windows: EvaluatedWindows,
}

struct Walk<'a> {
    surroundings: &'a Surroundings,
    leaf: Option<Leaf>,
}

impl Walk<'_> {
    fn pushable(
        self,
        expressions: Vec<Expr>,
        recombination: Recombination,
        drops_name: bool,
        agreement_proves: bool,
    ) -> Result<Pushable, WhyNot> {
        let Some(leaf) = self.leaf else { return why_not("nothing is selected") };
        let Leaf { matchers, reads, windows } = leaf;
        Ok(Pushable { expressions, recombination, matchers, reads, windows, drops_name, agreement_proves })
    }

    fn aggregate(mut self, aggregate: &Aggregate, times: Times) -> Result<Pushable, WhyNot> {
        if let (Some(kind), ExprKind::Aggregate(inner)) =
            (top_kind(aggregate.op), &aggregate.expr.without_parens().kind)
        {
            let k = literal_k(aggregate)?;
            let below = self.aggregate(inner, times)?;
            let recombination = Recombination::TopOf {
                kind,
                k,
                grouping: grouping_of(aggregate),
                inner: Box::new(below.recombination), //
            };
            return Ok(Pushable { recombination, agreement_proves: false, ..below });
        }
        let own = self.each_series(&aggregate.expr, times)?;
        let named = |name: &str| aggregate.grouping.iter().any(|label| label == name);
        if own.drops_name && named("__name__") && !aggregate.without {
            return why_not("it groups by a name that its series have lost");
        }
        let with = |op, param: Option<Expr>| {
            let (expr, grouping) = (own.expr.clone(), aggregate.grouping.clone());
            made(ExprKind::Aggregate(Box::new(Aggregate { op, expr, param, grouping, without: aggregate.without })))
        };
        let fold = |fold| (vec![with(aggregate.op, None)], Recombination::Fold(fold));
        let (expressions, recombination) = match aggregate.op {
            AggregateOp::Sum => fold(PartialFold::Sum),
            AggregateOp::Min => fold(PartialFold::Min),
            AggregateOp::Max => fold(PartialFold::Max),
            AggregateOp::Group => fold(PartialFold::Group),
            AggregateOp::Count => fold(PartialFold::Count),
            AggregateOp::Avg => {
                (vec![with(AggregateOp::Sum, None), with(AggregateOp::Count, None)], Recombination::Average)
            }
            AggregateOp::CountValues => {
                let label = value_label(aggregate)?;
                let param = made(ExprKind::String(label.into_bytes()));
                (vec![with(aggregate.op, Some(param))], Recombination::Fold(PartialFold::Count))
            }
            AggregateOp::Topk => top(TopKind::Topk, aggregate, with)?,
            AggregateOp::Bottomk => top(TopKind::Bottomk, aggregate, with)?,
            AggregateOp::Quantile
            | AggregateOp::Stddev
            | AggregateOp::Stdvar
            | AggregateOp::Limitk
            | AggregateOp::LimitRatio => {
                return why_not(format!("{} needs every value of a group at once", aggregate.op.name()));
            }
        };
        let agreement_proves = matches!(
            (aggregate.op, own.extreme),
            (AggregateOp::Max, Some(RangeFunction::MaxOverTime))
                | (AggregateOp::Min, Some(RangeFunction::MinOverTime))
                | (AggregateOp::Group, Some(RangeFunction::PresentOverTime))
        );
        self.pushable(expressions, recombination, own.drops_name, agreement_proves)
    }

    fn each_series(&mut self, expr: &Expr, times: Times) -> Result<EachSeries, WhyNot> {
        match &expr.kind {
            ExprKind::Paren(inner) => {
                let inner = self.each_series(inner, times)?;
                Ok(EachSeries { expr: made(ExprKind::Paren(Box::new(inner.expr))), ..inner })
            }
            ExprKind::Unary(op, inner) => {
                let inner = self.each_series(inner, times)?;
                Ok(EachSeries {
                    expr: made(ExprKind::Unary(*op, Box::new(inner.expr))),
                    drops_name: inner.drops_name || *op == UnaryOp::Minus,
                    extreme: None,
                })
            }
            ExprKind::Binary(binary) => self.binary(binary, times),
            ExprKind::Aggregate(_) => why_not("what stands above an aggregation works on all parts' answer"),
            ExprKind::Call(call) => self.call(call, times),
            ExprKind::VectorSelector(selector) => self.vector_selector(selector, times),
            ExprKind::Number(_) | ExprKind::String(_) => why_not("nothing is selected"),
            ExprKind::MatrixSelector(_) | ExprKind::Subquery(_) => why_not("a range is no vector"),
        }
    }

    fn binary(&mut self, binary: &Binary, times: Times) -> Result<EachSeries, WhyNot> {
        if binary.op.is_set_operator() || matches!(binary.op, BinaryOp::TrimUpper | BinaryOp::TrimLower) {
            return why_not(format!("{} is evaluated here", binary.op.symbol()));
        }
        let (vector, lhs, rhs) = match (binary.lhs.value_type(), binary.rhs.value_type()) {
            (ValueType::Vector, ValueType::Scalar) => {
                let vector = self.each_series(&binary.lhs, times)?;
                (vector.drops_name, vector.expr, literal_scalar(&binary.rhs)?)
            }
            (ValueType::Scalar, ValueType::Vector) => {
                let vector = self.each_series(&binary.rhs, times)?;
                (vector.drops_name, literal_scalar(&binary.lhs)?, vector.expr)
            }
            (ValueType::Vector, ValueType::Vector) => {
                return why_not("two vectors: what matches may lie in different parts");
            }
            _ => return why_not("nothing is selected"),
        };
        let keeps_name = binary.op.is_comparison() && !binary.return_bool;
        let made_binary = Binary { op: binary.op, lhs, rhs, return_bool: binary.return_bool, matching: None };
        Ok(EachSeries {
            expr: made(ExprKind::Binary(Box::new(made_binary))),
            drops_name: vector || !keeps_name,
            extreme: None,
        })
    }

    fn call(&mut self, call: &Call, times: Times) -> Result<EachSeries, WhyNot> {
        let name = call.function.name;
        if let Some(function) = RangeFunction::from_name(name).filter(|function| function.pushes_down()) {
            return self.range_call(function, call, times);
        }
        let goes_sample_by_sample =
            InstantFunction::from_name(name).is_some_and(PushesDown::pushes_down) || is_with_literals(name);
        if !goes_sample_by_sample {
            return why_not(format!("{name}() is evaluated here"));
        }
        let Some((vector, scalars)) = call.args.split_first() else { return why_not("nothing is selected") };
        let mut args = vec![self.each_series(vector, times)?.expr];
        for scalar in scalars {
            args.push(literal_scalar(scalar)?);
        }
        let expr = made(ExprKind::Call(Call { function: call.function, args }));
        Ok(EachSeries { expr, drops_name: true, extreme: None })
    }

    fn range_call(&mut self, function: RangeFunction, call: &Call, times: Times) -> Result<EachSeries, WhyNot> {
        let mut args = Vec::with_capacity(call.args.len());
        let mut reads_raw_samples = false;
        for arg in &call.args {
            args.push(match &arg.without_parens().kind {
                ExprKind::MatrixSelector(matrix) => {
                    reads_raw_samples = true;
                    self.matrix_selector(matrix, times)?
                }
                ExprKind::Subquery(subquery) => self.subquery(subquery, times)?,
                _ => literal_scalar(arg)?,
            });
        }
        let is_extreme = matches!(
            function,
            RangeFunction::MaxOverTime | RangeFunction::MinOverTime | RangeFunction::PresentOverTime
        );
        Ok(EachSeries {
            expr: made(ExprKind::Call(Call { function: call.function, args })),
            drops_name: !matches!(function, RangeFunction::LastOverTime | RangeFunction::FirstOverTime),
            extreme: (is_extreme && reads_raw_samples).then_some(function),
        })
    }

    fn vector_selector(&mut self, selector: &VectorSelector, times: Times) -> Result<EachSeries, WhyNot> {
        let times = self.times_of(selector, times)?;
        let lookback = self.surroundings.lookback;
        let windows = EvaluatedWindows { count: times.count, length: DurationMs(0) };
        self.select(selector, (times.first - lookback, times.last), windows)?;
        let resolved = resolve::selector(&self.surroundings.bounds, selector)?;
        Ok(EachSeries { expr: made(ExprKind::VectorSelector(resolved)), drops_name: false, extreme: None })
    }

    fn matrix_selector(&mut self, matrix: &MatrixSelector, times: Times) -> Result<Expr, WhyNot> {
        let bounds = &self.surroundings.bounds;
        let range = bounds.positive_duration(&matrix.range)?;
        let selector = resolve::selector(bounds, &matrix.selector)?;
        let times = self.times_of(&matrix.selector, times)?;
        let windows = EvaluatedWindows { count: times.count, length: range };
        self.select(&matrix.selector, (times.first - range, times.last), windows)?;
        let range = resolve::literal(range);
        Ok(made(ExprKind::MatrixSelector(MatrixSelector { selector, selector_span: 0..0, range })))
    }

    fn subquery(&mut self, subquery: &Subquery, times: Times) -> Result<Expr, WhyNot> {
        let bounds = self.surroundings.bounds;
        let range = bounds.positive_duration(&subquery.range)?;
        let step = match &subquery.step {
            Some(step) => bounds.positive_duration(step)?,
            None => self.surroundings.default_subquery_step,
        };
        let offset = bounds.offset(subquery.offset.as_ref())?;
        let outer = match subquery.at {
            Some(at) => Times::at(bounds.resolve(at)),
            None => times,
        };
        let outer = outer.shifted_back(offset);
        let covered = (outer.last - (outer.first - range)).0 / step.0.max(1);
        let count = usize::try_from(covered).unwrap_or(0).max(1);
        let inner = Times { first: outer.first - range, last: outer.last, count };
        let expr = self.each_series(&subquery.expr, inner)?.expr;
        Ok(made(ExprKind::Subquery(Box::new(Subquery {
            expr,
            range: resolve::literal(range),
            step: Some(resolve::literal(step)),
            offset: resolve::offset(&bounds, subquery.offset.as_ref())?,
            at: resolve::at(&bounds, subquery.at),
        }))))
    }

    fn times_of(&self, selector: &VectorSelector, times: Times) -> Result<Times, WhyNot> {
        let bounds = &self.surroundings.bounds;
        let offset = bounds.offset(selector.offset.as_ref())?;
        let own = selector.at.map_or(times, |at| Times::at(bounds.resolve(at)));
        Ok(own.shifted_back(offset))
    }

    fn select(
        &mut self,
        selector: &VectorSelector,
        reads: (TimestampMs, TimestampMs),
        windows: EvaluatedWindows,
    ) -> Result<(), WhyNot> {
        if selector.extension.is_some() {
            return why_not("anchored and smoothed ranges are evaluated here");
        }
        let matchers = selector.matchers.clone();
        match self.leaf.replace(Leaf { matchers, reads, windows }) {
            None => Ok(()),
            Some(_) => why_not("two selectors: what belongs together may lie in different parts"),
        }
    }
}

fn top_kind(op: AggregateOp) -> Option<TopKind> {
    match op {
        AggregateOp::Topk => Some(TopKind::Topk),
        AggregateOp::Bottomk => Some(TopKind::Bottomk),
        _ => None,
    }
}

/// One more than wanted is asked of each part: only where the next one is different, the choice is free of chance.
fn top(
    kind: TopKind,
    aggregate: &Aggregate,
    with: impl Fn(AggregateOp, Option<Expr>) -> Expr,
) -> Result<(Vec<Expr>, Recombination), WhyNot> {
    let k = literal_k(aggregate)?;
    let expression = with(aggregate.op, Some(made_number(k as f64 + 1.0)));
    Ok((vec![expression], Recombination::Top { kind, k, grouping: grouping_of(aggregate) }))
}

fn literal_k(aggregate: &Aggregate) -> Result<usize, WhyNot> {
    let k = match aggregate.param.as_ref().map(|param| &param.without_parens().kind) {
        Some(ExprKind::Number(number)) => number.value.trunc(),
        _ => return why_not(format!("the parameter of {} is no literal", aggregate.op.name())),
    };
    if !(1.0..=TOP_MAX).contains(&k) {
        return why_not(format!("the parameter of {} is not in 1 to {TOP_MAX}", aggregate.op.name()));
    }
    // The cast is exact: see TOP_MAX.
    Ok(k as usize)
}

/// The label that `count_values` sets. One that also makes groups, or is the name, is left to the exact plan.
fn value_label(aggregate: &Aggregate) -> Result<String, WhyNot> {
    let label = match aggregate.param.as_ref().map(|param| &param.without_parens().kind) {
        Some(ExprKind::String(bytes)) => String::from_utf8(bytes.clone()).unwrap_or_default(),
        _ => String::new(),
    };
    if label.is_empty() || label == "__name__" || aggregate.grouping.contains(&label) {
        return why_not("the label of count_values is one that is also grouped by, or none");
    }
    Ok(label)
}

/// A number that every server finds by itself: literals, their arithmetic, the evaluation time.
fn literal_scalar(expr: &Expr) -> Result<Expr, WhyNot> {
    match &expr.kind {
        ExprKind::Number(number) => Ok(made_number(number.value)),
        ExprKind::Paren(inner) => Ok(made(ExprKind::Paren(Box::new(literal_scalar(inner)?)))),
        ExprKind::Unary(op, inner) => Ok(made(ExprKind::Unary(*op, Box::new(literal_scalar(inner)?)))),
        ExprKind::Binary(binary) => {
            let (lhs, rhs) = (literal_scalar(&binary.lhs)?, literal_scalar(&binary.rhs)?);
            let (op, return_bool) = (binary.op, binary.return_bool);
            Ok(made(ExprKind::Binary(Box::new(Binary { op, lhs, rhs, return_bool, matching: None }))))
        }
        ExprKind::Call(call) if matches!(call.function.name, "time" | "pi") => Ok(made(expr.kind.clone())),
        _ => why_not("a scalar beside the series is no literal"),
    }
}

fn made_number(value: f64) -> Expr {
    made(ExprKind::Number(NumberLiteral { value, duration: false }))
}

/// An expression that stands in no query text.
fn made(kind: ExprKind) -> Expr {
    Expr { kind, span: 0..0 }
}
