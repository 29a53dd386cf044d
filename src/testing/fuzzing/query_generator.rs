//! Random PromQL over names that are known: what the engine is fuzzed with, and what is asked of real servers.

use super::choices::Choices;
use crate::syntax::{Features, Function, ValueType};

/// What a generated query may name.
#[derive(Debug)]
pub struct Vocabulary {
    /// Selectors without modifiers; the first is the plainest.
    pub selectors: &'static [&'static str],
    /// Selectors of classic buckets.
    pub buckets: &'static [&'static str],
    /// Label names.
    pub labels: &'static [&'static str],
    /// Pairs of vectors with the matching that makes them one-to-one or many-to-one, such as `a * on (x) group_left b`
    /// without the operator: left side, matching, right side.
    pub joins: &'static [(&'static str, &'static str, &'static str)],
    /// Ranges, and distances of offsets.
    pub durations: &'static [&'static str],
    /// Steps of subqueries; the empty one is the default.
    pub steps: &'static [&'static str],
    /// Times behind `@`.
    pub times: &'static [&'static str],
    /// Which gated features may be used.
    pub features: Features,
}

/// Numbers that stand in queries.
const NUMBERS: &[&str] = &[
    "1", "0", "2", "0.5", "-1", "3", "0.9", "10", "100", "-0.5", "1e3", "0.001", "5m", "NaN", "Inf", "-Inf", "1e308",
    "-0",
];

const GROUPINGS: &[&str] = &["", "by", "without"];

/// Writes queries.
#[derive(Debug)]
pub struct QueryGenerator<'c, 'b> {
    vocabulary: &'c Vocabulary,
    choices: &'c mut Choices<'b>,
}

impl<'c, 'b> QueryGenerator<'c, 'b> {
    /// A generator that decides by `choices`.
    pub fn new(vocabulary: &'c Vocabulary, choices: &'c mut Choices<'b>) -> Self {
        Self { vocabulary, choices }
    }

    /// A vector or a scalar of at most so many levels; nearly always one that the parser accepts.
    pub fn query(&mut self, levels: usize) -> String {
        if self.choices.chance(8) { self.scalar(levels) } else { self.vector(levels) }
    }

    /// A range vector.
    pub fn matrix(&mut self, levels: usize) -> String {
        let is_subquery = levels > 0 && self.choices.chance(25);
        let mut text = if is_subquery {
            let inner =
                if self.choices.chance(60) { self.selector() } else { format!("({})", self.vector(levels - 1)) };
            let (range, step) = (self.duration(), self.choices.pick(self.vocabulary.steps));
            format!("{inner}[{range}:{step}]")
        } else {
            format!("{}[{}]", self.bare_selector(), self.duration())
        };
        if !is_subquery && self.vocabulary.features.extended_range_selectors && self.choices.chance(10) {
            text.push_str(self.choices.pick(&[" anchored", " smoothed"]));
        }
        self.modifiers(&mut text);
        text
    }

    fn bare_selector(&mut self) -> String {
        self.choices.pick(self.vocabulary.selectors).to_owned()
    }

    fn selector(&mut self) -> String {
        let mut text = self.bare_selector();
        self.modifiers(&mut text);
        text
    }

    /// ` offset …`, ` @ …`: seldom.
    fn modifiers(&mut self, text: &mut String) {
        if self.choices.chance(12) {
            let sign = self.choices.pick(&["", "-"]);
            let duration = self.duration();
            text.push_str(&format!(" offset {sign}{duration}"));
        }
        if self.choices.chance(10) {
            let time = self.choices.pick(self.vocabulary.times);
            text.push_str(&format!(" @ {time}"));
        }
    }

    fn duration(&mut self) -> String {
        if !self.choices.chance(6) {
            return self.choices.pick(self.vocabulary.durations).to_owned();
        }
        let (one, other) = (self.choices.pick(self.vocabulary.durations), self.choices.pick(self.vocabulary.durations));
        match self.choices.below(5) {
            0 => format!("({one} + {other})"),
            1 => format!("(step() + {one})"),
            2 => format!("max_of({one}, step())"),
            3 => format!("min_of({one}, range() + {other})"),
            _ => format!("({one} * 2 - {one})"),
        }
    }

