//! Coarser schemas.

use super::side::Side;
use crate::model::{Buckets, CounterResetHint, NativeHistogram};

/// The histogram in a coarser exponential schema, its buckets merged; without its reset hint if it had to change. As
/// Prometheus v3.14 `CopyToSchema`. Custom buckets, and schemas that are not coarser, are returned as they are.
pub fn to_schema(histogram: &NativeHistogram, schema: i32) -> NativeHistogram {
    if schema >= histogram.schema || histogram.uses_custom_buckets() {
        return histogram.clone();
    }
    let reduced = |buckets: &Buckets| {
        let mut side = Side::<f64>::of(buckets, 1.0);
        side.reduce(histogram.schema, schema);
        side.to_buckets()
    };
    NativeHistogram {
        counter_reset_hint: CounterResetHint::Unknown,
        schema,
        positive: reduced(&histogram.positive),
        negative: reduced(&histogram.negative),
        ..histogram.clone()
    }
}
