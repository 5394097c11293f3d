//! A change that a device sends, and as the function that applies it reads it.

use std::collections::BTreeMap;

use chrono::DateTime;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::names::{MAX_DEPTH, MAX_PATH_BYTES, Name, NameError, parse_path};
use super::versions::MAX_VERSIONS;
use super::{FilesyncError, is_id};

/// Most bytes of a change's metadata.
const MAX_METADATA_BYTES: usize = 4 * 1024;

/// What a change is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ResourceType {
    /// A file.
    File,
    /// A folder.
    Folder,
}

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
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
}

/// What is to happen where changes of several devices conflict.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Strategy {
    /// The later edit stays.
    LastWriterWins,
    /// Both stay, one under another name.
    KeepBoth,
    /// The server's stays.
    ServerWins,
    /// The client's stays.
    ClientWins,
    /// Nothing happens until somebody resolves it.
    Manual,
}

impl Strategy {
    /// As it is written.
    pub fn name(self) -> &'static str {
        match self {
            Self::LastWriterWins => "LAST_WRITER_WINS",
            Self::KeepBoth => "KEEP_BOTH",
            Self::ServerWins => "SERVER_WINS",
            Self::ClientWins => "CLIENT_WINS",
            Self::Manual => "MANUAL",
        }
    }
}

/// A change as a device sends it.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Change {
    /// The device's own id of it: sent again, it has happened once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// What it is about.
    pub resource_type: Option<ResourceType>,
    /// The node; for a creation the id that it is to have, if the device chooses one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resource_id: Option<String>,
    /// What happened.
    pub change_type: Option<ChangeType>,
    /// The version that the device had.
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
    /// What else is known of it: `mime_type`, `modified_at`, of a folder that is deleted
    /// `descendants`, and whatever the device likes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<BTreeMap<String, Box<RawValue>>>,
}

/// A change as the function reads it, see `lua/filesync/apply.lua`.
#[derive(Debug, Serialize)]
pub(super) struct Prepared {
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    k: ResourceType,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub r: Option<String>,
    y: ChangeType,
    #[serde(skip_serializing_if = "Option::is_none")]
    bv: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    v: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub p: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    dir: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    n: Option<[String; 2]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bad: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    od: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    on: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub old: Option<String>,
    meta: Meta,
    #[serde(skip_serializing_if = "Option::is_none")]
    r#mod: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    known: Option<u64>,
    most: Most,
}

/// Limits that the function keeps.
#[derive(Debug, Serialize)]
struct Most {
    /// Names in a path.
    levels: usize,
    /// Of a path.
    bytes: usize,
    /// Of a file.
    versions: usize,
}

#[derive(Debug, Default, Serialize)]
struct Meta {
    #[serde(skip_serializing_if = "Option::is_none")]
    t: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    m: Option<String>,
    x: BTreeMap<String, String>,
}

/// Why a change is none, by field and rule. It is rejected by itself, the others of its batch are
/// not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChangeFault {
    /// The code that the caller gets.
    pub code: &'static str,
    /// The field and the rule.
    pub detail: String,
}

impl ChangeFault {
    fn field(field: &str, rule: &str) -> Self {
        Self {
            code: "INVALID_REQUEST",
            detail: format!("{field} {rule}"),
        }
    }

    fn name(field: &str, error: NameError) -> Self {
        Self {
            code: "SYNC_NAME",
            detail: format!("{field} {error}"),
        }
    }
}

