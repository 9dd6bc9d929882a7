# Shortcuts for the scripts. `just` lists them.

[private]
default:
    @just --list --unsorted

# Run the service on SQLite
serve *ARGUMENTS:
    cargo run --locked -- serve {{ ARGUMENTS }}

# Run all tests on all databases
test *ARGUMENTS:
    scripts/test {{ ARGUMENTS }}

# Run the tests that need no database server
test-no-servers *ARGUMENTS:
    scripts/test --no-servers {{ ARGUMENTS }}

# Run clippy, shellcheck and buf
lint:
    cargo clippy --workspace --all-targets --locked -- -D warnings
    shellcheck .ci/run $(grep -lE '^#!.*\bbash$' scripts/*)
    scripts/buf lint

# Format Rust and proto files
fmt:
    cargo fmt --all
    scripts/buf format --write

# Build the documentation of the code
docs:
    RUSTDOCFLAGS="-D warnings" cargo doc --no-deps --workspace --locked

# Measure the service
bench *ARGUMENTS:
    scripts/bench {{ ARGUMENTS }}

# Run fault campaigns
chaos *ARGUMENTS:
    scripts/chaos {{ ARGUMENTS }}

# Fuzz a target of fuzz/fuzz_targets (needs nightly Rust and cargo-fuzz)
fuzz TARGET *ARGUMENTS:
    cargo +nightly fuzz run {{ TARGET }} {{ ARGUMENTS }}

# Run all checks of CI
ci:
    .ci/run
