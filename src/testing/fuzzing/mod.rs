//! Bodies of the fuzz targets of the folder `fuzz/`: bytes in, a panic where a promise is broken.
//!
//! They live here so that `cargo test` runs them over the corpora that were committed (`tests/fuzz_corpora.rs`), and so that
//! the queries of [`QueryGenerator`] can also be put to real servers (`tests/real_prometheus`).

mod choices;
mod chunks;
mod engine;
mod parser;
mod query_generator;
mod random_series;
mod split;
mod test_file_reader;

pub use choices::Choices;
pub use chunks::{chunk, chunk_stream};
pub use engine::{describe_engine_input, engine};
pub use parser::parser;
pub use query_generator::{QueryGenerator, Vocabulary};
pub use split::{SplitCase, Tolerance};
pub use test_file_reader::test_file_reader;

/// A target's name, which is that of its folder in `fuzz/corpus`, and its body.
pub type Target = (&'static str, fn(&[u8]));

/// All targets.
pub const TARGETS: [Target; 5] = [
    ("parser", parser),
    ("test_file_reader", test_file_reader),
    ("engine", engine),
    ("chunk", chunk),
    ("chunk_stream", chunk_stream),
];
