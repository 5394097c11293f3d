//! Who calls file sync, as extractors.
//!
//! A token says which tenant the caller is of, and which groups; what a member may do in a share,
//! the share says. `tenant:admin` may all, in every share of the tenant. The scopes bound what may be
//! asked of any share.

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use sluice_store::filesync::Caller;

use crate::auth::{self, Scope};
use crate::{ApiError, AppState};

/// A member whose token has `files:read`.
pub(crate) struct Reader(pub Caller);

/// A member whose token has `files:write`.
pub(crate) struct Writer(pub Caller);

impl FromRequestParts<AppState> for Reader {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, ApiError> {
        member(parts, state, Scope::FilesRead).await.map(Self)
    }
}

impl FromRequestParts<AppState> for Writer {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, ApiError> {
        member(parts, state, Scope::FilesWrite).await.map(Self)
    }
}

async fn member(parts: &mut Parts, state: &AppState, scope: Scope) -> Result<Caller, ApiError> {
    let caller = auth::Caller::from_request_parts(parts, state).await?;
    caller.require(scope)?;
    member_of(&caller)
}

/// The member whose token it is.
pub(super) fn member_of(caller: &auth::Caller) -> Result<Caller, ApiError> {
    let member = caller.member()?;
    Ok(Caller {
        tenant: member.tenant.clone(),
        user: member.user.clone(),
        groups: member.groups.clone(),
        is_admin: caller.has(&Scope::TenantAdmin),
    })
}
