//! The structure of the source: layers, no circles between files, short files, short lines, plain words.
//!
//! It needs nothing but the source. The rules are in the functions `circles`, `upward_uses`, `long_files`, `long_lines`
//! and `private_words`; each returns what breaks it. To add a room under `src/`, put it into [`LAYERS`].

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fs;
use std::path::Path;

/// The rooms under `src/`, from the top down. A file uses only rooms below its own.
const LAYERS: [&[&str]; 11] = [
    &["main", "lib"],
    &["commands"],
    &["verify", "bench"],
    &["listener"],
    &["transport"],
    &["telemetry"],
    &["resolver"],
    &["store"],
    &["settings"],
    &["proto"],
    &["domain"],
];

const MAX_FILE_LINES: usize = 400;
const MAX_COLUMNS: usize = 120;

/// Words that only this project gave a meaning. The trade's words for them: API, stack, routes, queue, repair.
const PRIVATE_WORDS: [&str; 11] =
    ["door", "doors", "intake", "mend", "mends", "mended", "mending", "boundary", "boundaries", "surface", "surfaces"];

/// Path of a module from the root of the crate: empty for `lib.rs`.
type ModulePath = Vec<String>;

/// File, file that it uses, and the name that it uses there.
type Uses = BTreeMap<String, BTreeMap<String, String>>;

/// What a module defines and imports.
#[derive(Debug, Default)]
struct Module {
    file: String,
    items: BTreeSet<String>,
    /// Name in this module, and the absolute path that it stands for.
    imports: BTreeMap<String, Vec<String>>,
    globs: Vec<Vec<String>>,
    /// Its source without comments, strings, tests and the modules within it.
    tokens: Vec<String>,
}

/// Where a path leads.
#[derive(Debug, PartialEq)]
enum Target {
    /// To an item, or to something that a macro defines, in this file.
    Item(String),
    /// To a module. A use of a module alone is no use of its file: the paths that begin with it are.
    Module,
}

/// The modules of a crate without those of its tests.
#[derive(Debug, Default)]
struct SourceTree {
    modules: BTreeMap<ModulePath, Module>,
}

impl SourceTree {
    /// Parses files, given as path and text. The root is `src/lib.rs`.
    fn parse(texts: &BTreeMap<String, String>) -> Self {
        let mut tree = Self::default();
        tree.add_file(texts, "src/lib.rs", Vec::new());
        tree.add_file(texts, "src/main.rs", vec!["main.rs".to_owned()]);
        let all: Vec<_> = tree.modules.iter().map(|(path, module)| (path.clone(), module.tokens.clone())).collect();
        for (module, tokens) in all {
            for (name, path) in imports(&tokens, true) {
                let Some(path) = tree.absolute(&module, &path) else { continue };
                let importing = tree.modules.get_mut(&module).expect("a module that was added");
                match name {
                    Some(name) => drop(importing.imports.insert(name, path)),
                    None => importing.globs.push(path),
                }
            }
        }
        tree
    }

    fn add_file(&mut self, texts: &BTreeMap<String, String>, path: &str, module: ModulePath) {
        if let Some(text) = texts.get(path) {
            self.add_module(texts, path, module, &without_tests(tokens(text)));
        }
    }

    fn add_module(&mut self, texts: &BTreeMap<String, String>, path: &str, module: ModulePath, tokens: &[String]) {
        let mut added = Module { file: path.to_owned(), ..Module::default() };
        let (mut depth, mut index) = (0, 0);
        while let Some(token) = tokens.get(index) {
            let next = tokens.get(index + 1).filter(|next| is_name(next));
            match (token.as_str(), next) {
                ("{" | "(" | "[", _) => depth += 1,
                ("}" | ")" | "]", _) => depth -= 1,
                ("mod", Some(name)) if depth == 0 => {
                    let child = joined(&module, name);
                    index += 2;
                    if tokens[index] == "{" {
                        let end = block_end(tokens, index);
                        self.add_module(texts, path, child, &tokens[index + 1..end]);
                        index = end;
                    } else {
                        let folder = format!("src/{}", child.join("/"));
                        self.add_file(texts, &format!("{folder}.rs"), child.clone());
                        self.add_file(texts, &format!("{folder}/mod.rs"), child);
                    }
                    index += 1;
                    continue;
                }
                ("struct" | "enum" | "trait" | "type" | "fn" | "const" | "static" | "union", Some(name))
                    if depth == 0 =>
                {
                    added.items.insert(name.clone());
                }
                _ => {}
            }
            added.tokens.push(token.clone());
            index += 1;
        }
        self.modules.insert(module, added);
    }

