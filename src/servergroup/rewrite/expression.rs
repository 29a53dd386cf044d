//! Whole expressions that a server is to evaluate: the same in the words of its stored labels, and the way back for the labels
//! of what it answers.
//!
//! | with | asked | the server is asked | its answer `{a="1"}` is |
//! |---|---|---|---|
//! | added `sg="eu"` | `sum by (sg, job) (rate(x{sg="eu"}[5m]))` | `sum by (job) (rate(x[5m]))` | |
//! | replace `a` → `b` | `sum by (b) (x{b=~"1\|2"})` | `sum by (a) (x{a=~"1\|2"})` | `{b="1"}` |
//! | replace `a` → `b` | `max without (a) (x)` | `max without () (x)` | `{b="1"}` |
//!
//! That is right only where different stored series stay different series: no stored label may be overwritten. Servers have to
//! be asked whether there is one ([`Pushed::must_select_nothing`]). Wherever the same cannot be asked exactly, the expression is
//! refused with a reason, and whoever asked evaluates it here.

use std::collections::BTreeSet;

use arrow::array::{Array, BinaryBuilder};
use arrow::record_batch::RecordBatch;

use super::label_origins::{LabelOrigins, Origin};
use super::tables::{internal, labels_of, with_labels};
use super::{Rewrites, Route};
use crate::error::Error;
use crate::model::{EncodedLabelsBuilder, LabelsRef, METRIC_NAME, MatchOp, Matcher};
use crate::syntax::{
    Aggregate, AggregateOp, Binary, Call, Expr, ExprKind, MatrixSelector, Subquery, ValueType, VectorSelector,
};

/// What becomes of an expression that servers are to evaluate.
#[derive(Clone, Debug)]
pub(in super::super) enum PushedExpression {
    /// It is asked so.
    Pushed(Box<Pushed>),
    /// No series can match: the answer is empty.
    Nothing,
    /// It cannot be asked, for this reason.
    Refused(String),
}

/// An expression on stored labels.
#[derive(Clone, Debug)]
pub(in super::super) struct Pushed {
    /// What to ask.
    pub expr: Expr,
    /// For the labels of the answer.
    pub labels: PushedLabels,
    /// Selectors on stored labels. If one of them selects any series in the time that the expression reads, the answer is of no
    /// use: a label of the answer hides a stored one, and two series may have become one.
    pub must_select_nothing: Vec<Vec<Matcher>>,
}

/// How labels of a server's answer become those of the answer.
#[derive(Clone, Debug)]
pub(in super::super) struct PushedLabels {
    /// Labels that are not copied.
    touched: BTreeSet<String>,
    /// Of those, what the result shows.
    shown: Vec<(String, Origin)>,
}

impl PushedLabels {
    fn new(origins: &LabelOrigins, visible: &Visible) -> Self {
        let touched: BTreeSet<String> = origins.touched().map(str::to_owned).collect();
        let shown = touched.iter().filter(|name| visible.has(name));
        let shown = shown.map(|name| (name.clone(), origins.of(name))).collect();
        Self { touched, shown }
    }

    /// A table of the server's answer with its labels as they are to be; rows keep their order, which need not be sorted.
    pub(in super::super) fn rewrite_table(&self, table: RecordBatch) -> Result<RecordBatch, Error> {
        if self.touched.is_empty() {
            return Ok(table);
        }
        let labels = labels_of(&table)?;
        let mut written = BinaryBuilder::with_capacity(labels.len(), 2 * labels.value_data().len());
        let mut set = EncodedLabelsBuilder::default();
        for bytes in labels.iter().flatten() {
            let stored = LabelsRef::new(bytes);
            set.clear();
            for (name, value) in stored.iter().filter(|(name, _)| !self.touched.contains(&**name)) {
                set.push(&name, &value);
            }
            for (name, origin) in &self.shown {
                match origin {
                    Origin::Fixed(value) => set.push(name, value),
                    Origin::Stored(source) => {
                        set.push(name, &source.change(&stored.get(&source.name).unwrap_or_default()));
                    }
                }
            }
            written.append_value(set.finish().map_err(internal)?);
        }
        with_labels(&table, written.finish())
    }
}

