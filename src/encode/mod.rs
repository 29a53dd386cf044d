//! L1: batches → bytes, as Prometheus prints them.

mod chunk;
mod chunk_stream;
mod envelope;
mod exemplars_json;
mod federate;
mod histogram_json;
mod histogram_text;
mod json;
mod labels_json;
mod metadata_json;
mod number;
mod protobuf;
mod read_response;
mod text;

pub use chunk::{
    CHUNK_SAMPLES, ChunkOptions, EncodedChunk, StartTimeChunks, encode_row_chunks, encode_row_chunks_as,
    encode_xor_chunks,
};
pub use chunk_stream::{FRAME_BYTES, write_frame, write_series_frames};
pub use envelope::{encode_data, error_response};
pub use exemplars_json::encode_exemplars;
pub use federate::{ExpositionFormat, ExpositionKind, FederatedChunks, NameEscaping};
pub use histogram_text::format_histogram;
pub use json::{QueryResponseChunks, TRUNCATED_WARNING, encode_query_response, truncate_series};
pub use labels_json::{encode_series, encode_strings};
pub use metadata_json::encode_metric_metadata;
pub use number::{
    format_exponent_float, format_general_float, format_plain_float, write_api_float, write_exponent_float,
    write_float_seconds, write_general_float, write_plain_float, write_timestamp,
};
pub use read_response::ReadResponseEncoder;
