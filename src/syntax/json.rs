//! Tree → JSON, as Prometheus' `parse_query` shows it.

use serde_json::{Map, Value, json};

use super::ast::{
    AtModifier, Binary, BinaryOp, Call, Cardinality, DurationExpr, DurationExprKind, Expr, ExprKind, MatrixSelector,
    RangeExtension, Subquery, UnaryOp, ValueType, VectorSelector,
};
use super::print::plain_float;
use super::visit::children;
use crate::model::{Matcher, TimestampMs};

/// The tree as `/api/v1/parse_query` answers it.
///
/// Durations are milliseconds in `range`, `step` and `offset` where they are literals; else these are 0 and `rangeExpr` and so on
/// hold the tree. Numbers are texts. A fill value that JSON has no number for is a text too.
pub fn to_json(expr: &Expr) -> Value {
    fold(expr, children, expr_json)
}

/// Builds a value from the leaves up. Not by recursion: the frames that build JSON are large, and trees deep.
fn fold<'t, T>(
    root: &'t T,
    children: impl Fn(&'t T) -> Vec<&'t T>,
    build: impl Fn(&'t T, std::vec::IntoIter<Value>) -> Value,
) -> Value {
    let mut waiting = vec![root];
    let mut parents_first = Vec::new();
    while let Some(node) = waiting.pop() {
        let below = children(node);
        parents_first.push((node, below.len()));
        waiting.extend(below.into_iter().rev());
    }
    // Read backwards, every node comes behind its children, the last of them first.
    let mut built: Vec<Value> = Vec::new();
    for (node, count) in parents_first.into_iter().rev() {
        let mut below = built.split_off(built.len() - count);
        below.reverse();
        built.push(build(node, below.into_iter()));
    }
    built.pop().unwrap_or_default()
}

fn expr_json(expr: &Expr, mut below: std::vec::IntoIter<Value>) -> Value {
    match &expr.kind {
        ExprKind::Number(number) => json!({ "type": "numberLiteral", "val": plain_float(number.value) }),
        ExprKind::String(bytes) => json!({ "type": "stringLiteral", "val": String::from_utf8_lossy(bytes) }),
        ExprKind::Paren(_) => node("parenExpr", [("expr", below.next())]),
        ExprKind::Unary(op, _) => node("unaryExpr", [("op", Some(json!(sign(*op)))), ("expr", below.next())]),
        ExprKind::Binary(binary) => binary_json(binary, below),
        ExprKind::Aggregate(aggregate) => {
            let param = if aggregate.param.is_some() { below.next() } else { None };
            node(
                "aggregation",
                [
                    ("op", Some(json!(aggregate.op.name()))),
                    ("param", param),
                    ("expr", below.next()),
                    ("grouping", Some(json!(aggregate.grouping))),
                    ("without", Some(json!(aggregate.without))),
                ],
            )
        }
        ExprKind::Call(call) => call_json(call, below.collect()),
        ExprKind::VectorSelector(selector) => selector_json("vectorSelector", selector),
        ExprKind::MatrixSelector(MatrixSelector { selector, range, .. }) => {
            let mut value = selector_json("matrixSelector", selector);
            value["range"] = milliseconds(Some(range));
            value["rangeExpr"] = arithmetic(Some(range));
            value
        }
        ExprKind::Subquery(subquery) => {
            let mut value = subquery_json(subquery);
            value["expr"] = below.next().unwrap_or_default();
            value
        }
    }
}

/// An object with its `type`; what is absent is null. Moves the values, where `json!` would copy them.
fn node<const N: usize>(kind: &str, fields: [(&str, Option<Value>); N]) -> Value {
    let mut object = Map::new();
    object.insert("type".to_owned(), Value::from(kind));
    for (name, value) in fields {
        object.insert(name.to_owned(), value.unwrap_or_default());
    }
    Value::Object(object)
}

fn binary_json(binary: &Binary, mut below: std::vec::IntoIter<Value>) -> Value {
    let matching = binary.matching.as_ref().map(|matching| {
        json!({
            "card": match matching.cardinality {
                Cardinality::OneToOne => "one-to-one",
                Cardinality::ManyToOne => "many-to-one",
                Cardinality::OneToMany => "one-to-many",
                Cardinality::ManyToMany => "many-to-many",
            },
            "labels": matching.labels,
            "on": matching.on,
            "include": matching.include,
            "fillValues": { "lhs": matching.fill_left.map(fill_value), "rhs": matching.fill_right.map(fill_value) },
        })
    });
    node(
        "binaryExpr",
        [
            ("op", Some(json!(binary.op.symbol()))),
            ("lhs", below.next()),
            ("rhs", below.next()),
            ("matching", matching),
            ("bool", Some(json!(binary.return_bool))),
        ],
    )
}

/// Prometheus fails on NaN and infinities here.
fn fill_value(value: f64) -> Value {
    if value.is_finite() { json!(value) } else { json!(plain_float(value)) }
}

fn call_json(call: &Call, args: Vec<Value>) -> Value {
    let arg_types: Vec<&str> = call.function.args.iter().map(|arg_type| type_name(*arg_type)).collect();
    let function = json!({
        "name": call.function.name,
        "argTypes": arg_types,
        "variadic": call.function.variadic,
        "returnType": type_name(call.function.returns),
    });
    node("call", [("func", Some(function)), ("args", Some(Value::Array(args)))])
}

fn type_name(value_type: ValueType) -> &'static str {
    match value_type {
        ValueType::Scalar => "scalar",
        ValueType::String => "string",
        ValueType::Vector => "vector",
        ValueType::Matrix => "matrix",
    }
}

