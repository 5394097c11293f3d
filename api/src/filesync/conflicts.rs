//! `/api/v1/sync/conflicts…`: changes that conflicted, and what is to happen to those that are held.

use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use serde_json::value::RawValue;
use sluice_store::filesync::Strategy;
use utoipa::IntoParams;

use super::caller::{Reader, Writer};
use super::problem::invalid;
use super::request::Query;
use crate::answers::filesync::Conflict;
use crate::http::query::Segment;
use crate::openapi::{SyncErrors, schemas};
use crate::{ApiError, AppState};

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct ConflictsParams {
    /// Only those of this device of the caller's.
    #[param(value_type = Option<schemas::DeviceId>, nullable = false)]
    device_id: Option<String>,
    /// Only those of this share.
    #[param(value_type = Option<schemas::ShareId>, nullable = false)]
    share_id: Option<String>,
    /// Whether those that are resolved are listed, too.
    #[serde(default)]
    #[param(default = false)]
    include_resolved: bool,
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct ResolveParams {
    /// What is to happen to the change that is held; not `MANUAL`.
    #[param(value_type = schemas::ConflictResolution)]
    resolution: Strategy,
}

/// The path to a conflict.
#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
#[expect(dead_code, reason = "describes a path, which is read by name")]
struct ConflictPath {
    /// The conflict's id.
    id: String,
}

/// List conflicts
///
/// Of the shares that the caller can see, the newest first, 1000 at most.
#[utoipa::path(
    get,
    path = "/api/v1/sync/conflicts",
    operation_id = "listConflicts",
    tag = "filesync",
    params(ConflictsParams),
    responses((status = 200, description = "The conflicts", body = Vec<Conflict>), SyncErrors),
    security(("token" = ["files:read"])),
)]
pub(crate) async fn list(
    State(state): State<AppState>,
    Reader(caller): Reader,
    Query(params): Query<ConflictsParams>,
) -> Result<Json<Vec<Box<RawValue>>>, ApiError> {
    let with_resolved = params.include_resolved;
    let mut conflicts = match &params.share_id {
        Some(share) => {
            let conflicts = state.filesync.conflicts(&caller, share, with_resolved);
            conflicts.await?
        }
        None => state.filesync.all_conflicts(&caller, with_resolved).await?,
    };
    if let Some(device) = &params.device_id {
        conflicts.retain(|it| it.user == caller.user && it.device == *device);
    }
    Ok(Json(conflicts.into_iter().map(|it| it.json).collect()))
}

/// Resolve a conflict
///
/// The change that is held is judged anew, as things are now. Resolved again in the same way, the
/// answer is the same.
#[utoipa::path(
    post,
    path = "/api/v1/sync/conflicts/{id}/resolve",
    operation_id = "resolveConflict",
    tag = "filesync",
    params(ConflictPath, ResolveParams),
    responses(
        (status = 200, description = "The conflict, resolved", body = Conflict),
        (status = 409, description = "`SYNC_CONFLICT`: it was resolved in another way", body = schemas::SyncError),
        SyncErrors,
    ),
    security(("token" = ["files:write"])),
)]
pub(crate) async fn resolve(
    State(state): State<AppState>,
    Writer(caller): Writer,
    Segment(id): Segment,
    Query(params): Query<ResolveParams>,
) -> Result<Json<Box<RawValue>>, ApiError> {
    if params.resolution == Strategy::Manual {
        return Err(invalid("resolution", "must not be MANUAL"));
    }
    let share = state.filesync.share_of_conflict(&caller, &id).await?;
    let resolved = state
        .filesync
        .resolve_conflict(&caller, &share, &id, params.resolution)
        .await?;
    Ok(Json(resolved.json))
}
