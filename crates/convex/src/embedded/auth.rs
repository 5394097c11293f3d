//! Deploy keys and what they permit (section 2 of the wire contract).

mod permission;

use axum::http::header::AUTHORIZATION;
use axum::http::{HeaderMap, StatusCode};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use url::form_urlencoded;

pub use self::permission::{LimitedKey, LimitedKeyError, Permission};

use self::permission::Permissions;
use super::EmbeddedConfig;
use super::error::RequestError;

/// The keys that open this deployment.
pub(super) struct DeployKeys {
    keys: Vec<(String, Permissions)>,
    /// Whether the streaming export is switched on.
    export: bool,
}

/// Who a request comes from: whoever has a valid key.
#[derive(Clone, Copy, Debug)]
pub(super) struct Caller {
    permissions: Permissions,
    export: bool,
}

impl DeployKeys {
    pub fn new(config: &EmbeddedConfig) -> DeployKeys {
        let limited = config.limited_keys.iter();
        let limited = limited.map(|limited| (&limited.key, limited.permissions));
        let keys = std::iter::once((&config.deploy_key, Permissions::ALL)).chain(limited);
        DeployKeys {
            keys: keys
                .map(|(key, permissions)| (opaque_part(key.expose()).to_owned(), permissions))
                .collect(),
            export: config.export,
        }
    }

    /// Errors: 400, 401 or 403 as the contract's table says.
    pub fn check(&self, headers: &HeaderMap, query: Option<&str>) -> Result<Caller, RequestError> {
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

    fn check_key(&self, key: &str) -> Result<Caller, RequestError> {
        let opaque = opaque_part(key.trim());
        let (opaque, user) = match opaque.split_once(':') {
            Some((opaque, user)) => (opaque, Some(user)),
            None => (opaque, None),
        };
        if !user.is_none_or(is_user) {
            return Err(RequestError::bad_request(
                "HeaderParseFailure",
                "The user to act as has to be base64 of a JSON object with a tokenIdentifier.",
            ));
        }
        let mut found = None;
        for (known, permissions) in &self.keys {
            if same(opaque.as_bytes(), known.as_bytes()) {
                found = Some(*permissions);
            }
        }
        let permissions = found.ok_or_else(|| RequestError {
            status: StatusCode::UNAUTHORIZED,
            code: "BadAdminKey",
            message: "The deploy key is not one of this deployment.".to_owned(),
        })?;
        let caller = Caller {
            permissions,
            export: self.export,
        };
        if user.is_some() {
            caller.may(Permission::ActAsUser)?;
        }
        Ok(caller)
    }
}

impl Caller {
    /// Error: 403 `OperationNotPermitted`.
    pub fn may(self, permission: Permission) -> Result<(), RequestError> {
        if self.permissions.contain(permission) {
            return Ok(());
        }
        Err(forbidden(
            "OperationNotPermitted",
            format!("The deploy key lacks the permission {permission}."),
        ))
    }

