//! The two APIs.

use axum::body::Body;
use http::Response;

use crate::metrics::MeteredApi;
use crate::transport::errors::ApiError;
use crate::transport::{grpc, http as json};

/// One of the two APIs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Api {
    Grpc,
    Http,
}

impl Api {
    /// Its name in the log.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Grpc => "grpc",
            Self::Http => "http",
        }
    }

    /// Whether it is the JSON API.
    pub(super) fn is_json(self) -> bool {
        self == Self::Http
    }

    /// The API in metrics.
    pub(super) fn metered(self) -> MeteredApi {
        match self {
            Self::Grpc => MeteredApi::Grpc,
            Self::Http => MeteredApi::Http,
        }
    }

    /// The error as this API writes it.
    pub(super) fn error_response(self, error: &ApiError) -> Response<Body> {
        match self {
            Self::Grpc => grpc::error_response(error),
            Self::Http => json::error_response(error),
        }
    }
}
