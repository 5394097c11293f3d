//! `/api/v1/sync/upload/{file_id}`: contents of files on their way in.

use axum::Json;
use axum::extract::{Request, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use sluice_jobs::filesync::NewContent;
use sluice_store::filesync::{NewUpload, is_id};
use utoipa::IntoParams;

use super::caller::Writer;
use super::contents::{FilePath, transfers};
use super::problem::{Code, invalid};
use super::request::{Query, of_surface};
use crate::answers::filesync::Uploaded;
use crate::http::digest::{CONTENT_DIGEST, REPR_DIGEST, sha256};
use crate::http::query::Segment;
use crate::openapi::{SyncErrors, schemas};
use crate::{ApiError, AppState};

/// Longest media type, in bytes.
const MAX_MIME_BYTES: usize = 255;
/// What a content is that does not say what it is.
const UNKNOWN_MIME: &str = "application/octet-stream";
/// Up to where an upload is durable, of how many bytes, and whether that is all.
const UPLOAD_OFFSET: HeaderName = HeaderName::from_static("upload-offset");
const UPLOAD_LENGTH: HeaderName = HeaderName::from_static("upload-length");
const UPLOAD_COMPLETE: HeaderName = HeaderName::from_static("upload-complete");

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct UploadParams {
    /// The share that the file is or will be in.
    #[param(value_type = schemas::ShareId)]
    share_id: String,
    /// What the caller calls the upload, to go on with it after an interruption.
    #[param(value_type = Option<schemas::UploadId>, nullable = false)]
    upload_id: Option<String>,
    /// Where the body goes on; without it, or with 0, the upload begins anew.
    #[param(value_type = Option<u64>, nullable = false)]
    offset: Option<String>,
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct UploadName {
    /// The share that the file is or will be in.
    #[param(value_type = schemas::ShareId)]
    share_id: String,
    /// What the caller calls the upload.
    #[param(value_type = schemas::UploadId)]
    upload_id: String,
}

/// Upload the content of a file
///
/// The answer names a version, which belongs to the caller until a change names it, for 24 hours.
/// The bytes are durable then. The file need not be there yet. With an `upload_id`, an upload that
/// broke off goes on where `HEAD` says, and one that was finished is answered as it was. A share's
/// quota is taken up by the whole length from the beginning.
#[utoipa::path(
    put,
    path = "/api/v1/sync/upload/{file_id}",
    operation_id = "uploadFile",
    tag = "filesync",
    params(
        FilePath,
        UploadParams,
        ("Content-Length" = u64, Header, description = "Bytes of the body, which is all that comes from the offset on"),
        ("Content-Digest" = Option<String>, Header, nullable = false, description = "`sha-256=:…:` of the body (RFC 9530)"),
        ("Repr-Digest" = Option<String>, Header, nullable = false, description = "`sha-256=:…:` of the whole content (RFC 9530)"),
    ),
    request_body(content = String, content_type = "application/octet-stream", description = "The content, of any media type"),
    responses(
        (status = 200, description = "The version", body = Uploaded),
        (status = 409, description = "`SYNC_OFFSET`: the upload goes on at another `offset`, or another request goes on with it", body = schemas::SyncError),
        (status = 411, description = "`LENGTH_REQUIRED`: no `Content-Length`", body = schemas::SyncError),
        (status = 413, description = "`TOO_LARGE`", body = schemas::SyncError),
        (status = 507, description = "`SYNC_QUOTA`: the share has no room for so many bytes", body = schemas::SyncError),
        SyncErrors,
    ),
    security(("token" = ["files:write"])),
)]
pub(crate) async fn put(
    State(state): State<AppState>,
    Writer(caller): Writer,
    Segment(file): Segment,
    Query(params): Query<UploadParams>,
    request: Request,
) -> Result<Json<Uploaded>, ApiError> {
    let transfers = transfers(&state)?;
    let new = new_content(file, params, request.headers())?;
    let body = request.into_body().into_data_stream();
    let version = transfers.upload(caller, new, body).await?;
    Ok(Json(Uploaded {
        version_id: version.id,
        size: version.size,
        sha256: version.sha256,
    }))
}

