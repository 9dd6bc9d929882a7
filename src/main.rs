//! The binary `identity`.
fn main() {}
