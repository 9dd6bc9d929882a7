//! The rules. Each function returns what breaks its rule, one line each.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::source_tree::Uses;
use super::tokens::{block_end, joined, tokens};

/// The modules under `src/`, from the top down. A file uses only modules below its own.
pub const LAYERS: [&[&str]; 18] = [
    &["main", "lib"],
    &["commands"],
    &["verify", "adopt", "bench", "inspect"],
    &["export"],
    &["progress"],
    &["listener"],
    &["transport"],
    &["telemetry"],
    &["tls"],
    &["auth"],
    &["reload"],
    &["resolver"],
    &["store"],
    &["traces"],
    &["settings"],
    &["metrics"],
    &["proto"],
    &["domain"],
];

pub const MAX_FILE_LINES: usize = 400;
pub const MAX_COLUMNS: usize = 120;

/// Words that only this project gave a meaning, and phrases that are not plain. The trade's words for them: API, stack,
/// routes, queue, repair.
const PRIVATE_WORDS: [&str; 18] = [
    "door",
    "doors",
    "intake",
    "mend",
    "mends",
    "mended",
    "mending",
    "boundary",
    "boundaries",
    "surface",
    "surfaces",
    "told",
    "whoever",
    "likewise",
    "the same of",
    "as far as",
    "for good",
    "had better",
];

/// Returns one line for each circle: the files, and the names that they use.
pub fn circles(uses: &Uses) -> Vec<String> {
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
pub fn upward_uses(uses: &Uses) -> Vec<String> {
    let module = |file: &str| file.trim_start_matches("src/").split(['/', '.']).next().unwrap_or_default().to_owned();
    let layer = |module: &String| LAYERS.iter().position(|modules| modules.contains(&module.as_str()));
    let mut lines = Vec::new();
    for (file, used) in uses {
        let from = module(file);
        if layer(&from).is_none() {
            lines.push(format!("{file}: its module is not in LAYERS of tests/structure/rules.rs"));
        }
        for (target, name) in used {
            let to = module(target);
            if from != to && layer(&from) >= layer(&to) {
                lines.push(format!("{file} uses {name} of {target}, which is not below it"));
            }
        }
    }
    lines
}

pub fn long_files(texts: &BTreeMap<String, String>) -> Vec<String> {
    let lines = texts.iter().map(|(path, text)| (path, text.lines().count()));
    let long = lines.filter(|(_, lines)| *lines > MAX_FILE_LINES);
    long.map(|(path, lines)| format!("{path}: {lines} lines")).collect()
}

/// Rows of tables and blocks of code in documents may be longer: nothing can wrap them.
pub fn long_lines(texts: &BTreeMap<String, String>) -> Vec<String> {
    let is_long = |(_, line): &(usize, &str)| line.chars().count() > MAX_COLUMNS;
    let in_file = |(path, text): (&String, &String)| -> Vec<String> {
        let mut is_code = false;
        let mut is_prose = |line: &str| {
            let is_fence = line.trim_start().starts_with("```");
            is_code ^= is_fence;
            !is_code && !is_fence && !line.starts_with('|')
        };
        let lines = (1..).zip(text.lines());
        let long = lines.filter(|(_, line)| !path.ends_with(".md") || is_prose(line)).filter(is_long);
        long.map(|(number, line)| format!("{path}:{number}: {} columns", line.chars().count())).collect()
    };
    texts.iter().flat_map(in_file).collect()
}

pub fn private_words(texts: &BTreeMap<String, String>) -> Vec<String> {
    let found = |line: &str| {
        // A phrase does not go on behind a comma.
        let apart: String = line.to_lowercase().replace(|c: char| !c.is_alphanumeric() && !c.is_whitespace(), " . ");
        let words = format!(" {} ", apart.split_whitespace().collect::<Vec<_>>().join(" "));
        PRIVATE_WORDS.into_iter().find(|private| words.contains(&format!(" {private} ")))
    };
    let in_file = |(path, text): (&String, &String)| -> Vec<String> {
        let words = (1..).zip(text.lines()).filter_map(|(number, line)| Some((number, found(line)?)));
        words.map(|(number, word)| format!("{path}:{number}: {word}")).collect()
    };
    texts.iter().flat_map(in_file).collect()
}

/// The functions that read a column of a row by its position.
const READS_OF_COLUMNS: [&str; 6] =
    ["try_get_by_index", "try_get", "try_get_unchecked", "moment", "required_moment", "check_is_primary"];

/// Returns one line for each column that is read by a number and not by the name of its position. 0 is not checked:
/// it is mostly the only column of a row, and this rule cannot tell.
pub fn columns_by_number(texts: &BTreeMap<String, String>) -> Vec<String> {
    let in_file = |(path, text): (&String, &String)| -> Vec<String> {
        let tokens = tokens(text);
        let calls = (0..tokens.len()).filter(|&start| READS_OF_COLUMNS.contains(&tokens[start].as_str()));
        let numbers = calls.filter_map(|start| Some((&tokens[start], number_in_call(&tokens, start)?)));
        numbers.map(|(name, number)| format!("{path}: {name} of column {number}")).collect()
    };
    texts.iter().flat_map(in_file).collect()
}

/// Returns a number other than 0 among the arguments of the call of the function at `start`.
fn number_in_call(tokens: &[String], start: usize) -> Option<&String> {
    tokens.get(start + 1).filter(|next| ["(", "::"].contains(&next.as_str()))?;
    let (mut depth, mut open) = (0, start + 1);
    while open < tokens.len() {
        match tokens[open].as_str() {
            "<" => depth += 1,
            ">" => depth -= 1,
            "(" if depth == 0 => break,
            _ => {}
        }
        open += 1;
    }
    let is_number = |token: &&String| token.starts_with(|c: char| c.is_ascii_digit()) && *token != "0";
    tokens[open..block_end(tokens, open)].iter().find(is_number)
}

/// Names that several types of one folder have. It gets no new entry.
const SHARED_TYPE_NAMES: [(&str, &str); 2] = [
    ("listener", "ResponseFuture"), // Each layer has its own, as tower's layers do.
    ("store", "Model"),             // SeaORM demands the name.
];

/// Returns one line for each name that several visible types in one folder of `src/` have.
pub fn types_of_one_name(texts: &BTreeMap<String, String>) -> Vec<String> {
    let mut files: BTreeMap<(String, String), Vec<&str>> = BTreeMap::new();
    for (path, text) in texts {
        let folder = path.trim_start_matches("src/").split(['/', '.']).next().unwrap_or_default();
        for name in visible_types(&tokens(text)) {
            files.entry((folder.to_owned(), name)).or_default().push(path);
        }
    }
    let is_new = |folder: &str, name: &str| !SHARED_TYPE_NAMES.contains(&(folder, name));
    let several = files.into_iter().filter(|((folder, name), files)| files.len() > 1 && is_new(folder, name));
    several.map(|((_, name), files)| format!("{name}: {}", files.join(", "))).collect()
}

/// Returns the names of the types that are `pub`, also within a part of the crate.
fn visible_types(tokens: &[String]) -> Vec<String> {
    let mut names = Vec::new();
    for (start, _) in tokens.iter().enumerate().filter(|(_, token)| *token == "pub") {
        let mut rest = &tokens[start + 1..];
        if rest.first().is_some_and(|token| token == "(") {
            let end = rest.iter().position(|token| token == ")").map_or(rest.len(), |end| end + 1);
            rest = &rest[end..];
        }
        if let [kind, name, ..] = rest
            && ["struct", "enum", "union", "trait", "type"].contains(&kind.as_str())
        {
            names.push(name.clone());
        }
    }
    names
}
