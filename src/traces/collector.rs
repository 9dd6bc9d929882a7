//! The client of the collector, and what all spans say about this process.

use std::path::Path;
use std::time::Duration;

use opentelemetry::KeyValue;
use opentelemetry_otlp::{SpanExporter, WithExportConfig, WithTonicConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::resource::{EnvResourceDetector, TelemetryResourceDetector};
use opentelemetry_sdk::trace::SpanExporter as _;
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use tonic::transport::{Certificate, ClientTlsConfig, Endpoint};

use crate::settings::{InvalidSetting, OtlpEndpoint, TraceSettings};

/// The name of the service, unless the standard variables have another one.
const SERVICE: &str = "identity";

/// The longest that a connection may take until it is made, and that it may be silent while a message waits for its
/// answer. Then the collector is asked for a sign of life, for which it has as long once more; without one, a new
/// connection is made. A connection can be dead without a word: its machine lost its power, or a firewall forgot it.
const SILENCE: Duration = Duration::from_secs(5);

/// Returns a client of the collector. It connects when it first sends. Without a certificate of its authorities among
/// the settings, those of the web count.
///
/// The library reads these standard variables, each also without `TRACES_`: `OTEL_EXPORTER_OTLP_TRACES_HEADERS` and
/// `OTEL_EXPORTER_OTLP_TRACES_COMPRESSION`.
pub(super) fn connect(endpoint: &OtlpEndpoint, settings: &TraceSettings) -> Result<SpanExporter, InvalidSetting> {
    let unusable = |error: &dyn std::error::Error| InvalidSetting::new("OTLP_ENDPOINT", error.to_string());
    let mut channel = Endpoint::from_shared(endpoint.as_str().to_owned())
        .map_err(|error| unusable(&error))?
        .connect_timeout(SILENCE)
        .http2_keep_alive_interval(SILENCE)
        .keep_alive_timeout(SILENCE);
    if endpoint.is_https() {
        let tls = match &settings.certificate {
            Some(path) => ClientTlsConfig::new().ca_certificate(Certificate::from_pem(authorities(path)?)),
            None => ClientTlsConfig::new().with_webpki_roots(),
        };
        channel = channel.tls_config(tls).map_err(|error| unusable(&error))?;
    }
    let builder = SpanExporter::builder().with_tonic().with_channel(channel.connect_lazy());
    let mut exporter = builder.with_timeout(settings.timeout).build().map_err(|error| unusable(&error))?;
    exporter.set_resource(&resource());
    Ok(exporter)
}

/// Returns a PEM file that has certificates. Without any, no collector would ever be trusted.
fn authorities(path: &Path) -> Result<Vec<u8>, InvalidSetting> {
    let invalid = |reason| InvalidSetting::new("OTEL_EXPORTER_OTLP_CERTIFICATE (environment)", reason);
    let pem = std::fs::read(path).map_err(|error| invalid(format!("cannot read {}: {error}", path.display())))?;
    let certificates: Vec<_> = CertificateDer::pem_slice_iter(&pem).filter_map(Result::ok).collect();
    let (usable, _) = RootCertStore::empty().add_parsable_certificates(certificates);
    if usable == 0 {
        return Err(invalid(format!("{} must be a PEM file with a certificate", path.display())));
    }
    Ok(pem)
}

/// What all spans say about this process. `OTEL_RESOURCE_ATTRIBUTES` wins over what the service knows, and
/// `OTEL_SERVICE_NAME` wins over both.
fn resource() -> Resource {
    // It tells replicas apart, also those with one host name. A new one for each process.
    let instance = uuid::Builder::from_random_bytes(fastrand::u128(..).to_le_bytes()).into_uuid();
    let builder = Resource::builder_empty()
        .with_service_name(SERVICE)
        .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
        .with_attribute(KeyValue::new("service.instance.id", instance.to_string()))
        .with_detector(Box::new(TelemetryResourceDetector))
        .with_detector(Box::new(EnvResourceDetector::new()));
    match std::env::var("OTEL_SERVICE_NAME") {
        Ok(name) if !name.is_empty() => builder.with_service_name(name).build(),
        _ => builder.build(),
    }
}
