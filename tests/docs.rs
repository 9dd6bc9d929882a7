//! The documents: they explain every error reason, and what they refer to exists. The scripts: they explain
//! themselves.
//!
//! It needs nothing but the service, the files and bash. A document that is added under `docs/` is checked without a
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

/// The folders at the top of the repository to which documents refer by paths like `scripts/test`.
const TOP_FOLDERS: [&str; 10] =
    [".ci/", ".config/", ".github/", "deploy/", "docs/", "fuzz/", "migration/", "proto/", "scripts/", "tests/"];

/// Returns the documents that say what is so today, with their texts.
fn current_documents() -> Vec<(PathBuf, String)> {
    let documents = documents().into_iter().filter(|path| !path.starts_with("docs/history"));
    documents.map(|path| (path.clone(), fs::read_to_string(root().join(path)).unwrap())).collect()
}

/// Returns the paths from the root of the repository that a text has, in code and elsewhere.
fn rooted_paths(text: &str) -> Vec<&str> {
    let is_path_char = |c: char| c.is_ascii_alphanumeric() || "_-./".contains(c);
    let words = text.split(|c| !is_path_char(c)).map(|word| word.trim_start_matches("../").trim_start_matches("./"));
    let is_rooted = |word: &&str| TOP_FOLDERS.iter().any(|folder| word.starts_with(folder)) || word.starts_with("src/");
    words.filter(is_rooted).map(|word| word.trim_end_matches(['.', '/'])).collect()
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

/// A command of this project in a document.
#[derive(Debug, PartialEq, Eq)]
struct NamedCommand {
    /// `identity`, or the path of a script.
    program: String,
    /// The variables that are set for it alone.
    variables: Vec<String>,
    arguments: Vec<String>,
}

impl NamedCommand {
    /// Returns the commands of this project in a piece of code.
    fn all_in(code: &str) -> Vec<Self> {
        let code = code.split(" #").next().unwrap_or_default();
        code.split(['(', ')', ';', '|', '&']).filter_map(Self::parse).collect()
    }

    fn parse(command: &str) -> Option<Self> {
        let mut words = command.split_whitespace().skip_while(|word| *word == "$").peekable();
        let mut variables = Vec::new();
        while let Some((name, _)) = words.peek().and_then(|word| word.split_once('=')) {
            if !is_variable(name) {
                return None;
            }
            variables.push(name.to_owned());
            words.next();
        }
        let is_script = |word: &str| word.starts_with("scripts/") && !word.ends_with('/');
        let program = words.next().filter(|word| *word == "identity" || is_script(word))?;
        Some(Self { program: program.to_owned(), variables, arguments: words.map(str::to_owned).collect() })
    }

    /// Returns its flags, without their values.
    fn flags(&self) -> impl Iterator<Item = &str> {
        let words = self.arguments.iter().map(|word| word.split('=').next().unwrap_or_default());
        words.filter(|word| word.starts_with("--"))
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

/// Flags that a script hands on to the program that it runs.
const HANDED_ON: [(&str, &str); 1] = [("scripts/test", "--test")];

/// Returns what is wrong with a command of a document, if anything is.
fn wrong_command(command: &NamedCommand) -> Option<String> {
    let text = if command.program == "identity" {
        let is_subcommand = |word: &&String| word.chars().all(|c| c.is_ascii_lowercase());
        let subcommands: Vec<_> = command.arguments.iter().take_while(is_subcommand).map(String::as_str).collect();
        match help(&subcommands) {
            Some(text) => text,
            None => return Some(format!("there is no `identity {}`", subcommands.join(" "))),
        }
    } else {
        match fs::read_to_string(root().join(&command.program)) {
            Ok(text) => text,
            Err(_) => return Some(format!("there is no {}", command.program)),
        }
    };
    let variables = command.variables.iter().map(|name| name.strip_prefix("IDENTITY_").unwrap_or(name));
    let is_handed_on = |name: &&str| HANDED_ON.contains(&(&command.program, name));
    let unknown = command.flags().chain(variables).filter(|name| !has_word(&text, name) && !is_handed_on(name));
    let unknown: Vec<_> = unknown.collect();
    (!unknown.is_empty()).then(|| format!("`{}` has no {unknown:?}", command.program))
}

#[test]
fn every_command_in_a_document_has_the_flags_that_it_is_given() {
    let mut wrong = Vec::new();
    let mut count = 0;
    for (document, text) in current_documents() {
        for command in code(&text).iter().flat_map(|code| NamedCommand::all_in(code)) {
            count += 1;
            wrong.extend(wrong_command(&command).map(|what| format!("{}: {what}", document.display())));
        }
    }
    assert!(count > 50, "only {count} commands");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Names that no file of this project has: of a database, and in place of a path.
const FOREIGN_NAMES: [&str; 2] = ["BEFORE_ON_PRIMARY_FAILOVER", "OLD_BINARY"];

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
    fn commands_are_found_in_code() {
        let named = |program: &str, variables: &[&str], arguments: &[&str]| NamedCommand {
            program: program.to_owned(),
            variables: variables.iter().map(|&word| word.to_owned()).collect(),
            arguments: arguments.iter().map(|&word| word.to_owned()).collect(),
        };
        let text = "Run `identity verify\n--plan` or:\n```sh\nAB=1 B_C=2 identity serve & # identity x\n\
            T=$(identity token new a \\\n    --rate 5)\nscripts/test --no-servers | tail\nkubectl -n identity --x\n\
            ```\n";
        let found: Vec<_> = code(text).iter().flat_map(|code| NamedCommand::all_in(code)).collect();
        let expected = [
            named("identity", &[], &["verify", "--plan"]),
            named("identity", &["AB", "B_C"], &["serve"]),
            named("identity", &[], &["token", "new", "a", "--rate", "5"]),
            named("scripts/test", &[], &["--no-servers"]),
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn wrong_commands_are_found() {
        let wrong = |code: &str| wrong_command(&NamedCommand::all_in(code)[0]);
        for code in ["identity verify --plan", "IDENTITY_PORT=1 PORT=2 identity", "identity bench run --rate=5"] {
            assert_eq!(wrong(code), None);
        }
        assert_eq!(wrong("identity verify --plans").unwrap(), "`identity` has no [\"--plans\"]");
        assert_eq!(wrong("PORTS=1 identity").unwrap(), "`identity` has no [\"PORTS\"]");
        assert_eq!(wrong("identity repair").unwrap(), "there is no `identity repair`");
        assert_eq!(wrong("scripts/test --server").unwrap(), "`scripts/test` has no [\"--server\"]");
        assert_eq!(wrong("scripts/nothing").unwrap(), "there is no scripts/nothing");
    }

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
