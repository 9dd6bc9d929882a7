//! `identity completions` and `identity man`: what the shell and the tools of manuals make of them.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
#![expect(clippy::print_stderr, reason = "the test says what it does not check")]

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Command, Output};
use std::{env, fs, str};

use identity::commands::clap_command;

fn identity(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_identity")).env_clear().args(arguments).output().unwrap()
}

fn printed(arguments: &[&str]) -> String {
    let output = identity(arguments);
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// Returns what bash offers for the last of these words.
fn completed(words: &[&str]) -> Vec<String> {
    // The function of the completions finds its words in variables, and leaves what it finds in another.
    const SCRIPT: &str = r#"
        source "$1" || exit 1
        shift
        COMP_WORDS=("$@")
        COMP_CWORD=$(($# - 1))
        complete -p identity >/dev/null || exit 1
        _identity identity "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}"
        printf '%s\n' "${COMPREPLY[@]}"
    "#;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("identity.bash");
    fs::write(&file, printed(&["completions", "bash"])).unwrap();
    let mut bash = Command::new("bash");
    bash.args(["--norc", "--noprofile", "-c", SCRIPT, "bash"]).arg(&file).args(words);
    let output = bash.current_dir(folder.path()).output().unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    str::from_utf8(&output.stdout).unwrap().lines().map(str::to_owned).collect()
}

#[test]
fn bash_completes_commands_flags_and_values() {
    assert_eq!(completed(&["identity", "mig"]), ["migrate"]);
    assert_eq!(completed(&["identity", "migrate", "sta"]), ["status"]);
    assert_eq!(completed(&["identity", "--phone-r"]), ["--phone-region"]);
    // A setting may stand behind the command.
    assert_eq!(completed(&["identity", "serve", "--phone-r"]), ["--phone-region"]);
    assert_eq!(completed(&["identity", "verify", "--rep"]), ["--repair"]);
    assert_eq!(completed(&["identity", "completions", "z"]), ["zsh"]);
    let all: BTreeSet<_> = completed(&["identity", ""]).into_iter().collect();
    for command in clap_command().get_subcommands() {
        assert!(all.contains(command.get_name()), "{}", command.get_name());
    }
}

#[test]
fn each_shell_gets_completions_of_every_command() {
    let shells = ["bash", "elvish", "fish", "powershell", "zsh"];
    let mut seen = BTreeSet::new();
    for shell in shells {
        let script = printed(&["completions", shell]);
        for command in clap_command().get_subcommands() {
            assert!(script.contains(command.get_name()), "{shell}: {}", command.get_name());
        }
        assert!(script.contains("drain-timeout"), "{shell}");
        seen.insert(script);
    }
    assert_eq!(seen.len(), shells.len());
}

#[test]
fn a_shell_that_is_not_known_is_one_line() {
    let output = identity(&["completions", "cmd"]);
    assert_eq!((output.status.code(), output.stdout.len()), (Some(2), 0));
    let line = "identity: <SHELL>: must be one of bash, elvish, fish, powershell, zsh (see `identity --help`)\n";
    assert_eq!(String::from_utf8(output.stderr).unwrap(), line);
}

/// Checks manual pages. Without mandoc it says so; with `TEST_REQUIRE_TOOLS`, which `.ci/run` and (on Debian as root)
/// `scripts/test` set, it fails.
fn lint(pages: &[&Path]) {
    let found = Command::new("mandoc").args(["-T", "lint", "-W", "warning"]).args(pages).output();
    match found {
        Ok(output) => {
            let said = [output.stdout, output.stderr].map(|text| String::from_utf8(text).unwrap()).concat();
            // The version stands in place of a date.
            let warnings: Vec<_> = said.lines().filter(|line| !line.contains("cannot parse date")).collect();
            assert!(warnings.is_empty(), "{warnings:#?}");
        }
        Err(_) if env::var_os("TEST_REQUIRE_TOOLS").is_none() => eprintln!("not checked: there is no mandoc"),
        Err(error) => panic!("mandoc: {error}"),
    }
}

#[test]
fn the_manual_has_a_page_for_each_command() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("share/man/man1");
    assert_eq!(printed(&["man", "--out", out.to_str().unwrap()]), "");
    let mut pages: Vec<_> = fs::read_dir(&out).unwrap().map(|entry| entry.unwrap().path()).collect();
    pages.sort();
    let names: BTreeSet<_> = pages.iter().map(|page| page.file_name().unwrap().to_str().unwrap().to_owned()).collect();
    for command in clap_command().get_subcommands() {
        assert!(names.contains(&format!("identity-{}.1", command.get_name())), "{names:?}");
    }
    for name in ["identity.1", "identity-migrate-up.1", "identity-token-new.1"] {
        assert!(names.contains(name), "{names:?}");
    }
    lint(&pages.iter().map(AsRef::as_ref).collect::<Vec<_>>());
    let migrate = fs::read_to_string(out.join("identity-migrate-down.1")).unwrap();
    assert!(migrate.contains("yes") && migrate.contains("identity(1)") && !migrate.contains("phone"), "{migrate}");
    // Without a folder, the page of the program is printed.
    let page = printed(&["man"]);
    assert_eq!(page, fs::read_to_string(out.join("identity.1")).unwrap());
    assert!(page.contains("\n.SH SYNOPSIS\n\\fBidentity\\fR [SETTINGS] [COMMAND]\n"), "{page}");
    let plain = page.replace('\\', "");
    for argument in clap_command().get_arguments() {
        let flag = argument.get_long().unwrap();
        assert!(plain.contains(&format!("--{flag}")), "{flag}");
        if let Some(variable) = argument.get_env() {
            assert!(plain.contains(variable.to_str().unwrap()), "{flag}");
        }
    }
}

#[test]
fn a_folder_that_cannot_be_made_is_one_line() {
    let output = identity(&["man", "--out", "/dev/null/man"]);
    let line = String::from_utf8(output.stderr).unwrap();
    assert_eq!((output.status.code(), output.stdout.len()), (Some(3), 0), "{line}");
    assert!(line.starts_with("identity: cannot write the manual to /dev/null/man: "), "{line}");
}

/// Completions are made when a shell starts, and manuals when a package is built.
#[test]
fn wrong_settings_of_the_environment_do_not_matter() {
    let wrong = [("GRPC_ADDR", "nowhere"), ("DATABASE_URL_FILE", "/nonexistent"), ("IDENTITY_CONFIG", "/nonexistent")];
    for arguments in [&["man"][..], &["completions", "bash"]] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_identity"));
        let output = command.env_clear().envs(wrong).args(arguments).output().unwrap();
        assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
        assert_eq!(String::from_utf8(output.stdout).unwrap(), printed(arguments));
    }
    // Other commands still say what is wrong.
    for (variable, value) in wrong {
        let mut command = Command::new(env!("CARGO_BIN_EXE_identity"));
        let output = command.env_clear().env(variable, value).arg("config").output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{variable}: {output:?}");
    }
}

#[test]
fn no_page_and_no_script_has_a_value_of_the_environment() {
    for arguments in [&["man"][..], &["completions", "bash"], &["completions", "zsh"]] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_identity"));
        let output = command.env("DB_PASSWORD", "hunter2").args(arguments).output().unwrap();
        assert!(output.status.success());
        assert!(!String::from_utf8_lossy(&output.stdout).contains("hunter2"), "{arguments:?}");
    }
}
