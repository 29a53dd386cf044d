//! Text that means the same to every server: no `start()`, no arithmetic between durations, no default step.

use crate::error::Error;
use crate::model::DurationMs;
use crate::promql::preprocess::QueryBounds;
use crate::syntax::{AtModifier, DurationExpr, DurationExprKind, NumberLiteral, VectorSelector};

/// A length as a literal.
pub fn literal(length: DurationMs) -> DurationExpr {
    let number = NumberLiteral { value: length.0 as f64 / 1000.0, duration: true };
    DurationExpr { kind: DurationExprKind::Literal(number), span: 0..0 }
}

/// An offset as a literal; none where it is zero.
pub fn offset(bounds: &QueryBounds, offset: Option<&DurationExpr>) -> Result<Option<DurationExpr>, Error> {
    let length = bounds.offset(offset)?;
    Ok((length.0 != 0).then(|| literal(length)))
}

/// The time of an `@`.
pub fn at(bounds: &QueryBounds, at: Option<AtModifier>) -> Option<AtModifier> {
    at.map(|at| AtModifier::Timestamp(bounds.resolve(at)))
}

/// A selector without anything that only this query knows.
pub fn selector(bounds: &QueryBounds, selector: &VectorSelector) -> Result<VectorSelector, Error> {
    Ok(VectorSelector {
        name: selector.name.clone(),
        matchers: selector.matchers.clone(),
        offset: offset(bounds, selector.offset.as_ref())?,
        at: at(bounds, selector.at),
        extension: selector.extension,
    })
}
