//! Its body, and what it asserts, is in `downloader-core/src/fuzzing.rs`.
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| downloader_core::fuzzing::netrc(data));
