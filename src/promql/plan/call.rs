//! Function calls.

use datafusion::logical_expr::{LogicalPlan, LogicalPlanBuilder, col, lit};

use super::relation::{
    Scalar, apply, attach_scalars, literal_row, map_values, operator_parameters, plan_error, project, unique,
};
use super::selector::{RangePlan, window_extension};
use super::{Planner, not_supported};
use crate::error::Error;
use crate::kernels::{ExtendedFunction, InstantFunction, RangeFunction, looks_at_start_times, max_of, min_of};
use crate::model::{
    Annotation, COLUMN_LABELS, COLUMN_SAMPLES, COLUMN_VALUES, GoRegex, LabelsBuilder, MatchOp, Matcher, StepGrid,
    quote_label_value,
};
use crate::promql::functions::call;
use crate::promql::functions::extended_range::ExtendedRangeCall;
use crate::promql::functions::instant::{
    HistogramProperty, InstantCall, ReadHistogram, ScalarCall, ScalarFunctionKind,
};
use crate::promql::functions::labels::{LabelJoin, LabelReplace, NameRemoval};
use crate::promql::functions::range::{CounterSign, RangeCall};
use crate::promql::functions::steps::{NumbersOnly, StepTimes};
use crate::promql::operators::{
    Absent, Duplicates, HistogramCall, HistogramFunction, ScalarOf, SortByLabel, SortVector,
};
use crate::syntax::{Call, Expr, ExprKind, Span};

