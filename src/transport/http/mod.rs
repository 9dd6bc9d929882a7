//! The JSON API: a gateway in the manner of grpc-gateway, driven by the `google.api.http` options of the proto, in the
//! same process.

mod about;
mod batch;
mod batch_items;
mod body;
mod content;
mod docs_page;
mod errors;
mod gateway;
mod graph_page;
mod gzip;
mod identify;
mod json_values;
mod metrics;
mod origin;
mod page_files;
mod probes;
mod request;
mod response;
mod settings;
mod static_file;

use std::sync::Arc;

use axum::extract::Request;

pub use self::about::openapi_json;
use self::batch::BatchHandler;
pub use self::errors::error_response;
use self::gateway::Gateway;
pub use self::gateway::{BindingError, GatewayError, JsonService};
use self::identify::IdentifyHandler;
pub use self::metrics::metrics_routes;
pub use self::origin::{OriginRules, OriginVerdict, add_cors_headers, add_preflight_headers};
pub use self::settings::HttpSettings;
use crate::proto::FILE_DESCRIPTOR_SET;
use crate::resolver;
use crate::transport::errors::ApiError;
use crate::transport::gunzip::TextRoom;
use crate::transport::readiness::Readiness;
use crate::transport::routes::RouteTable;

/// Returns the paths of the API over a resolver, and over services of the gRPC API. With `docs`, they have the
/// pages for people, and everybody may read the description of the API.
///
/// # Errors
/// [`GatewayError`] if the proto has a path that nothing here serves, or that something hides: a bug in the build.
pub fn routes<R: resolver::Identify>(
    resolver: R,
    readiness: Readiness,
    settings: HttpSettings,
    room: TextRoom,
    docs: bool,
    services: Vec<JsonService>,
) -> Result<RouteTable, GatewayError> {
    let identify = Arc::new(IdentifyHandler { resolver: resolver.clone(), settings, room: room.clone() });
    let batch = Arc::new(BatchHandler { resolver, settings, room: room.clone() });
    let mut gateway = Gateway::new(services, settings, room, readiness.clone());
    gateway.handle("identity.v1.IdentityService/Identify", move |request| {
        let identify = Arc::clone(&identify);
        async move { identify.call(request).await }
    });
    gateway.handle("identity.v1.IdentityService/BatchIdentify", move |request| {
        let batch = Arc::clone(&batch);
        async move { batch.call(request).await }
    });
    let (mut table, translated) = gateway.into_routes(FILE_DESCRIPTOR_SET)?;
    probes::add(&mut table, readiness);
    about::add(&mut table, settings.identify.primary_id_field, docs);
    if docs {
        docs_page::add(&mut table);
        graph_page::add(&mut table);
    }
    gateway::check_nothing_is_hidden(&table)?;
    // Last, because the answer to a wrong method is for the existing paths.
    table.router = std::mem::take(&mut table.router)
        .fallback(move |request: Request| {
            let translated = translated.clone();
            async move { translated.call(request).await }
        })
        .method_not_allowed_fallback(async || error_response(&ApiError::WrongHttpMethod));
    Ok(table)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::time::{Duration, Instant};

    use serde_json::Value;
    use tokio::sync::watch;
    use tokio_util::sync::CancellationToken;

    use super::*;
    use crate::domain::Answer;
    use crate::metrics::WorkMetrics;
    use crate::resolver::{DatabaseState, Identify, IdentifyError, IdentifyRequest};
    use crate::settings::{Settings, Spelling};

    #[derive(Clone)]
    struct NeverCalled;

    impl Identify for NeverCalled {
        async fn identify(&self, _: IdentifyRequest, _: Instant) -> Result<Answer, IdentifyError> {
            Err(IdentifyError::Internal)
        }
    }

    /// The path in the description: each of its variables is one segment.
    fn described_path(template: &str) -> String {
        ["name", "parent"].iter().fold(template.to_owned(), |path, variable| {
            path.replace(&format!("{{{variable}=identities/*}}"), "identities/{identity}")
        })
    }

    #[tokio::test]
    async fn the_description_has_every_path_but_those_of_the_pages() {
        let (_database, state) = watch::channel(DatabaseState::Usable);
        let readiness = Readiness::new(state, CancellationToken::new(), CancellationToken::new());
        let Settings { identify, limits, .. } = Settings::from_flags(<[&str; 0]>::default()).unwrap();
        let room = TextRoom::new(0, 0, WorkMetrics::default());
        let settings = HttpSettings { identify, limits, body_timeout: Duration::ZERO };
        let services = vec![gateway::never_called("identity.v1.GraphService")];
        let table = routes(NeverCalled, readiness, settings, room, true, services).unwrap();
        let is_page = |path: &str| {
            ["/docs", "/graph"]
                .iter()
                .any(|page| path.strip_prefix(page).is_some_and(|rest| rest.is_empty() || rest.starts_with('/')))
        };
        let (page, served): (BTreeSet<_>, BTreeSet<_>) =
            table.routes.keys().map(String::as_str).partition(|path| is_page(path));
        assert!(page.len() > 30, "{page:?}");
        // One spelling of each.
        let is_plain = |path: &&str| *path == "/" || !path.ends_with('/') && !path.contains('%');
        let translated = table.templates.values().filter_map(|route| route.http_route.as_deref());
        let translated: Vec<_> = translated.map(described_path).collect();
        let served = served.into_iter().filter(is_plain).map(str::to_owned).chain(translated).collect::<BTreeSet<_>>();
        let document: Value = serde_json::from_str(openapi_json(Spelling::Correct)).unwrap();
        let described: BTreeSet<_> = document["paths"].as_object().unwrap().keys().cloned().collect();
        assert_eq!(served, described);
    }
}
