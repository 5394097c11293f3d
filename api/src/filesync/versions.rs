//! `/api/v1/sync/files/{file_id}/versions`: the former contents of a file.

use axum::Json;
use axum::extract::State;
use sluice_store::filesync::{KeptVersion, MAX_VERSIONS};

use super::caller::Reader;
use super::contents::FilePath;
use super::request::time;
use crate::answers::filesync::FileVersion;
use crate::http::query::Segment;
use crate::openapi::SyncErrors;
use crate::{ApiError, AppState};

/// List the versions of a file
///
/// The newest first. A change `updated` that names an older one brings it back. Versions of a file
/// that is deleted are listed as long as they are kept.
#[utoipa::path(
    get,
    path = "/api/v1/sync/files/{file_id}/versions",
    operation_id = "listFileVersions",
    tag = "filesync",
    params(FilePath),
    responses((status = 200, description = "All that are kept", body = Vec<FileVersion>), SyncErrors),
    security(("token" = ["files:read"])),
)]
pub(crate) async fn list(
    State(state): State<AppState>,
    Reader(caller): Reader,
    Segment(file): Segment,
) -> Result<Json<Vec<FileVersion>>, ApiError> {
    let versions = state
        .filesync
        .versions(&caller, &file, MAX_VERSIONS)
        .await?;
    Ok(Json(versions.into_iter().map(shown).collect()))
}

fn shown(version: KeptVersion) -> FileVersion {
    FileVersion {
        version_id: version.id,
        size: version.size,
        sha256: version.sha256,
        mime_type: version.mime,
        uploaded_by: version.user,
        uploaded_at: time(version.uploaded_at),
        applied_at: time(version.applied_at),
    }
}
