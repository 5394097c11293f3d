//! What happens to documents of Convex, as changes of the implicit shares of their owners.

use std::collections::BTreeMap;

use serde_json::json;
use serde_json::value::RawValue;

use super::functions::FUNCTIONS;
use super::{Filesync, FilesyncError, Keys, Name, is_id, new_id};

/// Most bytes of a document that become the metadata of its file; of a larger one only what it is
/// called does.
const MAX_METADATA_BYTES: usize = 4 * 1024;
/// What stays of a document that is too large.
const NAMES: [&str; 3] = ["id", "name", "_creationTime"];

/// What happened to a document.
#[derive(Debug, Clone, PartialEq)]
pub struct Followed {
    /// Its owner.
    pub user: String,
    /// Its `_id`.
    pub doc_id: String,
    /// When it was committed, in ns since 1970.
    pub ts: i64,
    /// The document as JSON; none when it is gone, or another user's now.
    pub json: Option<bytes::Bytes>,
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
    /// Enters what happened to documents into the shares of their owners, each once, however often this
    /// is called. Returns how many were new.
    ///
    /// # Errors
    /// [`FilesyncError::Store`]; some may have been entered then.
    pub async fn follow(&self, tenant: &str, changes: &[Followed]) -> Result<u64, FilesyncError> {
        if changes.is_empty() {
            return Ok(0);
        }
        self.know_tenant(tenant).await?;
        let keys = Keys::new(tenant);
        let calls = changes.iter().filter(|change| is_id(&change.doc_id));
        let calls = calls.map(|change| {
            let mut call = FUNCTIONS
                .follow
                .command(&[&keys.share(&share_of(&change.user))]);
            let name = Name::parse(&change.doc_id).ok();
            let (text, folded) = name.map(|it| (it.text, it.folded)).unwrap_or_default();
            call.arg(&change.user)
                .arg(&change.doc_id)
                .arg(format!("{:019}", change.ts))
                .arg(if change.json.is_some() { "put" } else { "gone" })
                .arg(text)
                .arg(folded)
                .arg(metadata(change.json.as_deref()))
                .arg(new_id("epo"))
                .arg(new_id("chg"));
            call
        });
        let told: Vec<Entry> = FUNCTIONS
            .follow
            .run_all(&self.valkey, calls.collect())
            .await?;
        let told = told.iter().filter(|&&told| told == Entry::Told);
        Ok(told.count() as u64)
    }
}

/// The fields of a document as the function reads them.
fn metadata(json: Option<&[u8]>) -> String {
    type Fields<'a> = BTreeMap<&'a str, &'a RawValue>;
    let fields = json.and_then(|json| serde_json::from_slice::<Fields<'_>>(json).ok());
    let mut fields = fields.unwrap_or_default();
    if json.is_some_and(|json| json.len() > MAX_METADATA_BYTES) {
        fields.retain(|name, value| NAMES.contains(name) && value.get().len() < 1_024);
    }
    let fields: BTreeMap<_, _> = fields
        .iter()
        .map(|(name, value)| (name, value.get()))
        .collect();
    json!(fields).to_string()
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
        assert_eq!(
            metadata(Some(large.as_bytes())),
            r#"{"id":"\"x\"","name":"\"n\""}"#
        );
    }
}
