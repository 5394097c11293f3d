//! `/api/v1/sync/download/{file_id}`: contents of files on their way out.

use axum::body::Body;
use axum::extract::State;
use axum::http::header::{
    ACCEPT_RANGES, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_SECURITY_POLICY,
    CONTENT_TYPE, ETAG, IF_NONE_MATCH, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use sluice_store::filesync::Version;
use utoipa::IntoParams;

use super::caller::Reader;
use super::contents::{FilePath, transfers};
use super::problem::{Code, invalid};
use super::request::{Query, of_surface};
use crate::http::conditions::{Tag, Tags, etag, tags};
use crate::http::query::Segment;
use crate::http::ranges::{QueryRange, RangeError, Selection, select};
use crate::openapi::{SyncErrors, schemas};
use crate::{ApiError, AppState};

/// Which version of the file it is.
const X_VERSION_ID: HeaderName = HeaderName::from_static("x-version-id");

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct DownloadParams {
    /// The version; the one that the file has now without it.
    #[param(value_type = Option<schemas::VersionId>, nullable = false)]
    version: Option<String>,
    /// The first byte, from 0 on. As `Range`, for those who cannot set headers.
    #[param(value_type = Option<u64>, nullable = false)]
    range_start: Option<String>,
    /// The last byte, which is sent too.
    #[param(value_type = Option<u64>, nullable = false)]
    range_end: Option<String>,
}

/// Download the content of a file
///
/// The `ETag` is its SHA-256, and `X-Version-Id` says which version it is. One range may be asked
/// for; several are refused.
#[utoipa::path(
    get,
    path = "/api/v1/sync/download/{file_id}",
    operation_id = "downloadFile",
    tag = "filesync",
    params(
        FilePath,
        DownloadParams,
        ("Range" = Option<String>, Header, nullable = false, description = "`bytes=a-b`, `bytes=a-` or `bytes=-n`"),
        ("If-Range" = Option<String>, Header, nullable = false, description = "The `ETag` that the range is of; the whole content is sent when it has another"),
        ("If-None-Match" = Option<schemas::Precondition>, Header, nullable = false, description = "The `ETag`s that the caller has"),
    ),
    responses(
        (status = 200, description = "The content", body = String, content_type = "*/*"),
        (status = 206, description = "The range of it", body = String, content_type = "*/*"),
        (status = 304, description = "The caller has it"),
        (status = 416, description = "`RANGE_NOT_SATISFIABLE`: it has none of these bytes; `Content-Range` says how many it has", body = schemas::SyncError),
        SyncErrors,
    ),
    security(("token" = ["files:read"])),
)]
pub(crate) async fn get(
    State(state): State<AppState>,
    Reader(caller): Reader,
    Segment(file): Segment,
    Query(params): Query<DownloadParams>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let transfers = transfers(&state)?;
    let range = QueryRange {
        start: number("range_start", params.range_start.as_deref())?,
        end: number("range_end", params.range_end.as_deref())?,
    };
    let download = transfers.find(&caller, &file, params.version.as_deref());
    let download = download.await?;
    let (size, tag) = (download.version.size, tag(&download.version));
    let mut head = head_of(&download.version, &tag)?;
    if is_known(&headers, &tag)? {
        return Ok((StatusCode::NOT_MODIFIED, head).into_response());
    }
    let (status, range) = match select(&headers, range, &tag, size) {
        Ok(Selection::Whole) => (StatusCode::OK, 0..size),
        Ok(Selection::Part(range)) => {
            let text = format!("bytes {}-{}/{size}", range.start, range.end - 1);
            head.insert(CONTENT_RANGE, value(&text)?);
            (StatusCode::PARTIAL_CONTENT, range)
        }
        Err(error) => return refused(error, size),
    };
    head.insert(CONTENT_LENGTH, (range.end - range.start).into());
    let body = Body::from_stream(transfers.read(download, range));
    Ok((status, head, body).into_response())
}

