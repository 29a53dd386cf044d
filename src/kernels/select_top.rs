//! `topk` and `bottomk` of one group at one step.

/// The positions of the `k` largest (`descending`) or smallest values, best first. NaN is the worst value for both; of equal
/// values the one seen first stays, as far as Prometheus' heap lets it.
///
/// Prometheus keeps the kept values in a binary heap with the worst on top and replaces the top by a better value; which
/// of several equal worst values goes then depends on the heap, so the heap is Prometheus' own, move by move
/// (`aggregationK` of v3.14 with Go's `container/heap`).
///
/// | `k` | values | descending | result |
/// |---|---|---|---|
/// | 2 | 1, 3, 2 | true | 1, 2 |
/// | 2 | NaN, 1, NaN | false | 1, 0 |
pub fn select_top(k: usize, descending: bool, values: &[f64]) -> Vec<usize> {
    if k == 0 {
        return Vec::new();
    }
    let mut heap = WorstFirst { values, descending, kept: Vec::with_capacity(k.min(values.len())) };
    for candidate in 0..values.len() {
        if heap.kept.len() < k {
            heap.push(candidate);
        } else if heap.improves(candidate) {
            heap.kept[0] = candidate;
            heap.sift_down();
        }
    }
    heap.into_best_first()
}

/// The positions of `values` in the order in which Prometheus' heap holds them after they were pushed one by one: so
/// `limitk` and `limit_ratio` put out the samples of a group in an instant query. Source: `aggregationK` of v3.14.
///
/// | values | result |
/// |---|---|
/// | 1, 2, 3 | 0, 1, 2 |
/// | 3, 2, 1 | 2, 0, 1 |
pub fn heap_order(values: &[f64]) -> Vec<usize> {
    let mut heap = WorstFirst { values, descending: true, kept: Vec::with_capacity(values.len()) };
    (0..values.len()).for_each(|candidate| heap.push(candidate));
    heap.kept
}

/// Up to so many elements Go's `sort.Sort` is an insertion sort, whose order of equal elements is known.
const INSERTION_SORT_MAX: usize = 12;

struct WorstFirst<'a> {
    values: &'a [f64],
    descending: bool,
    kept: Vec<usize>,
}

impl WorstFirst<'_> {
    /// Is the first position's value worse? True for two NaN, in either order: so is Prometheus' comparison.
    fn is_worse(&self, left: usize, right: usize) -> bool {
        let (left, right) = (self.values[left], self.values[right]);
        left.is_nan() || if self.descending { left < right } else { left > right }
    }

    fn is_worse_at(&self, left: usize, right: usize) -> bool {
        self.is_worse(self.kept[left], self.kept[right])
    }

    /// Should the candidate replace the worst that is kept?
    fn improves(&self, candidate: usize) -> bool {
        let (worst, value) = (self.values[self.kept[0]], self.values[candidate]);
        let is_better = if self.descending { worst < value } else { worst > value };
        is_better || (worst.is_nan() && !value.is_nan())
    }

    fn push(&mut self, candidate: usize) {
        self.kept.push(candidate);
        let mut at = self.kept.len() - 1;
        while at > 0 {
            let parent = (at - 1) / 2;
            if !self.is_worse_at(at, parent) {
                break;
            }
            self.kept.swap(at, parent);
            at = parent;
        }
    }

    fn sift_down(&mut self) {
        let mut at = 0;
        loop {
            let left = 2 * at + 1;
            if left >= self.kept.len() {
                return;
            }
            let right = left + 1;
            let worst = if right < self.kept.len() && self.is_worse_at(right, left) { right } else { left };
            if !self.is_worse_at(worst, at) {
                return;
            }
            self.kept.swap(at, worst);
            at = worst;
        }
    }

    fn into_best_first(mut self) -> Vec<usize> {
        if self.kept.len() <= INSERTION_SORT_MAX {
            self.insertion_sort();
        } else {
            // Go's order of equal elements is an accident of its quicksort here. Ours is the order in which they came.
            let (values, descending) = (self.values, self.descending);
            self.kept.sort_unstable_by(|left, right| {
                let (a, b) = (values[*left], values[*right]);
                let by_value = if descending { b.partial_cmp(&a) } else { a.partial_cmp(&b) };
                by_value.unwrap_or_else(|| a.is_nan().cmp(&b.is_nan())).then(left.cmp(right))
            });
        }
        self.kept
    }

    fn insertion_sort(&mut self) {
        for end in 1..self.kept.len() {
            let mut at = end;
            while at > 0 && self.is_worse_at(at - 1, at) {
                self.kept.swap(at - 1, at);
                at -= 1;
            }
        }
    }
}

/// The `k` of `topk`, `bottomk` and `limitk` where it is the same at every step: 0, which keeps nothing, for anything below
/// 1; fractions are cut. Errors with Prometheus' text.
pub fn parse_k(param: f64) -> Result<usize, String> {
    let per_step = parse_k_per_step(&[param])?;
    Ok(per_step.first().copied().unwrap_or(0))
}