/// Ask how far an upload is
///
/// `Upload-Offset` is where to go on, `Upload-Length` how long the content is, and
/// `Upload-Complete` is `?1` once there is a version.
#[utoipa::path(
    head,
    path = "/api/v1/sync/upload/{file_id}",
    operation_id = "getUpload",
    tag = "filesync",
    params(FilePath, UploadName),
    responses((status = 204, description = "In its headers"), SyncErrors),
    security(("token" = ["files:write"])),
)]
pub(crate) async fn head(
    State(state): State<AppState>,
    Writer(caller): Writer,
    Segment(file): Segment,
    Query(params): Query<UploadName>,
) -> Result<Response, ApiError> {
    let UploadName {
        share_id,
        upload_id,
    } = params;
    let transfers = transfers(&state)?;
    let upload = transfers.upload_state(&caller, &share_id, &file, &upload_id);
    let upload = upload.await?;
    let is_complete = if upload.is_made { "?1" } else { "?0" };
    let headers = [
        (UPLOAD_OFFSET, HeaderValue::from(upload.offset)),
        (UPLOAD_LENGTH, HeaderValue::from(upload.size)),
        (UPLOAD_COMPLETE, HeaderValue::from_static(is_complete)),
        (CACHE_CONTROL, HeaderValue::from_static("no-store")),
    ];
    Ok((StatusCode::NO_CONTENT, headers).into_response())
}

/// Give an upload up
///
/// Its bytes are removed, and what it took up of the quota is free again. A version that it has
/// become stays.
#[utoipa::path(
    delete,
    path = "/api/v1/sync/upload/{file_id}",
    operation_id = "abortUpload",
    tag = "filesync",
    params(FilePath, UploadName),
    responses((status = 204, description = "It is given up"), SyncErrors),
    security(("token" = ["files:write"])),
)]
pub(crate) async fn delete(
    State(state): State<AppState>,
    Writer(caller): Writer,
    Segment(file): Segment,
    Query(params): Query<UploadName>,
) -> Result<StatusCode, ApiError> {
    let UploadName {
        share_id,
        upload_id,
    } = params;
    let transfers = transfers(&state)?;
    transfers
        .abort(&caller, &share_id, &file, &upload_id)
        .await?;
    Ok(StatusCode::NO_CONTENT)
}

fn new_content(
    file: String,
    params: UploadParams,
    headers: &HeaderMap,
) -> Result<NewContent, ApiError> {
    let UploadParams {
        share_id,
        upload_id,
        offset,
    } = params;
    if upload_id.as_deref().is_some_and(|id| !is_id(id)) || !is_id(&file) {
        let field = if is_id(&file) { "upload_id" } else { "file_id" };
        return Err(invalid(
            field,
            "must be 1 to 128 of letters, digits, `_`, `-` and `.`, and none of `.`, `..` and `root`",
        ));
    }
    let offset: u64 = match offset.as_deref().map(str::parse) {
        None => 0,
        Some(Ok(offset)) => offset,
        Some(Err(_)) => return Err(invalid("offset", "must be a whole number from 0 on")),
    };
    if offset > 0 && upload_id.is_none() {
        return Err(invalid("upload_id", "must be given with an offset"));
    }
    let length = headers.get(CONTENT_LENGTH).and_then(|it| it.to_str().ok());
    let length: u64 = length
        .and_then(|length| length.parse().ok())
        .ok_or_else(|| Code::LengthRequired.error("content-length: must be given"))?;
    let digest = |name| sha256(headers, name).map_err(of_surface);
    Ok(NewContent {
        share: share_id,
        upload: NewUpload {
            file,
            name: upload_id,
            size: offset.saturating_add(length),
            offset,
            mime: mime(headers)?,
        },
        sha256: digest(&REPR_DIGEST)?,
        body_sha256: digest(&CONTENT_DIGEST)?,
    })
}

fn mime(headers: &HeaderMap) -> Result<String, ApiError> {
    let Some(mime) = headers.get(CONTENT_TYPE) else {
        return Ok(UNKNOWN_MIME.to_owned());
    };
    // What it says is handed out again as it came in.
    let mime = mime
        .to_str()
        .ok()
        .filter(|mime| mime.len() <= MAX_MIME_BYTES);
    mime.map(str::to_owned).ok_or_else(|| {
        let rule = format_args!("must be {MAX_MIME_BYTES} visible characters at most");
        invalid("content-type", rule)
    })
}
