//! The documents: they explain every error reason, and what they refer to exists. The scripts: they explain
//! themselves.
//!
//! It needs nothing but the library, the files and bash. A document that is added under `docs/` is checked without a
//! change here.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use identity::metrics::{MetricInfo, Metrics};

/// Folders of documents. Only their own files count, not those of the folders in them.
const FOLDERS: [&str; 5] = ["", "deploy", "docs", "docs/decisions", "docs/history"];

/// The documents that show the way around the source.
const MAPS: [&str; 2] = ["docs/architecture.md", "CONTRIBUTING.md"];

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

/// Returns the string literals of the source, without its tests, that have the form of an error reason.
fn reasons(source: &str) -> BTreeSet<String> {
    let is_reason = |literal: &&str| {
        literal.len() > 1 && literal.chars().all(|c| c.is_ascii_uppercase() || c == '_') && !literal.starts_with('_')
    };
    let code = source.split("#[cfg(test)]").next().unwrap_or_default();
    let lines = code.lines().filter(|line| !line.trim_start().starts_with("//"));
    lines.flat_map(|line| line.split('"').skip(1).step_by(2)).filter(is_reason).map(str::to_owned).collect()
}

/// Returns the names in a YAML document of the form `components: KIND: NAME:`, as references to them.
fn components(yaml: &str) -> BTreeSet<String> {
    let mut kind = "";
    let mut found = BTreeSet::new();
    let lines = yaml.lines().skip_while(|line| *line != "components:").skip(1);
    for line in lines.take_while(|line| line.is_empty() || line.starts_with(' ')) {
        let name = line.trim_start();
        let Some(key) = name.strip_suffix(':') else { continue };
        match line.len() - name.len() {
            2 => kind = key,
            4 => {
                found.insert(format!("#/components/{kind}/{key}"));
            }
            _ => {}
        }
    }
    found
}

/// Returns the references of a YAML document.
fn references(yaml: &str) -> BTreeSet<String> {
    let targets = yaml.lines().filter_map(|line| line.split_once("$ref:"));
    targets.map(|(_, target)| target.trim().trim_matches('"').to_owned()).collect()
}

#[test]
fn every_error_reason_is_explained() {
    let reasons = reasons(&read("src/transport/errors.rs"));
    assert!(reasons.contains("IDENTIFIER_MISSING") && reasons.contains("INTERNAL"), "{reasons:?}");
    let guide = read("docs/api.md");
    let missing: Vec<_> = reasons.iter().filter(|reason| !guide.contains(&format!("`{reason}`"))).collect();
    assert!(missing.is_empty(), "docs/api.md does not explain {missing:?}");
    let proto = read("proto/identity/v1/identity_service.proto");
    let missing: Vec<_> = reasons.iter().filter(|reason| !proto.contains(reason.as_str())).collect();
    assert!(missing.is_empty(), "the comment of IdentityService does not name {missing:?}");
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

/// Returns the metrics in the tables of a document: rows of name, type, labels and text.
fn documented_metrics(text: &str) -> Vec<MetricInfo> {
    let code = |cell: &str| cell.trim().strip_prefix('`').and_then(|cell| cell.strip_suffix('`')).map(str::to_owned);
    let mut found = Vec::new();
    for line in text.lines().filter(|line| line.starts_with("| `")) {
        let cells: Vec<&str> = line.split('|').collect();
        let [_, name, kind, labels, meaning, _] = cells[..] else { panic!("not four cells: {line}") };
        assert!(!meaning.trim().is_empty(), "no text: {line}");
        let kind = ["counter", "gauge", "histogram"].into_iter().find(|kind| kind == &cells[2].trim()).expect(kind);
        let labels = labels.split(',').filter_map(code).map(|label| &*label.leak()).collect();
        found.push(MetricInfo { name: code(name).expect(line), kind, labels });
    }
    found.sort();
    found
}

#[test]
fn the_metrics_are_those_of_the_registry() {
    let (documented, registered) = (documented_metrics(&read("docs/metrics.md")), Metrics::on().catalogue());
    assert!(registered.len() > 30, "{registered:#?}");
    let missing: Vec<_> = registered.iter().filter(|info| !documented.contains(info)).collect();
    assert!(missing.is_empty(), "docs/metrics.md lacks {missing:#?}");
    let unknown: Vec<_> = documented.iter().filter(|info| !registered.contains(info)).collect();
    assert!(unknown.is_empty(), "docs/metrics.md has {unknown:#?}, which the registry lacks");
    assert_eq!(documented.len(), registered.len(), "a row stands twice");
}

#[test]
fn the_alerts_that_the_metrics_name_are_those_of_the_rules() {
    let page = read("docs/metrics.md");
    let words = page.split('`').skip(1).step_by(2);
    let named: BTreeSet<_> = words.filter(|word| word.starts_with("Identity") && *word != "Identity").collect();
    let (rules, tests) = (read("deploy/prometheus/rules.yaml"), read("deploy/prometheus/rules_test.yaml"));
    let alerts: BTreeSet<_> = rules.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")).collect();
    assert!(alerts.len() > 10, "{alerts:?}");
    assert_eq!(named, alerts);
    let untested: Vec<_> = alerts.iter().filter(|alert| !tests.contains(**alert)).collect();
    assert!(untested.is_empty(), "rules_test.yaml does not try {untested:?}");
}

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
    for script in
        [".ci/run", "scripts/attacks", "scripts/bench", "scripts/chaos", "scripts/servers", "scripts/test-clients"]
    {
        let (status, said) = run_script(&root().join(script), "--no-such-thing");
        assert_eq!((status, said.as_str()), (Some(2), ""), "{script}");
    }
}

