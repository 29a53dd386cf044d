//! Exemplars: single observations that a series points to, such as the trace of one request.

use super::{Held, Labels, TimestampMs};

/// One observation.
#[derive(Clone, PartialEq, Debug)]
pub struct Exemplar {
    /// Of the exemplar, such as a trace id; no labels of the series.
    pub labels: Labels,
    /// What was observed.
    pub value: f64,
    /// When.
    pub timestamp: TimestampMs,
}

/// The exemplars of one series.
#[derive(Clone, PartialEq, Debug)]
pub struct SeriesExemplars {
    /// The labels of the series.
    pub series: Labels,
    /// Its exemplars, by time.
    pub exemplars: Vec<Exemplar>,
}

impl SeriesExemplars {
    /// How many bytes it takes in memory, about.
    pub fn byte_count(&self) -> usize {
        let of_exemplar = |exemplar: &Exemplar| size_of::<Exemplar>() + byte_count(&exemplar.labels);
        size_of::<Self>() + byte_count(&self.series) + self.exemplars.iter().map(of_exemplar).sum::<usize>()
    }
}

fn byte_count(labels: &Labels) -> usize {
    labels.iter().map(|(name, value)| size_of::<(Box<str>, Box<str>)>() + name.len() + value.len()).sum()
}

/// Exemplars of many series, with the guards that count them.
#[derive(Debug, Default)]
pub struct ExemplarSet {
    /// Of each series; where servers answer, in any order.
    pub series: Vec<SeriesExemplars>,
    /// Counts them: to be dropped with them.
    pub held: Vec<Held>,
}
