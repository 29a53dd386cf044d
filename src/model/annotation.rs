//! Warnings and infos of a query, gathered while it runs.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use parking_lot::Mutex;

/// How grave an annotation is.
#[derive(Copy, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum AnnotationKind {
    /// The answer may be wrong or incomplete.
    Warning,
    /// Something worth knowing.
    Info,
}

/// One warning or info.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Annotation {
    /// Warning or info.
    pub kind: AnnotationKind,
    /// The whole text, with its `PromQL warning: ` prefix where it has one.
    pub text: String,
    /// Byte range in the query, where it concerns a part of it.
    pub span: Option<Range<usize>>,
}

impl Annotation {
    /// A warning of the PromQL engine: gets Prometheus' prefix.
    pub fn promql_warning(text: impl fmt::Display, span: Range<usize>) -> Self {
        Self { kind: AnnotationKind::Warning, text: format!("PromQL warning: {text}"), span: Some(span) }
    }

    /// An info of the PromQL engine: gets Prometheus' prefix.
    pub fn promql_info(text: impl fmt::Display, span: Range<usize>) -> Self {
        Self { kind: AnnotationKind::Info, text: format!("PromQL info: {text}"), span: Some(span) }
    }

    /// A warning about something outside of the query, such as a replica that failed.
    pub fn warning(text: impl Into<String>) -> Self {
        Self { kind: AnnotationKind::Warning, text: text.into(), span: None }
    }

    /// The text with its ` (line:col)`, counted in the query it belongs to.
    pub fn render(&self, query: &str) -> String {
        match &self.span {
            None => self.text.clone(),
            Some(span) => {
                let (line, column) = line_and_column(query, span.start);
                format!("{} ({line}:{column})", self.text)
            }
        }
    }
}

/// One-based line and column (in bytes, as Prometheus counts) of a byte offset.
pub fn line_and_column(query: &str, offset: usize) -> (usize, usize) {
    let before = &query.as_bytes()[..offset.min(query.len())];
    let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
    let line_start = before.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    (line, before.len() - line_start + 1)
}

/// Collects annotations from everything that works for one query. Bounded: see [`AnnotationSink::add`].
#[derive(Clone, Default, Debug)]
pub struct AnnotationSink(Arc<Mutex<Vec<Kept>>>);

#[derive(Debug)]
struct Kept {
    annotation: Annotation,
    /// 0 where nobody counts.
    occurrences: usize,
}

/// More distinct annotations than this are not kept: the API shows ten of each kind.
const KEPT_MAX: usize = 1_000;

impl AnnotationSink {
    /// Adds one. Two with the same kind and text are one: as in Prometheus, that of the expression which is evaluated last.
    pub fn add(&self, annotation: Annotation) {
        self.add_occurrences(annotation, 0);
    }

    /// Adds one that tells how often it occurred, over all that are the same: `… (3 occurrences)`. Once is not told.
    pub fn add_occurrences(&self, annotation: Annotation, occurrences: usize) {
        let mut all = self.0.lock();
        let is_same = |other: &&mut Kept| {
            other.annotation.kind == annotation.kind && other.annotation.text == annotation.text //
        };
        let has_room = all.len() < KEPT_MAX;
        match all.iter_mut().find(is_same) {
            Some(same) => {
                same.occurrences = same.occurrences.saturating_add(occurrences);
                if is_evaluated_later(&annotation.span, &same.annotation.span) {
                    same.annotation.span = annotation.span;
                }
            }
            None if has_room => all.push(Kept { annotation, occurrences }),
            None => {}
        }
    }

    /// What has been gathered, in order of arrival.
    pub fn snapshot(&self) -> Vec<Annotation> {
        let told = |kept: &Kept| {
            let mut annotation = kept.annotation.clone();
            if kept.occurrences > 1 {
                annotation.text.push_str(&format!(" ({} occurrences)", kept.occurrences));
            }
            annotation
        };
        self.0.lock().iter().map(told).collect()
    }
}

/// An expression is evaluated after those inside of it and after those left of it. We evaluate in another order, so the places
/// tell.
fn is_evaluated_later(span: &Option<Range<usize>>, other: &Option<Range<usize>>) -> bool {
    match (span, other) {
        (Some(span), Some(other)) => {
            let encloses = |outer: &Range<usize>, inner: &Range<usize>| {
                outer != inner && outer.start <= inner.start && outer.end >= inner.end
            };
            encloses(span, other) || (span.start > other.start && !encloses(other, span))
        }
        (span, other) => span.is_some() && other.is_none(),
    }
}

/// Two sinks are equal when they are the same sink: plans that report to different queries differ.
impl PartialEq for AnnotationSink {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}
impl Eq for AnnotationSink {}
impl std::hash::Hash for AnnotationSink {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        (Arc::as_ptr(&self.0) as usize).hash(state);
    }
}
impl PartialOrd for AnnotationSink {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        (Arc::as_ptr(&self.0) as usize).partial_cmp(&(Arc::as_ptr(&other.0) as usize))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_counted_from_one() {
        let note = Annotation::promql_warning("bad", 6..9);
        assert_eq!(note.render("sum(\n rate"), "PromQL warning: bad (2:2)");
        assert_eq!(note.render(""), "PromQL warning: bad (1:1)");
    }

    #[test]
    fn the_same_annotation_is_kept_once() {
        let sink = AnnotationSink::default();
        sink.add(Annotation::warning("a"));
        sink.add(Annotation::warning("a"));
        assert_eq!(sink.snapshot(), [Annotation::warning("a")]);
    }

    #[test]
    fn occurrences_are_counted_where_somebody_counts() {
        let sink = AnnotationSink::default();
        sink.add_occurrences(Annotation::promql_warning("once", 3..4), 1);
        for (count, at) in [(2, 5..6), (1, 1..2)] {
            sink.add_occurrences(Annotation::promql_warning("often", at), count);
        }
        let told: Vec<String> = sink.snapshot().iter().map(|annotation| annotation.render("0123456789")).collect();
        assert_eq!(told, ["PromQL warning: once (1:4)", "PromQL warning: often (3 occurrences) (1:6)"]);
    }

    #[test]
    fn the_last_place_in_the_query_stands_for_all() {
        let sink = AnnotationSink::default();
        for at in [5..6, 9..10, 7..8] {
            sink.add(Annotation::promql_info("odd", at));
        }
        sink.add(Annotation::promql_warning("odd", 1..2));
        assert_eq!(sink.snapshot(), [Annotation::promql_info("odd", 9..10), Annotation::promql_warning("odd", 1..2)]);
    }

    #[test]
    fn the_place_of_an_outer_expression_stands_for_those_inside_whichever_comes_first() {
        for spans in [[4..16, 9..15], [9..15, 4..16]] {
            let sink = AnnotationSink::default();
            spans.into_iter().for_each(|span| sink.add(Annotation::promql_warning("odd", span)));
            assert_eq!(sink.snapshot(), [Annotation::promql_warning("odd", 4..16)]);
        }
    }
}
