#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| lettercase::fuzzing::files::compound(data));
