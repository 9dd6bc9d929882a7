//! Which paths a template matches, and what its variables capture.

use super::percent::decode;
use super::syntax::{Segment, Template, Variable};

/// What a variable captures.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Capture<'a> {
    /// The path of the field, as the template has it.
    pub(crate) field: &'a str,
    /// The text, decoded. `None` if it cannot be decoded as UTF-8.
    pub(crate) text: Option<String>,
}

/// A path of a request, as it was sent.
#[derive(Clone, Debug)]
pub(super) struct SplitPath<'a> {
    segments: Vec<&'a str>,
    verb: Option<&'a str>,
}

impl<'a> SplitPath<'a> {
    /// Splits a path, unless it has more segments than any template takes: it is not known yet who calls, so a path
    /// that is refused must cost little. What follows the last `:` of its last segment is a verb if any template has it:
    /// in the values of variables, clients encode the colon.
    pub(super) fn new(path: &'a str, most_segments: usize, is_verb: impl Fn(&str) -> bool) -> Option<Self> {
        let mut all = path.strip_prefix('/')?.split('/');
        let mut segments: Vec<_> = all.by_ref().take(most_segments).collect();
        if all.next().is_some() {
            return None;
        }
        let last = segments.last_mut()?;
        let verb = match last.rsplit_once(':') {
            Some((head, verb)) if is_verb(verb) => {
                *last = head;
                Some(verb)
            }
            _ => None,
        };
        Some(Self { segments, verb })
    }
}

impl Template {
    /// Returns the verb.
    pub(super) fn verb(&self) -> Option<&str> {
        self.verb.as_deref()
    }

    /// Returns what a request for either of two templates could mean: their segments and verbs, without the variables.
    /// The order is that of preference.
    pub(super) fn shape(&self) -> (&[Segment], Option<&str>) {
        (&self.segments, self.verb())
    }

    /// Returns how many segments the paths that it matches can have.
    pub(super) fn most_segments(&self) -> usize {
        if self.segments.contains(&Segment::Many) { usize::MAX } else { self.segments.len() }
    }

    /// Whether it matches a path.
    pub(super) fn matches(&self, path: &SplitPath<'_>) -> bool {
        let (fixed, is_open) = match self.segments.split_last() {
            Some((Segment::Many, fixed)) => (fixed, true),
            _ => (&self.segments[..], false),
        };
        let given = path.segments.len();
        if given < fixed.len() || given > fixed.len() && !is_open {
            return false;
        }
        if path.segments[fixed.len()..].contains(&"") {
            return false;
        }
        let verb_is_encoded = match (self.verb(), path.verb) {
            (Some(_), None) if !is_open => true,
            (verb, given) if verb == given => false,
            _ => return false,
        };
        let last = fixed.len().wrapping_sub(1);
        (0..).zip(fixed.iter().zip(&path.segments)).all(|(index, (segment, given))| match segment {
            Segment::Literal(text) if verb_is_encoded && index == last => {
                let verb = self.verb().unwrap_or_default();
                decode(given, false).as_deref() == Some(&format!("{text}:{verb}"))
            }
            Segment::Literal(text) => decode(given, false).as_deref() == Some(text),
            // An encoded colon after a variable belongs to its value.
            Segment::One => !(given.is_empty() || verb_is_encoded && index == last),
            Segment::Many => false,
        })
    }

    /// Returns what the variables capture of a path that the template matches.
    ///
    /// The value of a variable of one segment is decoded. In that of several segments `%2F` stays as it is: decoded, it
    /// would look like the end of a segment.
    pub(super) fn captures<'a>(&'a self, path: &SplitPath<'_>) -> Vec<Capture<'a>> {
        let capture = |variable: &'a Variable| {
            let segments = &self.segments[variable.segments.clone()];
            let is_open = segments.contains(&Segment::Many);
            let end = if is_open { path.segments.len() } else { variable.segments.end };
            let raw = path.segments.get(variable.segments.start..end).unwrap_or_default().join("/");
            Capture { field: &variable.field, text: decode(&raw, is_open || segments.len() > 1) }
        };
        self.variables.iter().map(capture).collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::transport::template::syntax::is_unreserved;

    /// What the variables capture, or `None` if the template does not match.
    fn captured(template: &str, path: &str) -> Option<Vec<Option<String>>> {
        let template: Template = template.parse().unwrap();
        let path = SplitPath::new(path, template.most_segments(), |verb| ["explain", "lookup"].contains(&verb))?;
        template.matches(&path).then(|| template.captures(&path).into_iter().map(|capture| capture.text).collect())
    }

    fn texts(texts: &[&str]) -> Option<Vec<Option<String>>> {
        Some(texts.iter().map(|text| Some((*text).to_owned())).collect())
    }

