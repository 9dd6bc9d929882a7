//! The structure of the source: layers, no circles between files, short files (of tests too), short lines, plain
//! words.
//!
//! It needs nothing but the source. The rules are in `rules.rs`: each function returns what breaks its rule. To add a
//! module under `src/`, put it into [`LAYERS`](rules::LAYERS).

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod made_up_trees;
mod rules;
mod source_tree;
mod tokens;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use rules::{circles, columns_by_number, long_files, long_lines, private_words, types_of_one_name, upward_uses};
use source_tree::SourceTree;

/// The documents that users read. The history keeps the words of its time.
const DOCUMENTS: [&str; 5] = ["README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md", "docs"];

/// Reads the files under a folder or a file of the repository whose names end like this.
fn read(texts: &mut BTreeMap<String, String>, path: &str, endings: &[&str]) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let full = root.join(path);
    if full.is_dir() {
        for entry in fs::read_dir(full).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            if name != "target" {
                read(texts, &format!("{path}/{name}"), endings);
            }
        }
    } else if endings.iter().any(|ending| path.ends_with(ending)) {
        texts.insert(path.to_owned(), fs::read_to_string(full).unwrap());
    }
}

fn texts(paths: &[&str], endings: &[&str]) -> BTreeMap<String, String> {
    let mut texts = BTreeMap::new();
    paths.iter().for_each(|path| read(&mut texts, path, endings));
    texts
}

fn assert_none(rule: &str, broken: &[String]) {
    assert!(broken.is_empty(), "{rule}:\n{}", broken.join("\n"));
}

#[test]
fn no_two_files_use_each_other_in_a_circle() {
    let uses = SourceTree::parse(&texts(&["src"], &[".rs"])).uses();
    assert!(uses["src/commands/serve.rs"].contains_key("src/settings/sections.rs"), "{uses:#?}");
    assert_none("Move what both need to a file of its own", &circles(&uses));
}

#[test]
fn files_use_only_the_layers_below() {
    let uses = SourceTree::parse(&texts(&["src"], &[".rs"])).uses();
    assert_none("Uses point down the layers of tests/structure/rules.rs only", &upward_uses(&uses));
}

#[test]
fn every_source_file_is_part_of_the_tree() {
    let texts = texts(&["src"], &[".rs"]);
    let tree = SourceTree::parse(&texts);
    let files: BTreeSet<_> = tree.modules.values().map(|module| &module.file).collect();
    let for_tests = [
        "src/domain/adoption/model.rs",
        "src/domain/graph/brute_force.rs",
        "src/domain/graph/examples.rs",
        "src/domain/graph/generated.rs",
        "src/domain/model.rs",
        "src/domain/properties.rs",
        "src/inspect/examples.rs",
        "src/progress/tests.rs",
        "src/resolver/admission/tests.rs",
        "src/resolver/cache/tests.rs",
        "src/store/adoption/statements.rs",
        "src/store/old_table/statements.rs",
        "src/store/statements/commands.rs",
        "src/store/statements/migrations.rs",
        "src/store/statements/snapshot.rs",
        "src/transport/errors/tests.rs",
    ];
    let missing: Vec<_> =
        texts.keys().filter(|path| !files.contains(path) && !for_tests.contains(&path.as_str())).collect();
    assert!(missing.is_empty(), "the parser of tests/structure/source_tree.rs does not find {missing:?}");
}

#[test]
fn a_folder_has_one_type_of_a_name() {
    let texts = texts(&["src"], &[".rs"]);
    assert_none("Give each type a name that says what it is", &types_of_one_name(&texts));
}

#[test]
fn columns_are_read_by_name() {
    let texts = texts(&["src/store"], &[".rs"]);
    assert_none("Read a row of several columns by the names of an enum of its columns", &columns_by_number(&texts));
}

#[test]
fn source_files_are_short() {
    assert_none("At most 400 lines in a file: split it by its jobs", &long_files(&texts(&["src"], &[".rs"])));
}

#[test]
fn test_files_are_short() {
    let texts = texts(&["tests"], &[".rs"]);
    assert!(texts.len() > 100, "{}", texts.len());
    assert_none("At most 400 lines in a file: split it by its subjects", &long_files(&texts));
}

#[test]
fn lines_have_at_most_120_columns() {
    let code = ["src", "tests", "migration", "fuzz", "build.rs", "proto/identity"];
    let mut texts = texts(&code, &[".rs", ".proto"]);
    ["scripts", ".ci", ".config", "identity.example.toml", "Cargo.toml", "deny.toml", "justfile"]
        .iter()
        .for_each(|path| read(&mut texts, path, &[""]));
    DOCUMENTS.iter().for_each(|path| read(&mut texts, path, &[".md"]));
    texts.retain(|path, _| !path.starts_with("docs/history/"));
    assert_none("At most 120 columns, comments too", &long_lines(&texts));
}

#[test]
fn readers_meet_no_private_words() {
    let mut texts = texts(&["src", "proto/identity", "scripts", ".ci", "identity.example.toml"], &[""]);
    DOCUMENTS.iter().for_each(|path| read(&mut texts, path, &[".md"]));
    texts.retain(|path, _| !path.starts_with("docs/history/"));
    assert_none("Use the words of the trade (docs/architecture.md lists them)", &private_words(&texts));
}
