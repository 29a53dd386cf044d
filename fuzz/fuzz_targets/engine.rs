#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    if std::env::var_os("SHOW").is_some() {
        eprintln!("{}", quiver::testing::fuzzing::describe_engine_input(input));
    }
    quiver::testing::fuzzing::engine(input);
});
