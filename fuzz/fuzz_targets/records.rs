#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| lettercase::fuzzing::records::records(data));
