//! The JSON of a request.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::batch_items::read_items;
use crate::settings::IdentifierSettings;
use crate::transport::errors::ApiError;
use crate::transport::parse::{Parsed, Problem, parse};

/// The fields of the body of `Identify`: a JSON string or, for the phone number, also a JSON number of digits alone.
/// Each is absent, a text, or of a wrong JSON type.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct IdentifyFields<'a> {
    email: Result<Option<Cow<'a, str>>, Problem>,
    phone_number: Result<Option<Cow<'a, str>>, Problem>,
    validate_only: Result<bool, &'static str>,
}

/// Values are kept as they were written: a number can have more digits than any integer type.
#[derive(Deserialize)]
struct IdentifyBody<'a> {
    #[serde(borrow, default)]
    email: Option<&'a RawValue>,
    #[serde(borrow, default, rename = "phoneNumber")]
    phone_number: Option<&'a RawValue>,
    #[serde(borrow, default, rename = "phone_number")]
    phone_number_as_in_proto: Option<&'a RawValue>,
    #[serde(borrow, default, rename = "validateOnly")]
    validate_only: Option<&'a RawValue>,
    #[serde(borrow, default, rename = "validate_only")]
    validate_only_as_in_proto: Option<&'a RawValue>,
}

impl<'a> IdentifyFields<'a> {
    /// Reads a body. Unknown fields are ignored; `null` is the same as absent.
    ///
    /// # Errors
    /// [`ApiError::Malformed`], with the place but never the text.
    pub(super) fn read(body: &'a [u8]) -> Result<Self, ApiError> {
        Ok(Self::from_body(object(body)?))
    }

    /// Reads the fields of an item of a batch, which is valid JSON.
    pub(super) fn read_item(item: &'a [u8]) -> Result<Self, ApiError> {
        if !item.starts_with(b"{") {
            return Err(malformed("the item is not a JSON object"));
        }
        // So only this can be wrong.
        let body = serde_json::from_slice(item).map_err(|_| malformed("the item has a field twice"))?;
        Ok(Self::from_body(body))
    }

    /// Returns what the request says.
    ///
    /// # Errors
    /// [`ApiError::Invalid`] names all malformed identifiers, [`ApiError::BadField`] another field. A request that may
    /// have been meant to write nothing is refused.
    pub(super) fn parse(&self, settings: &IdentifierSettings) -> Result<Parsed, ApiError> {
        let email = self.email.as_ref().map(Option::as_deref).map_err(|problem| *problem);
        let phone_number = self.phone_number.as_ref().map(Option::as_deref).map_err(|problem| *problem);
        let validate_only = self.validate_only.map_err(|problem| bad_field("validateOnly", problem))?;
        let mut parsed = parse(email, phone_number, settings).map_err(ApiError::Invalid)?;
        parsed.request.validate_only = validate_only;
        Ok(parsed)
    }

    fn from_body(body: IdentifyBody<'a>) -> Self {
        let phone_number = match (body.phone_number, body.phone_number_as_in_proto) {
            (Some(_), Some(_)) => Err(Problem::GivenTwice),
            (given, None) | (None, given) => given.map_or(Ok(None), |json| text_or_digits(json.get())),
        };
        let validate_only = match (body.validate_only, body.validate_only_as_in_proto) {
            (Some(_), Some(_)) => Err("must be given once, not as validate_only too"),
            (given, None) | (None, given) => given.map_or(Ok(false), |json| boolean(json.get())),
        };
        Self { email: body.email.map(|json| text(json.get())).transpose(), phone_number, validate_only }
    }
}

#[derive(Deserialize)]
struct BatchBody<'a> {
    #[serde(borrow, default)]
    requests: Option<&'a RawValue>,
}

/// Returns the items in the body of a batch, of whatever JSON type. Absent and `null` mean no items.
///
/// # Errors
/// [`ApiError::Malformed`], as [`IdentifyFields::read`], or that the batch is too long.
pub(super) fn batch_items(body: &[u8]) -> Result<Vec<&RawValue>, ApiError> {
    let body: BatchBody = object(body)?;
    body.requests.map_or(Ok(Vec::new()), read_items)
}

/// Some editors and languages write it before text in UTF-8. RFC 8259 lets a parser ignore it.
const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();

/// Parses a body that must be a JSON object.
fn object<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, ApiError> {
    let body = without_mark(body);
    // serde would accept `["a@b.co", "1"]` as an object with its fields in order.
    match body.iter().find(|byte| !byte.is_ascii_whitespace()) {
        None => Err(malformed("the body is empty, where a JSON object is expected")),
        Some(b'{') => serde_json::from_slice(body).map_err(|error| not_json(&error)),
        Some(_) => Err(malformed("the body is not a JSON object")),
    }
}

/// Returns a body without a byte order mark before it.
pub(super) fn without_mark(body: &[u8]) -> &[u8] {
    body.strip_prefix(BYTE_ORDER_MARK).unwrap_or(body)
}

