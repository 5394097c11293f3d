//! What requests to file sync can be refused or fail with, in the surface's shape: `{"detail",
//! "code"}`, and what else is known.
//!
//! [`Code`] has what only file sync refuses. What any surface may answer has its usual code here,
//! in capital letters. A request that breaks a rule of its schema is 422 `INVALID_REQUEST`; 400 is
//! about cursors.

use std::fmt::Display;

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use sluice_store::filesync::{FilesyncError, Interrupted, Interruption};

use crate::ApiError;
use crate::http::problem::Problem;

/// Declares the codes, each with the status that it comes with.
macro_rules! codes {
    ($($(#[$meta:meta])* $variant:ident = $code:literal $status:ident,)+) => {
        /// Why file sync refuses a request.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum Code {
            $($(#[$meta])* $variant,)+
        }

        impl Code {
            /// All of them.
            const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// As it is answered.
            pub(crate) const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $code,)+
                }
            }

            const fn status(self) -> StatusCode {
                match self {
                    $(Self::$variant => StatusCode::$status,)+
                }
            }
        }
    };
}

codes! {
    /// The request breaks a rule of its schema; names the field and the rule.
    InvalidRequest = "INVALID_REQUEST" UNPROCESSABLE_ENTITY,
    /// The body is longer than any may be.
    TooLarge = "TOO_LARGE" PAYLOAD_TOO_LARGE,
    /// The share, node, version, device or conflict is not there, or the caller may not see it.
    NotFound = "NOT_FOUND" NOT_FOUND,
    /// The caller may see the share, but not do this to it.
    Forbidden = "FORBIDDEN" FORBIDDEN,
    /// The change conflicts with what the server has.
    SyncConflict = "SYNC_CONFLICT" CONFLICT,
    /// `base_version_id` is not the current version.
    SyncVersionStale = "SYNC_VERSION_STALE" CONFLICT,
    /// The cursor is none, or leads to a place that the log does not have.
    SyncCursorInvalid = "SYNC_CURSOR_INVALID" BAD_REQUEST,
    /// The name or path breaks a rule.
    SyncName = "SYNC_NAME" UNPROCESSABLE_ENTITY,
    /// The folder would be moved into itself.
    SyncInvalidMove = "SYNC_INVALID_MOVE" UNPROCESSABLE_ENTITY,
    /// The node is of another share.
    SyncCrossShare = "SYNC_CROSS_SHARE" UNPROCESSABLE_ENTITY,
    /// The id of the change was used for another change.
    SyncIdReused = "SYNC_ID_REUSED" UNPROCESSABLE_ENTITY,
    /// The content has not the length or digest that was said.
    SyncDigest = "SYNC_DIGEST" UNPROCESSABLE_ENTITY,
    /// The deletions are held back, as there are so many of them.
    SyncMassDelete = "SYNC_MASS_DELETE" UNPROCESSABLE_ENTITY,
    /// There is no room left in the share.
    SyncQuota = "SYNC_QUOTA" INSUFFICIENT_STORAGE,
    /// The upload goes on at another offset, or another request goes on with it.
    SyncOffset = "SYNC_OFFSET" CONFLICT,
    /// The body comes without its length.
    LengthRequired = "LENGTH_REQUIRED" LENGTH_REQUIRED,
    /// The content has none of the bytes that are asked for.
    RangeNotSatisfiable = "RANGE_NOT_SATISFIABLE" RANGE_NOT_SATISFIABLE,
    /// As many contents come in as may at a time.
    TooManyUploads = "TOO_MANY_UPLOADS" SERVICE_UNAVAILABLE,
    /// Contents of files are not kept here.
    NoContents = "NO_CONTENTS" SERVICE_UNAVAILABLE,
    /// The device is switched off.
    DeviceInactive = "DEVICE_INACTIVE" FORBIDDEN,
    /// There are as many of them as there may be.
    TooMany = "TOO_MANY" CONFLICT,
}

/// The codes that any surface may answer, as they are printed here.
const USUAL: &[&str] = &[
    "UNAUTHORIZED",
    "METHOD_NOT_ALLOWED",
    "TOO_MANY_STREAMS",
    "INTERNAL",
    "OUT_OF_MEMORY",
    "UNAVAILABLE",
    "TIMEOUT",
];

