//! The settings in force, as a settings file.

use std::fmt::Write;

use clap::Arg;

use super::Settings;
use super::database::shown;
use super::file::{Kind, is_setting};
use super::sources::{Origin, Sources};

/// A settings file that says what is in force and where each value came from. What is at its default is
/// commented out, as in `identity.example.toml`; secrets are left out.
pub(super) fn report(settings: &Settings, sources: &Sources) -> String {
    let mut text = summary(settings);
    for arg in sources.command.get_arguments().filter(|arg| is_setting(arg)) {
        let key = arg.get_id().as_str();
        let source = match sources.origin(key) {
            Origin::Default => "default".to_owned(),
            Origin::Flag | Origin::Environment | Origin::File => sources.spelled(key),
        };
        let raw = sources.matches.get_raw(key).and_then(|mut values| values.next_back());
        let line = match raw.map(|value| value.to_string_lossy()) {
            None => format!("#{key} =  # not set"),
            Some(_) if key == "db_password" => format!("#{key} =  # hidden; {source}"),
            Some(value) if key == "database_url" => line(arg, &shown(&value), &source),
            Some(value) => line(arg, &value, &source),
        };
        let mark = if sources.is_given(key) || line.starts_with('#') { "" } else { "#" };
        let _ = writeln!(text, "{mark}{line}");
    }
    text
}

/// What several settings together come to.
fn summary(settings: &Settings) -> String {
    let database = shown(secrecy::ExposeSecret::expose_secret(&settings.database.url));
    let listen = &settings.listen;
    format!("# gRPC at {}, JSON at {}, database {database}\n", listen.grpc_addr, listen.http_addr)
}

fn line(arg: &Arg, value: &str, source: &str) -> String {
    let value = match Kind::of(arg) {
        Kind::Text => toml::Value::from(value).to_string(),
        Kind::Number | Kind::Bool => value.to_owned(),
    };
    format!("{} = {value}  # {source}", arg.get_id())
}
