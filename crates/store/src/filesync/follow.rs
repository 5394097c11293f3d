//! What happens to documents of Convex, as changes of the implicit shares of their owners.

use std::collections::BTreeMap;

use redis::Cmd;
use serde_json::json;
use serde_json::value::RawValue;

use super::functions::FUNCTIONS;
use super::names::parse_path;
use super::{Filesync, FilesyncError, Keys, Name, is_id, new_id};

/// Most bytes of a document that become the metadata of its file; of a larger one only what it is
/// called does.
const MAX_METADATA_BYTES: usize = 4 * 1024;
/// What stays of a document that is too large.
const NAMES: [&str; 5] = ["id", "name", "_creationTime", "share_id", "path"];

/// Documents of one call.
const BATCH: usize = 64;

/// What happened to a document.
#[derive(Debug, Clone, PartialEq)]
pub struct Followed {
    /// Its owner.
    pub user: String,
    /// Its `_id`.
    pub doc_id: String,
    /// When it was committed, in ns since 1970.
    pub ts: i64,
    /// What happened.
    pub what: Happened,
}

/// What happened to a document of a user.
#[derive(Debug, Clone, PartialEq)]
pub enum Happened {
    /// It is there, as JSON. It may name a `share_id` and a `path` in it; else it is in the implicit
    /// share of its owner, at `/<_id>`.
    Put(bytes::Bytes),
    /// It was deleted.
    Gone,
    /// It has another owner.
    Left,
}

sluice_valkey::statuses! {
    enum Entry {
        Told = "told",
        Settled = "settled",
        Absent = "absent",
    }
}

/// The implicit share of a user.
pub fn share_of(user: &str) -> String {
    let mut id = "usr_".to_owned();
    for byte in user.bytes() {
        match byte.is_ascii_alphanumeric() || b"_-.".contains(&byte) {
            true => id.push(byte.into()),
            false => id.push_str(&format!("~{byte:02x}")),
        }
    }
    id
}

impl Filesync {
    /// Enters what happened to documents into the shares that they are in, each once, however often
    /// this is called. Returns how many were new.
    ///
    /// # Errors
    /// [`FilesyncError::Store`]; some may have been entered then.
    pub async fn follow(&self, tenant: &str, changes: &[Followed]) -> Result<u64, FilesyncError> {
        if changes.is_empty() {
            return Ok(0);
        }
        self.know_tenant(tenant).await?;
        let places = Keys::new(tenant).of("followed");
        let documents: Vec<Document<'_>> = changes.iter().filter_map(Document::new).collect();
        let calls = documents.chunks(BATCH).map(|documents| {
            let mut call = FUNCTIONS.follow.command(&[&places]);
            call.arg(new_id("epo")).arg(new_id("chg"));
            for document in documents {
                document.put(&mut call);
            }
            call
        });
        let entries: Vec<Vec<Entry>> = FUNCTIONS
            .follow
            .run_all(&self.valkey, calls.collect())
            .await?;
        let told = entries.iter().flatten().filter(|&&it| it == Entry::Told);
        Ok(told.count() as u64)
    }
}

/// What happened to a document, and where it says that it is.
struct Document<'a> {
    change: &'a Followed,
    share: String,
    path: Vec<Name>,
    metadata: Metadata,
}

impl<'a> Document<'a> {
    /// None for one whose id is none of a file.
    fn new(change: &'a Followed) -> Option<Self> {
        if !is_id(&change.doc_id) {
            return None;
        }
        let fields = match &change.what {
            Happened::Put(json) => fields(json),
            Happened::Gone | Happened::Left => BTreeMap::new(),
        };
        let text = |name| serde_json::from_str::<String>(fields.get(name)?).ok();
        let mut path = text("path")
            .and_then(|path| parse_path(&path).ok())
            .unwrap_or_default();
        if path.is_empty() {
            path.extend(Name::parse(&change.doc_id));
        }
        Some(Self {
            change,
            share: text("share_id")
                .filter(|share| is_id(share))
                .unwrap_or_default(),
            path,
            metadata: Metadata::new(&fields),
        })
    }

    /// As the function reads it.
    fn put(&self, call: &mut Cmd) {
        let path = self.path.iter().map(|it| [&it.text, &it.folded]);
        call.arg(&self.change.doc_id)
            .arg(format!("{:019}", self.change.ts))
            .arg(match self.change.what {
                Happened::Put(_) => "put",
                Happened::Gone => "gone",
                Happened::Left => "left",
            })
            .arg(&self.change.user)
            .arg(share_of(&self.change.user))
            .arg(&self.share)
            .arg(json!(path.collect::<Vec<_>>()).to_string())
            .arg(&self.metadata.texts)
            .arg(&self.metadata.entry);
    }
}

type Fields<'a> = BTreeMap<&'a str, &'a str>;

/// The fields of a document, as JSON each; of one that is too large what it is called.
fn fields(json: &[u8]) -> Fields<'_> {
    let fields: BTreeMap<&str, &RawValue> = serde_json::from_slice(json).unwrap_or_default();
    let is_large = json.len() > MAX_METADATA_BYTES;
    let fields = fields.into_iter().map(|(name, value)| (name, value.get()));
    fields
        .filter(|(name, value)| !is_large || NAMES.contains(name) && value.len() < 1_024)
        .collect()
}

/// The metadata of a file.
struct Metadata {
    /// A JSON object: each field as a JSON text.
    texts: String,
    /// The fields as they stand in an object.
    entry: String,
}

impl Metadata {
    fn new(fields: &Fields<'_>) -> Self {
        let entry: Vec<String> = fields
            .iter()
            .map(|(name, value)| format!("{}:{value}", json!(name)))
            .collect();
        Self {
            texts: json!(fields).to_string(),
            entry: entry.join(","),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shares_of_two_users_differ_and_hold_nothing_that_a_key_does_not_take() {
        assert_eq!(share_of("ann"), "usr_ann");
        assert_eq!(share_of("a:grants"), "usr_a~3agrants");
        assert_ne!(share_of("a~3a"), share_of("a:"));
    }

    #[test]
    fn of_a_large_document_its_names_stay() {
        let large = format!(r#"{{"id":"x","name":"n","text":"{}"}}"#, "t".repeat(5_000));
        let metadata = Metadata::new(&fields(large.as_bytes()));
        assert_eq!(metadata.texts, r#"{"id":"\"x\"","name":"\"n\""}"#);
        assert_eq!(metadata.entry, r#""id":"x","name":"n""#);
    }
}
