//! Finds the template of a request.

use http::Method;

use super::capture::{Capture, SplitPath};
use super::syntax::Template;

/// The method of a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum HttpMethod {
    /// One method. `GET` takes `HEAD` too.
    One(Method),
    /// Any method but `GET` and `HEAD`. Web pages can send these two without naming their origin, so they must only
    /// read.
    Any,
}

/// The methods in `Allow` for [`HttpMethod::Any`].
const ANY: [&Method; 4] = [&Method::POST, &Method::PUT, &Method::PATCH, &Method::DELETE];

impl HttpMethod {
    fn takes(&self, method: &Method) -> bool {
        match self {
            Self::One(one) => one == method,
            Self::Any => ![Method::GET, Method::HEAD].contains(method),
        }
    }

    /// Whether a request could be for either.
    fn meets(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Any, Self::Any) => true,
            (Self::One(one), other) | (other, Self::One(one)) => other.takes(one),
        }
    }
}

/// Templates with their methods, each with a value.
#[derive(Clone, Debug)]
pub struct TemplateTable<T> {
    /// Sorted by preference: a literal segment before a variable one.
    entries: Vec<Entry<T>>,
    /// How many segments the paths that they match can have.
    most_segments: usize,
}

#[derive(Clone, Debug)]
struct Entry<T> {
    template: Template,
    method: HttpMethod,
    value: T,
}

/// What a table has for a request.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Found<'a, T> {
    /// The value of the best template, and what its variables capture.
    Match(&'a T, Vec<Capture<'a>>),
    /// The path exists, for these methods.
    WrongMethod(Vec<&'a Method>),
    /// Nothing is at the path.
    Nothing,
}

impl<T> Default for TemplateTable<T> {
    fn default() -> Self {
        Self { entries: Vec::new(), most_segments: 0 }
    }
}

impl<T> TemplateTable<T> {
    /// Adds a template. Returns whether it could be added: no other one may have the same requests.
    #[must_use]
    pub(crate) fn add(&mut self, method: HttpMethod, template: Template, value: T) -> bool {
        let is_new = |entry: &Entry<T>| entry.template.shape() != template.shape() || !entry.method.meets(&method);
        if !self.entries.iter().all(is_new) {
            return false;
        }
        self.most_segments = self.most_segments.max(template.most_segments());
        let place = self.entries.partition_point(|entry| entry.template.shape() <= template.shape());
        self.entries.insert(place, Entry { template, method, value });
        true
    }

    /// Returns the value of a template without variables that has this path.
    pub(crate) fn at_literal(&self, path: &str) -> Option<&T> {
        let path = self.split(path)?;
        let mut entries = self.entries.iter().filter(|entry| !entry.template.has_wildcards());
        entries.find(|entry| entry.template.matches(&path)).map(|entry| &entry.value)
    }

    /// Returns the values of all templates.
    #[cfg(test)]
    pub(crate) fn values(&self) -> impl Iterator<Item = &T> {
        self.entries.iter().map(|entry| &entry.value)
    }

    /// Returns the same templates with other values.
    pub(crate) fn map<U>(self, mut other: impl FnMut(T) -> U) -> TemplateTable<U> {
        let entry = |Entry { template, method, value }| Entry { template, method, value: other(value) };
        TemplateTable { entries: self.entries.into_iter().map(entry).collect(), most_segments: self.most_segments }
    }

