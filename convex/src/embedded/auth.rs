//! The deploy key, and the `Convex-Client` header (sections 2 and 3 of the wire contract).

use axum::http::header::AUTHORIZATION;
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use url::form_urlencoded;

use super::error::RequestError;

/// The deploy key that requests have to carry.
pub(super) struct DeployKey {
    opaque: String,
}

impl DeployKey {
    pub fn new(key: &str) -> DeployKey {
        DeployKey {
            opaque: opaque_part(key).to_owned(),
        }
    }

    /// Errors: 400, 401 or 403 as the contract's table says.
    pub fn check(&self, headers: &HeaderMap, query: Option<&str>) -> Result<(), RequestError> {
        let Some(header) = headers.get(AUTHORIZATION) else {
            let pairs = form_urlencoded::parse(query.unwrap_or_default().as_bytes());
            let mut keys = pairs.filter(|(name, _)| name == "adminKey");
            return match keys.next() {
                Some((_, key)) => self.check_key(&key),
                None => Err(missing_key()),
            };
        };
        let header = header.to_str().map_err(|_| {
            RequestError::bad_request(
                "HeaderParseFailure",
                "The Authorization header is not readable text.",
            )
        })?;
        if header.len() < 7 {
            return Err(RequestError::bad_request(
                "InvalidHeaderFailure",
                "The Authorization header is too short.",
            ));
        }
        match header.split_at_checked(7) {
            Some((scheme, key)) if scheme.eq_ignore_ascii_case("Convex ") => self.check_key(key),
            // Users have no say here, whoever they are.
            Some((scheme, token)) if scheme.eq_ignore_ascii_case("Bearer ") && is_jwt(token) => {
                Err(missing_key())
            }
            _ => Err(RequestError::bad_request(
                "InvalidAdminKey",
                "The Authorization header has to be `Convex <deploy key>`.",
            )),
        }
    }

    fn check_key(&self, key: &str) -> Result<(), RequestError> {
        let opaque = opaque_part(key.trim());
        let (opaque, act_as) = match opaque.split_once(':') {
            Some((opaque, act_as)) => (opaque, Some(act_as)),
            None => (opaque, None),
        };
        if let Some(act_as) = act_as {
            let attributes = STANDARD
                .decode(act_as)
                .or_else(|_| STANDARD_NO_PAD.decode(act_as));
            let readable = attributes
                .is_ok_and(|json| serde_json::from_slice::<serde_json::Value>(&json).is_ok());
            if !readable {
                return Err(RequestError::bad_request(
                    "HeaderParseFailure",
                    "The user to act as has to be base64 of JSON.",
                ));
            }
        }
        if same(opaque.as_bytes(), self.opaque.as_bytes()) {
            Ok(())
        } else {
            Err(RequestError {
                status: StatusCode::UNAUTHORIZED,
                code: "BadAdminKey",
                message: "The deploy key is not the one of this deployment.".to_owned(),
            })
        }
    }
}

fn missing_key() -> RequestError {
    RequestError {
        status: StatusCode::FORBIDDEN,
        code: "BadDeployKey",
        message: "This needs the deploy key: `Authorization: Convex <deploy key>`.".to_owned(),
    }
}

/// A key may name its deployment and that one's type in front: `prod:name|opaque`.
fn opaque_part(key: &str) -> &str {
    key.split_once('|').map_or(key, |(_, opaque)| opaque)
}

fn is_jwt(token: &str) -> bool {
    let parts: Vec<&str> = token.split('.').collect();
    parts.len() == 3 && parts.iter().all(|part| !part.is_empty())
}

/// Compares in a time that does not tell how much of the key was right.
fn same(given: &[u8], expected: &[u8]) -> bool {
    let differences = given
        .iter()
        .zip(expected)
        .fold(0, |seen, (a, b)| seen | (a ^ b));
    given.len() == expected.len() && differences == 0
}

/// The last versions that Convex refuses, by client.
const UNSUPPORTED: [(&str, [u64; 3]); 6] = [
    ("npm", [0, 19, 1]),
    ("npm-cli", [0, 19, 1]),
    ("actions", [0, 19, 1]),
    ("python", [0, 0, 2]),
    ("python-convex", [0, 0, 2]),
    ("rust", [0, 0, 1]),
];

