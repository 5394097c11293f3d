//! The bodies of requests and answers, as a client reads and writes them. Times are RFC 3339 texts in UTC.
//!
//! Fields that a client has no use for are left out; values that it does not know are `Unknown`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What one may do with a share. Each includes those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// See it and download.
    Read,
    /// Upload and apply changes.
    Write,
    /// Grant, revoke, change its settings, delete it.
    Admin,
}

/// A share, as the caller sees it.
#[derive(Clone, Debug, Deserialize)]
pub struct Share {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// The user who made it.
    pub owner: String,
    /// What the caller may do with it.
    pub level: Level,
    /// Bytes of the versions in it.
    pub used: u64,
    /// Most bytes of all versions in it; none for no limit.
    pub quota: Option<u64>,
    /// The position of its last change.
    pub head: u64,
    /// The first position that its log has.
    pub floor: u64,
}

#[derive(Deserialize)]
pub(crate) struct SharePage {
    pub items: Vec<Share>,
    pub next: Option<String>,
}

/// A device that registers.
#[derive(Clone, Debug, Serialize)]
pub struct NewDevice {
    /// What the client calls it, the same each time.
    pub device_id: String,
    /// What the user calls it.
    pub device_name: String,
    /// What it is: `cli`, `linux`, `macos` …
    pub platform: String,
    /// The version of the client.
    pub client_version: String,
}

/// A device of the caller.
#[derive(Clone, Debug, Deserialize)]
pub struct Device {
    /// What the client calls it.
    pub device_id: String,
    /// What the user calls it.
    pub device_name: String,
    /// Whether it may change anything.
    pub is_active: bool,
}

/// What a change is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ResourceType {
    /// A file.
    File,
    /// A folder.
    Folder,
    /// The share itself.
    Share,
    /// One that this client does not know.
    #[serde(other)]
    Unknown,
}

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ChangeType {
    /// It is new.
    Created,
    /// Its content or metadata is another.
    Updated,
    /// It is gone.
    Deleted,
    /// It is in another folder, perhaps under another name.
    Moved,
    /// It has another name.
    Renamed,
    /// One that this client does not know.
    #[serde(other)]
    Unknown,
}

/// What is known of a node beside its place.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Metadata {
    /// Bytes of the content.
    #[serde(default)]
    pub size: Option<u64>,
    /// SHA-256 of the content, in hexadecimal digits.
    #[serde(default)]
    pub sha256: Option<String>,
    /// When it was modified, as its writer said.
    #[serde(default)]
    pub modified_at: Option<Value>,
    /// Everything else.
    #[serde(flatten)]
    pub other: BTreeMap<String, Value>,
}

/// An entry of a share's log.
#[derive(Clone, Debug, Deserialize)]
pub struct Change {
    /// Its id.
    pub id: String,
    /// Its position in the share's log.
    pub position: u64,
    /// The share.
    pub share_id: String,
    /// What changed.
    pub resource_type: ResourceType,
    /// The id of what changed.
    pub resource_id: String,
    /// The folder that it is in.
    pub parent_id: Option<String>,
    /// How it changed.
    pub change_type: ChangeType,
    /// Who changed it.
    pub changed_by: Option<String>,
    /// The device on which it was changed.
    pub device_id: Option<String>,
    /// When.
    pub changed_at: String,
    /// Where it was.
    pub old_path: Option<String>,
    /// Where it is.
    pub new_path: Option<String>,
    /// The version of its content.
    pub version_id: Option<String>,
    /// What else is known.
    #[serde(default)]
    pub metadata: Metadata,
}

/// A page of changes.
#[derive(Clone, Debug, Deserialize)]
pub struct ChangePage {
    /// Oldest first.
    pub changes: Vec<Change>,
    /// Where the next page begins.
    pub cursor: u64,
    /// Whether there is another page now.
    pub has_more: bool,
    /// The first position that the log has.
    pub floor: u64,
    /// The id of the change at `cursor`: the next `since`.
    pub last_change_id: Option<String>,
}

/// A file or folder of a share.
#[derive(Clone, Debug, Deserialize)]
pub struct Node {
    /// Its id, which never changes.
    pub id: String,
    /// What it is.
    pub resource_type: ResourceType,
    /// The folder that it is in.
    pub parent_id: Option<String>,
    /// Its name.
    pub name: String,
    /// Where it is.
    pub path: String,
    /// The version of its content.
    pub version_id: Option<String>,
    /// The position of its last change.
    pub position: u64,
    /// What else is known.
    #[serde(default)]
    pub metadata: Metadata,
    /// Whether it is deleted.
    #[serde(default)]
    pub deleted: bool,
}

/// A page of a snapshot.
#[derive(Clone, Debug, Deserialize)]
pub struct SnapshotPage {
    /// By id.
    pub items: Vec<Node>,
    /// Behind which position changes are to be replayed once all pages are read.
    pub cursor: u64,
    /// Gives the next page.
    pub next: Option<String>,
}

/// What is to happen where changes of several devices conflict.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Resolution {
    /// The later edit stays.
    LastWriterWins,
    /// Both stay, one under another name.
    KeepBoth,
    /// The server's stays.
    ServerWins,
    /// The client's stays.
    ClientWins,
    /// Nothing happens until the user resolves it.
    Manual,
}

