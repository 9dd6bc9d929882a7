//! What documents name exists, and what exists is explained: error reasons, warnings, settings, metrics, alerts,
//! components of the OpenAPI document, dependencies, modules and commands.

use std::collections::BTreeSet;
use std::fs;

use identity::metrics::{MetricInfo, Metrics};

use super::{code, current_documents, has_word, help, is_variable, read, root, texts_below};

/// Returns the string literals of the source, without its tests, that have the form of an error reason.
pub(super) fn reasons(source: &str) -> BTreeSet<String> {
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
    let mut reasons = reasons(&read("src/transport/errors.rs"));
    reasons.extend(self::reasons(&read("src/transport/invalid_field.rs")));
    assert!(reasons.contains("IDENTIFIER_MISSING") && reasons.contains("INTERNAL"), "{reasons:?}");
    let guide = read("docs/api.md");
    let missing: Vec<_> = reasons.iter().filter(|reason| !guide.contains(&format!("`{reason}`"))).collect();
    assert!(missing.is_empty(), "docs/api.md does not explain {missing:?}");
    let proto = read("proto/identity/v1/identity_service.proto") + &read("proto/identity/v1/graph_service.proto");
    let missing: Vec<_> = reasons.iter().filter(|reason| !proto.contains(reason.as_str())).collect();
    assert!(missing.is_empty(), "the comments of the services do not name {missing:?}");
}

/// Returns the messages of all warnings and errors in this source, up to the first punctuation.
fn warnings(source: &str) -> BTreeSet<String> {
    let calls = ["tracing::warn!(", "tracing::error!("].into_iter().flat_map(|call| source.split(call).skip(1));
    let message = |call: &str| {
        let arguments = call.split(");").next().unwrap();
        let message = arguments.rsplit('"').nth(1)?;
        message.split([':', ';', '(']).next().map(|start| start.trim().to_owned())
    };
    calls.filter_map(message).collect()
}

#[test]
fn every_warning_in_the_log_is_explained() {
    let mut source = String::new();
    texts_below(&root().join("src"), &mut source);
    let warnings = warnings(&source);
    assert!(warnings.len() > 20 && warnings.contains("a read failed"), "{warnings:?}");
    let guide = read("docs/operations.md");
    // The table may have the beginning alone.
    let explained: Vec<_> = guide.split('`').filter(|code| code.contains(' ')).collect();
    let missing: Vec<_> =
        warnings.iter().filter(|warning| !explained.iter().any(|start| warning.starts_with(start))).collect();
    assert!(missing.is_empty(), "docs/operations.md does not explain {missing:#?}");
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

#[test]
fn every_reference_of_the_openapi_document_has_its_component() {
    let yaml = read("docs/openapi.yaml");
    let (components, references) = (components(&yaml), references(&yaml));
    assert!(references.contains("#/components/schemas/Contact"), "{references:?}");
    let missing: Vec<_> = references.difference(&components).collect();
    assert!(missing.is_empty(), "docs/openapi.yaml has no {missing:?}");
}

/// Returns the names of what the service and its build use.
fn direct_dependencies() -> BTreeSet<String> {
    let manifest: toml::Table = read("Cargo.toml").parse().unwrap();
    let names = |table: &str| manifest[table].as_table().unwrap().keys().cloned().collect::<BTreeSet<_>>();
    names("dependencies").union(&names("build-dependencies")).cloned().collect()
}

/// With an old lock file, `cargo fuzz` takes other versions than those that were tried.
#[test]
fn the_lock_of_the_fuzz_targets_has_every_direct_dependency() {
    let lock: toml::Table = read("fuzz/Cargo.lock").parse().unwrap();
    let packages = lock["package"].as_array().unwrap();
    let service = packages.iter().find(|package| package["name"].as_str() == Some("identity")).unwrap();
    let locked = service["dependencies"].as_array().unwrap().iter().filter_map(|name| name.as_str()?.split(' ').next());
    let locked: BTreeSet<_> = locked.map(str::to_owned).collect();
    let missing: Vec<_> = direct_dependencies().difference(&locked).cloned().collect();
    assert!(
        missing.is_empty(),
        "fuzz/Cargo.lock lacks {missing:?}: cargo update --workspace --manifest-path fuzz/Cargo.toml"
    );
}

#[test]
fn every_direct_dependency_has_its_reason() {
    let used = direct_dependencies();
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

/// Names that no file of this project has: of a database, and in place of a path.
const FOREIGN_NAMES: [&str; 2] = ["BEFORE_ON_PRIMARY_FAILOVER", "OLD_BINARY"];

#[test]
fn every_setting_and_reason_in_a_document_exists() {
    let mut known = help(&[]).unwrap();
    ["src", "proto", "scripts", "tests", "deploy"]
        .iter()
        .for_each(|folder| texts_below(&root().join(folder), &mut known));
    let is_name = |word: &&str| is_variable(word) && word.contains('_') && !word.ends_with('_');
    let mut unknown = Vec::new();
    let mut count = 0;
    for (document, text) in current_documents() {
        let code = code(&text).join("\n");
        let words = code.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).filter(is_name);
        for word in words {
            count += 1;
            let name = word.strip_prefix("IDENTITY_").unwrap_or(word);
            if !has_word(&known, name) && !has_word(&known, word) && !FOREIGN_NAMES.contains(&word) {
                unknown.push(format!("{}: {word}", document.display()));
            }
        }
    }
    assert!(count > 200, "only {count} names");
    assert!(unknown.is_empty(), "nothing has these names:\n{}", unknown.join("\n"));
}

/// Returns the names in the first column of the block of layers in a document, up to the dot or slash.
fn layers_of_the_map(text: &str) -> BTreeSet<String> {
    let block = text.split("```text\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
    block.lines().filter_map(|line| line.split(['/', '.']).next()).map(str::to_owned).collect()
}

#[test]
fn the_map_has_every_module_and_the_lists_have_every_command() {
    let map = read("docs/architecture.md");
    let entries = fs::read_dir(root().join("src")).unwrap().map(|entry| entry.unwrap().path());
    let modules: BTreeSet<_> = entries.map(|path| path.file_stem().unwrap().to_string_lossy().into_owned()).collect();
    let named: BTreeSet<_> = layers_of_the_map(&map).union(&["lib".to_owned()].into()).cloned().collect();
    assert_eq!(named, modules, "docs/architecture.md");
    let help = help(&[]).unwrap();
    let commands = help.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
    let commands: Vec<_> =
        commands.filter_map(|line| line.split_whitespace().next()).filter(|name| *name != "help").collect();
    assert!(commands.contains(&"serve") && commands.contains(&"verify"), "{help}");
    let line_of = |text: &str, start: &str| text.lines().find(|line| line.starts_with(start)).unwrap().to_owned();
    for (document, line) in [("docs/architecture.md", "commands/ "), ("CHANGELOG.md", "- Commands:")] {
        let line = line_of(&read(document), line);
        let missing: Vec<_> = commands.iter().filter(|name| !has_word(&line, name)).collect();
        assert!(missing.is_empty(), "{document} lacks {missing:?}: {line}");
    }
}

mod made_up_documents {
    use super::*;

    #[test]
    fn warnings_are_found_with_and_without_fields() {
        let source =
            r#"tracing::warn!(calls, "calls were reset: slow"); tracing::error!("a bug"); tracing::info!("no");"#;
        assert_eq!(super::warnings(source), ["a bug".to_owned(), "calls were reset".to_owned()].into());
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
