//! The client of the collector, and what all spans say about this process.

use std::path::Path;

use opentelemetry::KeyValue;
use opentelemetry_otlp::{SpanExporter, WithExportConfig, WithTonicConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::resource::{EnvResourceDetector, TelemetryResourceDetector};
use opentelemetry_sdk::trace::SpanExporter as _;
use tonic::transport::{Certificate, ClientTlsConfig};

use crate::settings::{InvalidSetting, OtlpEndpoint};

/// The name of the service, unless the standard variables have another one.
const SERVICE: &str = "identity";

/// Returns a client of the collector. It connects when it first sends. `certificate` is a file with the authorities of
/// the collector's certificate; without it, those of the web count.
///
/// The library reads these standard variables, each also without `TRACES_`: `OTEL_EXPORTER_OTLP_TRACES_HEADERS`,
/// `OTEL_EXPORTER_OTLP_TRACES_COMPRESSION` and `OTEL_EXPORTER_OTLP_TRACES_TIMEOUT`.
pub(super) fn connect(endpoint: &OtlpEndpoint, certificate: Option<&Path>) -> Result<SpanExporter, InvalidSetting> {
    let mut builder = SpanExporter::builder().with_tonic().with_endpoint(endpoint.as_str());
    if endpoint.is_https() {
        let tls = match certificate {
            Some(path) => ClientTlsConfig::new().ca_certificate(Certificate::from_pem(read(path)?)),
            None => ClientTlsConfig::new().with_webpki_roots(),
        };
        builder = builder.with_tls_config(tls);
    }
    let mut exporter = builder.build().map_err(|error| InvalidSetting::new("OTLP_ENDPOINT", error.to_string()))?;
    exporter.set_resource(&resource());
    Ok(exporter)
}

fn read(path: &Path) -> Result<Vec<u8>, InvalidSetting> {
    std::fs::read(path).map_err(|error| {
        let reason = format!("cannot read {}: {error}", path.display());
        InvalidSetting::new("OTEL_EXPORTER_OTLP_CERTIFICATE (environment)", reason)
    })
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