/// Checks the optional `Convex-Client: <client>-<version>` header. Errors: 400 `InvalidClientVersion` or
/// `ClientVersionUnsupported`.
pub(super) fn check_client(header: Option<&HeaderValue>) -> Result<(), RequestError> {
    let Some(header) = header else { return Ok(()) };
    let invalid = |value: &str| {
        RequestError::bad_request(
            "InvalidClientVersion",
            format!("The Convex-Client header {value:?} is not of the form <client>-<version>."),
        )
    };
    let value = header.to_str().map_err(|_| invalid("(not text)"))?;
    if !value.contains('-') {
        return Err(invalid(value));
    }
    // The longest suffix after a dash that is a version; without one, any client is welcome.
    let dashes = value.match_indices('-').map(|(at, _)| at);
    let parsed = dashes
        .map(|at| (&value[..at], &value[at + 1..]))
        .find_map(|(client, version)| {
            parse_version(version).map(|version| (client.to_ascii_lowercase(), version))
        });
    let refused = parsed.is_some_and(|(client, version)| {
        let last = UNSUPPORTED.iter().find(|(known, _)| *known == client);
        last.is_some_and(|(_, last)| version <= *last)
    });
    if refused {
        return Err(RequestError::bad_request(
            "ClientVersionUnsupported",
            format!("The client {value:?} is no longer supported. Please update it."),
        ));
    }
    Ok(())
}

/// Major, minor and patch of a semantic version.
fn parse_version(text: &str) -> Option<[u64; 3]> {
    let core_end = text.find(['-', '+']).unwrap_or(text.len());
    let (core, rest) = text.split_at(core_end);
    let well_formed = |part: &str| {
        let identifiers = part.split('.');
        identifiers.clone().all(|identifier| {
            !identifier.is_empty()
                && identifier
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        })
    };
    let (pre_release, build) = match rest.split_once('+') {
        Some((pre_release, build)) => (pre_release, Some(build)),
        None => (rest, None),
    };
    let pre_release = pre_release.strip_prefix('-');
    if !pre_release.is_none_or(well_formed) || !build.is_none_or(well_formed) {
        return None;
    }
    let numbers: Option<Vec<u64>> = core
        .split('.')
        .map(|number| {
            let canonical = number == "0" || !number.starts_with('0');
            number
                .parse()
                .ok()
                .filter(|_| canonical && !number.starts_with('+'))
        })
        .collect();
    numbers?.try_into().ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn outcome(header: Option<&'static str>, query: Option<&str>) -> (u16, &'static str) {
        let key = DeployKey::new("prod:name|s3cret");
        let mut headers = HeaderMap::new();
        if let Some(header) = header {
            headers.insert(AUTHORIZATION, HeaderValue::from_static(header));
        }
        match key.check(&headers, query) {
            Ok(()) => (200, ""),
            Err(error) => (error.status.as_u16(), error.code),
        }
    }

    #[test]
    fn each_authorization_is_answered_as_the_contract_says() {
        assert_eq!(outcome(None, None), (403, "BadDeployKey"));
        assert_eq!(outcome(None, Some("a=b&adminKey=name%7Cs3cret")), (200, ""));
        assert_eq!(outcome(None, Some("adminKey=wrong")), (401, "BadAdminKey"));
        for right in [
            "Convex prod:name|s3cret",
            "convex dev:name|s3cret",
            "CONVEX preview:team:project|s3cret",
            "Convex name|s3cret",
            "Convex s3cret",
            "Convex s3cret:e30=",
        ] {
            assert_eq!(outcome(Some(right), None), (200, ""), "{right}");
        }
        assert_eq!(
            outcome(Some("Convex wrong"), Some("adminKey=s3cret")),
            (401, "BadAdminKey")
        );
        assert_eq!(
            outcome(Some("Convex s3cret:%"), None),
            (400, "HeaderParseFailure")
        );
        assert_eq!(outcome(Some("Conve"), None), (400, "InvalidHeaderFailure"));
        assert_eq!(
            outcome(Some("Basic dXNlcjpwYXNz"), None),
            (400, "InvalidAdminKey")
        );
        assert_eq!(outcome(Some("Bearer a.b.c"), None), (403, "BadDeployKey"));
    }

    #[test]
    fn clients_are_refused_only_by_form_or_age() {
        let outcome = |value: &'static str| {
            let header = HeaderValue::from_static(value);
            check_client(Some(&header)).map_or_else(|error| error.code, |()| "")
        };
        assert_eq!(outcome("airbyte"), "InvalidClientVersion");
        for accepted in [
            "airbyte-export-0.4.0",
            "foo-bar",
            "streaming-import-0.0.1",
            "npm-1.0.0-alpha.1",
            "rust-0.0.2",
            "npm-1.2.3.4",
        ] {
            assert_eq!(outcome(accepted), "", "{accepted}");
        }
        assert_eq!(outcome("npm-cli-0.19.1"), "ClientVersionUnsupported");
        assert_eq!(outcome("rust-0.0.1"), "ClientVersionUnsupported");
    }
}