#[test]
fn every_reference_of_the_openapi_document_has_its_component() {
    let yaml = read("docs/openapi.yaml");
    let (components, references) = (components(&yaml), references(&yaml));
    assert!(references.contains("#/components/schemas/Contact"), "{references:?}");
    let missing: Vec<_> = references.difference(&components).collect();
    assert!(missing.is_empty(), "docs/openapi.yaml has no {missing:?}");
}

#[test]
fn every_direct_dependency_has_its_reason() {
    let manifest: toml::Table = read("Cargo.toml").parse().unwrap();
    let names = |table: &str| manifest[table].as_table().unwrap().keys().cloned().collect::<BTreeSet<_>>();
    let used: BTreeSet<_> = names("dependencies").union(&names("build-dependencies")).cloned().collect();
    let text = read("docs/security.md");
    let rows =
        text.lines().skip_while(|line| !line.starts_with("| crate |")).skip(2).take_while(|line| !line.is_empty());
    let row = |line: &str| {
        let cells: Vec<_> = line.split('|').map(str::trim).collect();
        assert!(cells.len() == 4 && !cells[2].is_empty(), "no reason: {line}");
        cells[1].trim_matches('`').to_owned()
    };
    assert_eq!(rows.map(row).collect::<BTreeSet<_>>(), used);
}

mod made_up_documents {
    use super::*;

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
    fn a_script_has_help_if_it_has_a_case_for_it() {
        for script in ["case $1 in\n    -h | --help)\n", "-h | --help) usage ;;", "\"\" | -h | --help)"] {
            assert!(has_help(script), "{script}");
        }
        for script in ["rm -rf x", "# -h | --help)", "die \"see --help\"", "#   --help"] {
            assert!(!has_help(script), "{script}");
        }
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

    #[test]
    fn reasons_are_found_in_code_alone() {
        let source = "// \"COMMENT\"\nA => (\"ONE_REASON\", \"two\"),\n#[cfg(test)]\nB => \"TEST\"";
        assert_eq!(reasons(source), ["ONE_REASON".to_owned()].into());
    }

    #[test]
    fn components_and_references_are_found() {
        let yaml = "a:\n  $ref: \"#/components/k/B\"\ncomponents:\n  k:\n    A:\n      type: x\n    B:\n      - {}\n";
        let expected = ["#/components/k/A", "#/components/k/B"];
        assert_eq!(components(yaml), expected.map(str::to_owned).into());
        assert_eq!(references(yaml), ["#/components/k/B".to_owned()].into());
    }
}
