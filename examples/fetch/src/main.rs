//! The command line of the download engine.
fn main() {}
