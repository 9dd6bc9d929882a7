//! The syntax of path templates.

use std::fmt;
use std::ops::Range;
use std::str::FromStr;

use super::percent::decode;

/// A path template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Template {
    pub(super) segments: Vec<Segment>,
    /// In the order of the path.
    pub(super) variables: Vec<Variable>,
    pub(super) verb: Option<String>,
}

/// A segment of a template. The order is that of preference, if several templates match a path.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Segment {
    /// This text, decoded.
    Literal(String),
    /// `*`: any segment that is not empty.
    One,
    /// `**`: all segments that are left, also none. None of them is empty.
    Many,
}

/// A part of the path that becomes a field of the request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Variable {
    /// The path of the field, as the template has it: `policy.name`.
    pub(super) field: String,
    /// Its segments.
    pub(super) segments: Range<usize>,
}

/// A text that is no path template.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it is not a path template as google/api/http.proto describes it")]
pub struct TemplateError;

impl Template {
    /// Returns the paths of the fields that its variables name.
    pub(crate) fn fields(&self) -> impl Iterator<Item = &str> {
        self.variables.iter().map(|variable| variable.field.as_str())
    }

    /// Whether it matches more than one path.
    pub(crate) fn has_wildcards(&self) -> bool {
        self.segments.iter().any(|segment| matches!(segment, Segment::One | Segment::Many))
    }
}

impl FromStr for Template {
    type Err = TemplateError;

    fn from_str(text: &str) -> Result<Self, TemplateError> {
        let text = text.strip_prefix('/').ok_or(TemplateError)?;
        let (mut rest, verb) = match text.rsplit_once(':') {
            Some((path, verb)) if !verb.contains(['/', '}']) => (path, Some(verb)),
            _ => (text, None),
        };
        if verb.is_some_and(|verb| verb.is_empty() || !verb.bytes().all(is_unreserved)) {
            return Err(TemplateError);
        }
        let (mut segments, mut variables) = (Vec::new(), Vec::<Variable>::new());
        loop {
            let begin = segments.len();
            rest = if let Some(rest) = rest.strip_prefix('{') {
                let (variable, rest) = rest.split_once('}').ok_or(TemplateError)?;
                let (field, pattern) = variable.split_once('=').unwrap_or((variable, "*"));
                let is_new = variables.iter().all(|variable| variable.field != field);
                if !is_new || !field.split('.').all(is_identifier) {
                    return Err(TemplateError);
                }
                segments.extend(pattern.split('/').map(Segment::parse).collect::<Result<Vec<_>, _>>()?);
                variables.push(Variable { field: field.to_owned(), segments: begin..segments.len() });
                rest
            } else {
                let (segment, rest) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
                segments.push(Segment::parse(segment)?);
                rest
            };
            match rest.strip_prefix('/') {
                Some(more) => rest = more,
                None if rest.is_empty() => break,
                None => return Err(TemplateError),
            }
        }
        if segments.iter().rev().skip(1).any(|segment| *segment == Segment::Many) {
            return Err(TemplateError);
        }
        Ok(Self { segments, variables, verb: verb.map(str::to_owned) })
    }
}

impl Segment {
    fn parse(text: &str) -> Result<Self, TemplateError> {
        match text {
            "" => Err(TemplateError),
            "*" => Ok(Self::One),
            "**" => Ok(Self::Many),
            _ if text.contains(|c: char| c.is_whitespace() || "{}*=:?#".contains(c)) => Err(TemplateError),
            _ => decode(text, false).map(Self::Literal).ok_or(TemplateError),
        }
    }
}

/// Its text. Parsed again, it is the same template.
impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut index = 0;
        while index < self.segments.len() {
            f.write_str("/")?;
            let variable = self.variables.iter().find(|variable| variable.segments.start == index);
            let Some(Variable { field, segments }) = variable else {
                write!(f, "{}", self.segments[index])?;
                index += 1;
                continue;
            };
            index = segments.end;
            let pattern: Vec<_> = self.segments[segments.clone()].iter().map(Segment::to_string).collect();
            match &pattern.join("/")[..] {
                "*" => write!(f, "{{{field}}}")?,
                pattern => write!(f, "{{{field}={pattern}}}")?,
            }
        }
        self.verb.as_ref().map_or(Ok(()), |verb| write!(f, ":{verb}"))
    }
}

