//! The OpenAPI document, and what the descriptions of endpoints share.

pub(crate) mod schemas;

use std::collections::BTreeMap;

use sluice_store::documents::DocumentsConfig;
use utoipa::openapi::response::{Response, ResponseBuilder};
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityScheme};
use utoipa::openapi::{ContentBuilder, OpenApi, Ref, RefOr};
use utoipa::{IntoParams, IntoResponses, Modify, OpenApi as _, ToSchema};

#[derive(utoipa::OpenApi)]
#[openapi(
    info(title = "Sluice", description = "A Valkey-native sync service for data that lives in Convex."),
    tags(
        (name = "meta", description = "File metadata, cached"),
        (name = "documents", description = "JSON documents with revisions"),
        (name = "filesync", description = "Files of several devices, in step"),
        (name = "jobs", description = "What became of requests"),
        (name = "operators", description = "Queues, jobs, workers and schedules, for operators"),
        (name = "operation", description = "Probes and metrics"),
    ),
    components(schemas(
        schemas::ErrorBody,
        schemas::SyncError,
        schemas::SyncErrorCode,
        schemas::DeviceId,
        schemas::ShareId,
        schemas::NodeId,
        schemas::VersionId,
        schemas::UploadId,
        schemas::Name,
        schemas::UserId,
        schemas::FileId,
        schemas::JobId,
        schemas::QueueName,
        schemas::JobsCursor,
        schemas::ActionId,
        schemas::HistoryPeriod,
        schemas::JobOperation,
        schemas::JobState,
        schemas::PauseOrResume,
        schemas::WorkerSignal,
        schemas::IdempotencyKey,
        schemas::IdempotencyHeader,
        schemas::DocumentsCursor,
        schemas::EntriesCursor,
        schemas::Precondition,
        schemas::EventId,
        schemas::ExpiryTime,
        schemas::Revision,
        schemas::Mutation,
        schemas::Mutations,
    )),
    modifiers(&TokenScheme),
)]
struct Document;

/// The document without its paths, which the routers add.
pub(crate) fn document() -> OpenApi {
    Document::openapi()
}

/// Puts the limits that are set in place of the usual ones.
pub(crate) fn limit(document: &mut OpenApi, limits: &DocumentsConfig) {
    let components = document.components.get_or_insert_default();
    components.schemas.insert(
        schemas::Mutations::name().into_owned(),
        schemas::Mutations::at_most(limits.max_mutations).into(),
    );
}

struct TokenScheme;

impl Modify for TokenScheme {
    fn modify(&self, document: &mut OpenApi) {
        let mut bearer = Http::new(HttpAuthScheme::Bearer);
        bearer.bearer_format = Some("JWT".to_owned());
        document
            .components
            .get_or_insert_default()
            .add_security_scheme("token", SecurityScheme::Http(bearer));
    }
}

/// Headers that every submission understands.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
#[expect(dead_code, reason = "describes headers, which are read by name")]
pub(crate) struct SubmissionHeaders {
    /// `respond-async`: answer 202 at once. `wait=N`: wait at most N seconds. (RFC 7240)
    #[param(rename = "Prefer", nullable = false, example = "wait=5")]
    prefer: Option<String>,
    /// 1 to 255 printable characters. For 24 hours, the same key with the same body gets the first
    /// request's job.
    #[param(rename = "Idempotency-Key", value_type = Option<schemas::IdempotencyHeader>, nullable = false)]
    idempotency_key: Option<String>,
}

/// Errors of endpoints that need a token.
pub(crate) struct TokenErrors;
/// Errors of endpoints that answer with a stream.
pub(crate) struct StreamErrors;
/// Errors of endpoints that read.
pub(crate) struct ReadErrors;
/// Errors of endpoints that show something to operators.
pub(crate) struct LookErrors;
/// Errors of endpoints that do something for operators.
pub(crate) struct ActionErrors;
/// Errors of endpoints that read what a body names.
pub(crate) struct BatchReadErrors;
/// Errors of endpoints about documents.
pub(crate) struct DocumentErrors;
/// Errors of endpoints of file sync.
pub(crate) struct SyncErrors;
/// Errors of endpoints that are jobs.
pub(crate) struct SubmissionErrors;

