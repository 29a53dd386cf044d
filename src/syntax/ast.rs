//! The PromQL tree. Every node carries the bytes of the query that it came from.

use super::function_table::Function;
use super::span::Span;
use crate::model::{Matcher, TimestampMs};

/// An expression and where it stands.
#[derive(Clone, Debug, PartialEq)]
pub struct Expr {
    /// What it is.
    pub kind: ExprKind,
    /// The bytes of the query that it covers.
    pub span: Span,
}

/// PromQL's kinds of expression.
#[derive(Clone, Debug, PartialEq)]
pub enum ExprKind {
    /// `1.5`, `0x1F`, `Inf`, `5m` (300, with `duration` set so that it prints as written).
    Number(NumberLiteral),
    /// `"text"`; Go's escapes may yield bytes that are not UTF-8.
    String(Vec<u8>),
    /// `(e)`
    Paren(Box<Expr>),
    /// `-e`, `+e`
    Unary(UnaryOp, Box<Expr>),
    /// `a op b`
    Binary(Box<Binary>),
    /// `sum by (x) (e)`
    Aggregate(Box<Aggregate>),
    /// `rate(x[5m])`
    Call(Call),
    /// `x{a="b"} offset 5m @ 0`
    VectorSelector(VectorSelector),
    /// `x[5m]`: the vector selector keeps its own offset and `@`.
    MatrixSelector(MatrixSelector),
    /// `e[1h:5m]`
    Subquery(Box<Subquery>),
}

/// What an expression evaluates to.
#[derive(Copy, Clone, PartialEq, Eq, Hash, Debug)]
pub enum ValueType {
    /// One number a step.
    Scalar,
    /// A text.
    String,
    /// At most one sample a series and step.
    Vector,
    /// A window of samples a series.
    Matrix,
}

impl ValueType {
    /// The word in Prometheus' error texts inside of expressions.
    pub fn documented_name(self) -> &'static str {
        match self {
            Self::Scalar => "scalar",
            Self::String => "string",
            Self::Vector => "instant vector",
            Self::Matrix => "range vector",
        }
    }
}

impl Expr {
    /// The type of its value; a checked tree only has operands of fitting types.
    pub fn value_type(&self) -> ValueType {
        match &self.kind {
            ExprKind::Number(_) => ValueType::Scalar,
            ExprKind::String(_) => ValueType::String,
            ExprKind::Paren(inner) | ExprKind::Unary(_, inner) => inner.value_type(),
            ExprKind::Binary(binary) => match (binary.lhs.value_type(), binary.rhs.value_type()) {
                (ValueType::Scalar, ValueType::Scalar) => ValueType::Scalar,
                _ => ValueType::Vector,
            },
            ExprKind::Aggregate(_) | ExprKind::VectorSelector(_) => ValueType::Vector,
            ExprKind::Call(call) => call.function.returns,
            ExprKind::MatrixSelector(_) | ExprKind::Subquery(_) => ValueType::Matrix,
        }
    }

    /// The expression inside of any parentheses.
    pub fn without_parens(&self) -> &Self {
        match &self.kind {
            ExprKind::Paren(inner) => inner.without_parens(),
            _ => self,
        }
    }
}

/// A number as written.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct NumberLiteral {
    /// Its value; seconds where it was written as a duration.
    pub value: f64,
    /// Was it written as a duration (`5m`)?
    pub duration: bool,
}

/// Sign.
#[derive(Copy, Clone, PartialEq, Eq, Hash, Debug)]
pub enum UnaryOp {
    /// `+`
    Plus,
    /// `-`
    Minus,
}

/// Binary operators of expressions.
#[derive(Copy, Clone, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
pub enum BinaryOp {
    /// `+`
    Add,
    /// `-`
    Sub,
    /// `*`
    Mul,
    /// `/`
    Div,
    /// `%`
    Mod,
    /// `^`
    Pow,
    /// `atan2`
    Atan2,
    /// `==`
    Equal,
    /// `!=`
    NotEqual,
    /// `<`
    Less,
    /// `<=`
    LessOrEqual,
    /// `>`
    Greater,
    /// `>=`
    GreaterOrEqual,
    /// `</`: keep a native histogram's observations below a bound
    TrimUpper,
    /// `>/`: keep a native histogram's observations above a bound
    TrimLower,
    /// `and`
    And,
    /// `or`
    Or,
    /// `unless`
    Unless,
}