    /// Errors: 403 `StreamingExportNotEnabled` or `OperationNotPermitted`.
    pub fn may_export(self) -> Result<(), RequestError> {
        if !self.export {
            return Err(forbidden(
                "StreamingExportNotEnabled",
                "The streaming export is switched off.".to_owned(),
            ));
        }
        self.may(Permission::ViewData)
    }
}

fn missing_key() -> RequestError {
    forbidden(
        "BadDeployKey",
        "This needs the deploy key: `Authorization: Convex <deploy key>`.".to_owned(),
    )
}

fn forbidden(code: &'static str, message: String) -> RequestError {
    RequestError {
        status: StatusCode::FORBIDDEN,
        code,
        message,
    }
}

/// A key may name its deployment and that one's type in front: `prod:name|opaque`.
fn opaque_part(key: &str) -> &str {
    key.split_once('|').map_or(key, |(_, opaque)| opaque)
}

/// Whether this is a user to act as: base64 of the JSON of its attributes.
fn is_user(text: &str) -> bool {
    let json = STANDARD
        .decode(text)
        .or_else(|_| STANDARD_NO_PAD.decode(text));
    let user = json.map(|json| serde_json::from_slice::<serde_json::Value>(&json));
    matches!(user, Ok(Ok(user)) if user["tokenIdentifier"].is_string())
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn keys() -> DeployKeys {
        let mut config = EmbeddedConfig::new("unused", "prod:name|s3cret");
        config
            .limited_keys
            .push("prod:name|l1mited=deployment:data:view".parse().unwrap());
        DeployKeys::new(&config)
    }

    fn check(header: Option<&str>, query: Option<&str>) -> Result<Caller, RequestError> {
        let mut headers = HeaderMap::new();
        if let Some(header) = header {
            headers.insert(AUTHORIZATION, header.parse().unwrap());
        }
        keys().check(&headers, query)
    }

    fn outcome(header: Option<&str>, query: Option<&str>) -> (u16, &'static str) {
        match check(header, query) {
            Ok(_) => (200, ""),
            Err(error) => (error.status.as_u16(), error.code),
        }
    }

    fn acting(key: &str, user: &str) -> String {
        format!("Convex {key}:{}", STANDARD.encode(user))
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
            "Convex l1mited",
        ] {
            assert_eq!(outcome(Some(right), None), (200, ""), "{right}");
        }
        for wrong in ["Convex wrong", "Convex s3cre", "Convex s3crets", "Convex "] {
            let outcome = outcome(Some(wrong), Some("adminKey=s3cret"));
            assert_eq!(outcome, (401, "BadAdminKey"), "{wrong}");
        }
        assert_eq!(outcome(Some("Conve"), None), (400, "InvalidHeaderFailure"));
        assert_eq!(outcome(Some("Convex é"), None), (400, "HeaderParseFailure"));
        assert_eq!(
            outcome(Some("Basic dXNlcjpwYXNz"), None),
            (400, "InvalidAdminKey")
        );
        assert_eq!(
            outcome(Some("Bearer nonsense"), None),
            (400, "InvalidAdminKey")
        );
        assert_eq!(outcome(Some("Bearer a.b.c"), None), (403, "BadDeployKey"));
    }

    #[test]
    fn acting_as_a_user_needs_a_readable_user_and_the_permission() {
        let user = r#"{"tokenIdentifier":"https://issuer|1"}"#;
        assert_eq!(outcome(Some(&acting("s3cret", user)), None), (200, ""));
        assert_eq!(
            outcome(Some(&acting("prod:name|s3cret", user)), None),
            (200, "")
        );
        assert_eq!(
            outcome(Some(&acting("l1mited", user)), None),
            (403, "OperationNotPermitted")
        );
        assert_eq!(
            outcome(Some(&acting("wrong", user)), None),
            (401, "BadAdminKey")
        );
        for broken in ["{}", "not json"] {
            // The user is read before the key is looked at.
            assert_eq!(
                outcome(Some(&acting("wrong", broken)), None),
                (400, "HeaderParseFailure")
            );
        }
        assert_eq!(
            outcome(Some("Convex s3cret:%"), None),
            (400, "HeaderParseFailure")
        );
    }

    #[test]
    fn a_limited_key_permits_what_it_names() {
        let caller = check(Some("Convex l1mited"), None).unwrap();
        assert!(caller.may_export().is_ok());
        let refusal = caller.may(Permission::ImportBackups).unwrap_err();
        assert_eq!(
            (refusal.status.as_u16(), refusal.code),
            (403, "OperationNotPermitted")
        );
        assert!(refusal.message.contains("deployment:backups:import"));
    }

    #[test]
    fn the_export_can_be_switched_off() {
        let mut config = EmbeddedConfig::new("unused", "s3cret");
        config.export = false;
        let mut headers = HeaderMap::new();
        headers.insert(AUTHORIZATION, "Convex s3cret".parse().unwrap());
        let caller = DeployKeys::new(&config).check(&headers, None).unwrap();
        let refusal = caller.may_export().unwrap_err();
        assert_eq!(
            (refusal.status.as_u16(), refusal.code),
            (403, "StreamingExportNotEnabled")
        );
        assert!(caller.may(Permission::ImportBackups).is_ok());
    }
}
