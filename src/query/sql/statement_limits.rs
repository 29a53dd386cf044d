//! What a statement may hold. DataFusion reserves memory for what operators keep, but neither for plans nor for the texts that
//! expressions make: a name that stands for two of itself, thirty times over, is a gigabyte out of a kilobyte.

use std::ops::ControlFlow;

use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::common::{Result, ScalarValue};
use datafusion::logical_expr::{BinaryExpr, Expr, LogicalPlan, Operator};
use datafusion::sql::parser::Statement;
use datafusion::sql::sqlparser::ast::{Statement as SqlText, visit_relations};

use super::through;
use crate::error::Error;

/// Tables that may be named in a statement. Names of `WITH` stand for tables that name others, so this many are at most 3⁸ tables.
const TABLES_MAX: usize = 24;

/// Nodes of a plan, each name of `WITH` written out.
const PLAN_NODES_MAX: usize = 1_000;

/// Columns of any table on the way. With [`TEXT_BYTES_MAX`] and the rows of a batch: 256 MiB of constants at most.
const COLUMNS_MAX: usize = 256;

/// Bytes of a constant text. A query in `promql` is none: no row has it.
const TEXT_BYTES_MAX: usize = 1_024;

/// Scalar functions whose results are no longer than what they are made of.
#[rustfmt::skip]
pub(super) const SCALAR_FUNCTIONS: [&str; 82] = [
    "label", "coalesce", "greatest", "least", "nullif", "nvl", "nvl2", "arrow_typeof",
    // times
    "now", "current_date", "current_time", "date_bin", "date_part", "date_trunc", "from_unixtime", "make_date", "to_date",
    "to_local_time", "to_timestamp", "to_timestamp_seconds", "to_timestamp_millis", "to_timestamp_micros", "to_timestamp_nanos", "to_unixtime",
    // numbers
    "abs", "acos", "acosh", "asin", "asinh", "atan", "atan2", "atanh", "cbrt", "ceil", "cos", "cosh", "cot", "degrees", "exp",
    "factorial", "floor", "gcd", "isnan", "iszero", "lcm", "ln", "log", "log2", "log10", "nanvl", "pi", "power", "radians",
    "random", "round", "signum", "sin", "sinh", "sqrt", "tan", "tanh", "trunc",
    // texts
    "ascii", "btrim", "character_length", "contains", "ends_with", "initcap", "left", "lower", "ltrim", "octet_length",
    "regexp_count", "regexp_like", "reverse", "right", "rtrim", "split_part", "starts_with", "strpos", "substr", "upper",
];

/// Aggregate functions that make one long value of many.
pub(super) const GREEDY_AGGREGATES: [&str; 2] = ["array_agg", "string_agg"];

/// Is it a query, and one whose plan is of a size that can be made?
pub(super) fn check_statement(statement: &Statement) -> std::result::Result<(), Error> {
    let query = match statement {
        Statement::Statement(text) if matches!(**text, SqlText::Query(_)) => text,
        Statement::Explain(explain) => return check_statement(&explain.statement),
        _ => return Err(Error::bad_data("SQL here reads only, ask with SELECT")),
    };
    let mut table_count = 0;
    let counted = visit_relations(query, |_| {
        table_count += 1;
        if table_count > TABLES_MAX { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    if counted.is_break() {
        return Err(Error::bad_data(format!("SQL: the statement names more than {TABLES_MAX} tables, ask in parts")));
    }
    Ok(())
}

/// Is a plan, nothing of which has been computed, of a size that can be run?
pub(super) fn check_plan(plan: &LogicalPlan) -> Result<()> {
    let mut node_count = 0;
    plan.apply_with_subqueries(|node| {
        node_count += 1;
        if node_count > PLAN_NODES_MAX {
            return Err(refused(format!("its plan has more than {PLAN_NODES_MAX} steps, ask in parts")));
        }
        let column_count = node.schema().fields().len();
        if column_count > COLUMNS_MAX {
            return Err(refused(format!("a table in it has {column_count} columns, at most {COLUMNS_MAX} are made")));
        }
        node.apply_expressions(|expr| expr.apply(check_expr))
    })?;
    Ok(())
}

fn check_expr(expr: &Expr) -> Result<TreeNodeRecursion> {
    match expr {
        Expr::BinaryExpr(BinaryExpr { op: Operator::StringConcat, .. }) => {
            Err(refused("|| is left out here, join labels with label_join in PromQL".to_owned()))
        }
        // Syntax has functions of its own, such as OVERLAY.
        Expr::ScalarFunction(call) if !SCALAR_FUNCTIONS.contains(&call.func.name()) => {
            Err(refused(format!("the function {} is left out here", call.func.name())))
        }
        Expr::Literal(value, _) if text_bytes(value) > TEXT_BYTES_MAX => {
            Err(refused(format!("a text in it has {} bytes, at most {TEXT_BYTES_MAX} are read", text_bytes(value))))
        }
        _ => Ok(TreeNodeRecursion::Continue),
    }
}

fn text_bytes(value: &ScalarValue) -> usize {
    match value {
        ScalarValue::Binary(Some(bytes))
        | ScalarValue::LargeBinary(Some(bytes))
        | ScalarValue::BinaryView(Some(bytes)) => bytes.len(),
        text => text.try_as_str().flatten().map_or(0, str::len),
    }
}

fn refused(why: String) -> datafusion::common::DataFusionError {
    through(Error::bad_data(format!("SQL: {why}")))
}

#[cfg(test)]
mod tests {
    use datafusion::execution::SessionStateDefaults;

    use super::*;

    #[test]
    fn every_listed_function_exists() {
        let all = SessionStateDefaults::default_scalar_functions();
        for listed in SCALAR_FUNCTIONS {
            assert!(listed == "label" || all.iter().any(|function| function.name() == listed), "{listed}");
        }
        let all = SessionStateDefaults::default_aggregate_functions();
        for listed in GREEDY_AGGREGATES {
            assert!(all.iter().any(|function| function.name() == listed), "{listed}");
        }
    }
}