impl Planner<'_> {
    /// Calls that give a vector.
    pub fn plan_vector_call(&self, function: &Call, expr: &Expr, grid: StepGrid) -> Result<LogicalPlan, Error> {
        let name = function.function.name;
        refuse_foreign_extension(function)?;
        if let Some(range_function) = RangeFunction::from_name(name) {
            return self.plan_range_call(range_function, function, grid);
        }
        if let Some(instant_function) = InstantFunction::from_name(name) {
            return self.plan_instant_call(instant_function, function, grid);
        }
        if let Some(property) = HistogramProperty::from_name(name) {
            let vector = self.plan_vector(argument(function, 0)?, grid)?;
            let values = call(ReadHistogram { property }, vec![col(COLUMN_VALUES)]);
            return self.unique_by_step(project(vector, self.labels_without_bare_name(), values)?, grid);
        }
        match name {
            "round" => self.plan_with_scalars(ScalarFunctionKind::Round, function, grid),
            "clamp" => self.plan_with_scalars(ScalarFunctionKind::Clamp, function, grid),
            "clamp_min" => self.plan_with_scalars(ScalarFunctionKind::ClampMin, function, grid),
            "clamp_max" => self.plan_with_scalars(ScalarFunctionKind::ClampMax, function, grid),
            "vector" => self.plan_scalar(argument(function, 0)?, grid)?.into_plan(grid),
            "timestamp" => self.plan_timestamp(function, grid),
            "start_timestamp" => self.plan_start_timestamp(function, grid),
            "absent" => self.plan_absent(function, grid),
            "absent_over_time" => self.plan_absent_over_time(function, grid),
            "label_replace" => self.plan_label_replace(function, grid),
            "label_join" => self.plan_label_join(function, grid),
            "info" => self.plan_info(function, grid),
            "sort" | "sort_desc" | "sort_by_label" | "sort_by_label_desc" => self.plan_sort(function, expr, grid),
            "histogram_quantile" | "histogram_quantiles" | "histogram_fraction" => {
                self.plan_histogram_function(function, grid)
            }
            _ => Err(not_supported(&format!("{name}()"))),
        }
    }

    /// Calls that give a scalar.
    pub fn plan_scalar_call(&self, function: &Call, grid: StepGrid) -> Result<Scalar, Error> {
        match function.function.name {
            "time" => Ok(Scalar::PerStep(grid.times().map(|time| time.as_float_seconds()).collect())),
            "pi" => Ok(Scalar::Constant(std::f64::consts::PI)),
            "scalar" => {
                let vector = self.plan_vector(argument(function, 0)?, grid)?;
                Ok(Scalar::Plan(Box::new(apply(ScalarOf { step_count: grid.step_count() }, vec![vector])?)))
            }
            "start" => Ok(Scalar::Constant(self.bounds.start.as_float_seconds())),
            "end" => Ok(Scalar::Constant(self.bounds.end.as_float_seconds())),
            "step" => Ok(Scalar::Constant(self.bounds.step.as_float_seconds())),
            "range" => Ok(Scalar::Constant((self.bounds.end - self.bounds.start).as_float_seconds())),
            "min_of" | "max_of" => self.plan_scalar_extreme(function, grid),
            name => Err(not_supported(&format!("{name}()"))),
        }
    }

    fn plan_scalar_extreme(&self, function: &Call, grid: StepGrid) -> Result<Scalar, Error> {
        let extreme = if function.function.name == "min_of" { min_of } else { max_of };
        let a = self.plan_scalar(argument(function, 0)?, grid)?;
        let b = self.plan_scalar(argument(function, 1)?, grid)?;
        match (a, b) {
            (Scalar::Constant(a), Scalar::Constant(b)) => Ok(Scalar::Constant(extreme(a, b))),
            (Scalar::Plan(plan), other) | (other, Scalar::Plan(plan)) => {
                let kind = if function.function.name == "min_of" {
                    ScalarFunctionKind::ClampMax
                } else {
                    ScalarFunctionKind::ClampMin
                };
                let with = attach_scalars(*plan, vec![other])?;
                let arguments = std::iter::once(col(COLUMN_VALUES)).chain(with.arguments).collect();
                let values = call(ScalarCall { function: kind }, arguments);
                Ok(Scalar::Plan(Box::new(project(with.plan, col(COLUMN_LABELS), values)?)))
            }
            (a, b) => {
                let value = |scalar: &Scalar, step: usize| match scalar {
                    Scalar::Constant(value) => *value,
                    Scalar::PerStep(values) => values[step],
                    Scalar::Plan(_) => f64::NAN,
                };
                let cells = (0..grid.step_count()).map(|step| extreme(value(&a, step), value(&b, step))).collect();
                Ok(Scalar::PerStep(cells))
            }
        }
    }

    /// `rate(x[5m])` and its siblings.
    fn plan_range_call(
        &self,
        range_function: RangeFunction,
        function: &Call,
        grid: StepGrid,
    ) -> Result<LogicalPlan, Error> {
        let range_at = function
            .args
            .iter()
            .position(|arg| matches!(arg.without_parens().kind, ExprKind::MatrixSelector(_) | ExprKind::Subquery(_)))
            .ok_or_else(|| Error::internal(format!("{} has a range in every checked tree", function.function.name)))?;
        let range_argument = &function.args[range_at];
        // What comes out of a subquery has no start timestamps.
        let is_selector = matches!(range_argument.without_parens().kind, ExprKind::MatrixSelector(_));
        let RangePlan { plan, windows, extension } = self.plan_range(range_argument, grid)?;
        let parameters: Vec<&Expr> =
            function.args.iter().enumerate().filter(|(at, _)| *at != range_at).map(|(_, arg)| arg).collect();
        let scalars = parameters.iter().map(|arg| self.plan_scalar(arg, grid)).collect::<Result<Vec<_>, _>>()?;
        let with = attach_scalars(plan, scalars)?;
        // Between the edges of an extended range Prometheus looks at values alone; only resets() sees start timestamps there.
        let may_look_at_start_times = match extension {
            None => is_selector && looks_at_start_times(range_function),
            Some(_) => range_function == RangeFunction::Resets,
        };
        let kernel = RangeCall {
            function: range_function,
            windows,
            span: noted_span(range_argument),
            counter_sign: self.counter_sign(),
            looks_at_start_times: may_look_at_start_times && self.uses_start_times(),
            parameter_span: parameters.first().map(|arg| arg.without_parens().span.clone()),
            annotations: self.context.annotations.clone(),
        };
        let mut arguments = vec![col(COLUMN_LABELS), col(COLUMN_SAMPLES)];
        arguments.extend(with.arguments);
        let keeps_name = matches!(range_function, RangeFunction::LastOverTime | RangeFunction::FirstOverTime);
        let labels = if keeps_name { col(COLUMN_LABELS) } else { self.labels_without_name() };
        let extended = extension.zip(ExtendedFunction::from_name(function.function.name));
        let cells = match extended {
            None => call(kernel, arguments),
            Some((extension, function)) => call(
                ExtendedRangeCall { call: kernel, function, windows: self.extended(windows, extension) },
                arguments,
            ),
        };
        let plan = project(with.plan, labels, cells)?;
        if keeps_name { Ok(plan) } else { self.unique_by_series(plan, grid, Duplicates::Refuse) }
    }

    /// Are start timestamps in use? A source that cannot tell them is not passed over in silence.
    fn uses_start_times(&self) -> bool {
        let is_on = self.options.features.use_start_timestamps;
        if is_on && !self.source.tells_start_times() {
            let text = "the servers do not tell start timestamps: what would look at them takes them as unknown";
            self.context.annotations.add(Annotation::warning(text));
        }
        is_on
    }

    fn counter_sign(&self) -> CounterSign {
        if self.options.features.type_and_unit_labels { CounterSign::TypeLabel } else { CounterSign::NameSuffix }
    }

    /// `abs(v)` and its siblings; date functions without an argument read the evaluation time.
    fn plan_instant_call(
        &self,
        instant_function: InstantFunction,
        function: &Call,
        grid: StepGrid,
    ) -> Result<LogicalPlan, Error> {
        let Some(vector) = function.args.first() else {
            let times: Vec<f64> = grid.times().map(|time| instant_function.apply(time.as_float_seconds())).collect();
            return literal_row(&times);
        };
        let vector = self.plan_vector(vector, grid)?;
        let values = call(InstantCall { function: instant_function }, vec![col(COLUMN_VALUES)]);
        self.unique_by_step(project(vector, self.labels_without_name(), values)?, grid)
    }

    /// `clamp(v, min, max)` and its siblings.
    fn plan_with_scalars(
        &self,
        kind: ScalarFunctionKind,
        function: &Call,
        grid: StepGrid,
    ) -> Result<LogicalPlan, Error> {
        let vector = self.plan_vector(argument(function, 0)?, grid)?;
        let mut scalars =
            function.args[1..].iter().map(|arg| self.plan_scalar(arg, grid)).collect::<Result<Vec<_>, _>>()?;
        if kind == ScalarFunctionKind::Round && scalars.is_empty() {
            scalars.push(Scalar::Constant(1.0));
        }
        let with = attach_scalars(vector, scalars)?;
        let arguments = std::iter::once(col(COLUMN_VALUES)).chain(with.arguments).collect();
        let values = call(ScalarCall { function: kind }, arguments);
        self.unique_by_step(project(with.plan, self.labels_without_name(), values)?, grid)
    }

    /// The sample's own time of a plain selector; the evaluation time of anything else.
    fn plan_timestamp(&self, function: &Call, grid: StepGrid) -> Result<LogicalPlan, Error> {
        let vector = argument(function, 0)?;
        let times = match &vector.without_parens().kind {
            ExprKind::VectorSelector(selector) => self.plan_sample_times(selector, grid)?,
            _ => map_values(self.plan_vector(vector, grid)?, StepTimes { grid })?,
        };
        self.unique_by_step(project(times, self.labels_without_name(), col(COLUMN_VALUES))?, grid)
    }

    /// When the counter behind the sample of a plain selector began; nothing of anything else, and nothing at all where start
    /// timestamps are not in use.
    fn plan_start_timestamp(&self, function: &Call, grid: StepGrid) -> Result<LogicalPlan, Error> {
        let vector = argument(function, 0)?;
        let starts = match &vector.without_parens().kind {
            ExprKind::VectorSelector(selector) if self.uses_start_times() => self.plan_start_times(selector, grid)?,
            _ => no_rows(self.plan_vector(vector, grid)?)?,
        };
        self.unique_by_step(project(starts, self.labels_without_name(), col(COLUMN_VALUES))?, grid)
    }

    fn plan_absent(&self, function: &Call, grid: StepGrid) -> Result<LogicalPlan, Error> {
        let vector = argument(function, 0)?;
        let labels = labels_of_absent(vector);
        apply(Absent { step_count: grid.step_count(), labels }, vec![self.plan_vector(vector, grid)?])
    }

    fn plan_absent_over_time(&self, function: &Call, grid: StepGrid) -> Result<LogicalPlan, Error> {
        let range = argument(function, 0)?;
        let labels = match self.name_removal() {
            NameRemoval::AtOnce => labels_of_absent(range),
            NameRemoval::AtEnd => labels_of_absent(range).with_name_dropped(),
        };
        let RangePlan { plan, windows, .. } = self.plan_range(range, grid)?;
        let present = RangeCall {
            function: RangeFunction::PresentOverTime,
            windows,
            span: noted_span(range),
            counter_sign: self.counter_sign(),
            looks_at_start_times: false,
            parameter_span: None,
            annotations: self.context.annotations.clone(),
        };
        let arguments = vec![col(COLUMN_LABELS), col(COLUMN_SAMPLES)];
        let present = project(plan, col(COLUMN_LABELS), call(present, arguments))?;
        apply(Absent { step_count: grid.step_count(), labels }, vec![present])
    }

    fn plan_label_replace(&self, function: &Call, grid: StepGrid) -> Result<LogicalPlan, Error> {
        let vector = self.plan_vector(argument(function, 0)?, grid)?;
        let destination = self.plan_label_name(argument(function, 1)?, |name| {
            format!("invalid destination label name in label_replace(): {}", replace_bad_bytes(name))
        })?;
        let replacement = self.plan_string(argument(function, 2)?)?;
        let source = self.plan_string(argument(function, 3)?)?;
        let pattern = self.plan_string(argument(function, 4)?)?;
        let regex = GoRegex::anchored(&pattern)
            .map_err(|_| Error::execution(format!("invalid regular expression in label_replace(): {pattern}")))?;
        let labels = call(LabelReplace { destination, replacement, source, pattern, regex }, vec![col(COLUMN_LABELS)]);
        unique(project(vector, labels, col(COLUMN_VALUES))?, grid, Duplicates::GlueDisjoint)
    }

    fn plan_label_join(&self, function: &Call, grid: StepGrid) -> Result<LogicalPlan, Error> {
        let vector = self.plan_vector(argument(function, 0)?, grid)?;
        let destination = self.plan_label_name(argument(function, 1)?, |name| {
            format!("invalid destination label name in label_join(): {}", replace_bad_bytes(name))
        })?;
        let separator = self.plan_string(argument(function, 2)?)?;
        let sources = function.args[3..]
            .iter()
            .map(|arg| {
                self.plan_label_name(arg, |name| {
                    format!("invalid source label name in label_join(): {}", replace_bad_bytes(name))
                })
            })
            .collect::<Result<Vec<_>, _>>()?;
        let labels = call(LabelJoin { destination, separator, sources }, vec![col(COLUMN_LABELS)]);
        unique(project(vector, labels, col(COLUMN_VALUES))?, grid, Duplicates::GlueDisjoint)
    }

    /// A string literal that names a label: any UTF-8 text that is not empty.
    pub fn plan_label_name(&self, expr: &Expr, error: impl Fn(&[u8]) -> String) -> Result<String, Error> {
        let ExprKind::String(bytes) = &expr.without_parens().kind else {
            return Err(Error::internal("expected a string literal"));
        };
        match std::str::from_utf8(bytes) {
            Ok(name) if !name.is_empty() => Ok(name.to_owned()),
            _ => Err(Error::execution(error(bytes))),
        }
    }

    fn plan_sort(&self, function: &Call, expr: &Expr, grid: StepGrid) -> Result<LogicalPlan, Error> {
        let vector = self.plan_in_order(argument(function, 0)?, grid)?;
        let by_value = matches!(function.function.name, "sort" | "sort_desc");
        if grid.step_count() > 1 {
            let text = "sort is ineffective for range queries since results are always ordered by labels";
            self.context.annotations.add(Annotation::promql_warning(text, expr.span.clone()));
            return if by_value { map_values(vector, NumbersOnly) } else { Ok(vector) };
        }
        let descending = function.function.name.ends_with("_desc");
        if by_value {
            return apply(SortVector { descending }, vec![vector]);
        }
        let labels = function.args[1..]
            .iter()
            .map(|arg| {
                self.plan_label_name(arg, |name| {
                    format!("invalid label name in {}(): {}", function.function.name, replace_bad_bytes(name))
                })
            })
            .collect::<Result<Vec<_>, _>>()?;
        apply(SortByLabel { labels, descending }, vec![vector])
    }

    fn plan_histogram_function(&self, function: &Call, grid: StepGrid) -> Result<LogicalPlan, Error> {
        let name = function.function.name;
        let (vector_at, scalars_at) = match name {
            "histogram_quantiles" => (0, 2..function.args.len()),
            _ => (function.args.len() - 1, 0..function.args.len() - 1),
        };
        let vector = self.plan_vector(argument(function, vector_at)?, grid)?;
        let scalars = function.args.get(scalars_at).unwrap_or_default();
        let scalar_spans = scalars.iter().map(|arg| arg.without_parens().span.clone()).collect();
        let scalars = scalars.iter().map(|arg| self.plan_scalar(arg, grid)).collect::<Result<Vec<_>, _>>()?;
        let mut inputs = vec![vector];
        let mut parameters = operator_parameters(scalars, &mut inputs).into_iter();
        let mut next = || parameters.next().ok_or_else(|| Error::internal("a histogram function lacks a scalar"));
        let histogram_call = match name {
            "histogram_quantile" => HistogramCall::Quantile(next()?),
            "histogram_fraction" => HistogramCall::Fraction(next()?, next()?),
            _ => {
                let label = self.plan_label_name(argument(function, 1)?, |label| {
                    format!("invalid label name in {name}(): {}", replace_bad_bytes(label))
                })?;
                HistogramCall::Quantiles { label, quantiles: parameters.collect() }
            }
        };
        let operator = HistogramFunction {
            call: histogram_call,
            scalar_spans,
            vector_span: argument(function, vector_at)?.without_parens().span.clone(),
            grid,
            name_removal: self.name_removal(),
            duplicates: self.step_duplicates(grid),
            annotations: self.context.annotations.clone(),
        };
        apply(operator, inputs)
    }
}