impl fmt::Display for Segment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Literal(text) => text.bytes().try_for_each(|byte| {
                if is_unreserved(byte) { write!(f, "{}", char::from(byte)) } else { write!(f, "%{byte:02X}") }
            }),
            Self::One => f.write_str("*"),
            Self::Many => f.write_str("**"),
        }
    }
}

/// What http.proto never encodes.
pub(super) fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte)
}

/// `IDENT` of the grammar: the name of a field.
fn is_identifier(text: &str) -> bool {
    !text.starts_with(|c: char| c.is_ascii_digit())
        && !text.is_empty()
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn templates_of_the_grammar_are_read_and_written() {
        for text in [
            "/identify",
            "/contact/identify",
            "/identify:batch",
            "/v1/*",
            "/v1/**",
            "/v1/*/b/**:go",
            "/v1/{name}",
            "/v1/{name}/{other}",
            "/v1/{name=identities/*}",
            "/v1/{name=identities/*}:explain",
            "/v1/{parent=identities/*}/contacts",
            "/v1/{policy.name=policies/*/rules/**}",
            "/{a.b.c_1=**}:un-do",
            "/caf%C3%A9/%3A",
        ] {
            assert_eq!(text.parse::<Template>().map(|template| template.to_string()), Ok(text.to_owned()));
        }
        assert_eq!("/v1/{id=*}".parse::<Template>().unwrap().to_string(), "/v1/{id}");
    }

    #[test]
    fn other_texts_are_refused() {
        for text in [
            "",
            "/",
            "v1",
            "/v1/",
            "//v1",
            "/v1//a",
            "/:batch",
            "/identify:",
            "/a:b:c",
            "/a:b/c",
            "/v1/**/a",
            "/{a=**}/b",
            "/{a}b",
            "/b{a}",
            "/{a",
            "/a}",
            "/{}",
            "/{=*}",
            "/{a=}",
            "/{a={b}}",
            "/{a..b}",
            "/{1a}",
            "/{a}/{a}",
            "/{a=/*}",
            "/{a=*/}",
            "/a*",
            "/***",
            "/a b",
            "/a?b",
            "/a#b",
            "/a=b",
            "/%zz",
            "/%f",
            "/%ff",
            "/{a=*:b}",
        ] {
            assert_eq!(text.parse::<Template>(), Err(TemplateError), "{text}");
        }
    }

    /// A template, drawn by the grammar.
    fn template() -> impl Strategy<Value = String> {
        let segment = prop_oneof![Just("*".to_owned()), "[a-z0-9~._-]{1,4}"];
        let pattern = prop::collection::vec(segment.clone(), 1..3).prop_map(|segments| segments.join("/"));
        let variable = ("[a-z_][a-z0-9_]{0,3}(\\.[a-z]{1,2}){0,2}", pattern)
            .prop_map(|(field, of)| if of == "*" { format!("{{{field}}}") } else { format!("{{{field}={of}}}") });
        let part = prop_oneof![2 => segment, 1 => variable];
        let end = prop_oneof![Just(""), Just("/**"), Just("/{rest_=**}"), Just(":go")];
        (prop::collection::vec(part, 1..5), end).prop_map(|(parts, end)| format!("/{}{end}", parts.join("/")))
    }

    proptest! {
        #[test]
        fn what_is_written_is_what_was_read(text in template()) {
            match text.parse::<Template>() {
                Ok(template) => prop_assert_eq!(template.to_string(), text),
                // A variable came twice.
                Err(TemplateError) => prop_assert!(text.matches('{').count() > 1, "{}", text),
            }
        }

        #[test]
        fn any_text_is_read_or_refused(text in "[/{}*a:.=%~2fé]{0,20}") {
            if let Ok(template) = text.parse::<Template>() {
                prop_assert_eq!(template.to_string().parse(), Ok(template));
            }
        }
    }
}