    fn vector(&mut self, levels: usize) -> String {
        let Some(below) = levels.checked_sub(1) else { return self.selector() };
        match self.choices.below(20) {
            0 | 1 => self.selector(),
            2..=6 => self.call(below),
            7 | 8 => self.range_call(below),
            9..=12 => self.aggregation(below),
            13..=15 => self.vectors(below),
            16 | 17 => self.vector_and_scalar(below),
            18 => self.buckets_call(below),
            _ => match self.choices.below(3) {
                0 => format!("({})", self.vector(below)),
                1 => format!("-{}", self.operand(below)),
                _ => format!("+({})", self.vector(below)),
            },
        }
    }

    fn operand(&mut self, levels: usize) -> String {
        if levels == 0 || self.choices.chance(30) { self.selector() } else { format!("({})", self.vector(levels)) }
    }

    fn scalar(&mut self, levels: usize) -> String {
        let Some(below) = levels.checked_sub(1) else { return self.choices.pick(NUMBERS).to_owned() };
        match self.choices.below(10) {
            0..=4 => self.choices.pick(NUMBERS).to_owned(),
            5 => "time()".to_owned(),
            6 => format!("scalar({})", self.vector(below)),
            7 => {
                let operator = self.choices.pick(&["+", "-", "*", "/", "%", "^", "atan2", "== bool", "< bool"]);
                format!("({} {operator} {})", self.scalar(below), self.scalar(below))
            }
            8 => format!("-{}", self.choices.pick(NUMBERS).trim_start_matches('-')),
            _ => self.call_of(ValueType::Scalar, below),
        }
    }

    fn call(&mut self, levels: usize) -> String {
        self.call_of(ValueType::Vector, levels)
    }

    /// A call of any function with this result.
    fn call_of(&mut self, returns: ValueType, levels: usize) -> String {
        let allowed = |function: &&Function| {
            function.returns == returns && (!function.experimental || self.vocabulary.features.experimental_functions)
        };
        let functions: Vec<&Function> = Function::all().iter().filter(allowed).collect();
        let function = self.choices.pick(&functions);
        self.call_with_arguments(function, levels)
    }

    /// Functions of ranges, which would be rare among all.
    fn range_call(&mut self, levels: usize) -> String {
        let experimental = self.vocabulary.features.experimental_functions;
        let takes_range = |function: &&Function| {
            function.args.contains(&ValueType::Matrix) && (!function.experimental || experimental)
        };
        let functions: Vec<&Function> = Function::all().iter().filter(takes_range).collect();
        let function = self.choices.pick(&functions);
        self.call_with_arguments(function, levels)
    }

    fn call_with_arguments(&mut self, function: &Function, levels: usize) -> String {
        let name = function.name;
        match name {
            "label_replace" => return self.label_replace(levels),
            "label_join" => return self.label_join(levels),
            "info" => return self.info(levels),
            "histogram_quantiles" => {
                let vector = self.vector(levels);
                let (label, one, other) = (self.label(), self.choices.pick(NUMBERS), self.choices.pick(NUMBERS));
                return format!("histogram_quantiles({vector}, \"{label}\", {one}, {other})");
            }
            _ => {}
        }
        let (least, most) = function.arity();
        let most = most.unwrap_or(least + 2);
        let count = least + self.choices.below(most - least + 1);
        let arguments: Vec<String> = (0..count)
            .map(|index| match function.arg_type(index) {
                Some(ValueType::Matrix) => self.matrix(levels),
                Some(ValueType::Scalar) => self.parameter(name, levels),
                Some(ValueType::String) => format!("\"{}\"", self.label()),
                Some(ValueType::Vector) | None => self.vector(levels),
            })
            .collect();
        format!("{name}({})", arguments.join(", "))
    }