    /// Returns the absolute form of a path in a module, or `None` if it leads out of the crate.
    fn absolute(&self, module: &ModulePath, path: &[String]) -> Option<Vec<String>> {
        let (first, rest) = path.split_first()?;
        match first.as_str() {
            "crate" => Some(rest.to_vec()),
            "identity" if module.first().is_some_and(|first| first == "main.rs") => Some(rest.to_vec()),
            "self" => Some([module.as_slice(), rest].concat()),
            "super" => {
                let (_, parent) = module.split_last()?;
                let parent = parent.to_vec();
                match rest.first() {
                    Some(next) if next == "super" => self.absolute(&parent, rest),
                    _ => Some([parent.as_slice(), rest].concat()),
                }
            }
            _ => {
                let child = joined(module, first);
                if self.modules.contains_key(&child) {
                    return Some([child.as_slice(), rest].concat());
                }
                let import = self.modules.get(module)?.imports.get(first)?;
                Some([import.as_slice(), rest].concat())
            }
        }
    }

    /// Returns where an absolute path leads, through all re-exports.
    fn resolve(&self, path: &[String]) -> Option<Target> {
        self.resolve_within(path, 16)
    }

    fn resolve_within(&self, path: &[String], depth: u32) -> Option<Target> {
        let depth = depth.checked_sub(1)?;
        let mut module = ModulePath::new();
        for (index, segment) in path.iter().enumerate() {
            let child = joined(&module, segment);
            if self.modules.contains_key(&child) {
                module = child;
                continue;
            }
            let parent = self.modules.get(&module)?;
            if parent.items.contains(segment) {
                return Some(Target::Item(parent.file.clone()));
            }
            if let Some(import) = parent.imports.get(segment) {
                return self.resolve_within(&[import.as_slice(), &path[index + 1..]].concat(), depth);
            }
            let through = |glob: &Vec<String>| {
                let target = self.resolve_within(&[glob.as_slice(), &path[index..]].concat(), depth);
                target.filter(|target| *target != Target::Item(parent.file.clone()))
            };
            let target = parent.globs.iter().find_map(through);
            return target.or_else(|| Some(Target::Item(parent.file.clone())));
        }
        Some(Target::Module)
    }

    /// Returns which file uses which, with a name for each.
    fn uses(&self) -> Uses {
        let mut all = Uses::new();
        for (path, module) in &self.modules {
            let used = all.entry(module.file.clone()).or_default();
            let glob = |path: Vec<String>| joined(&path, "*"); // Counts as a use of the module's own file.
            let imported = imports(&module.tokens, false).into_iter();
            let imported = imported.map(|(name, path)| if name.is_some() { path } else { glob(path) });
            for named in imported.chain(inline_paths(&module.tokens)) {
                let Some(absolute) = self.absolute(path, &named) else { continue };
                match self.resolve(&absolute) {
                    Some(Target::Item(file)) if file != module.file => {
                        used.entry(file).or_insert_with(|| absolute.join("::"));
                    }
                    _ => {}
                }
            }
        }
        all
    }
}

