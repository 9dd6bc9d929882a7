//! The scripts explain themselves.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use super::root;

/// Whether a script has a case for `--help`. One that has none could take it for something else, and do that.
fn has_help(script: &str) -> bool {
    let mut lines = script.lines().map(str::trim_start).filter(|line| !line.starts_with('#'));
    lines.any(|line| line.ends_with("-h | --help)") || line.starts_with("-h | --help) "))
}

/// Runs a script with one argument, for a while at most. Returns its exit status and what it prints.
fn run_script(script: &Path, argument: &str) -> (Option<i32>, String) {
    let mut command = Command::new("timeout");
    command.arg("20").arg(script).arg(argument).stdin(Stdio::null());
    let done = command.output().expect("timeout (coreutils) runs");
    (done.status.code(), String::from_utf8_lossy(&done.stdout).into_owned())
}

#[test]
fn every_script_explains_itself_and_does_nothing_else() {
    let mut scripts = vec![root().join(".ci/run")];
    let entries = fs::read_dir(root().join("scripts")).expect("scripts");
    scripts.extend(entries.map(|entry| entry.expect("an entry").path()).filter(|path| path.is_file()));
    // First of all scripts, by their text: nothing is run that may do something else.
    let texts: Vec<_> = scripts.iter().map(|script| fs::read_to_string(script).expect("text")).collect();
    let without: Vec<_> =
        scripts.iter().zip(&texts).filter(|(_, text)| !has_help(text)).map(|(path, _)| path).collect();
    assert!(without.is_empty(), "no case for `-h | --help)` in {without:?}");
    for (script, text) in scripts.iter().zip(&texts) {
        let head = text.lines().nth(1).expect("a head");
        for argument in ["--help", "-h"] {
            let (status, said) = run_script(script, argument);
            assert_eq!(status, Some(0), "{} {argument}: {said}", script.display());
            assert!(said.starts_with(head.trim_start_matches("# ")), "{} {argument}: {said}", script.display());
        }
    }
    // The others hand arguments on to the programs that they run.
    for script in [
        ".ci/run",
        "scripts/adopt-bench",
        "scripts/attacks",
        "scripts/bench",
        "scripts/chaos",
        "scripts/servers",
        "scripts/test-clients",
        "scripts/vendor-npm",
    ] {
        let (status, said) = run_script(&root().join(script), "--no-such-thing");
        assert_eq!((status, said.as_str()), (Some(2), ""), "{script}");
    }
}

mod made_up_documents {
    use super::*;

    #[test]
    fn a_script_has_help_if_it_has_a_case_for_it() {
        for script in ["case $1 in\n    -h | --help)\n", "-h | --help) usage ;;", "\"\" | -h | --help)"] {
            assert!(has_help(script), "{script}");
        }
        for script in ["rm -rf x", "# -h | --help)", "die \"see --help\"", "#   --help"] {
            assert!(!has_help(script), "{script}");
        }
    }
}
