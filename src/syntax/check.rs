//! Types, arities and the rules that a grammar cannot say, with Prometheus' messages.

use super::ast::{
    Aggregate, AggregateOp, Binary, Call, Cardinality, Expr, ExprKind, MatrixSelector, Subquery, UnaryOp, ValueType,
    VectorSelector,
};
use super::parse_error::ParseError;
use super::span::Span;
use crate::model::{Matcher, quote_label_value};

/// Checks a whole tree and settles what depends on types: set operators become many-to-many, and `matching` is kept only where
/// both operands are vectors. Appends what is wrong to `errors`.
pub(super) fn check(expr: &mut Expr, query: &str, errors: &mut Vec<ParseError>) {
    Checker { query, errors }.expr(expr);
}

struct Checker<'a> {
    query: &'a str,
    errors: &'a mut Vec<ParseError>,
}

impl Checker<'_> {
    fn error(&mut self, span: &Span, message: impl Into<String>) {
        self.errors.push(ParseError { span: span.clone(), message: message.into() });
    }

    /// Checks a tree from its leaves up and says what type it has.
    fn expr(&mut self, expr: &mut Expr) -> ValueType {
        let span = &expr.span;
        match &mut expr.kind {
            ExprKind::Number(_) => ValueType::Scalar,
            ExprKind::String(_) => ValueType::String,
            ExprKind::Paren(inner) => self.expr(inner),
            ExprKind::Unary(op, inner) => {
                let operand = self.expr(inner);
                self.unary(*op, operand, span)
            }
            ExprKind::Binary(binary) => {
                let lhs = self.expr(&mut binary.lhs);
                let rhs = self.expr(&mut binary.rhs);
                self.binary(binary, lhs, rhs, span)
            }
            ExprKind::Aggregate(aggregate) => self.aggregate(aggregate),
            ExprKind::Call(call) => self.call(call, span),
            ExprKind::VectorSelector(selector) => {
                self.selector(selector, span);
                ValueType::Vector
            }
            ExprKind::MatrixSelector(MatrixSelector { selector, selector_span, .. }) => {
                self.selector(selector, selector_span);
                ValueType::Matrix
            }
            ExprKind::Subquery(subquery) => self.subquery(subquery, span),
        }
    }

    #[inline(never)]
    fn unary(&mut self, _: UnaryOp, operand: ValueType, span: &Span) -> ValueType {
        if !matches!(operand, ValueType::Scalar | ValueType::Vector) {
            let got = operand.documented_name();
            let allowed = "unary expression only allowed on expressions of type scalar or instant vector";
            self.error(span, format!("{allowed}, got \"{got}\""));
        }
        operand
    }

    fn subquery(&mut self, subquery: &mut Subquery, span: &Span) -> ValueType {
        let inner = self.expr(&mut subquery.expr);
        if inner != ValueType::Vector {
            let got = short_name(inner);
            self.error(span, format!("subquery is only allowed on instant vector, got {got} instead"));
        }
        ValueType::Matrix
    }

    fn aggregate(&mut self, aggregate: &mut Aggregate) -> ValueType {
        let operand = self.expr(&mut aggregate.expr);
        self.expect(ValueType::Vector, operand, "aggregation expression", &aggregate.expr.span);
        if let Some(param) = &mut aggregate.param {
            let wanted = if aggregate.op == AggregateOp::CountValues { ValueType::String } else { ValueType::Scalar };
            let got = self.expr(param);
            self.expect(wanted, got, "aggregation parameter", &param.span);
        }
        ValueType::Vector
    }

    #[inline(never)]
    fn expect(&mut self, wanted: ValueType, got: ValueType, context: &str, span: &Span) {
        if wanted != got {
            let (wanted, got) = (wanted.documented_name(), got.documented_name());
            self.error(span, format!("expected type {wanted} in {context}, got {got}"));
        }
    }

    #[inline(never)]
    fn binary(&mut self, binary: &mut Binary, lhs: ValueType, rhs: ValueType, span: &Span) -> ValueType {
        self.operator_modifiers(binary, lhs, rhs);
        for (operand, place) in [(lhs, &binary.lhs.span), (rhs, &binary.rhs.span)] {
            if !matches!(operand, ValueType::Scalar | ValueType::Vector) {
                self.error(place, "binary expression must contain only scalar and instant vector types");
            }
        }
        let op = binary.op;
        if let Some(matching) = &mut binary.matching {
            if op.is_set_operator() && matching.cardinality == Cardinality::OneToOne {
                matching.cardinality = Cardinality::ManyToMany;
            }
            let has_fill = matching.fill_left.is_some() || matching.fill_right.is_some();
            if lhs != ValueType::Vector || rhs != ValueType::Vector {
                if !matching.labels.is_empty() {
                    self.error(span, "vector matching only allowed between instant vectors");
                }
                if has_fill {
                    self.error(span, "filling in missing series only allowed between instant vectors");
                }
                binary.matching = None;
            } else if op.is_set_operator() {
                if matching.cardinality != Cardinality::ManyToMany {
                    self.error(span, format!("no grouping allowed for \"{}\" operation", op.symbol()));
                    self.error(span, "set operations must always be many-to-many");
                }
                if has_fill {
                    self.error(span, "filling in missing series not allowed for set operators");
                }
            }
        }
        if op.is_set_operator() && (lhs == ValueType::Scalar || rhs == ValueType::Scalar) {
            let message = format!("set operator \"{}\" not allowed in binary scalar expression", op.symbol());
            self.error(span, message);
        }
        if lhs == ValueType::Scalar && rhs == ValueType::Scalar { ValueType::Scalar } else { ValueType::Vector }
    }

    /// `bool`, and labels that stand in `on` and `group_left` both.
    fn operator_modifiers(&mut self, binary: &Binary, lhs: ValueType, rhs: ValueType) {
        let span = operator_span(binary, self.query);
        if binary.return_bool && !binary.op.is_comparison() {
            self.error(&span, "bool modifier can only be used on comparison operators");
        }
        let scalars = lhs == ValueType::Scalar && rhs == ValueType::Scalar;
        if binary.op.is_comparison() && !binary.return_bool && scalars {
            self.error(&span, "comparisons between scalars must use BOOL modifier");
        }
        let Some(matching) = binary.matching.as_ref().filter(|matching| matching.on) else { return };
        for label in matching.labels.iter().filter(|label| matching.include.contains(label)) {
            let label = quote_label_value(label);
            self.error(&span, format!("label {label} must not occur in ON and GROUP clause at once"));
        }
    }

    fn call(&mut self, call: &mut Call, span: &Span) -> ValueType {
        self.arity(call, span);
        let is_info = call.function.name == "info";
        if is_info {
            self.info_argument(call, span);
        }
        for (index, arg) in call.args.iter_mut().enumerate() {
            let Some(wanted) = call.function.arg_type(index) else { break };
            let got = match &mut arg.kind {
                // The labels that `info` is to add may match the empty string.
                ExprKind::VectorSelector(selector) if is_info && index == 1 => {
                    self.metric_name_once(selector, &arg.span);
                    ValueType::Vector
                }
                _ => self.expr(arg),
            };
            self.argument(wanted, got, call.function.name, &arg.span);
        }
        call.function.returns
    }

    #[inline(never)]
    fn argument(&mut self, wanted: ValueType, got: ValueType, name: &str, span: &Span) {
        if wanted != got {
            let (wanted, got) = (wanted.documented_name(), got.documented_name());
            self.error(span, format!("expected type {wanted} in call to function \"{name}\", got {got}"));
        }
    }

    #[inline(never)]
    fn arity(&mut self, call: &Call, span: &Span) {
        let count = call.args.len();
        let (min, max) = call.function.arity();
        let problem = match max {
            Some(max) if max == min && call.function.variadic == 0 && count != min => format!("{min}"),
            _ if count < min => format!("at least {min}"),
            Some(max) if count > max => format!("at most {max}"),
            _ => return,
        };
        let name = call.function.name;
        self.error(span, format!("expected {problem} argument(s) in call to \"{name}\", got {count}"));
    }

    #[inline(never)]
    fn info_argument(&mut self, call: &Call, span: &Span) {
        let Some(arg) = call.args.get(1) else { return };
        let got = arg.value_type();
        self.argument(ValueType::Vector, got, "info", span);
        match &arg.kind {
            ExprKind::VectorSelector(VectorSelector { name: None, .. }) => {}
            ExprKind::VectorSelector(_) => {
                self.error(&arg.span, "expected label selectors only, got vector selector instead");
            }
            _ => self.error(&arg.span, "expected label selectors only"),
        }
    }

    #[inline(never)]
    fn selector(&mut self, selector: &VectorSelector, span: &Span) {
        self.metric_name_once(selector, span);
        if selector.name.is_none() && !selector.matchers.iter().any(selects_something) {
            self.error(span, "vector selector must contain at least one non-empty matcher");
        }
    }

    fn metric_name_once(&mut self, selector: &VectorSelector, span: &Span) {
        // The parser put the name in front of the braces last.
        let (Some(name), Some((_, others))) = (&selector.name, selector.matchers.split_last()) else { return };
        for other in others.iter().filter(|matcher| matcher.name == "__name__") {
            let (name, other) = (quote_label_value(name), quote_label_value(&other.value));
            self.error(span, format!("metric name must not be set twice: {name} or {other}"));
        }
    }
}

/// Does a matcher refuse series that lack its label? A pattern that cannot be compiled was reported by the parser.
fn selects_something(matcher: &Matcher) -> bool {
    matcher.compile().is_ok_and(|compiled| !compiled.matches(""))
}

/// The operator with its modifiers, without the space around it.
fn operator_span(binary: &Binary, query: &str) -> Span {
    let between = binary.lhs.span.end..binary.rhs.span.start;
    let Some(text) = query.get(between.clone()) else { return between };
    let space = [' ', '\t', '\n', '\r'];
    let start = between.start + (text.len() - text.trim_start_matches(space).len());
    start..start + text.trim_matches(space).len()
}

/// Prometheus' name of a type inside of its own code; subquery errors show it.
fn short_name(value_type: ValueType) -> &'static str {
    match value_type {
        ValueType::Scalar => "scalar",
        ValueType::String => "string",
        ValueType::Vector => "vector",
        ValueType::Matrix => "matrix",
    }
}
