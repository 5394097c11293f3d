//! Deleting through the streaming import. It knows documents by the fields of the table's primary
//! key index alone, of which there is one, and which a customer's own imports may be using.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use futures_util::TryStreamExt;
use serde::Serialize;
use serde::de::IgnoredAny;
use tokio::time::{Instant, sleep};

use super::ExportFiles;
use crate::ConvexError;
use crate::files::walk::Walk;
use crate::files::{File, FileChange, Files, TABLE};

/// With the owner in the key, a deletion can never reach another user's file.
const BY_OWNER: [&str; 2] = ["user", "id"];
/// An index that serves too, for an `id` that only one user has.
const BY_ID: [&str; 1] = ["id"];
/// Deletions in one import call.
const CHUNK: usize = 1000;
/// How long to wait for the primary key index to be built.
const INDEX_TIMEOUT: Duration = Duration::from_secs(120);
const INDEX_POLL: Duration = Duration::from_millis(250);
/// How often deletion records that were inserted instead are deleted.
const CLEANUPS: u32 = 4;

impl ExportFiles {
    /// See [`Files::delete`].
    pub(super) async fn delete_documents(
        &self,
        user: &str,
        doc_ids: &[String],
    ) -> Result<u64, ConvexError> {
        let ids = self.own_ids(user, doc_ids).await?;
        if ids.is_empty() {
            return Ok(0);
        }
        self.ready_index().await?;
        // Which fields the index has shows only when it is used.
        match self.delete_by(&BY_OWNER, user, ids.clone(), doc_ids).await {
            Err(error) if is_refusal(&error, "IndexNotFoundError") => {}
            result => return result,
        }
        let ids = self.unshared(user, ids).await?;
        match self.delete_by(&BY_ID, user, ids, doc_ids).await {
            Err(error) if is_refusal(&error, "IndexNotFoundError") => {
                Err(ConvexError::NeedsFunctions(format!(
                    "the streaming import has the table {TABLE:?} indexed by other fields than \
                     `id`, by which alone it could delete"
                )))
            }
            result => result,
        }
    }

    /// The `id`s of those of the documents that are the user's. The import cannot name a document
    /// without one.
    async fn own_ids(
        &self,
        user: &str,
        doc_ids: &[String],
    ) -> Result<HashSet<String>, ConvexError> {
        let mut wanted: HashSet<&str> = doc_ids.iter().map(String::as_str).collect();
        let mut ids = HashSet::new();
        let mut nameless = 0;
        let mut walk = Walk::of_user(&self.client, user).await?;
        while !wanted.is_empty()
            && let Some(document) = walk.next().await?
        {
            if wanted.remove(&*document.doc_id()?) {
                match document.own_id()? {
                    Some(id) => drop(ids.insert(id.into_owned())),
                    None => nameless += 1,
                }
            }
        }
        if ids.is_empty() && nameless > 0 {
            let reason = format!(
                "{nameless} files have no `id`, by which alone the streaming import can delete"
            );
            return Err(ConvexError::NeedsFunctions(reason));
        }
        Ok(ids)
    }

    /// Those of these `id`s that no document of anybody else has.
    async fn unshared(
        &self,
        user: &str,
        mut ids: HashSet<String>,
    ) -> Result<HashSet<String>, ConvexError> {
        let mut walk = Walk::of_all(&self.client).await?;
        while let Some(document) = walk.next().await? {
            if document.user()?.is_none_or(|owner| owner != user)
                && let Some(id) = document.own_id()?
            {
                ids.remove(&*id);
            }
        }
        // The walk takes long, and shows the table as it was at its beginning.
        let mut pages = self.changes(walk.snapshot());
        while let Some(page) = pages.try_next().await? {
            for change in page.changes {
                if let Some(file) = change.file
                    && &*file.user != user
                {
                    ids.remove(&*file.id);
                }
            }
        }
        if ids.is_empty() {
            let reason = "other users' files have the same `id`s, by which alone the table is \
                          indexed for the streaming import";
            return Err(ConvexError::NeedsFunctions(reason.to_owned()));
        }
        Ok(ids)
    }

    /// Waits until the table has its primary key index. One that is there is left as it is, since
    /// an import may use it; only a table without any gets one.
    async fn ready_index(&self) -> Result<(), ConvexError> {
        let deadline = Instant::now() + INDEX_TIMEOUT;
        loop {
            match self.client.primary_key_index_ready(TABLE).await {
                Ok(true) => return Ok(()),
                Ok(false) => {}
                Err(error) if is_refusal(&error, "MissingIndex") => {
                    self.client.add_primary_key_index(TABLE, &BY_OWNER).await?;
                }
                Err(error) => return Err(error),
            }
            if Instant::now() > deadline {
                return Err(ConvexError::Timeout("build the primary key index"));
            }
            sleep(INDEX_POLL).await;
        }
    }

    /// Deletes by `id`, through an index by the fields of `key`. Returns how many of `doc_ids`
    /// went.
    ///
    /// A deletion that matches nothing any more, because another one came between or because it was
    /// sent again when its answer was lost, is inserted by Convex as if it were a document. The
    /// deltas since then show it, and deleting it once more removes it. If that is cut short, what
    /// was inserted is found as a file of this user by whoever deletes the user's files next.
    async fn delete_by(
        &self,
        key: &[&str],
        user: &str,
        mut ids: HashSet<String>,
        doc_ids: &[String],
    ) -> Result<u64, ConvexError> {
        #[derive(Serialize)]
        struct Deletion<'a> {
            user: &'a str,
            id: &'a str,
            #[serde(rename = "_ab_cdc_deleted_at")]
            deleted_at: i64,
        }
        let asked: HashSet<&str> = doc_ids.iter().map(String::as_str).collect();
        let mut gone: HashSet<Box<str>> = HashSet::new();
        for _ in 0..CLEANUPS {
            let before = self.client.now().await?;
            let deletions: Vec<_> = ids
                .iter()
                .map(|id| Deletion {
                    user,
                    id,
                    deleted_at: before,
                })
                .collect();
            for chunk in deletions.chunks(CHUNK) {
                self.client.import_records(TABLE, key, chunk).await?;
            }
            let mut inserted: HashMap<Box<str>, String> = HashMap::new();
            let mut pages = self.changes(before);
            while let Some(page) = pages.try_next().await? {
                for change in page.changes {
                    let FileChange { doc_id, file, .. } = change;
                    match file {
                        Some(file)
                            if &*file.user == user
                                && ids.contains(&*file.id)
                                && is_deletion(&file) =>
                        {
                            inserted.insert(doc_id, file.id.into());
                        }
                        Some(_) => {}
                        None => {
                            inserted.remove(&doc_id);
                            if asked.contains(&*doc_id) {
                                gone.insert(doc_id);
                            }
                        }
                    }
                }
            }
            if inserted.is_empty() {
                return Ok(gone.len() as u64);
            }
            ids = inserted.into_values().collect();
        }
        Err(ConvexError::Contended)
    }
}

/// Whether a request was refused with this code.
fn is_refusal(error: &ConvexError, refusal: &str) -> bool {
    matches!(error, ConvexError::Status { status: 400, code, .. } if code == refusal)
}

/// Whether a document is what became of a deletion: it has no fields but those that one has.
fn is_deletion(file: &File) -> bool {
    serde_json::from_slice::<HashMap<&str, IgnoredAny>>(&file.json)
        .is_ok_and(|fields| fields.len() == ["_id", "_creationTime", "user", "id"].len())
}

#[cfg(test)]
mod tests;