    /// A scalar argument, mostly in the range in which the function does something.
    fn parameter(&mut self, function: &str, levels: usize) -> String {
        let usual: &[&str] = match function {
            "double_exponential_smoothing" | "quantile_over_time" | "histogram_quantile" => {
                &["0.5", "0.9", "0.1", "0.99"]
            }
            "predict_linear" => &["600", "-60", "3600"],
            "round" => &["0.5", "5", "0.1"],
            _ => &[],
        };
        if !usual.is_empty() && !self.choices.chance(30) {
            self.choices.pick(usual).to_owned()
        } else {
            self.scalar(levels)
        }
    }

    fn label(&mut self) -> &'static str {
        self.choices.pick(self.vocabulary.labels)
    }

    fn label_list(&mut self) -> String {
        let count = self.choices.below(3);
        let labels: Vec<&str> = (0..count).map(|_| self.label()).collect();
        labels.join(", ")
    }

    fn label_replace(&mut self, levels: usize) -> String {
        let vector = self.vector(levels);
        let (destination, source) = (self.new_label(), self.label());
        let replacement = self.choices.pick(&["$1", "x", "", "$0-$1", "${1}x", "$2"]);
        let pattern = self.choices.pick(&["(.*)", "(.).*", ".*", "", "(a|b).*", "(.*)-(.*)"]);
        format!(r#"label_replace({vector}, "{destination}", "{replacement}", "{source}", "{pattern}")"#)
    }

    fn label_join(&mut self, levels: usize) -> String {
        let vector = self.vector(levels);
        let (destination, separator) = (self.new_label(), self.choices.pick(&["-", "", ", "]));
        let sources: Vec<String> = (0..self.choices.below(4)).map(|_| format!(", \"{}\"", self.label())).collect();
        format!(r#"label_join({vector}, "{destination}", "{separator}"{})"#, sources.concat())
    }

    fn new_label(&mut self) -> &'static str {
        if self.choices.chance(60) { "new" } else { self.label() }
    }

    fn info(&mut self, levels: usize) -> String {
        let vector = self.vector(levels);
        match self.choices.below(3) {
            0 => format!("info({vector})"),
            1 => format!("info({vector}, {{{}=~\".*\"}})", self.label()),
            _ => format!("info({vector}, {{__name__=~\".*_info|.*_meta\"}})"),
        }
    }

    fn buckets_call(&mut self, levels: usize) -> String {
        let buckets = self.choices.pick(self.vocabulary.buckets);
        let rate = match self.choices.below(3) {
            0 => buckets.to_owned(),
            1 => format!("rate({buckets}[{}])", self.duration()),
            _ => format!("increase({buckets}[{}])", self.duration()),
        };
        let vector = match self.choices.below(3) {
            0 => rate,
            1 => format!("sum by (le, {}) ({rate})", self.label()),
            _ => format!("sum by (le) ({rate})"),
        };
        match self.choices.below(4) {
            0 => format!("histogram_fraction({}, {}, {vector})", self.scalar(0), self.scalar(0)),
            1 if self.vocabulary.features.experimental_functions => {
                format!("histogram_quantiles({vector}, \"q\", 0.1, {})", self.scalar(levels))
            }
            _ => format!("histogram_quantile({}, {vector})", self.parameter("histogram_quantile", levels)),
        }
    }

    fn aggregation(&mut self, levels: usize) -> String {
        let mut operators = vec![
            "sum",
            "avg",
            "count",
            "min",
            "max",
            "group",
            "stddev",
            "stdvar",
            "topk",
            "bottomk",
            "quantile",
            "count_values",
        ];
        if self.vocabulary.features.experimental_functions {
            operators.extend(["limitk", "limit_ratio"]);
        }
        let operator = self.choices.pick(&operators);
        let grouping = match self.choices.pick(GROUPINGS) {
            "" => String::new(),
            word => format!(" {word} ({})", self.label_list()),
        };
        let parameter = match operator {
            "topk" | "bottomk" | "limitk" if self.choices.chance(80) => {
                self.choices.pick(&["1, ", "2, ", "3, ", "7, ", "0, "]).to_owned()
            }
            "quantile" if self.choices.chance(80) => self.choices.pick(&["0.5, ", "0.9, ", "0, ", "1, "]).to_owned(),
            "limit_ratio" if self.choices.chance(80) => self.choices.pick(&["0.5, ", "-0.3, ", "0.9, "]).to_owned(),
            "topk" | "bottomk" | "limitk" | "quantile" | "limit_ratio" => format!("{}, ", self.scalar(levels)),
            "count_values" => format!("\"{}\", ", self.new_label()),
            _ => String::new(),
        };
        format!("{operator}{grouping} ({parameter}{})", self.vector(levels))
    }

    /// Two vectors, mostly such that find each other.
    fn vectors(&mut self, levels: usize) -> String {
        match self.choices.below(6) {
            0 => {
                let (left, matching, right) = self.vocabulary.joins[self.choices.below(self.vocabulary.joins.len())];
                let operator = self.operator(false);
                let fill = self.fill();
                format!("{left} {operator} {matching}{fill} {right}")
            }
            1 | 2 => {
                // The same series, twice looked at.
                let selector = self.bare_selector();
                let operator = self.operator(true);
                let fill = if is_set(operator) { "" } else { self.fill() };
                let (mut left, mut right) = (selector.clone(), selector);
                self.modifiers(&mut left);
                self.modifiers(&mut right);
                if self.choices.chance(40) {
                    right = format!("abs({right})");
                }
                format!("{left} {operator}{fill} {right}")
            }
            3 | 4 => {
                let labels = self.label_list();
                let (one, other) = (self.simple_operator(), self.simple_operator());
                let operator = self.operator(true);
                let fill = if is_set(operator) { "" } else { self.fill() };
                let (left, right) = (self.vector(levels), self.vector(levels));
                format!("{one} by ({labels}) ({left}) {operator} on ({labels}){fill} {other} by ({labels}) ({right})")
            }
            _ => {
                let operator = self.operator(true);
                let matching = match self.choices.below(4) {
                    0 => String::new(),
                    1 => format!(" on ({})", self.label_list()),
                    2 => format!(" ignoring ({})", self.label_list()),
                    _ if is_set(operator) => String::new(),
                    _ => format!(
                        " on ({}) {} ({})",
                        self.label(),
                        self.choices.pick(&["group_left", "group_right"]),
                        self.label_list()
                    ),
                };
                format!("{} {operator}{matching} {}", self.operand(levels), self.operand(levels))
            }
        }
    }

    fn simple_operator(&mut self) -> &'static str {
        self.choices.pick(&["sum", "max", "min", "count", "avg"])
    }

    fn operator(&mut self, sets: bool) -> &'static str {
        const OPERATORS: &[&str] = &[
            "+", "-", "*", "/", "%", "^", "atan2", "==", "!=", ">", "<", ">=", "<=", "== bool", "!= bool", "> bool",
            "< bool", ">= bool", "<= bool", "</", ">/", "and", "or", "unless",
        ];
        self.choices.pick(&OPERATORS[..if sets { OPERATORS.len() } else { OPERATORS.len() - 3 }])
    }

    fn fill(&mut self) -> &'static str {
        if self.vocabulary.features.binop_fill_modifiers && self.choices.chance(15) {
            self.choices.pick(&[" fill (0)", " fill_left (1)", " fill_right (NaN)", " fill_left (2) fill_right (3)"])
        } else {
            ""
        }
    }

    fn vector_and_scalar(&mut self, levels: usize) -> String {
        let operator = self.operator(false);
        let (vector, scalar) = (self.operand(levels), self.scalar(levels));
        if self.choices.chance(40) {
            format!("{scalar} {operator} {vector}")
        } else {
            format!("{vector} {operator} {scalar}")
        }
    }
}

fn is_set(operator: &str) -> bool {
    matches!(operator, "and" | "or" | "unless")
}
