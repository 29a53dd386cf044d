//! L1: batches → bytes, as Prometheus prints them.

mod number;

pub use number::{
    format_exponent_float, format_plain_float, write_api_float, write_exponent_float, write_float_seconds,
    write_plain_float, write_timestamp,
};