impl Rewrites {
    /// What to ask a server, so that its answer, put through [`PushedLabels::rewrite_table`], is that of the expression over its
    /// rewritten series. Fails on a pattern that RE2 refuses.
    pub(in super::super) fn rewrite_expression(&self, expr: &Expr) -> Result<PushedExpression, Error> {
        let mut walk = Walk { rewrites: self, must_select_nothing: Vec::new() };
        match self.refuse_rules().and_then(|()| walk.expr(expr)) {
            Ok((expr, visible)) => {
                let labels = PushedLabels::new(&self.origins, &visible);
                Ok(PushedExpression::Pushed(Box::new(Pushed {
                    expr,
                    labels,
                    must_select_nothing: walk.must_select_nothing,
                })))
            }
            Err(Stop::Nothing) => Ok(PushedExpression::Nothing),
            Err(Stop::Refused(reason)) => Ok(PushedExpression::Refused(reason)),
            Err(Stop::Failed(error)) => Err(error),
        }
    }

    /// Rules with which nothing can be asked.
    fn refuse_rules(&self) -> Result<(), Stop> {
        if let Some(name) = self.losing_label() {
            return refuse(format!(
                "metrics_relabel_configs lose the label {name:?}: series of one server may become the same"
            ));
        }
        if !self.origins.is_untouched(METRIC_NAME) {
            return refuse("metrics_relabel_configs read or write metric names, which functions drop");
        }
        Ok(())
    }
}

/// Why there is nothing to ask.
enum Stop {
    Nothing,
    Refused(String),
    Failed(Error),
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

fn refuse<T>(reason: impl Into<String>) -> Result<T, Stop> {
    Err(Stop::Refused(reason.into()))
}

/// Which labels a result may still have. Of those that no rule touches its rows say so themselves.
#[derive(Clone, Debug)]
enum Visible {
    AllBut(BTreeSet<String>),
    Only(BTreeSet<String>),
}

impl Visible {
    fn all() -> Self {
        Self::AllBut(BTreeSet::new())
    }

    fn none() -> Self {
        Self::Only(BTreeSet::new())
    }

    fn has(&self, name: &str) -> bool {
        match self {
            Self::AllBut(names) => !names.contains(name),
            Self::Only(names) => names.contains(name),
        }
    }

    fn keep(&self, names: &[String]) -> Self {
        Self::Only(names.iter().filter(|name| self.has(name)).cloned().collect())
    }

    fn drop(mut self, names: &[String]) -> Self {
        for name in names {
            match &mut self {
                Self::AllBut(dropped) => dropped.insert(name.clone()),
                Self::Only(kept) => kept.remove(name),
            };
        }
        self
    }
}

/// One expression on its way. Of every result it holds: a row has the stored labels that some visible label comes from, the
/// untouched ones that it is to have, and no other.
struct Walk<'a> {
    rewrites: &'a Rewrites,
    must_select_nothing: Vec<Vec<Matcher>>,
}

