//! Every function of Prometheus 3.14: name, argument types, arity, result, gate.

use super::ast::ValueType;
use ValueType::{Matrix, Scalar, String, Vector};

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

impl Function {
    /// The function of this name; names are case-sensitive.
    pub fn lookup(name: &str) -> Option<&'static Self> {
        let at = FUNCTIONS.binary_search_by(|function| function.name.cmp(name)).ok()?;
        FUNCTIONS.get(at)
    }

    /// All functions, by name.
    pub fn all() -> &'static [Self] {
        &FUNCTIONS
    }

    /// The least and the greatest number of arguments, `None` for no upper bound.
    ///
    /// Where `variadic` is not 0, the last of `args` may be left out, and may be given up to `variadic` times (any number of
    /// times for -1): so Prometheus counts.
    ///
    /// | function | `args` | `variadic` | arity |
    /// |---|---|---|---|
    /// | `rate` | 1 | 0 | 1 |
    /// | `round` | 2 | 1 | 1 to 2 |
    /// | `label_join` | 4 | -1 | 3 or more |
    pub fn arity(&self) -> (usize, Option<usize>) {
        let count = self.args.len();
        match usize::try_from(self.variadic) {
            Ok(0) => (count, Some(count)),
            Ok(more) => (count.saturating_sub(1), Some(count.saturating_sub(1) + more)),
            Err(_) => (count.saturating_sub(1), None),
        }
    }

    /// The type that argument `index` must have; `None` behind the last one of a function that is not variadic.
    pub fn arg_type(&self, index: usize) -> Option<ValueType> {
        match self.args.get(index) {
            Some(arg_type) => Some(*arg_type),
            None if self.variadic == 0 => None,
            None => self.args.last().copied(),
        }
    }
}

const fn function(name: &'static str, args: &'static [ValueType], variadic: i32, returns: ValueType) -> Function {
    Function { name, args, variadic, returns, experimental: false }
}

const fn experimental(name: &'static str, args: &'static [ValueType], variadic: i32, returns: ValueType) -> Function {
    Function { name, args, variadic, returns, experimental: true }
}

