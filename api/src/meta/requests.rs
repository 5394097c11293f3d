//! `POST /api/v1/e/meta/{sync,prefetch,invalidate}`. Each is a job that is waited for.

use axum::extract::State;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use sluice_jobs::requests::{
    InvalidateRequest, InvalidateType, PrefetchRequest, Request, SyncRequest, SyncType,
};
use utoipa::ToSchema;
use utoipa::openapi::Object;

use crate::answers::{InvalidateResult, PrefetchResult, SyncResult};
use crate::body::{self, Body};
use crate::call::{Accepted, Call};
use crate::openapi::{CallErrors, CallHeaders, one_of};
use crate::{ApiError, AppState};

/// Which files of whom to put into the cache as one set.
#[derive(Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SyncBody {
    /// The user whose files they are.
    #[serde(deserialize_with = "body::user")]
    #[schema(min_length = 1, max_length = 256, example = "usr_demo1")]
    user: String,
    /// Which files, and what to do when they exceed the limit: `…One` refuses, `…Two` skips those that do not fit.
    #[serde(rename = "type")]
    #[schema(schema_with = sync_types)]
    kind: SyncType,
}

/// How many of the most read files to refresh.
#[derive(Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct PrefetchBody {
    /// The user whose files they are.
    #[serde(deserialize_with = "body::user")]
    #[schema(min_length = 1, max_length = 256, example = "usr_demo1")]
    user: String,
    /// At most this many files.
    #[serde(deserialize_with = "body::prefetch_limit")]
    #[schema(minimum = 1, maximum = 100_000, example = 100)]
    limit: u32,
}

/// What to drop.
#[derive(Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct InvalidateBody {
    /// The user whose entries they are.
    #[serde(deserialize_with = "body::user")]
    #[schema(min_length = 1, max_length = 256, example = "usr_demo1")]
    user: String,
    /// `OUT`: from the cache. `DEL`: from the cache and from Convex.
    #[serde(rename = "type")]
    #[schema(schema_with = invalidate_types)]
    kind: InvalidateType,
}

fn sync_types() -> Object {
    one_of(&["allOne", "allTwo", "mostOne", "mostTwo"])
}

fn invalidate_types() -> Object {
    one_of(&["OUT", "DEL"])
}

/// Put a user's files into the cache as one set
///
/// Readers see the complete old set or the complete new one. The set replaces the user's single entries and lives longer
/// than they do.
#[utoipa::path(
    post,
    path = "/api/v1/e/meta/sync",
    tag = "meta",
    params(CallHeaders),
    request_body = SyncBody,
    responses(
        (status = 200, description = "The set is in the cache", body = SyncResult),
        (status = 202, description = "The job goes on", body = Accepted),
        CallErrors,
    ),
    security(("token" = ["meta:write"])),
)]
pub(crate) async fn sync(
    State(state): State<AppState>,
    call: Call,
    Body(body): Body<SyncBody>,
) -> Result<Response, ApiError> {
    let request = SyncRequest {
        user: body.user.clone(),
        kind: body.kind,
    };
    call.run(&state, &body, Request::Sync(request)).await
}

/// Refresh a user's most read files
#[utoipa::path(
    post,
    path = "/api/v1/e/meta/prefetch",
    tag = "meta",
    params(CallHeaders),
    request_body = PrefetchBody,
    responses(
        (status = 200, description = "The files are in the cache", body = PrefetchResult),
        (status = 202, description = "The job goes on", body = Accepted),
        CallErrors,
    ),
    security(("token" = ["meta:write"])),
)]
pub(crate) async fn prefetch(
    State(state): State<AppState>,
    call: Call,
    Body(body): Body<PrefetchBody>,
) -> Result<Response, ApiError> {
    let request = PrefetchRequest {
        user: body.user.clone(),
        limit: body.limit,
    };
    call.run(&state, &body, Request::Prefetch(request)).await
}

/// Drop a user's entries from the cache, or the user's files altogether
#[utoipa::path(
    post,
    path = "/api/v1/e/meta/invalidate",
    tag = "meta",
    params(CallHeaders),
    request_body = InvalidateBody,
    responses(
        (status = 200, description = "They are gone", body = InvalidateResult),
        (status = 202, description = "The job goes on", body = Accepted),
        CallErrors,
    ),
    security(("token" = ["meta:write"])),
)]
pub(crate) async fn invalidate(
    State(state): State<AppState>,
    call: Call,
    Body(body): Body<InvalidateBody>,
) -> Result<Response, ApiError> {
    let request = InvalidateRequest {
        user: body.user.clone(),
        kind: body.kind,
    };
    call.run(&state, &body, Request::Invalidate(request)).await
}
