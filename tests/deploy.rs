//! The files with which the service is deployed: `scripts/check-deploy` checks them with this build of the service.

#![expect(clippy::expect_used, reason = "a test fails by panicking")]

use std::env;
use std::process::Command;

/// The exit status of the script if a tool is not installed.
const TOOL_IS_MISSING: i32 = 3;

/// Without a tool the test fails under `scripts/test` and `.ci/run`, which install the tools. Elsewhere it says so.
#[test]
fn the_files_for_deployment_fit_their_tools_and_the_service() {
    let mut script = Command::new("scripts/check-deploy");
    script.args(["--binary", env!("CARGO_BIN_EXE_identity")]).current_dir(env!("CARGO_MANIFEST_DIR"));
    let output = script.output().expect("the script runs");
    let text = String::from_utf8_lossy(&output.stderr);
    let are_tools_optional = ["TEST_REQUIRE_ALL", "TEST_REQUIRE_TOOLS"].iter().all(|name| env::var_os(name).is_none());
    if output.status.code() == Some(TOOL_IS_MISSING) && are_tools_optional {
        eprintln!("not checked: {text}");
        return;
    }
    assert!(output.status.success(), "{}\n{text}", output.status);
}
