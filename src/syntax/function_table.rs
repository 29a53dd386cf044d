//! Every function of Prometheus 3.14: name, argument types, arity, result, gate.

use super::ast::ValueType;

/// A function as the parser and the planner see it.
#[derive(Debug)]
pub struct Function {
    /// As written in a query.
    pub name: &'static str,
    /// Types of the arguments; the last one repeats where `variadic` allows more.
    pub args: &'static [ValueType],
    /// 0: exactly `args`. n > 0: up to n arguments fewer or more as Prometheus counts (see [`Function::arity`]). -1: any number more.
    pub variadic: i32,
    /// Type of the result.
    pub returns: ValueType,
    /// Refused unless `promql-experimental-functions` is on.
    pub experimental: bool,
}

impl PartialEq for Function {
    /// Names are unique.
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}
impl Eq for Function {}