/// Parses a JSON string.
fn text(json: &str) -> Result<Cow<'_, str>, Problem> {
    let Some(inner) = json.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) else {
        return Err(Problem::NotText);
    };
    if inner.contains('\\') {
        serde_json::from_str(json).map(Cow::Owned).map_err(|_| Problem::NotText)
    } else {
        Ok(Cow::Borrowed(inner))
    }
}

/// Parses a JSON string, or a JSON number of digits alone.
///
/// The number 0 means "not given": programs send it for a number that they do not have. As a phone number, it would
/// join all customers whose number is missing.
fn text_or_digits(json: &str) -> Result<Option<Cow<'_, str>>, Problem> {
    if json.starts_with('"') {
        text(json).map(Some)
    } else if json == "0" {
        Ok(None)
    } else if json.bytes().all(|byte| byte.is_ascii_digit()) {
        Ok(Some(Cow::Borrowed(json)))
    } else {
        Err(Problem::NotTextOrInteger)
    }
}

/// Parses a JSON boolean.
fn boolean(json: &str) -> Result<bool, &'static str> {
    match json {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err("must be true or false"),
    }
}

/// The error of a field that is no identifier.
fn bad_field(field: &str, problem: &str) -> ApiError {
    ApiError::BadField { field: field.to_owned(), problem: problem.to_owned() }
}

/// An error that says only this.
pub(super) fn malformed(message: &str) -> ApiError {
    ApiError::Malformed(message.to_owned())
}