impl Walk<'_> {
    fn expr(&mut self, expr: &Expr) -> Result<(Expr, Visible), Stop> {
        let (kind, visible) = match &expr.kind {
            ExprKind::Number(_) | ExprKind::String(_) => (expr.kind.clone(), Visible::none()),
            ExprKind::Paren(inner) => {
                let (inner, visible) = self.expr(inner)?;
                (ExprKind::Paren(Box::new(inner)), visible)
            }
            ExprKind::Unary(op, inner) => {
                let (inner, visible) = self.expr(inner)?;
                (ExprKind::Unary(*op, Box::new(inner)), visible)
            }
            ExprKind::Subquery(subquery) => {
                let (inner, visible) = self.expr(&subquery.expr)?;
                (ExprKind::Subquery(Box::new(Subquery { expr: inner, ..(**subquery).clone() })), visible)
            }
            ExprKind::VectorSelector(selector) => (ExprKind::VectorSelector(self.selector(selector)?), Visible::all()),
            ExprKind::MatrixSelector(matrix) => {
                let selector = self.selector(&matrix.selector)?;
                (ExprKind::MatrixSelector(MatrixSelector { selector, ..matrix.clone() }), Visible::all())
            }
            ExprKind::Binary(binary) => self.binary(binary)?,
            ExprKind::Aggregate(aggregate) => self.aggregate(aggregate)?,
            ExprKind::Call(call) => self.call(call)?,
        };
        Ok((Expr { kind, span: expr.span.clone() }, visible))
    }

    fn selector(&mut self, selector: &VectorSelector) -> Result<VectorSelector, Stop> {
        let Some(Route { mut matchers, is_wider, .. }) = self.rewrites.route(&selector.matchers)? else {
            return Err(Stop::Nothing);
        };
        if is_wider {
            return refuse("a pattern on a label in other letters cannot be turned round exactly");
        }
        for name in self.rewrites.origins.lost() {
            // Where all have the same value, nothing is told apart by it.
            if !matchers.iter().any(|matcher| matcher.name == name && matcher.op == MatchOp::Equal) {
                let mut present = matchers.clone();
                present.push(Matcher::new(name, MatchOp::NotEqual, ""));
                self.must_select_nothing.push(present);
            }
        }
        // The name that was written before the braces stands last.
        if let Some(name) = &selector.name
            && let Some(at) = matchers.iter().position(|matcher| *matcher == Matcher::equal(METRIC_NAME, name))
        {
            let name = matchers.remove(at);
            matchers.push(name);
        }
        Ok(VectorSelector { matchers, ..selector.clone() })
    }

    fn binary(&mut self, binary: &Binary) -> Result<(ExprKind, Visible), Stop> {
        if binary.matching.is_some() && !self.rewrites.origins.is_identity() {
            return refuse("labels of two vectors are matched");
        }
        let (lhs, left) = self.expr(&binary.lhs)?;
        let (rhs, right) = self.expr(&binary.rhs)?;
        let visible = if binary.lhs.value_type() == ValueType::Scalar { right } else { left };
        Ok((ExprKind::Binary(Box::new(Binary { lhs, rhs, ..binary.clone() })), visible))
    }

    fn aggregate(&mut self, aggregate: &Aggregate) -> Result<(ExprKind, Visible), Stop> {
        let param = aggregate.param.as_ref().map(|param| self.expr(param)).transpose()?.map(|(param, _)| param);
        let (expr, inner) = self.expr(&aggregate.expr)?;
        if self.rewrites.origins.is_identity() {
            let aggregate = Aggregate { expr, param, ..aggregate.clone() };
            return Ok((ExprKind::Aggregate(Box::new(aggregate)), inner));
        }
        use AggregateOp::{Bottomk, CountValues, LimitRatio, Limitk, Topk};
        match aggregate.op {
            Limitk | LimitRatio => {
                return refuse(format!("what {} picks depends on the order of labels", aggregate.op.name()));
            }
            CountValues => self.refuse_touched(aggregate.param.as_ref())?,
            _ => {}
        }
        let grouping = if aggregate.without {
            self.without(&aggregate.grouping, &inner)?
        } else {
            self.by(&aggregate.grouping, &inner)?
        };
        let visible = match aggregate.op {
            // They hand series on. Which of equal values they pick depends on the order of labels: who asks has to ask for one
            // more than he wants, and to look whether it is another value.
            Topk | Bottomk => inner,
            _ if aggregate.without => inner.drop(&aggregate.grouping),
            _ => inner.keep(&aggregate.grouping),
        };
        let aggregate = Aggregate { expr, param, grouping, ..aggregate.clone() };
        Ok((ExprKind::Aggregate(Box::new(aggregate)), visible))
    }

    /// The stored labels to group by, so that groups are those of the visible `labels`.
    fn by(&self, labels: &[String], inner: &Visible) -> Result<Vec<String>, Stop> {
        let origins = &self.rewrites.origins;
        let mut grouping: Vec<String> = Vec::with_capacity(labels.len());
        for label in labels.iter().filter(|label| origins.is_untouched(label) || inner.has(label)) {
            match origins.of(label) {
                Origin::Fixed(_) => {}
                Origin::Stored(source) if !source.cases.is_empty() => return refuse(letters(label)),
                Origin::Stored(source) if grouping.contains(&source.name) => {}
                Origin::Stored(source) => grouping.push(source.name),
            }
        }
        Ok(grouping)
    }

    /// The stored labels to leave out, so that groups are those without the visible `labels`.
    fn without(&self, labels: &[String], inner: &Visible) -> Result<Vec<String>, Stop> {
        let origins = &self.rewrites.origins;
        let mut left_out: Vec<String> = labels.iter().filter(|label| origins.is_untouched(label)).cloned().collect();
        for source in origins.sources() {
            let shows = |label: &&str| matches!(origins.of(label), Origin::Stored(stored) if stored.name == source);
            let stays = |label: &&str| inner.has(label) && !labels.iter().any(|left_out| left_out == label);
            let staying: Vec<&str> = origins.touched().filter(shows).filter(stays).collect();
            let in_other_letters = |label: &&str| matches!(origins.of(label), Origin::Stored(s) if !s.cases.is_empty());
            match staying.first() {
                None => left_out.push(source.to_owned()),
                Some(label) if staying.iter().all(in_other_letters) => return refuse(letters(label)),
                Some(_) => {}
            }
        }
        Ok(left_out)
    }

    fn call(&mut self, call: &Call) -> Result<(ExprKind, Visible), Stop> {
        if !self.rewrites.origins.is_identity() {
            self.refuse_function(call)?;
        }
        let (mut args, mut visible) = (Vec::with_capacity(call.args.len()), Visible::none());
        for arg in &call.args {
            let (rewritten, own) = match self.expr(arg) {
                Err(Stop::Nothing) if !is_empty_of_nothing(call) => {
                    return refuse(format!("{}() of no series is not empty", call.function.name));
                }
                other => other?,
            };
            if matches!(arg.value_type(), ValueType::Vector | ValueType::Matrix) {
                visible = own;
            }
            args.push(rewritten);
        }
        if call.function.returns == ValueType::Scalar {
            visible = Visible::none();
        }
        Ok((ExprKind::Call(Call { args, ..call.clone() }), visible))
    }

    /// Functions that look at labels, or at their order.
    fn refuse_function(&self, call: &Call) -> Result<(), Stop> {
        let name = call.function.name;
        match name {
            "absent" | "absent_over_time" => refuse(format!("{name}() makes labels of matchers")),
            "info" => refuse("info() finds series by labels"),
            "sort" | "sort_desc" | "sort_by_label" | "sort_by_label_desc" => {
                refuse(format!("{name}() puts series in order"))
            }
            "label_replace" | "label_join" => refuse(format!("{name}() reads and writes labels")),
            "histogram_quantile" | "histogram_fraction" => self.refuse_touched_label("le"),
            "histogram_quantiles" => {
                self.refuse_touched_label("le")?;
                self.refuse_touched(call.args.get(1))
            }
            _ => Ok(()),
        }
    }

    /// A label that the expression writes must be one that nothing else touches.
    fn refuse_touched(&self, label: Option<&Expr>) -> Result<(), Stop> {
        match label.map(|label| &label.without_parens().kind) {
            Some(ExprKind::String(bytes)) => self.refuse_touched_label(&String::from_utf8_lossy(bytes)),
            _ => refuse("the name of a written label is no text"),
        }
    }

    fn refuse_touched_label(&self, label: &str) -> Result<(), Stop> {
        if self.rewrites.origins.is_untouched(label) {
            return Ok(());
        }
        refuse(format!("the label {label:?} is added or relabelled"))
    }
}

fn letters(label: &str) -> String {
    format!("groups are made of the label {label:?}, whose letters are changed")
}

/// Is the result empty where no series is selected?
fn is_empty_of_nothing(call: &Call) -> bool {
    call.function.returns == ValueType::Vector
        && !matches!(call.function.name, "absent" | "absent_over_time" | "vector")
}

#[cfg(test)]
mod tests;
