//! Its body, and what it asserts, is in `downloader-ftp/src/fuzzing.rs`.
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| downloader_ftp::fuzzing::ftp_reply(data));
