//! L0: the vocabulary. No I/O, and nothing waits but for the turn of its own query (`query_slots.rs`); every other room speaks in these words.

mod annotation;
mod chunk_encoding;
mod duration;
mod evaluation_mode;
mod exemplar;
mod gateway_path;
mod go_regex;
mod held_tables;
mod labels;
mod labels_hash;
mod letter_case;
mod matcher;
mod md5;
mod memory_budget;
mod metric_metadata;
mod native_histogram;
mod part_evaluation;
mod partial_response;
mod query_context;
mod query_value;
mod relabel;
mod remote_read_headers;
mod samples_table;
mod selector;
mod series_request;
mod series_schema;
mod series_stream;
mod staleness;
mod step_grid;
mod steps_table;
mod stream_order;
mod table_size;
mod target_report;
mod timestamp;

pub use annotation::{Annotation, AnnotationKind, AnnotationSink};
pub use chunk_encoding::ChunkEncoding;
pub use duration::{DurationMs, ParseDurationError};
pub use evaluation_mode::{EvaluationMode, UnknownEvaluationMode};
pub use exemplar::{Exemplar, ExemplarSet, SeriesExemplars};
pub use gateway_path::{GatewayId, LOOP_HEADER, PATH_HEADER};
pub use go_regex::{GoRegex, GoRegexError};
pub use held_tables::{held_tables, hold_tables};
pub use labels::{
    EncodedLabelName, EncodedLabels, EncodedLabelsBuilder, LabelNames, LabelPairsError, Labels, LabelsBuilder,
    LabelsError, LabelsRef, METRIC_NAME,
};
pub use labels_hash::labels_hash;
pub use letter_case::LetterCase;
pub use matcher::{CompiledMatcher, CompiledMatchers, MatchOp, Matcher};
pub use memory_budget::{Held, ProcessBudget, QueryBudget, QueryLimits};
pub use metric_metadata::MetricMetadata;
pub use native_histogram::{
    BucketSpan, Buckets, CUSTOM_BUCKETS_SCHEMA, CounterResetHint, EXPONENTIAL_SCHEMA_MAX, EXPONENTIAL_SCHEMA_MIN,
    HistogramBucket, HistogramList, HistogramListBuilder, NativeHistogram, Sample, TimedHistogram, bucket_bound,
    histogram_list_type, histogram_size,
};
pub use part_evaluation::{EvaluatedBy, PartEvaluation, PartEvaluations};
pub use partial_response::{PartAnswers, PartialResponse, SourcePolicy};
pub use query_context::QueryContext;
pub use query_value::QueryValue;
pub use relabel::{RelabelAction, RelabelRule, relabel};
pub use remote_read_headers::{START_TIMES_HEADER, WITHOUT_STALE_MARKERS_HEADER};
pub use samples_table::{SamplesTable, SamplesTableBuilder, StartedSample};
pub use selector::{Selector, format_label_name, quote_label_value};
pub use series_request::{MetadataRequest, SelectForm, SelectRequest};
pub use series_schema::{
    COLUMN_LABELS, COLUMN_SAMPLE_TIMES, COLUMN_SAMPLES, COLUMN_VALUES, SamplesColumn, ValuesColumn, no_start_times,
    samples_column, samples_schema, samples_timestamps, samples_type, step_count_of_type, steps_schema,
    timed_steps_schema, values_column, values_type,
};
pub use series_stream::SeriesStream;
pub use staleness::{STALE_MARKER_BITS, is_stale, stale_marker};
pub use step_grid::StepGrid;
pub use steps_table::{StepCells, StepsTable, StepsTableBuilder};
pub use stream_order::StreamOrder;
pub use table_size::TableSize;
pub use target_report::{RequestState, RunningRequest, TargetProgress, TargetReport, TargetReports};
pub use timestamp::TimestampMs;