impl Change {
    /// Checks it.
    pub(super) fn prepare(&self) -> Result<Prepared, ChangeFault> {
        let missing = |field| ChangeFault::field(field, "is missing");
        let k = self.resource_type.ok_or_else(|| missing("resource_type"))?;
        let y = self.change_type.ok_or_else(|| missing("change_type"))?;
        let ids = [
            ("id", &self.id),
            ("resource_id", &self.resource_id),
            ("base_version_id", &self.base_version_id),
            ("version_id", &self.version_id),
            ("parent_id", &self.parent_id),
        ];
        for (field, id) in ids {
            let is_root = field == "parent_id" || field == "resource_id";
            let allowed = |id: &String| is_id(id) || is_root && id == super::ROOT;
            if !id.as_ref().is_none_or(allowed) {
                let rule = "must have 1 to 128 of letters, digits, _, - and .";
                return Err(ChangeFault::field(field, rule));
            }
        }
        if y != ChangeType::Created && self.resource_id.is_none() {
            return Err(missing("resource_id"));
        }
        let new = self.path("new_path", self.new_path.as_deref())?;
        let old = self.path("old_path", self.old_path.as_deref())?;
        let needs_place = match y {
            ChangeType::Created | ChangeType::Renamed => new.is_none(),
            ChangeType::Moved => new.is_none() && self.parent_id.is_none(),
            ChangeType::Updated | ChangeType::Deleted => false,
        };
        if needs_place {
            return Err(missing("new_path"));
        }
        if y == ChangeType::Created && k == ResourceType::Folder && self.version_id.is_some() {
            return Err(ChangeFault::field("version_id", "must be that of a file"));
        }
        let texts = |names: &[Name]| names.iter().map(|it| it.folded.clone()).collect();
        let of = |is_same: bool| if is_same { "same" } else { "other" };
        let pair = new.as_ref().zip(old.as_ref());
        let (meta, modified, known) = self.meta()?;
        let last = new.as_ref().map(|(_, name)| name);
        Ok(Prepared {
            id: self.id.clone(),
            k,
            r: self.resource_id.clone(),
            y,
            bv: self.base_version_id.clone(),
            v: self.version_id.clone(),
            p: self.parent_id.clone(),
            dir: new.as_ref().map(|(folder, _)| texts(folder)),
            n: last.map(|name| [name.text.clone(), name.folded.clone()]),
            bad: last.and_then(Name::unportable),
            od: pair.map(|(new, old)| of(texts(&new.0) == texts(&old.0) as Vec<String>)),
            on: pair.map(|(new, old)| of(new.1.text == old.1.text)),
            path: self.new_path.clone(),
            old: self.old_path.clone(),
            meta,
            r#mod: modified,
            known,
            most: Most {
                levels: MAX_DEPTH,
                bytes: MAX_PATH_BYTES,
                versions: MAX_VERSIONS,
            },
        })
    }

    fn path(
        &self,
        field: &str,
        path: Option<&str>,
    ) -> Result<Option<(Vec<Name>, Name)>, ChangeFault> {
        let Some(path) = path else { return Ok(None) };
        let mut names = parse_path(path).map_err(|error| ChangeFault::name(field, error))?;
        let last = names.pop();
        let last = last.ok_or_else(|| ChangeFault::name(field, NameError::Root))?;
        Ok(Some((names, last)))
    }

    /// The metadata, when the content was modified, in ms, and how many descendants were known.
    fn meta(&self) -> Result<(Meta, Option<i64>, Option<u64>), ChangeFault> {
        let Some(metadata) = &self.metadata else {
            return Ok((Meta::default(), None, None));
        };
        let bytes: usize = metadata
            .iter()
            .map(|(key, value)| key.len() + value.get().len())
            .sum();
        if bytes > MAX_METADATA_BYTES {
            return Err(ChangeFault::field(
                "metadata",
                "must have 4096 bytes at most",
            ));
        }
        let mut meta = Meta::default();
        let (mut modified, mut known) = (None, None);
        for (key, value) in metadata {
            let text = || serde_json::from_str::<String>(value.get());
            match key.as_str() {
                "mime_type" => {
                    let text = text();
                    let text = text
                        .map_err(|_| ChangeFault::field("metadata.mime_type", "must be a text"))?;
                    meta.t = Some(text);
                }
                "modified_at" => {
                    let wrong =
                        || ChangeFault::field("metadata.modified_at", "must be a time of RFC 3339");
                    let text = text().map_err(|_| wrong())?;
                    let time = DateTime::parse_from_rfc3339(&text).map_err(|_| wrong())?;
                    modified = Some(time.timestamp_millis());
                    meta.m = Some(text);
                }
                "descendants" => {
                    let number = serde_json::from_str(value.get());
                    let rule = "must be a number that is not below 0";
                    known =
                        Some(number.map_err(|_| ChangeFault::field("metadata.descendants", rule))?);
                }
                // The server counts both itself.
                "size" | "sha256" => {}
                _ => {
                    meta.x.insert(key.clone(), value.get().to_owned());
                }
            }
        }
        Ok((meta, modified, known))
    }
}

impl From<ChangeFault> for FilesyncError {
    fn from(fault: ChangeFault) -> Self {
        Self::Change(fault)
    }
}
