//! `Host`: every HTTP/1.1 request has one (RFC 9112, section 3.2).

use axum::extract::Request;
use axum::http::header::{CONNECTION, CONTENT_TYPE, HOST};
use axum::http::uri::Authority;
use axum::http::{HeaderValue, StatusCode, Version};
use axum::response::{IntoResponse, Response};

/// The answer to a request without, with more than one, or with one that is none.
pub(super) fn check<B>(request: &Request<B>) -> Option<Response> {
    let mut hosts = request.headers().get_all(HOST).iter();
    let is_good = match (hosts.next(), hosts.next()) {
        (Some(host), None) => is_host(host),
        (None, _) => request.version() < Version::HTTP_11,
        (Some(_), Some(_)) => false,
    };
    (!is_good).then(|| {
        let headers = [(CONTENT_TYPE, "application/json"), (CONNECTION, "close")];
        let body =
            r#"{"error":"invalid_request","message":"host: an HTTP/1.1 request names one host"}"#;
        (StatusCode::BAD_REQUEST, headers, body).into_response()
    })
}

/// A host, with or without a port; empty where the address of the request has none.
fn is_host(value: &HeaderValue) -> bool {
    let value = value.as_bytes();
    value.is_empty()
        || Authority::try_from(value).is_ok_and(|authority| !authority.as_str().contains('@'))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn is_refused(version: Version, hosts: &[&str]) -> bool {
        let mut request = Request::builder().version(version);
        for host in hosts {
            request = request.header(HOST, *host);
        }
        check(&request.body(()).unwrap()).is_some()
    }

    #[test]
    fn a_request_names_one_host() {
        for host in ["localhost", "127.0.0.1:8080", "[::1]:80", "a.example", ""] {
            assert!(!is_refused(Version::HTTP_11, &[host]), "{host}");
        }
        for host in ["a b", "a/b", "user@host", "http://a"] {
            assert!(is_refused(Version::HTTP_11, &[host]), "{host}");
        }
        assert!(is_refused(Version::HTTP_11, &[]));
        assert!(is_refused(Version::HTTP_11, &["a", "a"]));
        assert!(is_refused(Version::HTTP_10, &["a", "b"]));
        assert!(!is_refused(Version::HTTP_10, &[]));
    }
}