/// Splits Rust source into names, `::`, and single characters. Leaves out comments, strings, characters and lifetimes.
fn tokens(text: &str) -> Vec<String> {
    let chars: Vec<char> = text.chars().collect();
    let at = |index: usize| chars.get(index).copied().unwrap_or('\0');
    let is_part = |c: char| c.is_alphanumeric() || c == '_';
    let mut tokens = Vec::new();
    let mut i = 0;
    while i < chars.len() {
        match at(i) {
            '/' if at(i + 1) == '/' => i = (i..chars.len()).find(|&end| at(end) == '\n').unwrap_or(chars.len()),
            '/' if at(i + 1) == '*' => {
                let mut depth = 1;
                i += 2;
                while depth > 0 && i < chars.len() {
                    match (at(i), at(i + 1)) {
                        ('/', '*') => (depth, i) = (depth + 1, i + 2),
                        ('*', '/') => (depth, i) = (depth - 1, i + 2),
                        _ => i += 1,
                    }
                }
            }
            '"' => i = string_end(&chars, i, 0, true),
            '\'' if at(i + 1) == '\\' || at(i + 2) == '\'' => {
                i += if at(i + 1) == '\\' { 3 } else { 2 };
                i = (i..chars.len()).find(|&end| at(end) == '\'').unwrap_or(chars.len()) + 1;
            }
            '\'' => i = (i + 1..=chars.len()).find(|&end| !is_part(at(end))).unwrap_or(chars.len()),
            c if is_part(c) => {
                let end = (i..=chars.len()).find(|&end| !is_part(at(end))).unwrap_or(chars.len());
                let name: String = chars[i..end].iter().collect();
                let hashes = (end..).take_while(|&index| at(index) == '#').count();
                i = end;
                match name.as_str() {
                    "r" | "br" | "cr" if at(end + hashes) == '"' => i = string_end(&chars, end + hashes, hashes, false),
                    "b" | "c" if at(end) == '"' => {}
                    _ => tokens.push(name),
                }
            }
            ':' if at(i + 1) == ':' => {
                tokens.push("::".to_owned());
                i += 2;
            }
            c => {
                if !c.is_whitespace() {
                    tokens.push(c.to_string());
                }
                i += 1;
            }
        }
    }
    tokens
}

/// Returns the index after the string that begins with the quotation mark at `start`.
fn string_end(chars: &[char], start: usize, hashes: usize, has_escapes: bool) -> usize {
    let mut i = start + 1;
    while i < chars.len() {
        let is_end = chars[i] == '"' && chars[i + 1..].iter().take_while(|c| **c == '#').count() >= hashes;
        match chars[i] {
            '\\' if has_escapes => i += 2,
            _ if is_end => return i + 1 + hashes,
            _ => i += 1,
        }
    }
    chars.len()
}

fn is_name(token: &str) -> bool {
    token.starts_with(|c: char| c.is_alphabetic() || c == '_')
}

/// Returns the index of the bracket that closes the one at `open`.
fn block_end(tokens: &[String], open: usize) -> usize {
    let mut depth = 0;
    for (index, token) in tokens.iter().enumerate().skip(open) {
        match token.as_str() {
            "{" | "(" | "[" => depth += 1,
            "}" | ")" | "]" => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return index;
        }
    }
    panic!("a bracket is not closed")
}

/// Leaves out the items that are only there for tests: `#[cfg(test)]`, or together with the fuzzer.
fn without_tests(tokens: Vec<String>) -> Vec<String> {
    let mut kept = Vec::new();
    let mut i = 0;
    while i < tokens.len() {
        let is_attribute = tokens[i] == "#" && tokens.get(i + 1).is_some_and(|next| next == "[");
        let end = if is_attribute { block_end(&tokens, i + 1) } else { i };
        let attribute = &tokens[i..=end];
        let has = |word: &str| attribute.iter().any(|token| token == word);
        if is_attribute && has("cfg") && has("test") && !has("not") {
            i = end + 1;
            let is_use = tokens[i..].iter().find(|token| ["use", "mod", "fn", "impl"].contains(&token.as_str()));
            let is_use = is_use.is_some_and(|first| first == "use");
            while tokens[i] != ";" && (is_use || tokens[i] != "{") {
                i = if ["(", "["].contains(&tokens[i].as_str()) { block_end(&tokens, i) + 1 } else { i + 1 };
            }
            i = block_end(&tokens, i).max(i) + 1;
        } else {
            kept.extend_from_slice(attribute);
            i = end + 1;
        }
    }
    kept
}

