//! Which web pages may call the JSON API.

use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_HEADERS,
    ACCESS_CONTROL_REQUEST_METHOD, HOST, ORIGIN, VARY,
};
use http::{HeaderMap, HeaderValue, Method, Request};

use crate::settings::{AllowedOrigins, HostNames, ListenSettings, Origin};

/// Which web pages may call the JSON API.
///
/// A browser that is in the network of the service would otherwise write for every page that its user opens: a page
/// needs no permission to send text, and text can be JSON. Browsers send `Origin` with each request that can write.
/// Other clients send none, and pass.
///
/// A page is the service's own if its origin is the host of the request, and if this host is an IP address, `localhost`
/// or a configured name. Any other name could be one that its owner gave the address of the service, to make a page
/// look like the service's own (DNS rebinding).
///
/// A request that only reads what everybody may read is not judged. One that reads what is stored is judged as a write
/// is. Browsers name no origin if a page reads from the address that it came from itself. So while nobody is asked who
/// he is, and only this machine can call, the host of such a request must be known as well.
#[derive(Clone, Debug)]
pub struct OriginRules {
    allowed: AllowedOrigins,
    names: HostNames,
    /// The host of `HTTP_ADDR`, which may be a name.
    address: String,
    /// Whether a page of this machine can read what is stored: the address is that of this machine, and callers need no
    /// token and no certificate.
    is_open_to_pages: bool,
}

/// What the service does with a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OriginVerdict {
    /// It is handled: it is from no page, from one of the service's own, or it only reads what everybody may read.
    Pass,
    /// It is handled, and a page of this origin may read the answer.
    Share(HeaderValue),
    /// A browser asks whether a page of this origin may send a request that has these headers. It may.
    Preflight(HeaderValue, Option<HeaderValue>),
    /// It is refused.
    Refuse,
}

impl OriginRules {
    /// Takes the rules from the settings. `knows_callers`: whether callers must say who they are.
    pub fn new(listen: &ListenSettings, knows_callers: bool) -> Self {
        Self {
            allowed: listen.http_allowed_origins.clone(),
            names: listen.http_host_names.clone(),
            address: listen.http_addr.host().to_ascii_lowercase(),
            is_open_to_pages: !knows_callers && listen.http_addr.is_loopback(),
        }
    }

    /// Returns what the service does with a request. `is_public`: whether everybody may read the answer to a GET.
    pub fn judge<B>(&self, request: &Request<B>, is_public: bool) -> OriginVerdict {
        let headers = request.headers();
        let is_read = [Method::GET, Method::HEAD].contains(request.method());
        let Some(given) = headers.get(ORIGIN) else {
            let is_known = !is_read || is_public || !self.is_open_to_pages || self.has_known_host(request);
            return if is_known { OriginVerdict::Pass } else { OriginVerdict::Refuse };
        };
        let origin = given.to_str().ok().and_then(|text| text.parse::<Origin>().ok());
        let is_one = headers.get_all(ORIGIN).iter().count() == 1;
        match origin.filter(|_| is_one) {
            Some(origin) if self.allowed.contains(&origin) => {
                if *request.method() == Method::OPTIONS && headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD) {
                    let requested = headers.get(ACCESS_CONTROL_REQUEST_HEADERS).cloned();
                    OriginVerdict::Preflight(given.clone(), requested)
                } else {
                    OriginVerdict::Share(given.clone())
                }
            }
            Some(origin) if self.is_own(&origin, request) => OriginVerdict::Pass,
            // A page cannot read the answer. So reading is harmless, as the probes are.
            _ if is_read && is_public => OriginVerdict::Pass,
            _ => OriginVerdict::Refuse,
        }
    }

    fn is_own<B>(&self, origin: &Origin, request: &Request<B>) -> bool {
        authority(request).is_some_and(|authority| origin.is_at(authority)) && self.is_known(origin)
    }

    /// Whether nobody else can have the name of this host.
    fn is_known(&self, host: &Origin) -> bool {
        let name = host.host();
        host.has_ip_address() || name == "localhost" || name == self.address || self.names.contains(name)
    }

    /// Whether the host of a request is known. Browsers always name it.
    fn has_known_host<B>(&self, request: &Request<B>) -> bool {
        authority(request).is_none_or(|authority| {
            format!("http://{authority}").parse::<Origin>().is_ok_and(|host| self.is_known(&host))
        })
    }
}

/// Returns host and port that a request is for.
fn authority<B>(request: &Request<B>) -> Option<&str> {
    let host = || request.headers().get(HOST).and_then(|host| host.to_str().ok());
    request.uri().authority().map(|authority| authority.as_str()).or_else(host)
}

/// Lets pages of this origin read a response, with the headers that are this service's own.
pub fn add_cors_headers(headers: &mut HeaderMap, origin: HeaderValue) {
    const EXPOSED: HeaderValue =
        HeaderValue::from_static("identity-outcome,identity-ignored,identity-truncated,retry-after,x-request-id");
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED);
    headers.append(VARY, HeaderValue::from_static("origin"));
}

