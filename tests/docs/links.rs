//! Links between documents, and the paths of files that they name.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use super::{current_documents, documents, prose, read, root};

/// The documents that show the way around the source.
const MAPS: [&str; 2] = ["docs/architecture.md", "CONTRIBUTING.md"];

/// The folders at the top of the repository to which documents refer by paths like `scripts/test`.
const TOP_FOLDERS: [&str; 10] =
    [".ci/", ".config/", ".github/", "deploy/", "docs/", "fuzz/", "migration/", "proto/", "scripts/", "tests/"];

/// Returns the targets of the links of a document.
fn links(text: &str) -> Vec<String> {
    let prose = prose(text).join("\n");
    let ends = prose.split("](").skip(1);
    ends.filter_map(|rest| rest.split_once(')')).map(|(target, _)| target.to_owned()).collect()
}

/// Returns the fragments by which links reach the headings of a document.
fn anchors(text: &str) -> BTreeSet<String> {
    let headings = prose(text).into_iter().filter(|line| line.starts_with('#'));
    let is_kept = |c: &char| c.is_alphanumeric() || [' ', '-', '_'].contains(c);
    let anchor = |heading: &str| {
        let words = heading.trim_start_matches('#').trim().to_lowercase();
        words.chars().filter(is_kept).collect::<String>().replace(' ', "-")
    };
    headings.map(anchor).collect()
}

/// Returns what is wrong with a link of a document, if anything is.
fn broken_link(document: &Path, link: &str) -> Option<String> {
    if link.contains("://") || link.starts_with("mailto:") {
        return None;
    }
    let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
    let folder = root().join(document).parent().unwrap().to_owned();
    let target = if file.is_empty() { root().join(document) } else { folder.join(file) };
    if !target.exists() {
        return Some(format!("{}: there is no {link}", document.display()));
    }
    let has_anchor = || anchors(&fs::read_to_string(&target).unwrap()).contains(anchor);
    (!anchor.is_empty() && !has_anchor()).then(|| format!("{}: {link} has no such heading", document.display()))
}

/// Returns the paths of files and folders that a document has as `code`.
fn named_paths(text: &str) -> Vec<String> {
    let is_path_char = |c: char| c.is_ascii_alphanumeric() || "_-./".contains(c);
    let is_path = |code: &&str| code.contains('/') && !code.starts_with('/') && code.chars().all(is_path_char);
    let prose = prose(text).join("\n");
    prose.split('`').skip(1).step_by(2).filter(is_path).map(str::to_owned).collect()
}

/// Returns the paths from the root of the repository that a text has, in code and elsewhere.
fn rooted_paths(text: &str) -> Vec<&str> {
    let is_path_char = |c: char| c.is_ascii_alphanumeric() || "_-./".contains(c);
    let words = text.split(|c| !is_path_char(c)).map(|word| word.trim_start_matches("../").trim_start_matches("./"));
    let is_rooted = |word: &&str| TOP_FOLDERS.iter().any(|folder| word.starts_with(folder)) || word.starts_with("src/");
    words.filter(is_rooted).map(|word| word.trim_end_matches(['.', '/'])).collect()
}

#[test]
fn every_link_leads_to_a_file_and_a_heading() {
    let documents = documents();
    assert!(documents.contains(&PathBuf::from("docs/api.md")), "{documents:?}");
    let mut broken = Vec::new();
    for document in &documents {
        let text = fs::read_to_string(root().join(document)).unwrap();
        broken.extend(links(&text).iter().filter_map(|link| broken_link(document, link)));
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

#[test]
fn every_file_that_the_maps_name_exists() {
    let exists = |path: &String| ["", "src"].iter().any(|folder| root().join(folder).join(path).exists());
    for document in MAPS {
        let paths = named_paths(&read(document));
        assert!(paths.len() > 5, "{document} has only {paths:?}");
        let missing: Vec<_> = paths.iter().filter(|path| !exists(path)).collect();
        assert!(missing.is_empty(), "{document} names {missing:?}");
    }
}

#[test]
fn every_path_in_a_document_exists() {
    let mut missing = Vec::new();
    let mut count = 0;
    for (document, text) in current_documents() {
        let folder = document.parent().unwrap();
        for path in rooted_paths(&text) {
            count += 1;
            if !root().join(path).exists() && !root().join(folder).join(path).exists() {
                missing.push(format!("{}: there is no {path}", document.display()));
            }
        }
    }
    assert!(count > 100, "only {count} paths");
    assert!(missing.is_empty(), "{}", missing.join("\n"));
}

mod made_up_documents {
    use super::*;

    #[test]
    fn paths_from_the_root_are_found() {
        let text = "[x](../deploy/a.yaml), `src/b/`, docs/c.md. /etc/tests/d and https://x.y/docs/e";
        assert_eq!(rooted_paths(text), ["deploy/a.yaml", "src/b", "docs/c.md"]);
    }

    #[test]
    fn broken_links_are_found() {
        let text = "See [a](README.md) and [the\nb](nowhere.md#x).\n```sh\n[c](d.md)\n```\n";
        assert_eq!(links(text), ["README.md", "nowhere.md#x"]);
        let readme = Path::new("README.md");
        assert_eq!(broken_link(readme, "docs/api.md#errors"), None);
        assert_eq!(broken_link(readme, "https://example.com/x#y"), None);
        assert_eq!(broken_link(readme, "nowhere.md").unwrap(), "README.md: there is no nowhere.md");
        let no_heading = broken_link(readme, "docs/api.md#nothing").unwrap();
        assert_eq!(no_heading, "README.md: docs/api.md#nothing has no such heading");
    }

    #[test]
    fn headings_become_anchors() {
        let text = "# Deadlines, sizes, request ids\n## The `lock` protocol\n```sh\n# a comment\n```\n";
        let expected = ["deadlines-sizes-request-ids", "the-lock-protocol"];
        assert_eq!(anchors(text), expected.map(str::to_owned).into());
    }

    #[test]
    fn code_that_is_no_path_is_left_out() {
        assert_eq!(named_paths("`a/b.rs`, `GET /x`, `/identify`, `plan` and `c/`"), ["a/b.rs", "c/"]);
    }
}