/// Returns the names that the `use` lines bring, with their paths. A glob has no name.
fn imports(tokens: &[String], top_level_only: bool) -> Vec<(Option<String>, Vec<String>)> {
    let mut found = Vec::new();
    let mut depth = 0;
    for (index, token) in tokens.iter().enumerate() {
        match token.as_str() {
            "{" => depth += 1,
            "}" => depth -= 1,
            // Not the bound `use<'a>`.
            "use" if tokens[index + 1] != "<" && (depth == 0 || !top_level_only) => {
                add_imports(&tokens[index + 1..], &[], &mut found);
            }
            _ => {}
        }
    }
    found
}

/// Adds the names of one tree of a `use`. Returns the number of its tokens.
fn add_imports(tokens: &[String], prefix: &[String], found: &mut Vec<(Option<String>, Vec<String>)>) -> usize {
    let mut path = prefix.to_vec();
    let mut i = 0;
    loop {
        match tokens[i].as_str() {
            "{" => {
                let end = block_end(tokens, i);
                i += 1;
                while i < end {
                    i += if tokens[i] == "," { 1 } else { add_imports(&tokens[i..], &path, found) };
                }
                return end + 1;
            }
            "*" => {
                found.push((None, path));
                return i + 1;
            }
            "::" => {}
            "as" => {
                found.push((Some(tokens[i + 1].clone()), path));
                return i + 2;
            }
            "," | "}" | ";" => {
                found.push((path.last().cloned(), path));
                return i;
            }
            "self" if !path.is_empty() => {}
            name => path.push(name.to_owned()),
        }
        i += 1;
    }
}

/// Returns the paths of at least two names outside of `use` lines. Paths in macros and attributes count too.
fn inline_paths(tokens: &[String]) -> Vec<Vec<String>> {
    let mut paths = Vec::new();
    let mut path: Vec<String> = Vec::new();
    let mut before = "";
    for token in tokens {
        if is_name(token) && before == "::" && !path.is_empty() {
            path.push(token.clone());
        } else if token != "::" || !is_name(before) {
            if path.len() > 1 {
                paths.push(std::mem::take(&mut path));
            }
            path.clear();
            if is_name(token) && before != "::" {
                path.push(token.clone());
            }
        }
        before = token;
    }
    paths
}

fn joined(path: &[String], name: &str) -> Vec<String> {
    [path, &[name.to_owned()]].concat()
}

/// Returns one line for each circle: the files, and the names that they use.
fn circles(uses: &Uses) -> Vec<String> {
    let mut reported = BTreeSet::new();
    let mut lines = Vec::new();
    for start in uses.keys().filter(|start| !reported.contains(*start)).collect::<Vec<_>>() {
        if reported.contains(start) {
            continue;
        }
        let Some(circle) = shortest_circle(uses, start) else { continue };
        let steps =
            circle.windows(2).map(|pair| format!("{} uses {} of {}", pair[0], uses[&pair[0]][&pair[1]], pair[1]));
        lines.push(format!("circle: {}", steps.collect::<Vec<_>>().join(", ")));
        reported.extend(circle);
    }
    lines
}

/// Returns the files of the shortest way from a file to itself, which is first and last.
fn shortest_circle(uses: &Uses, start: &String) -> Option<Vec<String>> {
    let mut ways = VecDeque::from([vec![start.clone()]]);
    let mut seen = BTreeSet::new();
    while let Some(way) = ways.pop_front() {
        let last = way.last()?;
        for next in uses.get(last).into_iter().flat_map(BTreeMap::keys) {
            let longer = joined(&way, next);
            if next == start {
                return Some(longer);
            }
            if seen.insert(next.clone()) {
                ways.push_back(longer);
            }
        }
    }
    None
}

/// Returns one line for each use that does not point down the layers.
fn upward_uses(uses: &Uses) -> Vec<String> {
    let room = |file: &str| file.trim_start_matches("src/").split(['/', '.']).next().unwrap_or_default().to_owned();
    let layer = |room: &String| LAYERS.iter().position(|rooms| rooms.contains(&room.as_str()));
    let mut lines = Vec::new();
    for (file, used) in uses {
        let from = room(file);
        if layer(&from).is_none() {
            lines.push(format!("{file}: its room is not in LAYERS of tests/structure.rs"));
        }
        for (target, name) in used {
            let to = room(target);
            if from != to && layer(&from) >= layer(&to) {
                lines.push(format!("{file} uses {name} of {target}, which is not below it"));
            }
        }
    }
    lines
}