fn selector_json(kind: &str, selector: &VectorSelector) -> Value {
    let (timestamp, start_or_end) = at_json(selector.at);
    json!({
        "type": kind,
        "name": selector.name.as_deref().unwrap_or_default(),
        "offset": milliseconds(selector.offset.as_ref()),
        "offsetExpr": arithmetic(selector.offset.as_ref()),
        "matchers": selector.matchers.iter().map(matcher_json).collect::<Vec<_>>(),
        "timestamp": timestamp,
        "startOrEnd": start_or_end,
        "anchored": selector.extension == Some(RangeExtension::Anchored),
        "smoothed": selector.extension == Some(RangeExtension::Smoothed),
    })
}

fn matcher_json(matcher: &Matcher) -> Value {
    json!({ "name": matcher.name, "value": matcher.value, "type": matcher.op.symbol() })
}

fn subquery_json(subquery: &Subquery) -> Value {
    let (timestamp, start_or_end) = at_json(subquery.at);
    json!({
        "type": "subquery",
        "range": milliseconds(Some(&subquery.range)),
        "rangeExpr": arithmetic(Some(&subquery.range)),
        "offset": milliseconds(subquery.offset.as_ref()),
        "offsetExpr": arithmetic(subquery.offset.as_ref()),
        "step": milliseconds(subquery.step.as_ref()),
        "stepExpr": arithmetic(subquery.step.as_ref()),
        "timestamp": timestamp,
        "startOrEnd": start_or_end,
    })
}

/// `timestamp` in milliseconds and `startOrEnd`; one of them at most is not null.
fn at_json(at: Option<AtModifier>) -> (Option<i64>, Option<&'static str>) {
    match at {
        None => (None, None),
        Some(AtModifier::Timestamp(TimestampMs(ms))) => (Some(ms), None),
        Some(AtModifier::Start) => (None, Some("start")),
        Some(AtModifier::End) => (None, Some("end")),
    }
}

/// The milliseconds of a literal, cut; 0 for arithmetic and for nothing.
fn milliseconds(duration: Option<&DurationExpr>) -> Value {
    match duration.map(|duration| &duration.kind) {
        // To whole nanoseconds first, as Prometheus holds them, so that 0.007 s is 7 ms.
        Some(DurationExprKind::Literal(number)) => json!((number.value * 1e9).round() as i64 / 1_000_000),
        _ => json!(0),
    }
}

/// The tree of arithmetic, null for a literal alone.
fn arithmetic(duration: Option<&DurationExpr>) -> Value {
    match duration {
        None | Some(DurationExpr { kind: DurationExprKind::Literal(_), .. }) => Value::Null,
        Some(duration) => fold(duration, duration_children, duration_json),
    }
}

