//! The shapes of what callers send that their Rust types do not tell: patterns, bounds, and which
//! fields go together.
//!
//! What a schema here allows, the API takes; what it does not allow, the API refuses by field and
//! rule. The types only describe: values are of the types of the handlers.
#![expect(dead_code, reason = "describes values, which are of other types")]

mod filesync;
mod operators;
mod writes;

use utoipa::ToSchema;

pub(crate) use filesync::{
    AppliedOutcome, Change, ChangeType, ConflictReason, ConflictResolution, DeviceId, LoggedType,
    NextStep, NodeId, Platform, ResourceType, ShareId, SyncError, SyncErrorCode, UnappliedOutcome,
    UploadId, VersionId,
};
pub(crate) use operators::{
    ActionId, HistoryPeriod, JobOperation, JobsCursor, PauseOrResume, QueueName, QueueRate,
    WorkerSignal,
};
pub(crate) use sluice_jobs::meta::UserId;
pub(crate) use writes::{BatchWrite, ExpiryTime, Mutation, Mutations, Revision};

/// The body of every error.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
pub(crate) struct ErrorBody {
    /// A stable code, such as `invalid_request`.
    error: String,
    /// What is wrong, in words.
    message: String,
    /// The job concerned, when there is one.
    #[schema(nullable = false)]
    job: Option<String>,
    /// The write of a batch that is wrong, from 0.
    #[schema(nullable = false)]
    write: Option<usize>,
    /// The mutation that does not fit, from 0.
    #[schema(nullable = false)]
    mutation: Option<usize>,
    /// The document's revision that the request expected.
    #[schema(nullable = false)]
    expected_revision: Option<u64>,
    /// The revision that the document is at.
    #[schema(nullable = false)]
    current_revision: Option<u64>,
}

/// The name of a service, or the id of a document: neither `.` nor `..`.
#[derive(ToSchema)]
#[schema(
    max_length = 128,
    pattern = r"^(\.{0,2}[A-Za-z0-9_:-]|\.{3})[A-Za-z0-9_.:-]*$",
    example = "doc_1"
)]
pub(crate) struct Name(String);

/// The last version that was seen of a document, as events have it as their `id`; or its revision
/// alone.
#[derive(ToSchema)]
#[schema(
    pattern = "^(0|[1-9][0-9]*)(-(0|[1-9][0-9]*))?$",
    example = "7-1795289394786"
)]
pub(crate) struct EventId(String);

/// A file's id, as Convex has it.
#[derive(ToSchema)]
#[schema(min_length = 1, max_length = 1024)]
pub(crate) struct FileId(String);

/// A job's id: its queue, then a ULID.
#[derive(ToSchema)]
#[schema(
    pattern = "^[a-z0-9-]{1,64}_[0-7][0-9a-hjkmnp-tv-z]{25}$",
    example = "sync_01jd3v3s2n3wq5s9m1x6r0e8kz"
)]
pub(crate) struct JobId(String);

/// What a caller calls a request, so that it is carried out once.
#[derive(ToSchema)]
#[schema(pattern = "^[ -~]{1,255}$")]
pub(crate) struct IdempotencyKey(String);

/// The same as a header, around which spaces do not count.
#[derive(ToSchema)]
#[schema(pattern = "^[!-~]([ -~]{0,253}[!-~])?$")]
pub(crate) struct IdempotencyHeader(String);

/// Where a listing of documents goes on.
#[derive(ToSchema)]
#[schema(pattern = "^A[Q-Za-f][A-Za-z0-9_-]{170}$")]
pub(crate) struct DocumentsCursor(String);

/// Where a listing of entries goes on.
#[derive(ToSchema)]
#[schema(pattern = "^A[Q-Za-f][A-Za-z0-9_-]{42}$")]
pub(crate) struct EntriesCursor(String);

/// Entity tags with commas between, or `*` for any (RFC 9110, section 13.1).
#[derive(ToSchema)]
#[schema(pattern = r#"^(\*|(W/)?"[!#-~]{0,40}"( ?, ?(W/)?"[!#-~]{0,40}"){0,9})$"#)]
pub(crate) struct Precondition(String);

/// Where a job is in its life.
#[derive(ToSchema)]
#[schema(rename_all = "lowercase")]
pub(crate) enum JobState {
    Waiting,
    Scheduled,
    Available,
    Running,
    Retrying,
    Completed,
    Cancelled,
    Dead,
}

/// How much a line of a log matters.
#[derive(ToSchema)]
#[schema(rename_all = "lowercase")]
pub(crate) enum LogLevel {
    Debug,
    Info,
    Warn,
    Error,
}