/// A change that a device makes.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct NewChange {
    /// The device's own id of it: sent again, it has happened once.
    pub id: String,
    /// What it is about.
    pub resource_type: ResourceType,
    /// The node; of a creation the id that it is to have.
    pub resource_id: String,
    /// What happened.
    pub change_type: ChangeType,
    /// The version that was edited.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base_version_id: Option<String>,
    /// The content, which was uploaded before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version_id: Option<String>,
    /// The folder that it is to be in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent_id: Option<String>,
    /// Where the device had it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub old_path: Option<String>,
    /// Where the device has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub new_path: Option<String>,
    /// `modified_at`, `mime_type`, of a folder that is deleted `descendants`, and what else is
    /// wanted.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub metadata: BTreeMap<String, Value>,
}

/// What happened to a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// As it was sent.
    Applied,
    /// Together with what another device did.
    Merged,
    /// There was nothing to do.
    Noop,
    /// Over what another device did.
    Forced,
    /// What was deleted came back.
    Revived,
    /// The content is a new node under a copy's name.
    Copied,
    /// Under a copy's name.
    Suffixed,
    /// The node that had the name was renamed.
    MovedAside,
    /// Not done; the server's stays.
    Dropped,
    /// Not done until the conflict is resolved.
    Held,
    /// Not done, since it builds on what was not.
    Skip,
    /// Not done, since it breaks a rule.
    Rejected,
    /// One that this client does not know.
    #[serde(other)]
    Unknown,
}

/// What happened to a change that was applied.
#[derive(Clone, Debug, Deserialize)]
pub struct Applied {
    /// The change.
    pub id: Option<String>,
    /// What happened.
    pub outcome: Outcome,
    /// The node that it is about.
    pub resource_id: Option<String>,
    /// The version of its content.
    pub version_id: Option<String>,
    /// Where it is.
    pub path: Option<String>,
    /// The position of the change; none when there was nothing to do.
    pub position: Option<u64>,
    /// The conflict that was resolved.
    #[serde(default)]
    pub conflict_id: Option<String>,
}

/// What happened to a change that was not applied.
#[derive(Clone, Debug, Deserialize)]
pub struct Unapplied {
    /// The change.
    pub id: Option<String>,
    /// What happened.
    pub outcome: Outcome,
    /// Why.
    pub reason: String,
    /// Why it was rejected.
    #[serde(default)]
    pub code: Option<String>,
    /// The same in words.
    #[serde(default)]
    pub detail: Option<String>,
    /// What the device does now: `pull`, `download`, `set_aside` or `none`.
    pub next: String,
}

/// What happened to the changes of a device: each is in one of the lists.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Outcomes {
    /// Those that were applied, in order.
    pub applied: Vec<Applied>,
    /// Those that were not, in order.
    pub conflicts: Vec<Unapplied>,
    /// A position that the device may adopt.
    pub cursor: u64,
}

/// A conflict of a share.
#[derive(Clone, Debug, Deserialize)]
pub struct Conflict {
    /// Its id.
    pub id: String,
    /// The share.
    pub share_id: String,
    /// The device whose change it is.
    pub device_id: String,
    /// The node that it is about.
    pub resource_id: Option<String>,
    /// Where the device has it.
    pub client_path: Option<String>,
    /// Where the server has it.
    pub server_path: Option<String>,
    /// Why.
    pub reason: String,
    /// When it was resolved; none while it is open.
    pub resolved_at: Option<String>,
}

/// A content that was uploaded.
#[derive(Clone, Debug, Deserialize)]
pub struct Uploaded {
    /// The version that it is, to be named by a change.
    pub version_id: String,
    /// Its length in bytes.
    pub size: u64,
    /// Its SHA-256, in hexadecimal digits.
    pub sha256: String,
}

/// A version of a file's content that a change has named.
#[derive(Clone, Debug, Deserialize)]
pub struct FileVersion {
    /// Its id.
    pub version_id: String,
    /// Its length in bytes.
    pub size: u64,
    /// Its SHA-256, in hexadecimal digits.
    pub sha256: String,
}

/// How far a device is behind a share.
#[derive(Clone, Debug, Deserialize)]
pub struct DeviceStatus {
    /// The position of the last change that the device has applied.
    pub cursor_position: u64,
    /// How many changes came after it.
    pub pending_changes: u64,
    /// Whether conflicts of the device are open in the share.
    pub has_conflicts: bool,
}

#[derive(Deserialize)]
pub(crate) struct Accepted {
    pub job: String,
}

/// A job, as its events show it.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct JobView {
    /// Where it is in its life.
    pub state: String,
    /// How far it is, as it says itself.
    pub progress: Option<Value>,
    /// What it answered.
    pub result: Option<Value>,
    /// Why it was refused.
    pub error: Option<Value>,
    /// Why attempts failed, the first first.
    pub errors: Vec<JobFault>,
}

/// Why an attempt of a job failed.
#[derive(Clone, Debug, Deserialize)]
pub struct JobFault {
    /// What went wrong.
    pub message: String,
}

impl JobView {
    /// Whether nothing more happens to it.
    pub fn is_over(&self) -> bool {
        matches!(self.state.as_str(), "completed" | "cancelled" | "dead")
    }
}
