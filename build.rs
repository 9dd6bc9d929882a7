//! Compiles the proto in pure Rust (protox), so that nobody needs to install protoc.

use std::error::Error;
use std::path::PathBuf;
use std::{env, fs};

const SERVICES: [&str; 1] = ["proto/identity/v1/identity_service.proto"];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=proto");

    let mut compiler = protox::Compiler::new(["proto"])?;
    // Comments and imports go along: reflection serves this very set.
    compiler.include_source_info(true).include_imports(true).open_files(SERVICES)?;

    // Encoded by protox, not through prost, which would drop the `google.api.http` options.
    let descriptors = PathBuf::from(env::var("OUT_DIR")?).join("identity_descriptor.bin");
    fs::write(descriptors, compiler.encode_file_descriptor_set())?;

    tonic_prost_build::configure().compile_fds(compiler.file_descriptor_set())?;
    Ok(())
}
