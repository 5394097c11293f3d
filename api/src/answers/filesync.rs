//! The bodies of file sync's successful answers. Times are RFC 3339, in UTC, with milliseconds.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use crate::openapi::schemas;

/// A device of a user.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Device {
    /// The same as `device_id`.
    #[schema(value_type = schemas::DeviceId)]
    pub id: String,
    /// What the client calls it.
    #[schema(value_type = schemas::DeviceId)]
    pub device_id: String,
    /// What the user calls it.
    #[schema(example = "Ann's laptop")]
    pub device_name: String,
    /// What it is.
    #[schema(value_type = schemas::Platform, example = "linux")]
    pub platform: String,
    /// The version of the client on it.
    #[schema(required = true, example = "1.4.0")]
    pub client_version: Option<String>,
    /// Whether it may change anything. A heartbeat wakes a device that was not seen for long, not
    /// one that its user switched off.
    pub is_active: bool,
    /// When it registered or gave a heartbeat last.
    #[schema(example = "2026-11-29T17:20:00.000Z")]
    pub last_seen_at: String,
    /// When it was first registered.
    #[schema(example = "2026-11-01T08:00:00.000Z")]
    pub created_at: String,
    /// Whose it is.
    #[schema(value_type = schemas::UserId)]
    pub user_id: String,
    /// Names the registration that this answers; else left out. The socket of an earlier one is
    /// closed when one of this opens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub instance: Option<String>,
}

/// What a device wants of a share.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Preference {
    /// The share.
    #[schema(value_type = schemas::ShareId)]
    pub share_id: String,
    /// Whether it wants anything.
    pub sync_enabled: bool,
    /// The ids of the folders that it wants; null for all.
    #[schema(required = true)]
    pub selected_folders: Option<Vec<String>>,
    /// The ids of the folders that it does not want; null for no folder.
    #[schema(required = true)]
    pub excluded_folders: Option<Vec<String>>,
    /// Since when.
    #[schema(example = "2026-11-29T17:20:00.000Z")]
    pub updated_at: String,
}

/// The cursor of a device in a share.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Cursor {
    /// The position of the last change that the device has applied.
    pub cursor_position: u64,
    /// When the device said so last; null when it never did.
    #[schema(required = true, example = "2026-11-29T17:20:00.000Z")]
    pub last_sync_at: Option<String>,
}

/// How far a device is behind a share.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Status {
    /// The position of the last change that the device has applied.
    pub cursor_position: u64,
    /// When the device said so last; null when it never did.
    #[schema(required = true, example = "2026-11-29T17:20:00.000Z")]
    pub last_sync_at: Option<String>,
    /// How many changes came after it.
    pub pending_changes: u64,
    /// Whether conflicts of the device are open in the share.
    pub has_conflicts: bool,
    /// True when the device has to take a snapshot, as it never had what came before its cursor;
    /// left out else.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub needs_snapshot: bool,
}

/// What one may do with a share. Each includes those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
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
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Share {
    /// Its id.
    #[schema(value_type = schemas::ShareId)]
    pub id: String,
    /// Its name.
    #[schema(example = "Photos")]
    pub name: String,
    /// The user who made it.
    #[schema(value_type = schemas::UserId)]
    pub owner: String,
    /// What the caller may do with it.
    pub level: Level,
    /// Most bytes of all versions in it; null for no limit.
    #[schema(required = true)]
    pub quota: Option<u64>,
    /// Bytes of the versions in it.
    pub used: u64,
    /// Bytes of uploads under way, as they were declared.
    pub reserved: u64,
    /// Whether names that some systems do not take are refused.
    pub portable_names: bool,
    /// The part of the share, in per cent, that one device may delete within an hour; null for no
    /// limit.
    #[schema(required = true)]
    pub mass_delete_limit: Option<u8>,
    /// The position of its last change.
    pub head: u64,
    /// The first position that its log has.
    pub floor: u64,
    /// When it was made.
    #[schema(example = "2026-11-01T08:00:00.000Z")]
    pub created_at: String,
}

/// One page of the shares that the caller can see.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SharePage {
    /// By id.
    pub items: Vec<Share>,
    /// Gives the next page, as `page`; null on the last one.
    #[schema(required = true)]
    pub next: Option<String>,
}

/// What a user or a group may do with a share.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Grant {
    /// The user, when it is one's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub user: Option<String>,
    /// The group, when it is one's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub group: Option<String>,
    /// What they may do.
    pub level: Level,
}

