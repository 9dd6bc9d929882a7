//! The documents: they explain every error reason, and what they refer to exists. The scripts: they explain
//! themselves.
//!
//! It needs nothing but the service, the files and bash. A document that is added under `docs/` is checked without a
//! change here.
//!
//! | file | what it checks |
//! | --- | --- |
//! | `links` | links, and paths of files |
//! | `commands` | commands of the service and of scripts, with their flags |
//! | `scripts` | the help of scripts |
//! | `error_table` | codes and HTTP statuses of error reasons |
//! | `names` | error reasons, warnings, settings, metrics, alerts, components, dependencies, modules |

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod commands;
mod error_table;
mod links;
mod names;
mod scripts;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Folders of documents. Only their own files count, not those of the folders in them.
const FOLDERS: [&str; 5] = ["", "deploy", "docs", "docs/decisions", "docs/history"];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap()
}

/// Returns the paths of all documents, from the root of the repository.
fn documents() -> Vec<PathBuf> {
    let mut found = Vec::new();
    for folder in FOLDERS {
        for entry in fs::read_dir(root().join(folder)).unwrap() {
            let path = Path::new(folder).join(entry.unwrap().file_name());
            if path.extension().is_some_and(|extension| extension == "md") {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

/// Returns the documents that say what is so today, with their texts.
fn current_documents() -> Vec<(PathBuf, String)> {
    let documents = documents().into_iter().filter(|path| !path.starts_with("docs/history"));
    documents.map(|path| (path.clone(), fs::read_to_string(root().join(path)).unwrap())).collect()
}

/// Returns the lines that are not in a block of code.
fn prose(text: &str) -> Vec<&str> {
    let mut is_code = false;
    let mut lines = Vec::new();
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            is_code = !is_code;
        } else if !is_code {
            lines.push(line);
        }
    }
    lines
}

/// Returns the pieces of code of a document: the spans, and the lines of blocks. A line that ends with `\` goes on.
fn code(text: &str) -> Vec<String> {
    let mut found: Vec<String> =
        prose(text).join("\n").split('`').skip(1).step_by(2).map(|span| span.replace('\n', " ")).collect();
    let mut is_code = false;
    for line in text.replace("\\\n", " ").lines() {
        if line.trim_start().starts_with("```") {
            is_code = !is_code;
        } else if is_code {
            found.push(line.to_owned());
        }
    }
    found
}

/// Returns the texts of the files under a folder, one after the other.
fn texts_below(folder: &Path, texts: &mut String) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            texts_below(&path, texts);
        } else {
            *texts += &String::from_utf8_lossy(&fs::read(path).unwrap());
        }
    }
}

fn is_variable(word: &str) -> bool {
    word.len() > 1
        && word.starts_with(|c: char| c.is_ascii_uppercase())
        && word.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_')
}

/// Returns what the service prints with these arguments and `--help`, without a line break in a name.
fn help(arguments: &[&str]) -> Option<String> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_identity"));
    let done = command.args(arguments).arg("--help").env("COLUMNS", "1000").stdin(Stdio::null()).output();
    let done = done.expect("the service runs");
    done.status.success().then(|| String::from_utf8_lossy(&done.stdout).into_owned())
}

/// Whether a text has this word, and not only as a part of a longer one.
fn has_word(text: &str, word: &str) -> bool {
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    let is_bounded = |at: usize| !text[..at].ends_with(is_part) && !text[at + word.len()..].starts_with(is_part);
    text.match_indices(word).any(|(at, _)| is_bounded(at))
}