/// Ask for the head of a download
///
/// As `GET` of all of it, without the content. Ranges are of what is sent (RFC 9110, section 14.2),
/// so there are none here.
#[utoipa::path(
    head,
    path = "/api/v1/sync/download/{file_id}",
    operation_id = "describeFile",
    tag = "filesync",
    params(
        FilePath,
        DownloadParams,
        ("If-None-Match" = Option<schemas::Precondition>, Header, nullable = false, description = "The `ETag`s that the caller has"),
    ),
    responses(
        (status = 200, description = "The content is there", body = String, content_type = "*/*"),
        (status = 304, description = "The caller has it"),
        SyncErrors,
    ),
    security(("token" = ["files:read"])),
)]
pub(crate) async fn head(
    State(state): State<AppState>,
    Reader(caller): Reader,
    Segment(file): Segment,
    Query(params): Query<DownloadParams>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let version = params.version.as_deref();
    let found = transfers(&state)?
        .find(&caller, &file, version)
        .await?
        .version;
    let tag = tag(&found);
    let mut head = head_of(&found, &tag)?;
    if is_known(&headers, &tag)? {
        return Ok((StatusCode::NOT_MODIFIED, head).into_response());
    }
    head.insert(CONTENT_LENGTH, found.size.into());
    Ok((StatusCode::OK, head).into_response())
}

/// The strong tag of a content.
fn tag(version: &Version) -> String {
    etag(format_args!("sha256-{}", version.sha256))
}

/// Whether the caller has the content that has this tag. Tags are compared weakly.
fn is_known(headers: &HeaderMap, etag: &str) -> Result<bool, ApiError> {
    let opaque = etag.trim_matches('"').as_bytes();
    let known = |tag: Tag| (tag.opaque == opaque).then_some(());
    let tags = tags(headers, IF_NONE_MATCH, known).map_err(of_surface)?;
    Ok(match tags {
        None => false,
        Some(Tags::Any) => true,
        Some(Tags::Of(known)) => !known.is_empty(),
    })
}

/// What is said of a content, however much of it is sent. A browser that is led here must not take
/// what somebody uploaded for a page of this origin.
fn head_of(version: &Version, etag: &str) -> Result<HeaderMap, ApiError> {
    let fixed = [
        (ACCEPT_RANGES, "bytes"),
        (CACHE_CONTROL, "private, no-cache"),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (CONTENT_SECURITY_POLICY, "sandbox"),
    ];
    let fixed = fixed.map(|(name, value)| (name, HeaderValue::from_static(value)));
    let mut head = HeaderMap::from_iter(fixed);
    head.insert(CONTENT_TYPE, value(&version.mime)?);
    head.insert(ETAG, value(etag)?);
    head.insert(X_VERSION_ID, value(&version.id)?);
    Ok(head)
}

fn refused(error: RangeError, size: u64) -> Result<Response, ApiError> {
    let (code, detail) = match error {
        RangeError::Unsatisfiable => {
            let code = Code::RangeNotSatisfiable;
            let error = code.error(format_args!(
                "range: the content has {size} bytes, and one range at most is sent"
            ));
            let mut response = error.into_response();
            let range = value(&format!("bytes */{size}"))?;
            response.headers_mut().insert(CONTENT_RANGE, range);
            return Ok(response);
        }
        RangeError::Disagreement => ("range_start", "must name the bytes that `Range` does"),
        RangeError::Backwards => ("range_end", "must not be less than range_start"),
    };
    Err(invalid(code, detail))
}

fn number(field: &str, text: Option<&str>) -> Result<Option<u64>, ApiError> {
    let number = text.map(str::parse).transpose();
    number.map_err(|_| invalid(field, "must be a whole number from 0 on"))
}

fn value(text: &str) -> Result<HeaderValue, ApiError> {
    HeaderValue::try_from(text).map_err(|_| ApiError::Internal)
}
