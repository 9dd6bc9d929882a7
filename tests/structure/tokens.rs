//! Rust source as tokens, and the paths in it.

/// Splits Rust source into names, `::`, and single characters. Leaves out comments, strings, characters and lifetimes.
pub fn tokens(text: &str) -> Vec<String> {
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

pub fn is_name(token: &str) -> bool {
    token.starts_with(|c: char| c.is_alphabetic() || c == '_')
}

/// Returns the index of the bracket that closes the one at `open`.
pub fn block_end(tokens: &[String], open: usize) -> usize {
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
pub fn without_tests(tokens: Vec<String>) -> Vec<String> {
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
pub fn imports(tokens: &[String], top_level_only: bool) -> Vec<(Option<String>, Vec<String>)> {
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
pub fn inline_paths(tokens: &[String]) -> Vec<Vec<String>> {
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

pub fn joined(path: &[String], name: &str) -> Vec<String> {
    [path, &[name.to_owned()]].concat()
}
