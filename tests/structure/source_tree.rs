//! The modules of the crate, and which file uses which.

use std::collections::{BTreeMap, BTreeSet};

use super::tokens::{block_end, imports, inline_paths, is_name, joined, tokens, without_tests};

/// Path of a module from the root of the crate: empty for `lib.rs`.
pub type ModulePath = Vec<String>;

/// File, file that it uses, and the name that it uses there.
pub type Uses = BTreeMap<String, BTreeMap<String, String>>;

/// What a module defines and imports.
#[derive(Debug, Default)]
pub struct Module {
    pub file: String,
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
pub struct SourceTree {
    pub modules: BTreeMap<ModulePath, Module>,
}

impl SourceTree {
    /// Parses files, given as path and text. The root is `src/lib.rs`.
    pub fn parse(texts: &BTreeMap<String, String>) -> Self {
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
    pub fn uses(&self) -> Uses {
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