impl BinaryOp {
    /// As PromQL writes it.
    pub fn symbol(self) -> &'static str {
        match self {
            Self::Add => "+",
            Self::Sub => "-",
            Self::Mul => "*",
            Self::Div => "/",
            Self::Mod => "%",
            Self::Pow => "^",
            Self::Atan2 => "atan2",
            Self::Equal => "==",
            Self::NotEqual => "!=",
            Self::Less => "<",
            Self::LessOrEqual => "<=",
            Self::Greater => ">",
            Self::GreaterOrEqual => ">=",
            Self::TrimUpper => "</",
            Self::TrimLower => ">/",
            Self::And => "and",
            Self::Or => "or",
            Self::Unless => "unless",
        }
    }

    /// `==`, `!=`, `<`, `<=`, `>`, `>=`.
    pub fn is_comparison(self) -> bool {
        matches!(
            self,
            Self::Equal | Self::NotEqual | Self::Less | Self::LessOrEqual | Self::Greater | Self::GreaterOrEqual
        )
    }

    /// `and`, `or`, `unless`.
    pub fn is_set_operator(self) -> bool {
        matches!(self, Self::And | Self::Or | Self::Unless)
    }
}

/// `lhs op bool on(..) group_left(..) rhs`.
#[derive(Clone, Debug, PartialEq)]
pub struct Binary {
    /// The operator.
    pub op: BinaryOp,
    /// Left operand.
    pub lhs: Expr,
    /// Right operand.
    pub rhs: Expr,
    /// The `bool` modifier of comparisons.
    pub return_bool: bool,
    /// How samples of two vectors find each other; `None` unless both operands are vectors.
    pub matching: Option<VectorMatching>,
}

/// How many samples of each side make a pair.
#[derive(Copy, Clone, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
pub enum Cardinality {
    /// The default of arithmetic and comparison.
    OneToOne,
    /// `group_left`
    ManyToOne,
    /// `group_right`
    OneToMany,
    /// Set operators.
    ManyToMany,
}

/// `on (..)`, `ignoring (..)`, `group_left (..)`, `fill (..)`.
#[derive(Clone, Debug, PartialEq)]
pub struct VectorMatching {
    /// One-to-one and so on.
    pub cardinality: Cardinality,
    /// Labels in `on` or `ignoring`, as written.
    pub labels: Vec<String>,
    /// `on` rather than `ignoring` (or nothing).
    pub on: bool,
    /// Labels in `group_left` or `group_right`.
    pub include: Vec<String>,
    /// `fill`/`fill_left`: what stands in for a missing left sample.
    pub fill_left: Option<f64>,
    /// `fill`/`fill_right`: what stands in for a missing right sample.
    pub fill_right: Option<f64>,
}

/// Aggregation operators.
#[derive(Copy, Clone, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
#[expect(missing_docs, reason = "the names are PromQL's own")]
pub enum AggregateOp {
    Sum,
    Avg,
    Count,
    Min,
    Max,
    Group,
    Stddev,
    Stdvar,
    Topk,
    Bottomk,
    CountValues,
    Quantile,
    Limitk,
    LimitRatio,
}

impl AggregateOp {
    /// As PromQL writes it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sum => "sum",
            Self::Avg => "avg",
            Self::Count => "count",
            Self::Min => "min",
            Self::Max => "max",
            Self::Group => "group",
            Self::Stddev => "stddev",
            Self::Stdvar => "stdvar",
            Self::Topk => "topk",
            Self::Bottomk => "bottomk",
            Self::CountValues => "count_values",
            Self::Quantile => "quantile",
            Self::Limitk => "limitk",
            Self::LimitRatio => "limit_ratio",
        }
    }
}

