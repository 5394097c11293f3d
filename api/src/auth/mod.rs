//! Who calls: bearer tokens (JWT) and the scopes they carry.
//!
//! A token is signed either with the development secret (HS256) or with a key from a JWKS address
//! (RS256, ES256). Which of the two checks it follows from its algorithm, and each source has its
//! own fixed algorithms, so that a public key can never be used as a shared secret. `exp` is
//! required; `iss` and `aud` are when they are configured.

mod caller;
mod denial;
mod jwks;
mod member;
mod token;
mod verified;

use std::sync::Arc;

use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header};
use reqwest::Url;
use sluice_convex::Secret;

pub(crate) use caller::passed;
pub use caller::{Caller, Scope};
pub use denial::Denial;
use jwks::{Jwks, Keys};
pub use member::{DEFAULT_TENANT, MAX_GROUPS, Member, check_group, check_tenant};
use token::Claims;
pub use token::{Identity, mint};
use verified::{TokenHash, Verified};

/// How far the clocks of issuer and API may be apart, in seconds.
const LEEWAY_SECS: u64 = 30;
/// HS256 asks for a key at least as long as its hash (RFC 7518, section 3.2).
const MIN_SECRET_BYTES: usize = 32;

/// Where tokens come from. Without any source, every token is refused.
#[derive(Clone, Debug, Default)]
pub struct AuthConfig {
    /// Secret of development tokens, at least 32 bytes (`SLUICE_DEV_SECRET`).
    pub dev_secret: Option<Secret>,
    /// Address of the issuer's public keys (`SLUICE_JWKS_URL`).
    pub jwks_url: Option<Url>,
    /// What `iss` must be.
    pub issuer: Option<String>,
    /// What `aud` must be or hold.
    pub audience: Option<String>,
}

/// What is wrong with an [`AuthConfig`], or why a token could not be minted.
#[derive(Debug, thiserror::Error)]
pub enum AuthError {
    /// The development secret is shorter than 32 bytes.
    #[error("the development secret must be at least {MIN_SECRET_BYTES} bytes long")]
    WeakSecret,
    /// The HTTP client for the JWKS address could not be set up.
    #[error("the HTTP client for the JWKS address: {0}")]
    Client(#[from] reqwest::Error),
    /// The token could not be signed.
    #[error("signing a token: {0}")]
    Sign(#[from] jsonwebtoken::errors::Error),
}

/// Verifies tokens. Cheap to clone.
#[derive(Clone)]
pub struct Auth(Arc<Sources>);

struct Sources {
    secret: Option<DecodingKey>,
    jwks: Option<Jwks>,
    /// Without an algorithm; each check adds its own.
    validation: Validation,
    verified: Verified,
}

impl Auth {
    /// Checks the configuration. The JWKS address is not called before the first token that needs
    /// it.
    pub fn new(config: AuthConfig) -> Result<Self, AuthError> {
        let secret = config
            .dev_secret
            .map(|secret| check_secret(secret.expose()).map(DecodingKey::from_secret));
        let jwks = config
            .jwks_url
            .map(|url| Jwks::new(url, jwks::MIN_INTERVAL, jwks::MAX_AGE));
        Ok(Self(Arc::new(Sources {
            secret: secret.transpose()?,
            jwks: jwks.transpose()?,
            validation: validation(config.issuer, config.audience),
            verified: Verified::default(),
        })))
    }

    /// Who holds `token`. Errors: [`Denial::Unauthorized`], or [`Denial::Unavailable`] when the
    /// issuer's keys cannot be fetched.
    pub async fn verify(&self, token: &str) -> Result<Caller, Denial> {
        let Sources { jwks, verified, .. } = &*self.0;
        let hash = TokenHash::of(token);
        if let Some(caller) = verified.get(hash, || jwks.as_ref()?.keys()) {
            return Ok(caller);
        }
        let (caller, keys) = self.verify_anew(token).await?;
        verified.put(hash, caller.clone(), keys);
        Ok(caller)
    }

    /// Who holds `token`, and the issuer's keys that say so.
    async fn verify_anew(&self, token: &str) -> Result<(Caller, Option<Keys>), Denial> {
        let header =
            decode_header(token).map_err(|_| Denial::Unauthorized("the token is not a JWT"))?;
        // Whoever does not understand an extension that the issuer calls critical has to refuse
        // (RFC 7515, 4.1.11).
        if header.crit.is_some() {
            return Err(Denial::Unauthorized(
                "the token has critical extensions, which are not known here",
            ));
        }
        let unknown =
            Denial::Unauthorized("the token is signed in a way that is not accepted here");
        let Sources {
            secret,
            jwks,
            validation,
            ..
        } = &*self.0;
        let mut validation = validation.clone();
        validation.algorithms = vec![header.alg];
        let (claims, keys) = match (header.alg, secret, jwks) {
            (Algorithm::HS256, Some(secret), _) => {
                (decode::<Claims>(token, secret, &validation), None)
            }
            (Algorithm::RS256 | Algorithm::ES256, _, Some(jwks)) => {
                let kid = header.kid.as_deref();
                let decode = |key: &DecodingKey| decode::<Claims>(token, key, &validation);
                let (claims, keys) = jwks.verify(kid, header.alg, decode).await?;
                (claims.ok_or(unknown)?, Some(keys))
            }
            _ => return Err(unknown),
        };
        claims
            .map(|token| (token.claims.into(), keys))
            .map_err(|error| Denial::Unauthorized(reason(error.kind())))
    }
}

/// The bytes of a secret that is long enough.
fn check_secret(secret: &str) -> Result<&[u8], AuthError> {
    Some(secret.as_bytes())
        .filter(|bytes| bytes.len() >= MIN_SECRET_BYTES)
        .ok_or(AuthError::WeakSecret)
}

fn validation(issuer: Option<String>, audience: Option<String>) -> Validation {
    let mut validation = Validation {
        leeway: LEEWAY_SECS,
        validate_nbf: true,
        // Without an audience of our own, whom else the token is for does not matter.
        validate_aud: audience.is_some(),
        ..Validation::default()
    };
    let mut required = vec!["exp"];
    if let Some(issuer) = issuer {
        validation.set_issuer(&[issuer]);
        required.push("iss");
    }
    if let Some(audience) = audience {
        validation.set_audience(&[audience]);
        required.push("aud");
    }
    validation.set_required_spec_claims(&required);
    validation
}

/// For the caller; holds nothing of the token.
fn reason(kind: &ErrorKind) -> &'static str {
    match kind {
        ErrorKind::ExpiredSignature => "the token has expired",
        ErrorKind::ImmatureSignature => "the token is not valid yet",
        ErrorKind::InvalidSignature => "the token's signature is wrong",
        ErrorKind::InvalidIssuer => "the token is of another issuer",
        ErrorKind::InvalidAudience => "the token is for another audience",
        ErrorKind::MissingRequiredClaim(claim) if claim == "exp" => "the token has no exp",
        ErrorKind::MissingRequiredClaim(claim) if claim == "iss" => "the token has no iss",
        ErrorKind::MissingRequiredClaim(claim) if claim == "aud" => "the token has no aud",
        _ => "the token is malformed",
    }
}

#[cfg(test)]
mod tests;
