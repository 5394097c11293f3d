//! `/api/v1/sync/cursor`, `/api/v1/sync/status`: how far a device is.

use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use utoipa::IntoParams;

use super::caller::Reader;
use super::request::{Query, position, time};
use crate::answers::filesync::{Cursor, Status};
use crate::openapi::{SyncErrors, schemas};
use crate::{ApiError, AppState};

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct CursorParams {
    /// The share.
    #[param(value_type = schemas::ShareId)]
    share_id: String,
    /// The device, one of the caller's.
    #[param(value_type = schemas::DeviceId)]
    device_id: String,
    /// The position up to which the device has applied the share's changes.
    #[param(value_type = u64)]
    position: String,
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct StatusParams {
    /// The share.
    #[param(value_type = schemas::ShareId)]
    share_id: String,
    /// The device, one of the caller's.
    #[param(value_type = schemas::DeviceId)]
    device_id: String,
}

/// Say how far a device is
///
/// A cursor never moves back: with a smaller position than it has, it stays.
#[utoipa::path(
    post,
    path = "/api/v1/sync/cursor",
    operation_id = "moveCursor",
    tag = "filesync",
    params(CursorParams),
    responses(
        (status = 200, description = "Where it is now", body = Cursor),
        SyncErrors,
    ),
    security(("token" = ["files:read"])),
)]
pub(crate) async fn advance(
    State(state): State<AppState>,
    Reader(caller): Reader,
    Query(params): Query<CursorParams>,
) -> Result<Json<Cursor>, ApiError> {
    let position = position("position", &params.position)?;
    let (device, share) = (&params.device_id, &params.share_id);
    let cursor = state.filesync.move_cursor(&caller, device, share, position);
    let cursor = cursor.await?;
    Ok(Json(Cursor {
        cursor_position: cursor.position,
        last_sync_at: cursor.moved_at.map(time),
    }))
}

/// Ask how far a device is
///
/// A device without a cursor gets one at the head of the share, and has to take a snapshot.
#[utoipa::path(
    get,
    path = "/api/v1/sync/status",
    operation_id = "getSyncStatus",
    tag = "filesync",
    params(StatusParams),
    responses((status = 200, description = "How far it is", body = Status), SyncErrors),
    security(("token" = ["files:read"])),
)]
pub(crate) async fn status(
    State(state): State<AppState>,
    Reader(caller): Reader,
    Query(params): Query<StatusParams>,
) -> Result<Json<Status>, ApiError> {
    let (device, share) = (&params.device_id, &params.share_id);
    let status = state.filesync.device_status(&caller, device, share).await?;
    Ok(Json(Status {
        cursor_position: status.cursor.position,
        last_sync_at: status.cursor.moved_at.map(time),
        pending_changes: status.pending,
        has_conflicts: status.has_conflicts,
        needs_snapshot: status.needs_snapshot,
    }))
}
