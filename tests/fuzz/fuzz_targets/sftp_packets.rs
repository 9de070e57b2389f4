//! Its body, and what it asserts, is in `downloader-sftp/src/fuzzing.rs`.
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| downloader_sftp::fuzzing::packets(data));