/// The `k` of every step. Errors with Prometheus' text, from its checks in its order: NaN at any step; then, unless every
/// step's is below 1, a value that no `i64` holds.
pub fn parse_k_per_step(params: &[f64]) -> Result<Vec<usize>, String> {
    // As Prometheus v3.14 promql/engine.go: the largest and the smallest float that an int64 holds without overflow.
    const MAX_INT64: f64 = 9_223_372_036_854_774_784.0;
    const MIN_INT64: f64 = -9_223_372_036_854_775_808.0;
    if params.iter().any(|param| param.is_nan()) {
        return Err("Parameter value is NaN".to_owned());
    }
    let (mut least, mut most) = (f64::INFINITY, f64::NEG_INFINITY);
    for param in params {
        least = least.min(*param);
        most = most.max(*param);
    }
    if most < 1.0 {
        return Ok(vec![0; params.len()]);
    }
    if least <= MIN_INT64 {
        return Err(format!("Scalar value {} underflows int64", go_large_float(least)));
    }
    if most >= MAX_INT64 {
        return Err(format!("Scalar value {} overflows int64", go_large_float(most)));
    }
    Ok(params.iter().map(|param| if *param < 1.0 { 0 } else { *param as usize }).collect())
}

/// As Go's `%v` prints a float of 1e21 and above, or infinite: exponent with its sign.
fn go_large_float(value: f64) -> String {
    if value.is_infinite() {
        return if value > 0.0 { "+Inf".to_owned() } else { "-Inf".to_owned() };
    }
    let text = format!("{value:e}");
    match text.split_once('e') {
        Some((digits, exponent)) => format!("{digits}e+{exponent:0>2}"),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NAN: f64 = f64::NAN;

    #[test]
    fn the_best_come_first() {
        assert_eq!(select_top(2, true, &[1.0, 3.0, 2.0]), [1, 2]);
        assert_eq!(select_top(2, false, &[1.0, 3.0, 2.0]), [0, 2]);
        assert_eq!(select_top(9, true, &[1.0, 3.0, 2.0]), [1, 2, 0]);
        assert_eq!(select_top(0, true, &[1.0]), [0usize; 0]);
        assert_eq!(select_top(usize::MAX, false, &[]), [0usize; 0]);
    }

    #[test]
    fn a_heap_holds_the_smallest_first_and_nan_before_it() {
        assert_eq!(heap_order(&[1.0, 2.0, 3.0]), [0, 1, 2]);
        assert_eq!(heap_order(&[3.0, 2.0, 1.0]), [2, 0, 1]);
        assert_eq!(heap_order(&[1.0, NAN, 0.0]), [1, 0, 2]);
        assert_eq!(heap_order(&[]), [0usize; 0]);
    }

    #[test]
    fn nan_is_the_worst_for_both() {
        assert_eq!(select_top(1, true, &[NAN, -1.0, NAN]), [1]);
        assert_eq!(select_top(1, false, &[NAN, 1.0, NAN]), [1]);
        assert_eq!(select_top(2, false, &[NAN, 1.0, NAN]), [1, 0]);
        assert_eq!(select_top(2, true, &[NAN, f64::NEG_INFINITY]), [1, 0]);
    }

    #[test]
    fn of_equal_values_the_first_seen_stays() {
        assert_eq!(select_top(1, true, &[5.0, 5.0, 5.0]), [0]);
        assert_eq!(select_top(2, false, &[5.0, 5.0, 5.0]), [0, 1]);
        // The heap's top goes, though both were seen before: as in Prometheus.
        assert_eq!(select_top(2, true, &[5.0, 5.0, 6.0]), [2, 1]);
    }

    #[test]
    fn k_is_checked_with_prometheus_texts() {
        assert_eq!(parse_k(2.9), Ok(2));
        assert_eq!(parse_k(0.9), Ok(0));
        assert_eq!(parse_k(-5.0), Ok(0));
        assert_eq!(parse_k(f64::NEG_INFINITY), Ok(0));
        assert_eq!(parse_k(NAN), Err("Parameter value is NaN".to_owned()));
        assert_eq!(parse_k(f64::INFINITY), Err("Scalar value +Inf overflows int64".to_owned()));
        assert_eq!(parse_k(9.3e18), Err("Scalar value 9.3e+18 overflows int64".to_owned()));
        assert_eq!(parse_k(1e200), Err("Scalar value 1e+200 overflows int64".to_owned()));
        assert_eq!(parse_k_per_step(&[1.0, -1e19]), Err("Scalar value -1e+19 underflows int64".to_owned()));
        assert_eq!(parse_k_per_step(&[0.0, -1e19]), Ok(vec![0, 0]));
        assert_eq!(parse_k_per_step(&[0.5, 3.0]), Ok(vec![0, 3]));
        assert_eq!(parse_k_per_step(&[3.0, NAN]), Err("Parameter value is NaN".to_owned()));
    }

    proptest! {
        #[test]
        fn what_is_kept_is_the_head_of_a_sort(
            k in 0usize..30,
            descending in any::<bool>(),
            values in proptest::collection::vec(prop_oneof![6 => (-5i32..5).prop_map(f64::from), 1 => Just(NAN)], 0..40),
        ) {
            let mut sorted: Vec<f64> = values.clone();
            sorted.sort_by(|a, b| {
                let order = if descending { b.partial_cmp(a) } else { a.partial_cmp(b) };
                order.unwrap_or_else(|| a.is_nan().cmp(&b.is_nan()))
            });
            let kept = select_top(k, descending, &values);
            let got: Vec<String> = kept.iter().map(|at| values[*at].to_string()).collect();
            let slow: Vec<String> = sorted.iter().take(k).map(f64::to_string).collect();
            prop_assert_eq!(got, slow);
            let distinct: std::collections::HashSet<usize> = kept.iter().copied().collect();
            prop_assert_eq!(distinct.len(), kept.len());
        }
    }
}
