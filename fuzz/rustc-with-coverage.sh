#!/bin/sh
# A rustc that marks edges and comparisons in our own crate and in the targets, for libFuzzer; every other crate is left as it
# is. Cargo calls it as `RUSTC_WRAPPER`; the compiler's path is its first argument.
rustc=$1
shift
case " $* " in
*" --crate-name quiver "* | *" --crate-name parser "* | *" --crate-name test_file_reader "* | *" --crate-name engine "*)
    exec "$rustc" "$@" --cfg fuzzing -Ccodegen-units=4 -Cpasses=sancov-module \
        -Cllvm-args=-sanitizer-coverage-level=4 -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
        -Cllvm-args=-sanitizer-coverage-pc-table -Cllvm-args=-sanitizer-coverage-trace-compares
    ;;
*) exec "$rustc" "$@" ;;
esac
