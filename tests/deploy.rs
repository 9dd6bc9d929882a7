//! The files with which the service is deployed: `scripts/check-deploy` checks them with this build of the service.

#![expect(clippy::print_stderr, reason = "the test says what it does not check")]

use std::env;
use std::process::Command;

/// The exit status of the script if a tool is not installed.
const TOOL_IS_MISSING: i32 = 3;

/// Without a tool the test says so; with `TEST_REQUIRE_TOOLS`, which `.ci/run` and (on Debian as root) `scripts/test`
/// set, it fails.
#[test]
fn the_files_for_deployment_fit_their_tools_and_the_service() {
    let mut script = Command::new("scripts/check-deploy");
    script.args(["--binary", env!("CARGO_BIN_EXE_identity")]).current_dir(env!("CARGO_MANIFEST_DIR"));
    let output = script.output().expect("the script runs");
    let text = String::from_utf8_lossy(&output.stderr);
    if output.status.code() == Some(TOOL_IS_MISSING) && env::var_os("TEST_REQUIRE_TOOLS").is_none() {
        eprintln!("not checked: {text}");
        return;
    }
    assert!(output.status.success(), "{}\n{text}", output.status);
}