/// Where notes on a range point to. A subquery has lost its place when Prometheus evaluates it: they point to the query's start,
/// but count as later than those of the subquery's inside.
fn noted_span(range: &Expr) -> Span {
    let range = range.without_parens();
    if matches!(range.kind, ExprKind::Subquery(_)) { 0..range.span.end } else { range.span.clone() }
}

/// An anchored or smoothed range holds samples from outside of its window; only some functions know what to do with them.
fn refuse_foreign_extension(function: &Call) -> Result<(), Error> {
    let extension = function.args.iter().find_map(|arg| match &arg.without_parens().kind {
        ExprKind::MatrixSelector(matrix) => matrix.selector.extension,
        _ => None,
    });
    let Some(extension) = extension.map(window_extension) else { return Ok(()) };
    let takers: Vec<&str> = ExtendedFunction::taking(extension).iter().map(|taker| taker.name()).collect();
    let name = function.function.name;
    if takers.contains(&name) {
        return Ok(());
    }
    let (word, takers) = (extension.name(), takers.join(", "));
    Err(Error::execution(format!("{word} modifier can only be used with: {takers} - not with {name}")))
}

/// An argument that every checked tree has.
pub fn argument(function: &Call, index: usize) -> Result<&Expr, Error> {
    function
        .args
        .get(index)
        .ok_or_else(|| Error::internal(format!("{} lacks an argument in a checked tree", function.function.name)))
}

