//! `POST /api/v1/sync/apply`: what a device did.

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use chrono::DateTime;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use sluice_store::filesync::{Batch, Change, Strategy};
use utoipa::{IntoParams, ToSchema};

use super::caller::Writer;
use super::problem::{Code, invalid};
use super::request::{Content, Query};
use crate::answers::filesync::ApplyOutcomes;
use crate::openapi::{SyncErrors, schemas};
use crate::{ApiError, AppState};

/// Most changes in a batch.
const MAX_CHANGES: usize = 1000;

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct ApplyParams {
    /// Whether to delete more of the share than it allows within an hour.
    #[serde(default)]
    #[param(default = false)]
    confirm: bool,
}

/// What a device did, in order.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ApplyBody {
    /// The device, one of the caller's.
    #[schema(value_type = schemas::DeviceId)]
    device_id: String,
    /// The share.
    #[schema(value_type = schemas::ShareId)]
    share_id: String,
    /// What is to happen where changes conflict with those of other devices. Left out, the first
    /// conflict ends the batch with 409.
    #[serde(default)]
    #[schema(value_type = Option<schemas::ConflictResolution>)]
    conflict_resolution: Option<Strategy>,
    /// The position up to which the device had applied the share's changes; left out, its cursor.
    #[serde(default)]
    base_cursor: Option<u64>,
    /// The time on the device's clock, by which `modified_at` is put right.
    #[serde(default)]
    #[schema(format = DateTime, example = "2026-11-29T17:20:00.000Z")]
    sent_at: Option<String>,
    /// At most 1000.
    #[schema(value_type = Vec<schemas::Change>, max_items = 1000)]
    changes: Vec<Change>,
}

/// As [`ApplyOutcomes`], with items as they are made.
#[derive(Serialize)]
struct Answer<'a> {
    applied: &'a [Box<RawValue>],
    conflicts: &'a [Box<RawValue>],
    cursor: u64,
}

/// Apply changes
///
/// One after the other. Each is answered in exactly one of the lists. A change that is sent again
/// with its id is answered as it was before. What is dropped, held or rejected does not stop those
/// behind it, but for those that build on it.
#[utoipa::path(
    post,
    path = "/api/v1/sync/apply",
    operation_id = "applyChanges",
    tag = "filesync",
    params(ApplyParams),
    request_body = ApplyBody,
    responses(
        (status = 200, description = "What became of each", body = ApplyOutcomes),
        (
            status = 409,
            description = "`SYNC_VERSION_STALE`, or `SYNC_CONFLICT`: the change at `index`; those in `applied` are made",
            body = schemas::SyncError,
        ),
        SyncErrors,
    ),
    security(("token" = ["files:write"])),
)]
pub(crate) async fn apply(
    State(state): State<AppState>,
    Writer(caller): Writer,
    Query(params): Query<ApplyParams>,
    Content(body): Content<ApplyBody>,
) -> Result<Response, ApiError> {
    if body.changes.len() > MAX_CHANGES {
        let detail = format!("changes: must hold at most {MAX_CHANGES}");
        return Err(Code::TooLarge.error(detail));
    }
    let batch = Batch {
        device: body.device_id,
        share: body.share_id,
        strategy: body.conflict_resolution,
        base_cursor: body.base_cursor,
        sent_at: body.sent_at.as_deref().map(sent_at).transpose()?,
        is_confirmed: params.confirm,
        changes: body.changes,
    };
    let outcomes = state.filesync.apply(&caller, &batch).await?;
    let answer = Answer {
        applied: &outcomes.applied,
        conflicts: &outcomes.conflicts,
        cursor: outcomes.cursor,
    };
    Ok(Json(answer).into_response())
}

/// A time of RFC 3339, in ms since 1970.
fn sent_at(text: &str) -> Result<i64, ApiError> {
    let time = DateTime::parse_from_rfc3339(text);
    let time = time.map_err(|_| invalid("sent_at", "must be a time of RFC 3339"))?;
    Ok(time.timestamp_millis())
}