    /// Returns what there is for a request. A slash at the end of its path may be missing or too many.
    pub(crate) fn find<'a>(&'a self, method: &Method, path: &str) -> Found<'a, T> {
        let exact = self.find_exact(method, path);
        if matches!(exact, Found::Match(..)) {
            return exact;
        }
        match path.strip_suffix('/').map(|path| self.find_exact(method, path)) {
            Some(found @ Found::Match(..)) => found,
            Some(found) if matches!(exact, Found::Nothing) => found,
            _ => exact,
        }
    }

    fn split<'p>(&self, path: &'p str) -> Option<SplitPath<'p>> {
        let is_verb = |verb: &str| self.entries.iter().any(|entry| entry.template.verb() == Some(verb));
        SplitPath::new(path, self.most_segments, is_verb)
    }

    fn find_exact<'a>(&'a self, method: &Method, path: &str) -> Found<'a, T> {
        let Some(path) = self.split(path) else { return Found::Nothing };
        let matches = || self.entries.iter().filter(|entry| entry.template.matches(&path));
        let as_get = (method == Method::HEAD).then_some(&Method::GET);
        let best = [Some(method), as_get].into_iter().flatten().find_map(|of| matches().find(|e| e.method.takes(of)));
        if let Some(entry) = best {
            return Found::Match(&entry.value, entry.template.captures(&path));
        }
        let mut allowed = Vec::new();
        for entry in matches() {
            let methods = match &entry.method {
                HttpMethod::One(method) if method == Method::GET => vec![method, &Method::HEAD],
                HttpMethod::One(method) => vec![method],
                HttpMethod::Any => ANY.to_vec(),
            };
            allowed.extend(methods.into_iter().filter(|of| !allowed.contains(of)).collect::<Vec<_>>());
        }
        if allowed.is_empty() { Found::Nothing } else { Found::WrongMethod(allowed) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(rules: &[(&str, &'static str)]) -> Option<TemplateTable<&'static str>> {
        let mut table = TemplateTable::default();
        for (method, template) in rules {
            let method = match *method {
                "*" => HttpMethod::Any,
                name => HttpMethod::One(name.parse().unwrap()),
            };
            if !table.add(method, template.parse().unwrap(), *template) {
                return None;
            }
        }
        Some(table)
    }

    #[test]
    fn the_best_template_is_found_in_any_order() {
        let mut rules = vec![
            ("GET", "/v1/{name=identities/*}"),
            ("DELETE", "/v1/{name=identities/*}"),
            ("POST", "/v1/{name=identities/*}:explain"),
            ("GET", "/v1/{name=identities/mine}"),
            ("GET", "/v1/{name=**}"),
            ("*", "/v1/any/{id}"),
            ("POST", "/v1/identities:lookup"),
            ("GET", "/v1/identities"),
        ];
        for _ in 0..rules.len() {
            rules.rotate_left(1);
            let table = table(&rules).unwrap();
            let find = |method: &str, path: &str| match table.find(&method.parse().unwrap(), path) {
                Found::Match(template, _) => (*template).to_owned(),
                Found::WrongMethod(allowed) => {
                    let mut allowed: Vec<_> = allowed.into_iter().map(Method::as_str).collect();
                    allowed.sort_unstable();
                    allowed.join(",")
                }
                Found::Nothing => String::new(),
            };
            for (method, path, expected) in [
                ("GET", "/v1/identities/3", "/v1/{name=identities/*}"),
                ("HEAD", "/v1/identities/3", "/v1/{name=identities/*}"),
                ("GET", "/v1/identities/3/", "/v1/{name=identities/*}"),
                ("DELETE", "/v1/identities/3/", "/v1/{name=identities/*}"),
                ("GET", "/v1/identities/mine", "/v1/{name=identities/mine}"),
                ("DELETE", "/v1/identities/mine", "/v1/{name=identities/*}"),
                ("POST", "/v1/identities/3:explain", "/v1/{name=identities/*}:explain"),
                ("POST", "/v1/identities/3:explain/", "/v1/{name=identities/*}:explain"),
                ("GET", "/v1/identities/3:explain", "POST"),
                ("PUT", "/v1/identities/3", "DELETE,GET,HEAD"),
                ("POST", "/v1/identities:lookup", "/v1/identities:lookup"),
                ("POST", "/v1/identities%3Alookup/", "/v1/identities:lookup"),
                ("GET", "/v1/identities:lookup", "POST"),
                ("GET", "/v1/identities", "/v1/identities"),
                ("GET", "/v1/a/b/c", "/v1/{name=**}"),
                ("PURGE", "/v1/any/3", "/v1/any/{id}"),
                ("GET", "/v2", ""),
                ("GET", "", ""),
                ("GET", "/", ""),
                ("GET", "*", ""),
            ] {
                assert_eq!(find(method, path), expected, "{method} {path}");
            }
        }
    }

    #[test]
    fn no_two_templates_have_the_same_requests() {
        assert!(table(&[("GET", "/v1/{a}"), ("GET", "/v1/{b=*}")]).is_none());
        assert!(table(&[("POST", "/v1/{a}"), ("*", "/v1/*")]).is_none());
        assert!(table(&[("*", "/v1/{a}"), ("*", "/v1/*")]).is_none());
        assert!(table(&[("GET", "/v1/{a}"), ("*", "/v1/*")]).is_some());
        assert!(table(&[("GET", "/v1/{a=b/*}"), ("GET", "/v1/b/{c}")]).is_none());
        assert!(
            table(&[("GET", "/v1/{a}"), ("POST", "/v1/{a}"), ("GET", "/v1/{a}:go"), ("GET", "/v1/{a=**}")]).is_some()
        );
    }

    #[test]
    fn a_rule_for_any_method_is_not_for_those_that_only_read() {
        let table = table(&[("*", "/v1/any")]).unwrap();
        assert!(matches!(table.find(&Method::PATCH, "/v1/any"), Found::Match(..)));
        for method in [Method::GET, Method::HEAD] {
            assert_eq!(table.find(&method, "/v1/any"), Found::WrongMethod(ANY.to_vec()));
        }
    }

    #[test]
    fn templates_without_variables_are_found_by_their_path() {
        let table = table(&[("GET", "/v1/a:go"), ("GET", "/v1/{a}"), ("GET", "/{b=**}")]).unwrap();
        for (path, expected) in [("/v1/a:go", Some(&"/v1/a:go")), ("/v1/a%3Ago", Some(&"/v1/a:go")), ("/v1/a", None)] {
            assert_eq!(table.at_literal(path), expected, "{path}");
        }
    }
}
