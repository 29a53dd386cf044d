//! In which format an exposition is written.

use super::NameEscaping;

/// The syntax of an exposition.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum ExpositionKind {
    /// Prometheus' text format 0.0.4.
    Text,
    /// OpenMetrics 1.0.0.
    OpenMetrics,
    /// OpenMetrics 0.0.1: other in its name only.
    OpenMetricsDraft,
    /// Delimited protobuf messages: the only one with words for native histograms.
    Protobuf,
}

impl ExpositionKind {
    /// Is it OpenMetrics of any version?
    pub fn is_open_metrics(self) -> bool {
        matches!(self, Self::OpenMetrics | Self::OpenMetricsDraft)
    }
}

/// A syntax, and what becomes of names that old readers do not know.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct ExpositionFormat {
    /// The syntax.
    pub kind: ExpositionKind,
    /// What becomes of names.
    pub escaping: NameEscaping,
}

impl ExpositionFormat {
    /// As it stands in a `Content-Type`.
    pub fn content_type(self) -> String {
        let media_type = match self.kind {
            ExpositionKind::Text => "text/plain; version=0.0.4; charset=utf-8",
            ExpositionKind::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            ExpositionKind::OpenMetricsDraft => "application/openmetrics-text; version=0.0.1; charset=utf-8",
            ExpositionKind::Protobuf => {
                "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited"
            }
        };
        format!("{media_type}; escaping={}", self.escaping.name())
    }
}
