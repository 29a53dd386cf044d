//! What `/api/v1/metadata` knows of a metric.

/// Type, help and unit of a metric name, as one target reports them.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
pub struct MetricMetadata {
    /// `counter`, `gauge`, `histogram`, `summary`, `unknown`, …
    #[serde(rename = "type", default)]
    pub metric_type: String,
    /// The help text.
    #[serde(default)]
    pub help: String,
    /// The unit, often empty.
    #[serde(default)]
    pub unit: String,
}
