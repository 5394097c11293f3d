//! What operators see and do, by API: queues, jobs, workers, schedules and the audit log.
//!
//! The board is the same in HTML. Both look with the parts of the queue, and act through
//! [`actions`], which writes down who did what.

pub(crate) mod actions;
mod jobs;
mod queues;
mod schedules;
mod undo;
mod workers;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use utoipa_axum::router::OpenApiRouter;

use crate::auth::{Caller, Scope};
use crate::{ApiError, AppState};
use actions::Actor;
pub(crate) use jobs::{COUNT_LIMIT, JobParams};
pub(crate) use queues::pauses;
pub(crate) use workers::read_signal;

pub(crate) fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .merge(queues::routes())
        .merge(jobs::routes())
        .merge(workers::routes())
        .merge(schedules::routes())
        .merge(undo::routes())
}

/// A caller who may look: one with `admin` or `admin:read`.
pub(crate) struct Looks;

impl FromRequestParts<AppState> for Looks {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, ApiError> {
        let caller = Caller::from_request_parts(parts, state).await?;
        if !caller.has(&Scope::Admin) {
            caller.require(Scope::AdminRead)?;
        }
        Ok(Self)
    }
}

/// A caller who may act: one with `admin`.
pub(crate) struct Acts(pub Actor);

impl FromRequestParts<AppState> for Acts {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, ApiError> {
        let caller = Caller::from_request_parts(parts, state).await?;
        caller.require(Scope::Admin)?;
        Ok(Self(Actor::new(caller.subject(), "api")))
    }
}
