//! L1: PromQL text ⇄ tree. Pure; knows nothing of evaluation.

mod ast;
mod check;
mod duration_expr;
mod function_table;
mod json;
mod lexer;
mod literal;
mod parse_error;
mod parser;
mod pretty;
mod print;
#[cfg(test)]
mod round_trip;
mod span;
mod token;
mod visit;

pub use ast::*;
pub use function_table::Function;
pub use json::to_json;
pub use parse_error::{ParseError, position};
pub use parser::{QUERY_BYTES_MAX, TREE_LEVELS_MAX, parse_collecting_errors};
pub use pretty::pretty;
pub use span::Span;
pub use visit::{walk, walk_mut};

/// Gated features of PromQL, off unless named in `--enable-feature`.
#[derive(Copy, Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct Features {
    /// `promql-experimental-functions`
    pub experimental_functions: bool,
    /// `promql-extended-range-selectors`: `anchored`, `smoothed`
    pub extended_range_selectors: bool,
    /// `promql-binop-fill-modifiers`: `fill`, `fill_left`, `fill_right`
    pub binop_fill_modifiers: bool,
    /// `promql-delayed-name-removal`
    pub delayed_name_removal: bool,
    /// `type-and-unit-labels`
    pub type_and_unit_labels: bool,
    /// `use-start-timestamps`
    pub use_start_timestamps: bool,
}

/// Reads, checks and gates a query.
///
/// | query | result |
/// |---|---|
/// | `rate(x[5m])` | the tree, every node with its bytes |
/// | `rate(x)` | `expected type range vector in call to function "rate", got instant vector` |
/// | `info(x)` without the feature | `function "info" is not enabled` |
/// | more than [`QUERY_BYTES_MAX`] bytes or [`TREE_LEVELS_MAX`] levels | an error that says so |
pub fn parse(query: &str, features: &Features) -> Result<Expr, ParseError> {
    parse_collecting_errors(query, features).map_err(|errors| {
        let nothing = ParseError { span: 0..0, message: "unknown error".to_owned() };
        errors.into_iter().next().unwrap_or(nothing)
    })
}