const TOKEN_ERRORS: &[(&str, &str)] = &[
    ("401", "No token, or not a good one"),
    ("403", "The token lacks the scope"),
    ("500", "`internal`: a fault of Sluice's own"),
    (
        "503",
        "`unavailable`: the token issuer's keys cannot be fetched; try again after `Retry-After` seconds",
    ),
    ("504", "`timeout`"),
];
const STREAM_ERRORS: &[(&str, &str)] = &[(
    "429",
    "`too_many_streams`: the user has as many WebSockets and event streams open as one may have",
)];
const READ_ERRORS: &[(&str, &str)] = &[
    ("400", "`invalid_request`: names the field"),
    ("404", "`not_found`"),
    ("409", "`cursor_expired`: the listed set was replaced"),
    ("502", "`upstream_failed`: Convex refused the request"),
    (
        "503",
        "`unavailable`: a part behind the API does not answer; try again after `Retry-After` seconds",
    ),
];
const LOOK_ERRORS: &[(&str, &str)] = &[
    ("400", "`invalid_request`: names the field"),
    ("404", "`not_found`"),
    (
        "503",
        "`unavailable`: a part behind the API does not answer; try again after `Retry-After` seconds",
    ),
];
const ACTION_ERRORS: &[(&str, &str)] = &[
    ("400", "`invalid_request`: names the field"),
    ("404", "`not_found`"),
    ("409", "`not_possible`: says why"),
    ("413", "`invalid_request`: the body is too long"),
    (
        "503",
        "`unavailable`: a part behind the API does not answer. `queue_full`: too many jobs wait. Try again after `Retry-After` seconds",
    ),
];
const BATCH_READ_ERRORS: &[(&str, &str)] = &[
    ("400", "`invalid_request`: names the field"),
    ("413", "`invalid_request`: the body is too long"),
    (
        "503",
        "`unavailable`: a part behind the API does not answer; try again after `Retry-After` seconds",
    ),
];
const DOCUMENT_ERRORS: &[(&str, &str)] = &[
    (
        "400",
        "`invalid_request`: names the field. `invalid_mutation`: names the mutation. `too_many_mutations`, `document_too_deep`",
    ),
    ("404", "`not_found`: missing, deleted or expired"),
    (
        "409",
        "`revision_conflict`: names both revisions. `already_exists`, `not_deleted`, `job_cancelled`",
    ),
    (
        "412",
        "`revision_conflict`: `If-Match` or `If-None-Match` rules out the document as it is; names the revisions",
    ),
    ("413", "`document_too_large`"),
    ("422", "`idempotency_key_reused` with another request"),
    (
        "500",
        "`internal`: a fault of Sluice's own. `job_failed`: the job is among the dead letters",
    ),
    (
        "503",
        "`json_module_missing`: Valkey cannot keep documents. `unavailable`, `queue_full`: try again after `Retry-After` seconds",
    ),
];
const SYNC_ERRORS: &[(&str, &str)] = &[
    (
        "400",
        "`SYNC_CURSOR_INVALID`: the cursor is none, or the log does not lead on from it. `INVALID_REQUEST`: the path is not UTF-8",
    ),
    (
        "401",
        "No token, not a good one, or one without `sub` or `tenant_id`",
    ),
    (
        "403",
        "`FORBIDDEN`: the token lacks the scope, or the share does not allow it. `DEVICE_INACTIVE`",
    ),
    (
        "404",
        "`NOT_FOUND`: not there, or not for the caller to see",
    ),
    ("413", "`TOO_LARGE`: the body is too long"),
    (
        "422",
        "`INVALID_REQUEST`: names the field and the rule; other codes name what does not fit",
    ),
    (
        "429",
        "`TOO_MANY_STREAMS`; try again after `Retry-After` seconds",
    ),
];
const SUBMISSION_ERRORS: &[(&str, &str)] = &[
    (
        "400",
        "`invalid_request`: names the field. `limit_exceeded`: nothing was synced",
    ),
    ("404", "`user_not_found`"),
    (
        "409",
        "`invalidated` while the job ran, or `job_cancelled` by an operator",
    ),
    ("413", "`invalid_request`: the body is too long"),
    ("422", "`idempotency_key_reused` with another body"),
    (
        "500",
        "`internal`: a fault of Sluice's own. `job_failed`: the job is among the dead letters",
    ),
    (
        "503",
        "`unavailable`: a part behind the API does not answer. `queue_full`: too many jobs wait. Try again after `Retry-After` seconds",
    ),
];

impl IntoResponses for TokenErrors {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        errors(&[TOKEN_ERRORS])
    }
}

impl IntoResponses for StreamErrors {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        errors(&[STREAM_ERRORS])
    }
}

impl IntoResponses for ReadErrors {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        errors(&[TOKEN_ERRORS, READ_ERRORS])
    }
}

impl IntoResponses for LookErrors {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        errors(&[TOKEN_ERRORS, LOOK_ERRORS])
    }
}

impl IntoResponses for ActionErrors {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        errors(&[TOKEN_ERRORS, ACTION_ERRORS])
    }
}

impl IntoResponses for BatchReadErrors {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        errors(&[TOKEN_ERRORS, BATCH_READ_ERRORS])
    }
}

impl IntoResponses for DocumentErrors {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        errors(&[TOKEN_ERRORS, DOCUMENT_ERRORS])
    }
}

impl IntoResponses for SyncErrors {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        errors_of(&schemas::SyncError::name(), &[TOKEN_ERRORS, SYNC_ERRORS])
    }
}

impl IntoResponses for SubmissionErrors {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        errors(&[TOKEN_ERRORS, SUBMISSION_ERRORS])
    }
}

fn errors(groups: &[&[(&str, &str)]]) -> BTreeMap<String, RefOr<Response>> {
    errors_of(&schemas::ErrorBody::name(), groups)
}

fn errors_of(shape: &str, groups: &[&[(&str, &str)]]) -> BTreeMap<String, RefOr<Response>> {
    groups
        .iter()
        .flat_map(|group| group.iter())
        .map(|&(status, description)| {
            let body = ContentBuilder::new()
                .schema(Some(Ref::from_schema_name(shape)))
                .build();
            let response = ResponseBuilder::new()
                .description(description)
                .content("application/json", body)
                .build();
            (status.to_owned(), response.into())
        })
        .collect()
}
