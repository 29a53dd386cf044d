//! L1: bytes → batches. Streaming, no sockets: whoever holds the socket feeds the bytes in as they arrive.

mod chunk;
mod chunk_stream;
mod error;
mod exemplars_json;
mod flight;
mod gzip;
mod histogram_layout;
mod json;
mod label_json;
mod protobuf;
mod read_request;
mod remote_read_samples;
mod series_builder;
mod status_json;

pub use chunk::{ChunkDecoder, ChunkError, ChunkProblem, SampleSink, TimeWindow};
pub use chunk_stream::{ChunkStreamDecoder, ChunkStreamLimits, EverySeries, SeriesFilter};
pub use error::DecodeError;
pub use exemplars_json::decode_exemplars;
pub use flight::{
    FLIGHT_FORMAT, FlightDecoder, FlightForm, FlightQuestion, FlightRemarks, StepTimes, decode_flight_remarks,
    samples_at_steps,
};
pub use gzip::{ContentDecoder, ContentEncoding};
pub use histogram_layout::HistogramLayoutError;
pub use json::{DecodeLimits, DecodedResult, QueryResponse, QueryResponseDecoder, ResponseStatus};
pub use label_json::{ApiResponse, decode_error_body, decode_metric_metadata, decode_series, decode_strings};
pub use read_request::{READ_REQUEST_BYTES_MAX, ReadHints, ReadQuery, ReadRequest, decode_read_request};
pub use remote_read_samples::{ReadSamplesLimits, decode_read_samples};
pub use status_json::{BuildInfo, QuiverInfo, StatusConfig, decode_build_info, decode_status_config};