/// Lets pages of this origin send requests with the headers that they ask for.
pub fn add_preflight_headers(headers: &mut HeaderMap, origin: HeaderValue, requested: Option<HeaderValue>) {
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    headers.insert(ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("GET,HEAD,POST,PUT,PATCH,DELETE"));
    if let Some(requested) = requested {
        headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, requested);
    }
    // Two hours, the longest that some browsers remember it.
    headers.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("7200"));
    headers.append(VARY, HeaderValue::from_static("origin,access-control-request-headers"));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::Settings;

    fn judge_at(address: &str, (method, is_public): (Method, bool), headers: &[(&str, &str)]) -> OriginVerdict {
        let flags = [
            ["--http-allowed-origins", "https://shop.example"],
            ["--http-host-names", "identity.example"],
            ["--http-addr", address],
        ];
        let rules = OriginRules::new(&Settings::from_flags(flags.concat()).unwrap().listen, false);
        let mut request = Request::builder().method(method).uri("/identify");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        rules.judge(&request.body(()).unwrap(), is_public)
    }

    fn judge(method: Method, headers: &[(&str, &str)]) -> OriginVerdict {
        judge_at("identity-1:3000", (method, true), headers)
    }

    fn of_page(origin: &str, host: &str) -> OriginVerdict {
        judge(Method::POST, &[("origin", origin), ("host", host)])
    }

    #[test]
    fn callers_that_are_no_pages_pass() {
        assert_eq!(judge(Method::POST, &[("host", "rebind.evil.example")]), OriginVerdict::Pass);
        assert_eq!(judge(Method::OPTIONS, &[]), OriginVerdict::Pass);
    }

    #[test]
    fn pages_of_the_service_pass_if_nobody_else_can_have_its_name() {
        for (origin, host) in [
            ("http://127.0.0.1:3000", "127.0.0.1:3000"),
            ("http://[::1]:3000", "[::1]:3000"),
            ("http://localhost:3000", "localhost:3000"),
            ("https://identity.example", "identity.example"),
            ("http://identity-1:3000", "identity-1:3000"),
        ] {
            assert_eq!(of_page(origin, host), OriginVerdict::Pass, "{origin}");
        }
        for (origin, host) in [
            ("http://rebind.evil.example:3000", "rebind.evil.example:3000"),
            ("https://evil.example", "rebind.evil.example"),
            ("https://evil.example", "127.0.0.1:3000"),
            ("http://127.0.0.1:8080", "127.0.0.1:3000"),
            ("null", "127.0.0.1:3000"),
            ("", "127.0.0.1:3000"),
            ("https://sub.shop.example", "identity.example"),
            ("http://shop.example", "identity.example"),
        ] {
            assert_eq!(of_page(origin, host), OriginVerdict::Refuse, "{origin}");
        }
        let two = [("origin", "https://shop.example"), ("origin", "https://evil.example")];
        assert_eq!(judge(Method::POST, &two), OriginVerdict::Refuse);
        assert_eq!(judge(Method::POST, &[("origin", "http://127.0.0.1")]), OriginVerdict::Refuse, "no host");
    }

    #[test]
    fn what_is_stored_is_read_by_known_pages_and_under_known_names_alone() {
        let stored = |address: &str, headers: &[(&str, &str)]| judge_at(address, (Method::GET, false), headers);
        let evil = [("origin", "https://evil.example"), ("host", "127.0.0.1:3000")];
        for address in ["127.0.0.1:3000", "identity-1:3000"] {
            assert_eq!(stored(address, &evil), OriginVerdict::Refuse, "{address}");
        }
        for (host, verdict) in [
            ("rebind.evil.example:3000", OriginVerdict::Refuse),
            ("rebind.evil.example", OriginVerdict::Refuse),
            ("", OriginVerdict::Refuse),
            ("127.0.0.1:3000", OriginVerdict::Pass),
            ("[::1]:3000", OriginVerdict::Pass),
            ("localhost:3000", OriginVerdict::Pass),
            ("identity.example", OriginVerdict::Pass),
        ] {
            assert_eq!(stored("127.0.0.1:3000", &[("host", host)]), verdict, "{host}");
            // Programs of a cluster use any name of the service.
            assert_eq!(stored("identity-1:3000", &[("host", host)]), OriginVerdict::Pass, "{host}");
            let public = judge_at("127.0.0.1:3000", (Method::GET, true), &[("host", host)]);
            assert_eq!(public, OriginVerdict::Pass, "{host}");
        }
    }

    #[test]
    fn pages_of_the_list_may_ask_and_read() {
        let shop = HeaderValue::from_static("https://shop.example");
        assert_eq!(of_page("https://shop.example", "identity.example"), OriginVerdict::Share(shop.clone()));
        let preflight = [
            ("origin", "https://shop.example"),
            ("access-control-request-method", "POST"),
            ("access-control-request-headers", "content-type"),
        ];
        let requested = Some(HeaderValue::from_static("content-type"));
        assert_eq!(judge(Method::OPTIONS, &preflight), OriginVerdict::Preflight(shop, requested));
        let evil = [("origin", "https://evil.example"), ("access-control-request-method", "POST")];
        assert_eq!(judge(Method::OPTIONS, &evil), OriginVerdict::Refuse);
        assert_eq!(judge(Method::GET, &evil), OriginVerdict::Pass);
    }
}
