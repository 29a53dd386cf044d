#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| quiver::testing::fuzzing::chunk_stream(input));