    #[test]
    fn variables_capture_by_the_rules_of_http_proto() {
        for (template, path, expected) in [
            ("/v1/{id}", "/v1/7", texts(&["7"])),
            ("/v1/{id}", "/v1/a%2Fb%3A%20c+d", texts(&["a/b: c+d"])),
            ("/v1/{id}", "/v1/caf%C3%A9%252F", texts(&["café%2F"])),
            ("/v1/{id}", "/v1/a:unknown", texts(&["a:unknown"])),
            ("/v1/{id}", "/v1/a:explain", None),
            ("/v1/{id}", "/v1/a%3Aexplain", texts(&["a:explain"])),
            ("/v1/{id}:explain", "/v1/a:explain", texts(&["a"])),
            ("/v1/{id}:explain", "/v1/a:b:explain", texts(&["a:b"])),
            ("/v1/{id}:explain", "/v1/a%3Aexplain", None),
            ("/v1/{id}:explain", "/v1/a:lookup", None),
            ("/v1/{id}:explain", "/v1/a", None),
            ("/v1/{id}:explain", "/v1/:explain", None),
            ("/v1/{id}", "/v1/", None),
            ("/v1/{id}", "/v1", None),
            ("/v1/{id}", "/v1/a/b", None),
            ("/v1/{name=identities/*}", "/v1/identities/3", texts(&["identities/3"])),
            ("/v1/{name=identities/*}", "/v1/identities/a%2Fb%2fc%20d", texts(&["identities/a%2Fb%2fc d"])),
            ("/v1/{name=identities/*}", "/v1/customers/3", None),
            ("/v1/{name=identities/*}", "/v1/identities/3/contacts", None),
            ("/v1/{parent=identities/*}/contacts", "/v1/identities/3/contacts", texts(&["identities/3"])),
            ("/v1/{name=files/**}", "/v1/files/a/b%2Fc", texts(&["files/a/b%2Fc"])),
            ("/v1/{name=files/**}", "/v1/files", texts(&["files"])),
            ("/v1/{name=files/**}", "/v1/files/", None),
            ("/v1/{name=files/**}", "/v1/files//a", None),
            ("/v1/{name=files/**}", "/v1/files/a/", None),
            ("/v1/{name=files/**}", "/v1//a", None),
            ("/v1/{name=files/**}:lookup", "/v1/files/a/b:lookup", texts(&["files/a/b"])),
            ("/v1/{name=files/**}:lookup", "/v1/files/a/:lookup", None),
            ("/v1/{name=files/**}:lookup", "/v1/files:lookup", texts(&["files"])),
            ("/v1/{name=files/**}:lookup", "/v1/files/a/b", None),
            ("/{a}/x/{b.c=**}", "/1/x/2/3", texts(&["1", "2/3"])),
            ("/v1/identities:lookup", "/v1/identities:lookup", texts(&[])),
            ("/v1/identities:lookup", "/v1/identities%3Alookup", texts(&[])),
            ("/v1/identities:lookup", "/v1/identities%3alookup", texts(&[])),
            ("/v1/identities:lookup", "/v1/identities", None),
            ("/caf%C3%A9", "/caf%c3%a9", texts(&[])),
            ("/a%2Fb", "/a%2fb", texts(&[])),
            ("/a%2Fb", "/a/b", None),
            ("/v1/*/b", "/v1/a/b", texts(&[])),
        ] {
            assert_eq!(captured(template, path), expected, "{template} {path}");
        }
        for broken in ["/v1/%ff", "/v1/%", "/v1/%4", "/v1/%zz"] {
            assert_eq!(captured("/v1/{id}", broken), Some(vec![None]), "{broken}");
            assert_eq!(captured("/v1/v", broken), None);
        }
        assert_eq!(captured("/v1/{name=a/*}", "/v1/a/%2F%f"), Some(vec![None]));
    }

    /// Encodes as clients do: all but the unreserved characters, and slashes if the variable has several segments.
    fn encoded(text: &str, keeps_slashes: bool) -> String {
        let encode = |byte: u8| match byte {
            b'/' if keeps_slashes => "/".to_owned(),
            _ if is_unreserved(byte) => char::from(byte).to_string(),
            _ => format!("%{byte:02x}"),
        };
        text.bytes().map(encode).collect()
    }

    #[test]
    fn a_path_with_more_segments_than_any_template_is_not_split() {
        let split = |path: &str, most| SplitPath::new(path, most, |_| false).is_some();
        assert!(split("/a/b", 2) && !split("/a/b/", 2) && !split("/a", 0));
        assert!(split(&"/a".repeat(1_000), usize::MAX));
    }

    proptest! {
        #[test]
        fn what_a_client_encodes_is_what_is_captured(text in "[a-z/:% é+?]{1,8}") {
            prop_assert_eq!(captured("/v1/{id}", &format!("/v1/{}", encoded(&text, false))), texts(&[&text]));
            let whole = format!("/v1/{}", encoded(&text, true));
            // A segment is never empty.
            let expected = texts(&[&text]).filter(|_| !text.split('/').any(str::is_empty));
            prop_assert_eq!(captured("/v1/{id=**}", &whole), expected);
        }

        #[test]
        fn no_path_makes_it_panic(path in "[/a:%2fFé.]{0,16}") {
            for template in ["/a", "/{a}", "/{a=a/*}:explain", "/a/{a=**}", "/**:lookup", "/a:lookup"] {
                let _ = captured(template, &path);
            }
        }
    }
}