fn long_files(texts: &BTreeMap<String, String>) -> Vec<String> {
    let lines = texts.iter().map(|(path, text)| (path, text.lines().count()));
    let long = lines.filter(|(path, lines)| path.starts_with("src/") && *lines > MAX_FILE_LINES);
    long.map(|(path, lines)| format!("{path}: {lines} lines")).collect()
}

fn long_lines(texts: &BTreeMap<String, String>) -> Vec<String> {
    let is_long = |(_, line): &(usize, &str)| line.chars().count() > MAX_COLUMNS;
    let in_file = |(path, text): (&String, &String)| -> Vec<String> {
        let long = (1..).zip(text.lines()).filter(is_long);
        long.map(|(number, line)| format!("{path}:{number}: {} columns", line.chars().count())).collect()
    };
    texts.iter().flat_map(in_file).collect()
}

fn private_words(texts: &BTreeMap<String, String>) -> Vec<String> {
    let found = |line: &str| {
        let mut words = line.split(|c: char| !c.is_alphanumeric());
        words.find(|word| PRIVATE_WORDS.contains(&word.to_lowercase().as_str())).map(str::to_owned)
    };
    let in_file = |(path, text): (&String, &String)| -> Vec<String> {
        let words = (1..).zip(text.lines()).filter_map(|(number, line)| Some((number, found(line)?)));
        words.map(|(number, word)| format!("{path}:{number}: {word}")).collect()
    };
    texts.iter().flat_map(in_file).collect()
}

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
    assert_none("Uses point down the layers of tests/structure.rs only", &upward_uses(&uses));
}

#[test]
fn every_source_file_is_part_of_the_tree() {
    let texts = texts(&["src"], &[".rs"]);
    let tree = SourceTree::parse(&texts);
    let files: BTreeSet<_> = tree.modules.values().map(|module| &module.file).collect();
    let for_tests = ["src/domain/model.rs", "src/domain/properties.rs"];
    let missing: Vec<_> =
        texts.keys().filter(|path| !files.contains(path) && !for_tests.contains(&path.as_str())).collect();
    assert!(missing.is_empty(), "the parser of tests/structure.rs does not find {missing:?}");
}

#[test]
fn source_files_are_short() {
    assert_none("At most 400 lines in a file: split it by its jobs", &long_files(&texts(&["src"], &[".rs"])));
}

#[test]
fn lines_have_at_most_120_columns() {
    let rust = ["src", "tests", "migration", "fuzz", "build.rs", "proto/identity"];
    assert_none("At most 120 columns, comments too", &long_lines(&texts(&rust, &[".rs", ".proto"])));
}

#[test]
fn readers_meet_no_private_words() {
    let mut texts = texts(&["src", "proto/identity", "README.md", "docs"], &[".rs", ".proto", ".md"]);
    texts.retain(|path, _| !path.starts_with("docs/history/"));
    assert_none("Use the words of the trade (docs/architecture.md has a glossary)", &private_words(&texts));
}

mod made_up_trees {
    use super::*;

