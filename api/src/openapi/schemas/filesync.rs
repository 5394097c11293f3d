//! What file sync takes and answers.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde_json::Value;
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::Schema;
use utoipa::{PartialSchema, ToSchema};

use super::writes::one_of;
use crate::answers::filesync::{Applied, Node};
use crate::filesync::Code;

/// The body of every error of file sync.
#[derive(ToSchema)]
pub(crate) struct SyncError {
    /// What is wrong, in words.
    detail: String,
    /// A stable code.
    #[schema(value_type = SyncErrorCode)]
    code: String,
    /// True when the caller's place in the log is lost: it takes a snapshot.
    #[schema(nullable = false)]
    reset: Option<bool>,
    /// Why the place is lost.
    #[schema(value_type = Option<LostPlace>, nullable = false)]
    reason: Option<String>,
    /// Where an upload goes on.
    #[schema(nullable = false)]
    offset: Option<u64>,
    /// The change that ended its batch, from 0.
    #[schema(nullable = false)]
    index: Option<usize>,
    /// The changes that were applied before.
    #[schema(nullable = false)]
    applied: Option<Vec<Applied>>,
    /// What the server has of the node that it is about; null when it has none.
    server: Option<Node>,
}

/// Why file sync refuses a request.
pub(crate) struct SyncErrorCode;

impl PartialSchema for SyncErrorCode {
    fn schema() -> RefOr<Schema> {
        let names: Vec<&str> = Code::names().collect();
        Schema::from(one_of(&names)).into()
    }
}

impl ToSchema for SyncErrorCode {
    fn name() -> Cow<'static, str> {
        Cow::Borrowed("SyncErrorCode")
    }
}

/// What a client calls a device; other users' devices may have the same id.
#[derive(ToSchema)]
#[schema(
    max_length = 128,
    pattern = r"^(\.{0,2}[A-Za-z0-9_-]|\.{3})[A-Za-z0-9_.-]*$",
    example = "laptop-1"
)]
pub(crate) struct DeviceId(String);

/// A share's id.
#[derive(ToSchema)]
#[schema(
    min_length = 1,
    max_length = 512,
    example = "shr_01jd3v3s2n3wq5s9m1x6r0e8kz"
)]
pub(crate) struct ShareId(String);

/// A file's or folder's id, which a client may choose.
#[derive(ToSchema)]
#[schema(
    max_length = 128,
    pattern = r"^(\.{0,2}[A-Za-z0-9_-]|\.{3})[A-Za-z0-9_.-]*$",
    example = "fil_01jd3v3s2n3wq5s9m1x6r0e8kz"
)]
pub(crate) struct NodeId(String);

/// What a client calls an upload; other users' uploads may have the same name.
#[derive(ToSchema)]
#[schema(
    max_length = 128,
    pattern = r"^(\.{0,2}[A-Za-z0-9_-]|\.{3})[A-Za-z0-9_.-]*$",
    example = "upl_01jd3v3s2n3wq5s9m1x6r0e8kz"
)]
pub(crate) struct UploadId(String);

/// The id of a version of a file's content.
#[derive(ToSchema)]
#[schema(
    min_length = 1,
    max_length = 512,
    example = "ver_01jd3v3s2n3wq5s9m1x6r0e8kz"
)]
pub(crate) struct VersionId(String);

/// What a device is.
#[derive(ToSchema)]
#[schema(rename_all = "lowercase")]
pub(crate) enum Platform {
    Windows,
    Macos,
    Linux,
    Ios,
    Android,
    Web,
    Cli,
}

/// Why a caller's place in the log is lost.
#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
pub(crate) enum LostPlace {
    HistoryChanged,
    Expired,
}

/// What a node is.
#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
pub(crate) enum ResourceType {
    File,
    Folder,
}

/// What an entry of the log is about.
#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
pub(crate) enum LoggedType {
    File,
    Folder,
    Share,
}

/// What happens to a node: `moved` when it is in another folder, perhaps under another name.
#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
pub(crate) enum ChangeType {
    Created,
    Updated,
    Deleted,
    Moved,
    Renamed,
}

/// What is to happen where changes conflict.
#[derive(ToSchema)]
#[schema(rename_all = "SCREAMING_SNAKE_CASE")]
pub(crate) enum ConflictResolution {
    LastWriterWins,
    KeepBoth,
    ServerWins,
    ClientWins,
    Manual,
}

/// What became of a change that was applied.
#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
pub(crate) enum AppliedOutcome {
    Applied,
    Merged,
    Noop,
    Forced,
    Revived,
    Copied,
    Suffixed,
    MovedAside,
}

/// What became of a change that was not applied.
#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
pub(crate) enum UnappliedOutcome {
    Dropped,
    Held,
    Skip,
    Rejected,
}

/// Why a change was not applied as it is.
#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
pub(crate) enum ConflictReason {
    Edited,
    Deleted,
    Moved,
    NameTaken,
    ParentGone,
    Cycle,
    Kind,
    InnerChanged,
    DependsOn,
    Invalid,
}

/// What a device does about a change that was not applied.
#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
pub(crate) enum NextStep {
    Pull,
    Download,
    SetAside,
    None,
}

/// What a device did. A change that breaks a rule is rejected by itself; the others of its batch
/// are not.
#[derive(ToSchema)]
#[schema(as = DeviceChange)]
pub(crate) struct Change {
    /// The device's own id of it: sent again, it has happened once.
    id: Option<String>,
    /// What it is about.
    resource_type: ResourceType,
    /// The node; for a creation the id that it is to have, if the device chooses one.
    resource_id: Option<String>,
    /// What happened.
    change_type: ChangeType,
    /// The version that the device had.
    base_version_id: Option<String>,
    /// The content, which was uploaded before; for a file.
    version_id: Option<String>,
    /// The folder that it is to be in; else that of `new_path`.
    parent_id: Option<String>,
    /// Where the device had it.
    old_path: Option<String>,
    /// Where the device has it.
    new_path: Option<String>,
    /// What else is known of it: `mime_type`, `modified_at`, of a folder that is deleted
    /// `descendants`, and whatever the device likes, 4 KiB in all.
    metadata: Option<BTreeMap<String, Value>>,
}
