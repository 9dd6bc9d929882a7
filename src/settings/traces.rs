use std::path::PathBuf;
use std::str::FromStr;

use url::Url;

use super::error::InvalidSetting;
use super::value;

/// Where traces go, and how many there are.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Traces")]
pub struct TraceSettings {
    /// URL of a collector that takes traces by OTLP over gRPC, such as http://127.0.0.1:4317. Without it (and without
    /// the standard variable OTEL_EXPORTER_OTLP_ENDPOINT) there are no traces
    #[arg(long, env, value_name = "URL", value_parser = value::from_str::<OtlpEndpoint>())]
    pub otlp_endpoint: Option<OtlpEndpoint>,

    /// Share of the requests that are traced, from 0 to 1, where the caller's `traceparent` does not decide it
    #[arg(long, env, value_name = "RATIO", default_value = "0.01", value_parser = value::ratio())]
    pub trace_sample_ratio: f64,

    /// The authorities of the collector's certificate, a PEM file; without it, those of the web.
    #[arg(skip)]
    pub certificate: Option<PathBuf>,
}

impl TraceSettings {
    /// Completes the settings from the standard variables of OpenTelemetry. `variable` returns the value of one.
    ///
    /// An endpoint among the settings wins over those of the standard variables, but not over the variables that turn
    /// traces off.
    ///
    /// # Errors
    /// [`InvalidSetting`] names the variable whose endpoint is not valid.
    pub fn with_standard_variables(
        mut self,
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, InvalidSetting> {
        let variable = |name: &str| variable(name).filter(|value| !value.is_empty());
        let is = |name: &str, value: &str| variable(name).is_some_and(|set| set.eq_ignore_ascii_case(value));
        if is("OTEL_SDK_DISABLED", "true") || is("OTEL_TRACES_EXPORTER", "none") {
            self.otlp_endpoint = None;
            return Ok(self);
        }
        let first = |names: [&'static str; 2]| names.into_iter().find_map(|name| Some((name, variable(name)?)));
        if self.otlp_endpoint.is_none()
            && let Some((name, url)) = first(["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"])
        {
            let endpoint = url.parse().map_err(|error: InvalidEndpoint| {
                InvalidSetting::new(format!("{name} (environment)"), error.to_string())
            })?;
            self.otlp_endpoint = Some(endpoint);
        }
        let certificate = first(["OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE", "OTEL_EXPORTER_OTLP_CERTIFICATE"]);
        self.certificate = certificate.map(|(_, path)| path.into());
        Ok(self)
    }
}

/// The URL of a collector of traces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OtlpEndpoint(String);

/// The text is not the URL of a collector.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "must be a URL such as http://127.0.0.1:4317 or https://collector.example:4317, without a user (for tokens there \
     is OTEL_EXPORTER_OTLP_HEADERS)"
)]
pub struct InvalidEndpoint;

impl OtlpEndpoint {
    /// Returns the URL.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns whether it speaks TLS.
    pub fn is_https(&self) -> bool {
        self.0.starts_with("https:")
    }
}

impl FromStr for OtlpEndpoint {
    type Err = InvalidEndpoint;

    fn from_str(text: &str) -> Result<Self, InvalidEndpoint> {
        let url = Url::parse(text.trim()).map_err(|_| InvalidEndpoint)?;
        let is_plain = url.username().is_empty() && url.password().is_none() && url.query().is_none();
        let is_http = matches!(url.scheme(), "http" | "https");
        if is_http && is_plain && url.has_host() { Ok(Self(url.into())) } else { Err(InvalidEndpoint) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::Settings;

    fn completed(flags: &[&str], variables: &[(&str, &str)]) -> Result<Option<String>, String> {
        let variable =
            |name: &str| variables.iter().find(|(set, _)| *set == name).map(|(_, value)| (*value).to_owned());
        let traces = Settings::from_flags(flags).unwrap().traces.with_standard_variables(variable);
        traces.map(|traces| traces.otlp_endpoint.map(|url| url.0)).map_err(|error| error.to_string())
    }

    #[test]
    fn an_endpoint_turns_traces_on() {
        let (own, general) = (["--otlp-endpoint", "http://own:1"], ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://general:2"));
        let special = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "https://special:3/");
        let at = |url: &str| Ok(Some(url.to_owned()));
        assert_eq!(completed(&[], &[]), Ok(None));
        assert_eq!(completed(&[], &[("OTEL_EXPORTER_OTLP_ENDPOINT", "")]), Ok(None));
        assert_eq!(completed(&[], &[general]), at("http://general:2/"));
        assert_eq!(completed(&[], &[general, special]), at("https://special:3/"));
        assert_eq!(completed(&own, &[general, special]), at("http://own:1/"));
        for off in [("OTEL_SDK_DISABLED", "True"), ("OTEL_TRACES_EXPORTER", "none")] {
            assert_eq!(completed(&own, &[general, off]), Ok(None), "{off:?}");
        }
        assert_eq!(completed(&own, &[("OTEL_SDK_DISABLED", "false")]), at("http://own:1/"));
    }

    #[test]
    fn what_is_no_url_of_a_collector_is_refused() {
        for wrong in
            ["collector:4317", "http://", "unix:///x", "http://u:p@host:1", "http://u@host:1", "http://host:1/?token=x"]
        {
            assert_eq!(wrong.parse::<OtlpEndpoint>(), Err(InvalidEndpoint), "{wrong}");
            let refusal = completed(&[], &[("OTEL_EXPORTER_OTLP_ENDPOINT", wrong)]).unwrap_err();
            assert!(refusal.starts_with("OTEL_EXPORTER_OTLP_ENDPOINT (environment): must be a URL"), "{refusal}");
            assert!(!refusal.contains("u:p") && !refusal.contains("token="), "{refusal}");
        }
        assert!("https://[::1]:4317".parse::<OtlpEndpoint>().unwrap().is_https());
    }
}
