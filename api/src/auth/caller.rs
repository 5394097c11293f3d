//! Who calls and what they may do.

use std::str::FromStr;

use axum::extract::FromRequestParts;
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;

use super::token::Claims;
use crate::{ApiError, AppState};

/// What a token may allow. No scope includes another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// `meta:read`: read any user's entries and jobs.
    MetaRead,
    /// `meta:write`: sync, prefetch and invalidate for any user, and read jobs.
    MetaWrite,
    /// `admin`: the board, with its actions, the metrics, and read jobs.
    Admin,
}

impl Scope {
    /// Every scope there is.
    pub const ALL: [Self; 3] = [Self::MetaRead, Self::MetaWrite, Self::Admin];

    /// As it is written in a token.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::MetaRead => "meta:read",
            Self::MetaWrite => "meta:write",
            Self::Admin => "admin",
        }
    }
}

/// The text is not one of the scopes.
#[derive(Debug, thiserror::Error)]
#[error("must be one of meta:read, meta:write, admin")]
pub struct UnknownScope;

impl FromStr for Scope {
    type Err = UnknownScope;

    fn from_str(text: &str) -> Result<Self, UnknownScope> {
        Self::ALL
            .into_iter()
            .find(|scope| scope.as_str() == text)
            .ok_or(UnknownScope)
    }
}

/// The holder of a good token. As an extractor it rejects with [`ApiError::Unauthorized`].
#[derive(Clone, Debug)]
pub struct Caller {
    subject: Option<String>,
    scopes: Vec<Scope>,
    expires_at: u64,
}

impl Caller {
    /// The user the token belongs to, if it belongs to one.
    pub fn subject(&self) -> Option<&str> {
        self.subject.as_deref()
    }

    /// Whether the token carries `scope`.
    pub fn has(&self, scope: Scope) -> bool {
        self.scopes.contains(&scope)
    }

    /// Fails with [`ApiError::Forbidden`] unless the token carries `scope`.
    pub fn require(&self, scope: Scope) -> Result<(), ApiError> {
        self.has(scope)
            .then_some(())
            .ok_or(ApiError::Forbidden(scope))
    }

    /// When the token expires, in seconds since 1970.
    pub(crate) fn expires_at(&self) -> u64 {
        self.expires_at
    }
}

impl From<Claims> for Caller {
    fn from(claims: Claims) -> Self {
        Self {
            subject: claims.sub.filter(|subject| !subject.is_empty()),
            // Scopes of other services may stand beside ours.
            scopes: claims
                .scope
                .split(' ')
                .filter_map(|scope| scope.parse().ok())
                .collect(),
            expires_at: claims.exp as u64,
        }
    }
}

impl FromRequestParts<AppState> for Caller {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, ApiError> {
        let token = parts
            .headers
            .get(AUTHORIZATION)
            .and_then(|value| value.to_str().ok())
            .and_then(|value| value.split_once(' '))
            .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
            .map(|(_, token)| token.trim())
            .ok_or(ApiError::Unauthorized("a bearer token is needed"))?;
        state.auth.verify(token).await
    }
}

/// A [`Caller`] with `meta:write`.
pub(crate) struct MetaWriter(pub Caller);

impl FromRequestParts<AppState> for MetaWriter {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, ApiError> {
        let caller = Caller::from_request_parts(parts, state).await?;
        caller.require(Scope::MetaWrite)?;
        Ok(Self(caller))
    }
}

/// A [`Caller`] with `admin`.
pub(crate) struct Admin;

impl FromRequestParts<AppState> for Admin {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, ApiError> {
        let caller = Caller::from_request_parts(parts, state).await?;
        caller.require(Scope::Admin)?;
        Ok(Self)
    }
}
