//! The rules. Each function returns what breaks its rule, one line each.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::source_tree::Uses;
use super::tokens::joined;

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

/// Words that only this project gave a meaning. The trade's words for them: API, stack, routes, queue, repair.
const PRIVATE_WORDS: [&str; 14] = [
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
        let mut words = line.split(|c: char| !c.is_alphanumeric());
        words.find(|word| PRIVATE_WORDS.contains(&word.to_lowercase().as_str())).map(str::to_owned)
    };
    let in_file = |(path, text): (&String, &String)| -> Vec<String> {
        let words = (1..).zip(text.lines()).filter_map(|(number, line)| Some((number, found(line)?)));
        words.map(|(number, word)| format!("{path}:{number}: {word}")).collect()
    };
    texts.iter().flat_map(in_file).collect()
}
