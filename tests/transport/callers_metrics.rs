//! Metrics of callers, of certificates and of handshakes, and who may scrape them.

use std::time::Duration;

use tonic::Code;

use crate::callers::{FILE, Guarded, MAY_IDENTIFY, entry, token};
use crate::certificates::Authority;
use crate::harness::rest;

/// The status and the text of a scrape.
async fn scrape(guarded: &Guarded, token: Option<&str>) -> (u16, String) {
    let request = reqwest::Client::new().get(format!("http://{}/metrics", guarded.server.metrics));
    let request = match token {
        Some(token) => request.bearer_auth(token),
        None => request,
    };
    let response = request.send().await.unwrap();
    (response.status().as_u16(), response.text().await.unwrap())
}

#[tokio::test]
async fn metrics_need_their_scope_and_know_callers_refusals_and_reloads() {
    let (checkout, prometheus, slow) = (token(), token(), token());
    let text = entry("checkout", &checkout, MAY_IDENTIFY)
        + &entry("prometheus", &prometheus, "scopes = ['metrics']")
        + &entry("slow", &slow, "scopes = ['identify']\nrate = 1");
    let guarded = Guarded::start(&text).await;
    let may_scrape = Some(prometheus.expose());
    for (token, status) in [(None, 401), (Some("x"), 401), (Some(checkout.expose()), 403), (may_scrape, 200)] {
        assert_eq!(scrape(&guarded, token).await.0, status);
    }
    let health = reqwest::get(format!("http://{}/healthz", guarded.server.metrics)).await.unwrap();
    assert_eq!(health.status(), 200, "a probe needs no token");

    guarded.identify(Some(checkout.expose())).await.unwrap();
    assert_eq!(guarded.identify(Some(prometheus.expose())).await.unwrap_err().code(), Code::PermissionDenied);
    guarded.identify(Some(slow.expose())).await.unwrap();
    assert_eq!(guarded.identify(Some(slow.expose())).await.unwrap_err().code(), Code::ResourceExhausted);
    for (token, status) in [(Some(slow.expose()), 429), (None, 401), (may_scrape, 403)] {
        assert_eq!(guarded.send("/identify", token).await.status(), status);
    }
    guarded.identify(None).await.unwrap_err();
    let page_has = async |series: &[&str]| {
        let mut page = String::new();
        for _ in 0..500 {
            page = scrape(&guarded, may_scrape).await.1;
            if series.iter().all(|one| page.lines().any(|line| line == *one)) {
                return page;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("no {series:?} in {page}");
    };
    page_has(&[
        r#"identity_caller_requests_total{caller="checkout",code="OK"} 1"#,
        r#"identity_caller_requests_total{caller="prometheus",code="PermissionDenied"} 2"#,
        r#"identity_caller_requests_total{caller="slow",code="OK"} 1"#,
        r#"identity_caller_requests_total{caller="slow",code="ResourceExhausted"} 2"#,
        // The scrapes count, too: two without a token that is known, one without the scope.
        r#"identity_auth_failures_total{reason="missing"} 3"#,
        r#"identity_auth_failures_total{reason="unknown_token"} 1"#,
        r#"identity_auth_failures_total{reason="scope"} 3"#,
        r#"identity_shed_total{reason="rate"} 2"#,
        // What is refused is no request to identify.
        r#"identity_items_total{api="grpc",result="ok"} 2"#,
        r#"identity_items_total{api="grpc",result="invalid"} 0"#,
        r#"identity_items_total{api="grpc",result="failed"} 0"#,
        r#"identity_items_total{api="http",result="invalid"} 0"#,
        r#"identity_items_total{api="http",result="failed"} 0"#,
    ])
    .await;

    guarded.files.write(FILE, "not TOML");
    page_has(&[
        r#"identity_config_reloads_total{what="tokens",result="error"} 1"#,
        r#"identity_config_stale{what="tokens"} 1"#,
    ])
    .await;
    guarded.files.write(FILE, &entry("prometheus", &prometheus, "scopes = ['metrics']"));
    let page = page_has(&[
        r#"identity_config_reloads_total{what="tokens",result="ok"} 1"#,
        r#"identity_config_stale{what="tokens"} 0"#,
    ])
    .await;
    assert!(!page.contains(r#"caller="checkout""#), "the file has it no more: {page}");
}

#[tokio::test]
async fn metrics_know_when_the_certificate_expires_and_which_handshakes_fail() {
    let authority = Authority::new();
    let prometheus = token();
    let guarded = Guarded::with(&entry("prometheus", &prometheus, "scopes = ['metrics']"), |options, files| {
        options.fixed.connection.handshake = Duration::from_millis(300);
        let [cert, key] = files.write_certificate("tls", &authority.issue_local());
        (options.settings.tls.tls_cert, options.settings.tls.tls_key) = (Some(cert), Some(key));
    })
    .await;
    // A TCP probe, a client that goes away amid its first message, and one that sends nothing.
    for bytes in [&b""[..], &[22, 3, 1, 0, 200]] {
        let mut probe = tokio::net::TcpStream::connect(guarded.server.grpc).await.unwrap();
        tokio::io::AsyncWriteExt::write_all(&mut probe, bytes).await.unwrap();
        tokio::io::AsyncWriteExt::shutdown(&mut probe).await.unwrap();
        rest(&mut probe).await;
    }
    let mut silent = tokio::net::TcpStream::connect(guarded.server.grpc).await.unwrap();
    rest(&mut silent).await;
    let mut plain = tokio::net::TcpStream::connect(guarded.server.grpc).await.unwrap();
    tokio::io::AsyncWriteExt::write_all(&mut plain, b"no TLS at all\r\n\r\n").await.unwrap();
    let value = |page: &str, series: &str| {
        let found = page.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        found.and_then(|value| value.parse::<f64>().ok()).unwrap_or_default()
    };
    let mut page = String::new();
    for _ in 0..500 {
        page = scrape(&guarded, Some(prometheus.expose())).await.1;
        if value(&page, r#"identity_auth_failures_total{reason="handshake"}"#) == 1.0 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(value(&page, r#"identity_auth_failures_total{reason="handshake"}"#), 1.0, "{page}");
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs_f64();
    assert!(value(&page, "identity_tls_certificate_expiry_timestamp_seconds") > now, "{page}");
}