    fn uses(files: &[(&str, &str)]) -> Uses {
        let texts = files.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned())).collect();
        SourceTree::parse(&texts).uses()
    }

    fn names(used: &BTreeMap<String, String>) -> Vec<&str> {
        used.keys().map(String::as_str).collect()
    }

    #[test]
    fn a_circle_is_found() {
        let uses = uses(&[
            ("src/lib.rs", "pub mod store; pub mod domain;"),
            ("src/store/mod.rs", "mod a; mod b; pub use a::A;"),
            ("src/store/a.rs", "use super::b::B; pub struct A(B);"),
            ("src/store/b.rs", "pub struct B; fn f() { let _ = crate::store::A; }"),
            ("src/domain.rs", ""),
        ]);
        let found = circles(&uses);
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].contains("src/store/a.rs uses store::b::B of src/store/b.rs"), "{found:?}");
        assert!(found[0].contains("src/store/b.rs uses store::A of src/store/a.rs"), "{found:?}");
    }

    #[test]
    fn a_child_that_imports_from_its_parent_makes_a_circle() {
        let uses = uses(&[
            ("src/lib.rs", "mod store;"),
            ("src/store/mod.rs", "mod a; pub struct Shared; fn f() { a::run() }"),
            ("src/store/a.rs", "use super::Shared; pub fn run() { let _ = Shared; }"),
        ]);
        assert_eq!(circles(&uses).len(), 1);
    }

    #[test]
    fn re_exports_are_followed_to_the_file_of_the_item() {
        let uses = uses(&[
            ("src/lib.rs", "mod store; mod domain;"),
            (
                "src/store/mod.rs",
                "use crate::domain::{self, deep::*, Renamed as R}; fn f() { domain::plain(); Deep; R; }",
            ),
            ("src/domain/mod.rs", "mod one; pub mod deep; pub use one::{Original as Renamed, plain};"),
            ("src/domain/one.rs", "pub struct Original; pub fn plain() {}"),
            ("src/domain/deep.rs", "pub use super::two::Two; pub struct Deep;"),
        ]);
        assert_eq!(names(&uses["src/store/mod.rs"]), ["src/domain/deep.rs", "src/domain/one.rs"]);
        assert_eq!(names(&uses["src/domain/mod.rs"]), ["src/domain/one.rs"]);
        assert!(circles(&uses).is_empty());
    }

    #[test]
    fn macros_attributes_and_function_bodies_count_and_tests_and_comments_do_not() {
        let uses = uses(&[
            ("src/lib.rs", "mod a; mod b; mod c; mod d; mod e; #[cfg(test)] mod only_tests;"),
            (
                "src/a.rs",
                "use crate::c as seed;
                 /// See [`crate::e::E`].
                 #[derive(Debug)] #[arg(value_parser = seed::parse())] struct A;
                 fn f() { println!(\"{}\", crate::b::B); { use crate::d::D; } }
                 #[cfg(test)] mod tests { use crate::e::E; }",
            ),
            ("src/b.rs", "pub struct B;"),
            ("src/c.rs", "pub fn parse() {}"),
            ("src/d.rs", "pub struct D;"),
            ("src/e.rs", "pub struct E;"),
            ("src/only_tests.rs", "use crate::a::A;"),
        ]);
        assert_eq!(names(&uses["src/a.rs"]), ["src/b.rs", "src/c.rs", "src/d.rs"]);
        assert!(!uses.contains_key("src/only_tests.rs"));
    }

    #[test]
    fn a_use_that_points_up_is_found() {
        let uses = uses(&[
            ("src/lib.rs", "mod store; mod resolver; mod verify; mod bench; mod cellar;"),
            ("src/store/mod.rs", "use crate::resolver::R;"),
            ("src/resolver.rs", "use crate::store; pub struct R; fn f() { super::store::g() }"),
            ("src/verify.rs", "use crate::bench::B;"),
            ("src/bench.rs", "pub struct B;"),
            ("src/cellar.rs", ""),
        ]);
        let found = upward_uses(&uses);
        assert_eq!(found.len(), 3, "{found:?}");
        assert!(found[0].contains("src/cellar.rs: its room is not in LAYERS"), "{found:?}");
        assert!(found[1].starts_with("src/store/mod.rs uses resolver::R of src/resolver.rs"), "{found:?}");
        assert!(found[2].starts_with("src/verify.rs uses bench::B of src/bench.rs"), "{found:?}");
    }

    #[test]
    fn long_files_long_lines_and_private_words_are_found() {
        let texts = BTreeMap::from([
            ("src/long.rs".to_owned(), "\n".repeat(MAX_FILE_LINES + 1)),
            ("src/wide.rs".to_owned(), format!("{}\n{}", "ä".repeat(MAX_COLUMNS), "a".repeat(MAX_COLUMNS + 1))),
            ("README.md".to_owned(), "The outdoor path.\nThe Door, and open_doors.".to_owned()),
        ]);
        assert_eq!(long_files(&texts), ["src/long.rs: 401 lines"]);
        assert_eq!(long_lines(&texts), ["src/wide.rs:2: 121 columns"]);
        assert_eq!(private_words(&texts), ["README.md:2: Door"]);
    }
}