/// `op by (labels) (param, expr)`.
#[derive(Clone, Debug, PartialEq)]
pub struct Aggregate {
    /// The operator.
    pub op: AggregateOp,
    /// What is aggregated.
    pub expr: Expr,
    /// First argument of topk, bottomk, count_values, quantile, limitk, limit_ratio.
    pub param: Option<Expr>,
    /// Labels of `by` or `without`, as written.
    pub grouping: Vec<String>,
    /// `without` rather than `by` (or nothing).
    pub without: bool,
}

/// A function call.
#[derive(Clone, Debug, PartialEq)]
pub struct Call {
    /// The function, from the table.
    pub function: &'static Function,
    /// Its arguments.
    pub args: Vec<Expr>,
}

/// `@ 1.5`, `@ start()`, `@ end()`.
#[derive(Copy, Clone, PartialEq, Eq, Hash, Debug)]
pub enum AtModifier {
    /// A fixed time.
    Timestamp(TimestampMs),
    /// The start of the query's range.
    Start,
    /// The end of the query's range.
    End,
}

/// `anchored` and `smoothed` (feature `promql-extended-range-selectors`).
#[derive(Copy, Clone, PartialEq, Eq, Hash, Debug)]
pub enum RangeExtension {
    /// `x[5m] anchored`
    Anchored,
    /// `x[5m] smoothed`
    Smoothed,
}

/// `name{matchers} offset d @ t`.
#[derive(Clone, Debug, PartialEq)]
pub struct VectorSelector {
    /// The name outside of the braces, as written; it also stands in `matchers`, last. A name inside of the braces, quoted and
    /// bare or as `__name__="…"`, is a matcher only: so Prometheus has it.
    pub name: Option<String>,
    /// All matchers, with the one on `__name__`.
    pub matchers: Vec<Matcher>,
    /// `offset`, sign included.
    pub offset: Option<DurationExpr>,
    /// `@`
    pub at: Option<AtModifier>,
    /// `anchored`, `smoothed`
    pub extension: Option<RangeExtension>,
}

/// `selector[range]`.
#[derive(Clone, Debug, PartialEq)]
pub struct MatrixSelector {
    /// The selector, with offset and `@`.
    pub selector: VectorSelector,
    /// Span of the selector alone.
    pub selector_span: Span,
    /// The range.
    pub range: DurationExpr,
}

/// `expr[range:step] offset d @ t`.
#[derive(Clone, Debug, PartialEq)]
pub struct Subquery {
    /// What is evaluated at every sub-step.
    pub expr: Expr,
    /// The range.
    pub range: DurationExpr,
    /// The step; the engine's default where it is left out.
    pub step: Option<DurationExpr>,
    /// `offset`, sign included.
    pub offset: Option<DurationExpr>,
    /// `@`
    pub at: Option<AtModifier>,
}

/// A duration in brackets or behind `offset`: usually a literal, since 3.14 arithmetic too.
#[derive(Clone, Debug, PartialEq)]
pub struct DurationExpr {
    /// What it is.
    pub kind: DurationExprKind,
    /// The bytes of the query that it covers.
    pub span: Span,
}

/// Kinds of duration expression. Values are seconds as floats until the whole is cut to milliseconds.
#[derive(Clone, Debug, PartialEq)]
pub enum DurationExprKind {
    /// `5m` (duration) or `300` (number), in seconds.
    Literal(NumberLiteral),
    /// `-d`, `+d`
    Unary(UnaryOp, Box<DurationExpr>),
    /// `+ - * / % ^`
    Binary(BinaryOp, Box<DurationExpr>, Box<DurationExpr>),
    /// `(d)`
    Paren(Box<DurationExpr>),
    /// `step()`
    Step,
    /// `range()`
    Range,
    /// `min_of(a, b)`
    MinOf(Box<DurationExpr>, Box<DurationExpr>),
    /// `max_of(a, b)`
    MaxOf(Box<DurationExpr>, Box<DurationExpr>),
}
