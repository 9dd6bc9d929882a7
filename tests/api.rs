//! The description of the JSON API and the pages for people, with the tools of others: `scripts/check-api` and
//! `scripts/fuzz-http` run this build of the service.

#![expect(clippy::expect_used, reason = "a test fails by panicking")]
#![expect(clippy::print_stderr, reason = "the test says what it does not check")]

use std::env;
use std::process::Command;

/// The exit status of the scripts if a tool is not installed.
const TOOL_IS_MISSING: i32 = 3;

/// Runs a script with the binary. Without a tool it says so; with `TEST_REQUIRE_TOOLS`, which `.ci/run` and (on Debian
/// as root) `scripts/test` set, it fails.
fn check(script: &str, arguments: &[&str]) {
    let mut command = Command::new(script);
    command.args(["--binary", env!("CARGO_BIN_EXE_identity")]).args(arguments);
    let output = command.current_dir(env!("CARGO_MANIFEST_DIR")).output().expect("the script runs");
    let text = [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned()).concat();
    if output.status.code() == Some(TOOL_IS_MISSING) && env::var_os("TEST_REQUIRE_TOOLS").is_none() {
        eprintln!("not checked: {text}");
        return;
    }
    assert!(output.status.success(), "{}\n{text}", output.status);
}

#[test]
fn the_description_is_valid() {
    check("scripts/check-api", &["document"]);
}

#[test]
fn the_page_of_the_api_works_in_a_browser() {
    check("scripts/check-api", &["page"]);
}

#[test]
fn the_page_of_the_graph_works_in_a_browser() {
    check("scripts/check-api", &["graph"]);
}

/// With the same requests each time. `scripts/fuzz-http` alone goes on with others.
#[test]
fn the_service_does_as_its_description_says() {
    check("scripts/fuzz-http", &["--examples", "20"]);
}
