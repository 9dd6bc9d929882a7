//! The output of `identity config`: the settings in force, as a settings file.

use std::fmt::Write;

use clap::Arg;

use super::database::Place;
use super::database_url::without_secrets;
use super::file::{TomlType, is_setting};
use super::sections::Settings;
use super::sources::{SettingOrigin, Sources};

/// Returns a settings file with every value in force and its origin, without secrets.
///
/// A setting that has its default is commented out, as in `identity.example.toml`.
pub(super) fn report(settings: &Settings, sources: &Sources) -> String {
    let mut text = summary(settings);
    for arg in sources.command.get_arguments().filter(|arg| is_setting(arg)) {
        let key = arg.get_id().as_str();
        let source = match sources.origin(key) {
            SettingOrigin::Default => "default".to_owned(),
            SettingOrigin::Flag
            | SettingOrigin::PrefixedEnvironment
            | SettingOrigin::Environment
            | SettingOrigin::File => sources.name_in_source(key),
        };
        let raw = sources.matches.get_raw(key).and_then(|mut values| values.next_back());
        let instead = Place::instead_of(key, sources);
        let line = match raw.map(|value| value.to_string_lossy()) {
            _ if instead.is_some() => format!("#{key} =  # not used; {} in force", instead.unwrap_or_default()),
            None => format!("#{key} =  # not set"),
            Some(_) if key == "db_password" => format!("#{key} =  # hidden; {source}"),
            Some(value) if key == "database_url" => line(arg, &without_secrets(&value), &source),
            Some(value) => line(arg, &value, &source),
        };
        let mark = if sources.is_given(key) || line.starts_with('#') { "" } else { "#" };
        let _ = writeln!(text, "{mark}{line}");
    }
    text
}

/// Returns one line with the values that several settings decide together.
fn summary(settings: &Settings) -> String {
    let database = without_secrets(secrecy::ExposeSecret::expose_secret(&settings.database.url));
    let listen = &settings.listen;
    format!("# gRPC at {}, JSON at {}, database {database}\n", listen.grpc_addr, listen.http_addr)
}

fn line(arg: &Arg, value: &str, source: &str) -> String {
    let value = match TomlType::from_arg(arg) {
        TomlType::Text => toml::Value::from(value).to_string(),
        TomlType::Number | TomlType::Fraction | TomlType::Bool => value.to_owned(),
    };
    format!("{} = {value}  # {source}", arg.get_id())
}