/// Names the position alone: serde's own message quotes the body, which is personal data.
pub(super) fn not_json(error: &serde_json::Error) -> ApiError {
    let what = match error.classify() {
        serde_json::error::Category::Eof => "the JSON of the body ends too early",
        // The types of the fields accept everything else.
        serde_json::error::Category::Data => "the body has a field twice",
        serde_json::error::Category::Syntax | serde_json::error::Category::Io => "the body is not valid JSON",
    };
    ApiError::Malformed(format!("{what}, at line {} column {}", error.line(), error.column()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::Settings;

    type Text = Result<Option<String>, Problem>;

    fn read(body: &str) -> Result<(Text, Text), ApiError> {
        let owned = |text: Option<Cow<'_, str>>| text.map(Cow::into_owned);
        let fields = IdentifyFields::read(body.as_bytes())?;
        Ok((fields.email.map(owned), fields.phone_number.map(owned)))
    }

    fn phone(body: &str) -> Option<String> {
        read(body).unwrap().1.unwrap()
    }

    #[test]
    fn a_phone_number_is_text_or_digits_under_either_name() {
        let forty = "1234567890".repeat(4);
        assert_eq!(phone(r#"{"phoneNumber":"123456"}"#).unwrap(), "123456");
        assert_eq!(phone(r#"{"phoneNumber": 123456 }"#).unwrap(), "123456");
        assert_eq!(phone(r#"{"phone_number":123456}"#).unwrap(), "123456");
        assert_eq!(phone(r#"{"phone_number":"1","phoneNumber":null}"#).unwrap(), "1");
        assert_eq!(phone(&format!(r#"{{"phoneNumber":{forty}}}"#)).unwrap(), forty);
        assert_eq!(phone(r#"{"phoneNumber":"0"}"#).unwrap(), "0");
    }

    #[test]
    fn the_number_0_is_not_given() {
        for body in [r#"{"phoneNumber":0}"#, r#"{"phone_number": 0 }"#] {
            assert_eq!(phone(body), None, "{body}");
        }
    }

    #[test]
    fn what_may_be_meant_to_write_nothing_is_refused_or_writes_nothing() {
        let settings = Settings::from_flags(["--invalid-identifiers=ignore"]).unwrap().identify;
        let parse = |field: &str| {
            let body = format!(r#"{{"email":"a@b.co"{field}}}"#);
            let parsed = IdentifyFields::read(body.as_bytes())?.parse(&settings)?;
            Ok::<bool, ApiError>(parsed.request.validate_only)
        };
        for (field, validate_only) in [
            ("", false),
            (r#","validateOnly":null"#, false),
            (r#","validateOnly": false "#, false),
            (r#","validateOnly":true"#, true),
            (r#","validate_only":true"#, true),
            (r#","validate_only":true,"validateOnly":null"#, true),
        ] {
            assert_eq!(parse(field), Ok(validate_only), "{field}");
        }
        for value in [r#""true""#, "1", "0", "[]", "{}", r#""secret""#] {
            let error = bad_field("validateOnly", "must be true or false");
            assert_eq!(parse(&format!(r#","validateOnly":{value}"#)), Err(error), "{value}");
        }
        let twice = bad_field("validateOnly", "must be given once, not as validate_only too");
        assert_eq!(parse(r#","validateOnly":true,"validate_only":true"#), Err(twice));
    }

    #[test]
    fn any_other_type_is_wrong() {
        for value in ["-1", "1.5", "0.0", "1e5", "1E5", "-0", "true", "false", "{}", "[1]", r#"{"a":1}"#] {
            let body = format!(r#"{{"phoneNumber":{value}}}"#);
            assert_eq!(read(&body), Ok((Ok(None), Err(Problem::NotTextOrInteger))), "{body}");
        }
        for value in ["0", "1", "true", "{}", "[]", r#""\ud800""#] {
            let body = format!(r#"{{"email":{value}}}"#);
            assert_eq!(read(&body), Ok((Err(Problem::NotText), Ok(None))), "{body}");
        }
        let both = Ok((Err(Problem::NotText), Err(Problem::NotTextOrInteger)));
        assert_eq!(read(r#"{"email":1,"phoneNumber":-1}"#), both);
        assert_eq!(read(r#"{"phoneNumber":1,"phone_number":1}"#), Ok((Ok(None), Err(Problem::GivenTwice))));
    }

    #[test]
    fn absent_and_null_are_not_given_and_unknown_fields_are_ignored() {
        for body in ["{}", r#"{"email":null,"phoneNumber":null}"#, r#" {"x":{"y":[1,{}]},"Email":"a@b.co"} "#] {
            assert_eq!(read(body), Ok((Ok(None), Ok(None))), "{body}");
        }
    }

    #[test]
    fn one_byte_order_mark_is_ignored_before_the_body_and_nowhere_else() {
        assert_eq!(phone("\u{feff}{\"phoneNumber\":1}").unwrap(), "1");
        assert_eq!(batch_items("\u{feff}{\"requests\":[{}]}".as_bytes()).unwrap().len(), 1);
        for body in ["\u{feff}", "\u{feff}\u{feff}{}", " \u{feff}{}", "{\u{feff}}", "{}\u{feff}"] {
            assert!(matches!(read(body), Err(ApiError::Malformed(_))), "{body:?}");
        }
    }

    #[test]
    fn escapes_are_read() {
        let (email, _) = read(r#"{"email":"jos\u00e9\u0040b.co"}"#).unwrap();
        assert_eq!(email, Ok(Some("josé@b.co".to_owned())));
    }

    #[test]
    fn a_body_that_is_no_object_is_malformed_and_never_quoted() {
        for body in [
            "",
            " \n",
            "null",
            "1",
            r#""doc@b.co""#,
            r#"["doc@b.co","1"]"#,
            "{",
            r#"{"email":"doc@b.co""#,
            r#"{"email":"doc@b.co",}"#,
            r#"{"email":doc@b.co}"#,
            r#"{"email":"doc@b.co"} x"#,
            r#"{'email':1}"#,
            r#"{"email":"doc@b.co","email":"doc@b.co"}"#,
            r#"{"phoneNumber":0123}"#,
            r#"{"phoneNumber":+1}"#,
            "{\"email\":\"a\nb\"}",
        ] {
            let error = read(body).unwrap_err();
            let ApiError::Malformed(message) = error else { panic!("{body}: {error:?}") };
            assert!(!message.contains("doc"), "{message}");
        }
        assert!(matches!(IdentifyFields::read(b"{\"email\":\"\xff@b.co\"}"), Err(ApiError::Malformed(_))));
    }

    #[test]
    fn the_position_is_named() {
        let error = read("{\n  \"email\": ?\n}").unwrap_err();
        assert_eq!(error, ApiError::Malformed("the body is not valid JSON, at line 2 column 12".to_owned()));
    }

    #[test]
    fn a_batch_is_a_list_of_items_each_right_or_wrong_by_itself() {
        let body = br#" {"requests":[{"phoneNumber":1}, [1], null, {"email":"a","email":"a"}, {"email":1}], "x":1}"#;
        let items = batch_items(body).unwrap();
        let read: Vec<_> = items.into_iter().map(|item| IdentifyFields::read_item(item.get().as_bytes())).collect();
        assert_eq!(read[0].as_ref().unwrap().phone_number, Ok(Some("1".into())));
        let malformed = |text: &str| Err(ApiError::Malformed(text.to_owned()));
        assert_eq!(
            read[1..3],
            [malformed("the item is not a JSON object"), malformed("the item is not a JSON object")]
        );
        assert_eq!(read[3], malformed("the item has a field twice"));
        assert_eq!(read[4].as_ref().unwrap().email, Err(Problem::NotText));
        for none in ["{}", r#"{"requests":null}"#, r#"{"requests":[]}"#] {
            assert!(batch_items(none.as_bytes()).unwrap().is_empty(), "{none}");
        }
        for body in
            ["", "[]", r#"{"requests":{}}"#, r#"{"requests":"doc"}"#, r#"{"requests":[doc]}"#, "{\"requests\":["]
        {
            let Err(ApiError::Malformed(message)) = batch_items(body.as_bytes()) else { panic!("{body}") };
            assert!(!message.contains("doc"), "{message}");
        }
    }

    #[test]
    fn deep_nesting_does_no_harm() {
        let deep = format!(r#"{{"x":{}{}}}"#, "[".repeat(30_000), "]".repeat(30_000));
        let _ = read(&deep);
        let email = format!(r#"{{"email":{}{}}}"#, "[".repeat(30_000), "]".repeat(30_000));
        assert!(!matches!(read(&email), Ok((Ok(_), _))));
    }
}