/// An entry of a share's change log.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Change {
    /// Its id, `chg_…`.
    #[schema(example = "chg_01jd3v3s2n3wq5s9m1x6r0e8kz01")]
    pub id: String,
    /// Its position in the share's log: from 1 on, without gaps.
    pub position: u64,
    /// Its position among the changes of the tenant, when those of all shares are read; else left
    /// out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub tenant_position: Option<u64>,
    /// The tenant.
    pub tenant_id: String,
    /// The share.
    #[schema(value_type = schemas::ShareId)]
    pub share_id: String,
    /// What changed.
    #[schema(value_type = schemas::LoggedType)]
    pub resource_type: String,
    /// The id of what changed.
    pub resource_id: String,
    /// The folder that it is in.
    #[schema(required = true)]
    pub parent_id: Option<String>,
    /// How it changed.
    #[schema(value_type = schemas::ChangeType)]
    pub change_type: String,
    /// Who changed it.
    #[schema(required = true)]
    pub changed_by: Option<String>,
    /// The device on which it was changed, if it was on one.
    #[schema(required = true)]
    pub device_id: Option<String>,
    /// When. It never decreases with the position.
    #[schema(example = "2026-11-29T17:20:00.000Z")]
    pub changed_at: String,
    /// Where it was, if it is moved, renamed or deleted.
    #[schema(required = true)]
    pub old_path: Option<String>,
    /// Where it is, if it is anywhere.
    #[schema(required = true)]
    pub new_path: Option<String>,
    /// The version of its content.
    #[schema(required = true)]
    pub version_id: Option<String>,
    /// What else is known: of files `size`, `sha256`, `mime_type`, `modified_at`; of shares what the
    /// change is about; and whatever clients added.
    pub metadata: BTreeMap<String, Value>,
}

/// A page of changes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ChangePage {
    /// Oldest first.
    pub changes: Vec<Change>,
    /// Where the next page begins.
    pub cursor: u64,
    /// Whether there is another page now.
    pub has_more: bool,
    /// The share; null when those of all shares are read.
    #[schema(value_type = Option<schemas::ShareId>, required = true)]
    pub share_id: Option<String>,
    /// The first position that the log has.
    pub floor: u64,
    /// The id of the change at `cursor`, if it is kept and the caller sees it: the next `since`.
    #[schema(required = true)]
    pub last_change_id: Option<String>,
}

/// A file or folder.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Node {
    /// Its id, which never changes.
    pub id: String,
    /// What it is.
    #[schema(value_type = schemas::ResourceType)]
    pub resource_type: String,
    /// The folder that it is in.
    #[schema(required = true)]
    pub parent_id: Option<String>,
    /// Its name.
    pub name: String,
    /// Where it is.
    pub path: String,
    /// The version of its content.
    #[schema(required = true)]
    pub version_id: Option<String>,
    /// The position of its last change.
    pub position: u64,
    /// When that was.
    #[schema(example = "2026-11-29T17:20:00.000Z")]
    pub changed_at: String,
    /// Whose it was.
    #[schema(required = true)]
    pub changed_by: Option<String>,
    /// What else is known: of files `size`, `sha256`, `mime_type`, `modified_at`, and whatever
    /// clients added.
    pub metadata: BTreeMap<String, Value>,
    /// How many files and folders are in it, at any depth, if it is a folder; else left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub descendants: Option<u64>,
    /// True when it is deleted, or a folder that holds it is; else left out.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub deleted: bool,
}

/// A page of a snapshot.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Snapshot {
    /// By id.
    pub items: Vec<Node>,
    /// Behind which position changes are to be replayed once all pages are read.
    pub cursor: u64,
    /// Gives the next page, as `page`; null on the last one.
    #[schema(required = true)]
    pub next: Option<String>,
    /// The share.
    #[schema(value_type = schemas::ShareId)]
    pub share_id: String,
}

/// What became of a change that was applied.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Applied {
    /// The change, by the id that the device gave it.
    #[schema(required = true)]
    pub id: Option<String>,
    /// What happened.
    #[schema(value_type = schemas::AppliedOutcome)]
    pub outcome: String,
    /// The node that it is about.
    #[schema(required = true)]
    pub resource_id: Option<String>,
    /// The id that the device gave the node, when the node has another; else left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub client_resource_id: Option<String>,
    /// The version of its content.
    #[schema(required = true)]
    pub version_id: Option<String>,
    /// Where it is.
    #[schema(required = true)]
    pub path: Option<String>,
    /// The position of the change; null when there was nothing to do.
    #[schema(required = true)]
    pub position: Option<u64>,
    /// The version that lost, which is kept; left out when none did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub overwrote: Option<String>,
    /// The conflict that was resolved; left out when there was none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub conflict_id: Option<String>,
    /// `ignored` when the device's clock was not believed; else left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub clock: Option<String>,
}

