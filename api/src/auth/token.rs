//! What a token says, and how to make one for development.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use jsonwebtoken::{EncodingKey, Header, encode};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{AuthError, DEFAULT_TENANT, Scope, check_secret};

/// The claims that matter here. Others are ignored, but for `iss`, `aud` and `nbf`, which are
/// checked while decoding.
#[derive(Deserialize)]
pub(super) struct Claims {
    /// The user, when the token is one's.
    pub sub: Option<String>,
    /// The user's tenant, if it is as [`super::Member`] has it.
    pub tenant_id: Option<Value>,
    /// The user's groups, likewise.
    pub groups: Option<Value>,
    scope: Option<Scopes>,
    /// What some issuers call it.
    scp: Option<Scopes>,
    /// When it expires, in seconds since 1970. Fractions are allowed (RFC 7519, "NumericDate").
    /// That it is there is checked while decoding.
    #[serde(default)]
    pub exp: f64,
}

/// Scopes with spaces between (RFC 8693, section 4.2), or a list of them, as some issuers have it.
#[derive(Deserialize)]
#[serde(untagged)]
enum Scopes {
    Text(String),
    List(Vec<String>),
}

impl Claims {
    /// All scopes that the token names, of other services too.
    pub fn scopes(&self) -> impl Iterator<Item = &str> {
        let named = self.scope.iter().chain(&self.scp);
        let texts = named.flat_map(|scopes| match scopes {
            Scopes::Text(text) => std::slice::from_ref(text),
            Scopes::List(texts) => texts,
        });
        texts.flat_map(|text| text.split(' '))
    }
}

/// For whom a token is minted.
#[derive(Clone, Copy, Debug)]
pub struct Identity<'a> {
    /// `sub`.
    pub user: &'a str,
    /// `tenant_id`.
    pub tenant: &'a str,
    /// `groups`.
    pub groups: &'a [String],
}

/// A user of the [`DEFAULT_TENANT`], of no group.
impl<'a> From<&'a str> for Identity<'a> {
    fn from(user: &'a str) -> Self {
        Self {
            user,
            tenant: DEFAULT_TENANT,
            groups: &[],
        }
    }
}

/// A development token: HS256, signed with `secret`, good for `ttl`, for one user, with these
/// scopes.
///
/// Errors when the secret is too short, see [`AuthError::WeakSecret`].
pub fn mint<'a>(
    secret: &str,
    identity: impl Into<Identity<'a>>,
    scopes: &[Scope],
    ttl: Duration,
) -> Result<String, AuthError> {
    let key = EncodingKey::from_secret(check_secret(secret)?);
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    let scopes: Vec<String> = scopes.iter().map(Scope::to_string).collect();
    let identity = identity.into();
    let claims = json!({
        "sub": identity.user,
        "tenant_id": identity.tenant,
        "groups": identity.groups,
        "scope": scopes.join(" "),
        "exp": (now + ttl).as_secs(),
    });
    Ok(encode(&Header::default(), &claims, &key)?)
}