impl Code {
    /// Every code that this surface answers.
    pub(crate) fn names() -> impl Iterator<Item = &'static str> {
        let own = Self::ALL.iter().map(|code| code.as_str());
        own.chain(USUAL.iter().copied())
    }

    /// The problem, in words for the caller.
    pub(super) fn problem(self, detail: impl Display) -> Problem {
        Problem::new(self.status(), self.as_str(), detail)
    }

    /// As [`Code::problem`].
    pub(super) fn error(self, detail: impl Display) -> ApiError {
        self.problem(detail).into()
    }
}

/// A field breaks a rule.
pub(super) fn invalid(field: &str, rule: impl Display) -> ApiError {
    Code::InvalidRequest.error(format_args!("{field}: {rule}"))
}

/// Prints a problem in the surface's shape.
pub(crate) fn print(problem: &Problem) -> Response {
    let usual = [
        ("detail", Value::from(&*problem.message)),
        ("code", problem.code.to_ascii_uppercase().into()),
    ];
    let body = usual.into_iter().chain(problem.extra.iter().cloned());
    let body: Map<String, Value> = body.map(|(name, value)| (name.to_owned(), value)).collect();
    Json(body).into_response()
}

impl From<FilesyncError> for ApiError {
    fn from(error: FilesyncError) -> Self {
        let code = match &error {
            FilesyncError::NotFound(_) => Code::NotFound,
            FilesyncError::Forbidden => Code::Forbidden,
            FilesyncError::OwnerGrant => Code::InvalidRequest,
            FilesyncError::TooManyDevices | FilesyncError::TooManyGrants => Code::TooMany,
            FilesyncError::DeviceInactive => Code::DeviceInactive,
            FilesyncError::CursorInvalid(fault) => {
                let problem = Code::SyncCursorInvalid.problem(&error);
                return problem
                    .with("reset", Some(true))
                    .with("reason", Some(fault.reason()))
                    .into();
            }
            FilesyncError::Change(fault) => {
                let status = StatusCode::UNPROCESSABLE_ENTITY;
                return Problem::new(status, fault.code, &fault.detail).into();
            }
            FilesyncError::QuotaExceeded => Code::SyncQuota,
            FilesyncError::UploadReused => Code::SyncIdReused,
            FilesyncError::UploadOutrun => Code::SyncOffset,
            FilesyncError::UploadElsewhere(offset) => {
                let problem = Code::SyncOffset.problem(&error);
                return problem.with("offset", Some(*offset)).into();
            }
            FilesyncError::ResolvedOtherwise(_) => Code::SyncConflict,
            FilesyncError::Interrupted(interrupted) => return interruption(interrupted),
            FilesyncError::Store(error) => {
                return ApiError::of_valkey("file sync", error.fault(), error);
            }
        };
        code.error(error)
    }
}

/// A change ended its batch; with what was applied before.
fn interruption(interrupted: &Interrupted) -> ApiError {
    let (index, applied) = (interrupted.index, &interrupted.applied);
    let (code, detail) = match &interrupted.reason {
        Interruption::Conflict { is_stale: true, .. } => (
            Code::SyncVersionStale,
            "base_version_id is not the current version",
        ),
        Interruption::Conflict { .. } => (
            Code::SyncConflict,
            "conflicts with what another device did; conflict_resolution says what is to happen then",
        ),
        Interruption::IdReused => (Code::SyncIdReused, "id: is that of another change"),
        Interruption::MassDelete => (
            Code::SyncMassDelete,
            "deletes more of the share than it allows within an hour; `confirm=true` does it",
        ),
    };
    let server = match &interrupted.reason {
        Interruption::Conflict { server, .. } => Some(value(server)),
        _ => None,
    };
    let applied: Vec<Value> = applied.iter().map(|item| value(item)).collect();
    code.problem(format_args!("changes[{index}]: {detail}"))
        .with("index", Some(index))
        .with("applied", Some(applied))
        .with("server", server)
        .into()
}

fn value(json: &RawValue) -> Value {
    serde_json::from_str(json.get()).unwrap_or_default()
}