/// What became of a change that was not applied.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Unapplied {
    /// The change, by the id that the device gave it.
    #[schema(required = true)]
    pub id: Option<String>,
    /// What happened.
    #[schema(value_type = schemas::UnappliedOutcome)]
    pub outcome: String,
    /// Why.
    #[schema(value_type = schemas::ConflictReason)]
    pub reason: String,
    /// Why it was rejected; else left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub code: Option<String>,
    /// The same in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub detail: Option<String>,
    /// The conflict that is stored; left out when none is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub conflict_id: Option<String>,
    /// The node that it is about.
    #[schema(required = true)]
    pub resource_id: Option<String>,
    /// What the server has.
    #[schema(required = true)]
    pub server: Option<Node>,
    /// The version that the device has uploaded, which is kept; left out when there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub client_version_id: Option<String>,
    /// Ids of what came or changed in a folder, 100 at most; left out when that is not why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub inner: Option<Vec<String>>,
    /// What the device does now.
    #[schema(value_type = schemas::NextStep)]
    pub next: String,
}

/// What became of the changes of a device: each is in one of the lists.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ApplyOutcomes {
    /// Those that were applied, in order.
    pub applied: Vec<Applied>,
    /// Those that were not, in order.
    pub conflicts: Vec<Unapplied>,
    /// A position that the device may take for its own: all behind `base_cursor` up to it was
    /// written by this call.
    pub cursor: u64,
}

/// A change that conflicted with what another device did.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Conflict {
    /// Its id, `cnf_…`.
    pub id: String,
    /// The share.
    #[schema(value_type = schemas::ShareId)]
    pub share_id: String,
    /// The device whose change it is.
    #[schema(value_type = schemas::DeviceId)]
    pub device_id: String,
    /// What it is about.
    #[schema(value_type = schemas::ResourceType)]
    pub resource_type: String,
    /// The node that it is about.
    #[schema(required = true)]
    pub resource_id: Option<String>,
    /// The device's change, as it was sent.
    #[schema(value_type = BTreeMap<String, Value>)]
    pub client_change: Value,
    /// The change that it conflicts with, if it is kept.
    #[schema(required = true)]
    pub server_change: Option<Change>,
    /// The version that the server has.
    #[schema(required = true)]
    pub server_version_id: Option<String>,
    /// The version that the device has uploaded.
    #[schema(required = true)]
    pub client_version_id: Option<String>,
    /// The version that the device had before.
    #[schema(required = true)]
    pub base_version_id: Option<String>,
    /// Where the server has it.
    #[schema(required = true)]
    pub server_path: Option<String>,
    /// Where the device has it.
    #[schema(required = true)]
    pub client_path: Option<String>,
    /// Why they conflict.
    #[schema(value_type = schemas::ConflictReason)]
    pub reason: String,
    /// Who made the server's change.
    #[schema(required = true)]
    pub changed_by: Option<String>,
    /// When it was noticed.
    #[schema(example = "2026-11-29T17:20:00.000Z")]
    pub detected_at: String,
    /// When it was resolved; null while it is open.
    #[schema(required = true)]
    pub resolved_at: Option<String>,
    /// How it was resolved; null while it is open.
    #[schema(value_type = Option<schemas::ConflictResolution>, required = true)]
    pub resolution: Option<String>,
    /// What became of the device's change, as the answer to it says; null while it is open.
    #[schema(value_type = Option<BTreeMap<String, Value>>, required = true)]
    pub result: Option<Value>,
}

/// A content that was uploaded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Uploaded {
    /// The version that it is, to be named by a change.
    #[schema(value_type = schemas::VersionId)]
    pub version_id: String,
    /// Its length in bytes.
    pub size: u64,
    /// Its SHA-256, in hexadecimal digits.
    pub sha256: String,
}

/// A version of a file's content that a change has named.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FileVersion {
    /// Its id.
    #[schema(value_type = schemas::VersionId)]
    pub version_id: String,
    /// Its length in bytes.
    pub size: u64,
    /// Its SHA-256, in hexadecimal digits.
    pub sha256: String,
    /// The media type, as its uploader named it.
    #[schema(example = "text/plain")]
    pub mime_type: String,
    /// Who uploaded it.
    #[schema(value_type = schemas::UserId)]
    pub uploaded_by: String,
    /// When.
    #[schema(example = "2026-11-29T17:20:00.000Z")]
    pub uploaded_at: String,
    /// When it became the file's content, the last time.
    #[schema(example = "2026-11-29T17:20:00.000Z")]
    pub applied_at: String,
}