fn duration_children(duration: &DurationExpr) -> Vec<&DurationExpr> {
    match &duration.kind {
        DurationExprKind::Literal(_) | DurationExprKind::Step | DurationExprKind::Range => Vec::new(),
        DurationExprKind::Paren(inner) | DurationExprKind::Unary(_, inner) => vec![inner],
        DurationExprKind::Binary(_, lhs, rhs)
        | DurationExprKind::MinOf(lhs, rhs)
        | DurationExprKind::MaxOf(lhs, rhs) => vec![lhs, rhs],
    }
}

fn duration_json(duration: &DurationExpr, mut below: std::vec::IntoIter<Value>) -> Value {
    let (op, lhs, rhs) = match &duration.kind {
        DurationExprKind::Literal(number) => {
            let val = plain_float(number.value);
            return json!({ "type": "numberLiteral", "val": val, "duration": number.duration });
        }
        DurationExprKind::Paren(_) => {
            let mut inner = below.next().unwrap_or_default();
            inner["wrapped"] = json!(true);
            return inner;
        }
        DurationExprKind::Unary(op, _) => (sign(*op), None, below.next()),
        DurationExprKind::Binary(op, ..) => (op.symbol(), below.next(), below.next()),
        DurationExprKind::Step => ("step", None, None),
        DurationExprKind::Range => ("range", None, None),
        DurationExprKind::MinOf(..) => ("min_of", below.next(), below.next()),
        DurationExprKind::MaxOf(..) => ("max_of", below.next(), below.next()),
    };
    node("durationExpr", [("op", Some(json!(op))), ("lhs", lhs), ("rhs", rhs), ("wrapped", Some(json!(false)))])
}

fn sign(op: UnaryOp) -> &'static str {
    match op {
        UnaryOp::Plus => BinaryOp::Add.symbol(),
        UnaryOp::Minus => BinaryOp::Sub.symbol(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Features, parse};
    use super::*;

    #[test]
    fn trees_look_as_in_prometheus() {
        let query = "sum by (a) (rate(x{b!=\"c\"}[5m] offset -1m)) + on (d) group_left (e) -max_over_time(y[1h:2*step()] @ end())";
        let expected = json!({
            "type": "binaryExpr",
            "op": "+",
            "bool": false,
            "matching": {
                "card": "many-to-one", "labels": ["d"], "on": true, "include": ["e"],
                "fillValues": { "lhs": null, "rhs": null },
            },
            "lhs": {
                "type": "aggregation", "op": "sum", "param": null, "grouping": ["a"], "without": false,
                "expr": {
                    "type": "call",
                    "func": { "name": "rate", "argTypes": ["matrix"], "variadic": 0, "returnType": "vector" },
                    "args": [{
                        "type": "matrixSelector", "name": "x", "range": 300_000, "rangeExpr": null,
                        "offset": -60_000, "offsetExpr": null, "timestamp": null, "startOrEnd": null,
                        "anchored": false, "smoothed": false,
                        "matchers": [
                            { "name": "b", "value": "c", "type": "!=" },
                            { "name": "__name__", "value": "x", "type": "=" },
                        ],
                    }],
                },
            },
            "rhs": {
                "type": "unaryExpr", "op": "-",
                "expr": {
                    "type": "call",
                    "func": { "name": "max_over_time", "argTypes": ["matrix"], "variadic": 0, "returnType": "vector" },
                    "args": [{
                        "type": "subquery", "range": 3_600_000, "rangeExpr": null, "step": 0,
                        "offset": 0, "offsetExpr": null, "timestamp": null, "startOrEnd": "end",
                        "stepExpr": {
                            "type": "durationExpr", "op": "*", "wrapped": false,
                            "lhs": { "type": "numberLiteral", "val": "2", "duration": false },
                            "rhs": { "type": "durationExpr", "op": "step", "lhs": null, "rhs": null, "wrapped": false },
                        },
                        "expr": {
                            "type": "vectorSelector", "name": "y", "offset": 0, "offsetExpr": null,
                            "timestamp": null, "startOrEnd": null, "anchored": false, "smoothed": false,
                            "matchers": [{ "name": "__name__", "value": "y", "type": "=" }],
                        },
                    }],
                },
            },
        });
        assert_eq!(to_json(&parse(query, &Features::default()).expect(query)), expected);
    }
}
