//! What happens to documents of Convex, as changes of the implicit shares of their owners.

use std::collections::{BTreeMap, HashMap};

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
        NoShare = "no_share",
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
        let mut told = 0;
        for wave in waves(changes) {
            let mut at_home = Vec::new();
            for (document, entry) in self.enter(tenant, wave).await? {
                told += u64::from(entry == Entry::Told);
                if entry == Entry::NoShare {
                    at_home.push(document.at_home());
                }
            }
            let entries = self.enter(tenant, at_home).await?;
            told += entries.iter().filter(|it| it.1 == Entry::Told).count() as u64;
        }
        Ok(told)
    }

    /// Enters what happened to documents, of which none is in two shares: as many at once as are in one.
    async fn enter<'a>(
        &self,
        tenant: &str,
        documents: Vec<Document<'a>>,
    ) -> Result<Vec<(Document<'a>, Entry)>, FilesyncError> {
        let keys = Keys::new(tenant);
        let mut shares: BTreeMap<_, Vec<Document<'a>>> = BTreeMap::new();
        for document in documents {
            let share = (document.share.clone(), &document.change.user);
            shares.entry(share).or_default().push(document);
        }
        let batches = || {
            let shares = shares.iter();
            shares.flat_map(|(share, documents)| documents.chunks(BATCH).map(move |it| (share, it)))
        };
        let calls = batches().map(|((share, user), documents)| {
            let mut call = FUNCTIONS.follow.command(&[&keys.share(share)]);
            call.arg(share_of(user)).arg(user);
            call.arg(new_id("epo")).arg(new_id("chg"));
            documents
                .iter()
                .for_each(|document| document.put(&mut call));
            call
        });
        let entries: Vec<Vec<Entry>> = FUNCTIONS
            .follow
            .run_all(&self.valkey, calls.collect())
            .await?;
        let entries: Vec<Entry> = entries.into_iter().flatten().collect();
        let documents = shares.into_values().flatten();
        Ok(documents.zip(entries).collect())
    }
}

/// What happened to a document, and where it is.
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
        let share = text("share_id").filter(|share| is_id(share));
        let path = text("path").and_then(|path| parse_path(&path).ok());
        let document = Self {
            change,
            share: String::new(),
            path: path.filter(|path| !path.is_empty()).unwrap_or_default(),
            metadata: Metadata::new(&fields),
        };
        Some(
            match share {
                Some(share) => Self { share, ..document },
                None => document.at_home(),
            }
            .with_path(),
        )
    }

    /// In the implicit share of its owner.
    fn at_home(self) -> Self {
        Self {
            share: share_of(&self.change.user),
            ..self
        }
    }

    fn with_path(mut self) -> Self {
        if self.path.is_empty() {
            self.path.extend(Name::parse(&self.change.doc_id));
        }
        self
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
            .arg(json!(path.collect::<Vec<_>>()).to_string())
            .arg(&self.metadata.texts)
            .arg(&self.metadata.entry);
    }
}

/// Documents one after the other, in parts in none of which a document is in two shares: shares are
/// told of their documents one after the other.
fn waves(changes: &[Followed]) -> Vec<Vec<Document<'_>>> {
    let mut waves = vec![Vec::new()];
    let mut shares = HashMap::new();
    for document in changes.iter().filter_map(Document::new) {
        let place = (document.share.clone(), &document.change.user);
        let is_here = |last: &(String, &String)| *last == place;
        if !shares.get(&document.change.doc_id).is_none_or(is_here) {
            waves.push(Vec::new());
            shares.clear();
        }
        shares.insert(&document.change.doc_id, place);
        if let Some(wave) = waves.last_mut() {
            wave.push(document);
        }
    }
    waves
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