/// Sorted by name: [`Function::lookup`] searches it by halves.
static FUNCTIONS: [Function; 90] = [
    function("abs", &[Vector], 0, Vector),
    function("absent", &[Vector], 0, Vector),
    function("absent_over_time", &[Matrix], 0, Vector),
    function("acos", &[Vector], 0, Vector),
    function("acosh", &[Vector], 0, Vector),
    function("asin", &[Vector], 0, Vector),
    function("asinh", &[Vector], 0, Vector),
    function("atan", &[Vector], 0, Vector),
    function("atanh", &[Vector], 0, Vector),
    function("avg_over_time", &[Matrix], 0, Vector),
    function("ceil", &[Vector], 0, Vector),
    function("changes", &[Matrix], 0, Vector),
    function("clamp", &[Vector, Scalar, Scalar], 0, Vector),
    function("clamp_max", &[Vector, Scalar], 0, Vector),
    function("clamp_min", &[Vector, Scalar], 0, Vector),
    function("cos", &[Vector], 0, Vector),
    function("cosh", &[Vector], 0, Vector),
    function("count_over_time", &[Matrix], 0, Vector),
    function("day_of_month", &[Vector], 1, Vector),
    function("day_of_week", &[Vector], 1, Vector),
    function("day_of_year", &[Vector], 1, Vector),
    function("days_in_month", &[Vector], 1, Vector),
    function("deg", &[Vector], 0, Vector),
    function("delta", &[Matrix], 0, Vector),
    function("deriv", &[Matrix], 0, Vector),
    experimental("double_exponential_smoothing", &[Matrix, Scalar, Scalar], 0, Vector),
    experimental("end", &[], 0, Scalar),
    function("exp", &[Vector], 0, Vector),
    function("first_over_time", &[Matrix], 0, Vector),
    function("floor", &[Vector], 0, Vector),
    function("histogram_avg", &[Vector], 0, Vector),
    function("histogram_count", &[Vector], 0, Vector),
    function("histogram_fraction", &[Scalar, Scalar, Vector], 0, Vector),
    function("histogram_quantile", &[Scalar, Vector], 0, Vector),
    experimental("histogram_quantiles", &[Vector, String, Scalar, Scalar], 9, Vector),
    function("histogram_stddev", &[Vector], 0, Vector),
    function("histogram_stdvar", &[Vector], 0, Vector),
    function("histogram_sum", &[Vector], 0, Vector),
    function("hour", &[Vector], 1, Vector),
    function("idelta", &[Matrix], 0, Vector),
    function("increase", &[Matrix], 0, Vector),
    experimental("info", &[Vector, Vector], 1, Vector),
    function("irate", &[Matrix], 0, Vector),
    function("label_join", &[Vector, String, String, String], -1, Vector),
    function("label_replace", &[Vector, String, String, String, String], 0, Vector),
    function("last_over_time", &[Matrix], 0, Vector),
    function("ln", &[Vector], 0, Vector),
    function("log10", &[Vector], 0, Vector),
    function("log2", &[Vector], 0, Vector),
    experimental("mad_over_time", &[Matrix], 0, Vector),
    experimental("max_of", &[Scalar, Scalar], 0, Scalar),
    function("max_over_time", &[Matrix], 0, Vector),
    experimental("min_of", &[Scalar, Scalar], 0, Scalar),
    function("min_over_time", &[Matrix], 0, Vector),
    function("minute", &[Vector], 1, Vector),
    function("month", &[Vector], 1, Vector),
    function("pi", &[], 0, Scalar),
    function("predict_linear", &[Matrix, Scalar], 0, Vector),
    function("present_over_time", &[Matrix], 0, Vector),
    function("quantile_over_time", &[Scalar, Matrix], 0, Vector),
    function("rad", &[Vector], 0, Vector),
    experimental("range", &[], 0, Scalar),
    function("rate", &[Matrix], 0, Vector),
    function("resets", &[Matrix], 0, Vector),
    function("round", &[Vector, Scalar], 1, Vector),
    function("scalar", &[Vector], 0, Scalar),
    function("sgn", &[Vector], 0, Vector),
    function("sin", &[Vector], 0, Vector),
    function("sinh", &[Vector], 0, Vector),
    function("sort", &[Vector], 0, Vector),
    experimental("sort_by_label", &[Vector, String], -1, Vector),
    experimental("sort_by_label_desc", &[Vector, String], -1, Vector),
    function("sort_desc", &[Vector], 0, Vector),
    function("sqrt", &[Vector], 0, Vector),
    experimental("start", &[], 0, Scalar),
    experimental("start_timestamp", &[Vector], 0, Vector),
    function("stddev_over_time", &[Matrix], 0, Vector),
    function("stdvar_over_time", &[Matrix], 0, Vector),
    experimental("step", &[], 0, Scalar),
    function("sum_over_time", &[Matrix], 0, Vector),
    function("tan", &[Vector], 0, Vector),
    function("tanh", &[Vector], 0, Vector),
    function("time", &[], 0, Scalar),
    function("timestamp", &[Vector], 0, Vector),
    experimental("ts_of_first_over_time", &[Matrix], 0, Vector),
    experimental("ts_of_last_over_time", &[Matrix], 0, Vector),
    experimental("ts_of_max_over_time", &[Matrix], 0, Vector),
    experimental("ts_of_min_over_time", &[Matrix], 0, Vector),
    function("vector", &[Scalar], 0, Vector),
    function("year", &[Vector], 1, Vector),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_function_is_found_by_its_name() {
        assert!(FUNCTIONS.is_sorted_by(|a, b| a.name < b.name));
        for function in Function::all() {
            assert_eq!(Function::lookup(function.name), Some(function));
        }
        assert_eq!(Function::lookup("RATE"), None);
        assert_eq!(Function::lookup("integral"), None);
    }

    #[test]
    fn arity_is_counted_as_prometheus_counts() {
        for (name, arity) in [
            ("pi", (0, Some(0))),
            ("rate", (1, Some(1))),
            ("clamp", (3, Some(3))),
            ("hour", (0, Some(1))),
            ("round", (1, Some(2))),
            ("info", (1, Some(2))),
            ("label_join", (3, None)),
            ("sort_by_label", (1, None)),
            ("histogram_quantiles", (3, Some(12))),
        ] {
            assert_eq!(Function::lookup(name).expect(name).arity(), arity, "{name}");
        }
    }

    #[test]
    fn seventeen_functions_are_experimental() {
        let gated: Vec<_> = Function::all().iter().filter(|function| function.experimental).map(|f| f.name).collect();
        assert_eq!(
            gated.join(" "),
            "double_exponential_smoothing end histogram_quantiles info mad_over_time max_of min_of range sort_by_label \
             sort_by_label_desc start start_timestamp step ts_of_first_over_time ts_of_last_over_time \
             ts_of_max_over_time ts_of_min_over_time"
        );
    }
}
