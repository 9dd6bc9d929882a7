//! Compiles the proto in pure Rust (protox), so that nobody needs to install protoc.

use std::error::Error;
use std::path::PathBuf;
use std::{env, fs};

const SERVICES: [&str; 1] = ["proto/identity/v1/identity_service.proto"];

/// The details of errors. No message refers to them, but without their descriptors a tool shows bytes.
const DETAILS: [&str; 1] = ["proto/google/rpc/error_details.proto"];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=proto");

    let mut compiler = protox::Compiler::new(["proto"])?;
    // Comments and imports go along: reflection serves this very set.
    compiler.include_source_info(true).include_imports(true).open_files(SERVICES)?.open_files(DETAILS)?;

    // Encoded by protox, not through prost, which would drop the `google.api.http` options.
    let descriptors = PathBuf::from(env::var("OUT_DIR")?).join("identity_descriptor.bin");
    fs::write(descriptors, compiler.encode_file_descriptor_set())?;

    tonic_prost_build::configure()
        .extern_path(".google.rpc", "::tonic_types::pb")
        .compile_fds(compiler.file_descriptor_set())?;
    Ok(())
}