/// The plan of a vector without any series. Its leaves are asked all the same, for what they have to say.
pub(super) fn no_rows(plan: LogicalPlan) -> Result<LogicalPlan, Error> {
    LogicalPlanBuilder::from(plan).filter(lit(false)).and_then(LogicalPlanBuilder::build).map_err(plan_error)
}

/// What a selector's equalities say of the series that is absent. A label that is matched twice or otherwise is left out, but
/// for a regular expression before its only equality. Order counts, and Prometheus' storage puts the matchers that take
/// series away behind the others before this is looked at.
///
/// | selector | labels |
/// |---|---|
/// | `x{a="1", b=~"2"}` | `{a="1"}` |
/// | `x{a="1", a="2"}` | `{}` |
/// | `x{a!="2", a="1"}` | `{}` |
/// | `x{a=~"1\|2", a="1"}` | `{a="1"}` |
fn labels_of_absent(expr: &Expr) -> crate::model::EncodedLabels {
    let matchers: &[Matcher] = match &expr.without_parens().kind {
        ExprKind::VectorSelector(selector) => &selector.matchers,
        ExprKind::MatrixSelector(matrix) => &matrix.selector.matchers,
        _ => &[],
    };
    let matches_empty = |matcher: &Matcher| matcher.compile().is_ok_and(|compiled| compiled.matches(""));
    let must_be_set = |name: &str| matchers.iter().any(|matcher| matcher.name == name && !matches_empty(matcher));
    let takes_away = |matcher: &&Matcher| {
        let negated = matches!(matcher.op, MatchOp::NotEqual | MatchOp::NotRegex);
        !must_be_set(&matcher.name) || negated && matches_empty(matcher)
    };
    let (last, first): (Vec<&Matcher>, Vec<&Matcher>) = matchers.iter().partition(takes_away);
    let mut builder = LabelsBuilder::default();
    let mut seen: Vec<&str> = Vec::new();
    for matcher in first.into_iter().chain(last).filter(|matcher| matcher.name != "__name__") {
        if matcher.op == MatchOp::Equal && !seen.contains(&matcher.name.as_str()) {
            builder.set(&matcher.name, &matcher.value);
            seen.push(&matcher.name);
        } else {
            builder.remove(&matcher.name);
        }
    }
    builder.finish().encode()
}

/// Bytes that need not be UTF-8 as Go's JSON writes them: each bad byte as U+FFFD.
fn replace_bad_bytes(bytes: &[u8]) -> String {
    let mut text = String::new();
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        text.extend(chunk.invalid().iter().map(|_| '\u{fffd}'));
    }
    text
}

/// Bytes that need not be UTF-8, quoted as Go quotes them: bad bytes as `\xff`.
pub fn quote_bytes(bytes: &[u8]) -> String {
    let mut quoted = String::from("\"");
    for chunk in bytes.utf8_chunks() {
        let valid = quote_label_value(chunk.valid());
        quoted.push_str(&valid[1..valid.len() - 1]);
        for byte in chunk.invalid() {
            quoted.push_str(&format!("\\x{byte:02x}"));
        }
    }
    quoted.push('"');
    quoted
}
