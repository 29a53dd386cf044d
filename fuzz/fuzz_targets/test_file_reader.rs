#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| quiver::testing::fuzzing::test_file_reader(input));
