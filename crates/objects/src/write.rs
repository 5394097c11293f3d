//! Writing a content: one part fills while the one before it is being written.

use bytes::Bytes;
use object_store::path::Path;
use object_store::{ObjectStoreExt, PutPayload, PutPayloadMut};
use tokio::task::JoinHandle;

use crate::attempts::repeated;
use crate::layout::Part;
use crate::{Content, ContentHash, ContentName, Layout, Objects, ObjectsError};

/// Shorter pieces are copied together: each of them may hold on to a buffer that is larger than
/// itself.
const SHORT: usize = 32 * 1024;
/// What they are copied into.
const BLOCK: usize = 64 * 1024;

/// A content on its way into the store. It holds two parts in memory at most.
pub struct Writer {
    objects: Objects,
    name: ContentName,
    layout: Layout,
    /// The end of what has come in.
    taken: u64,
    hash: ContentHash,
    filling: PutPayloadMut,
    under_way: Option<UnderWay>,
}

/// A part that is being written.
struct UnderWay {
    put: JoinHandle<Result<(), ObjectsError>>,
    /// What holds once it is there.
    then: Progress,
}

/// How far a content is durable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Progress {
    /// In bytes, from the beginning.
    pub offset: u64,
    /// What [`ContentHash::resume`] takes to go on from there.
    pub hash: Vec<u8>,
}

/// A content that is durable as a whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// Where it is.
    pub content: Content,
    /// Its SHA-256, 32 bytes.
    pub sha256: [u8; 32],
}

impl Objects {
    /// Writes a content from an offset on, which is where a part begins, with the hash of all that
    /// lies before. The layout says who writes there: a number that nobody had before who wrote
    /// parts of this content.
    pub fn write(
        &self,
        name: ContentName,
        layout: Layout,
        offset: u64,
        hash: ContentHash,
    ) -> Writer {
        debug_assert!(layout.is_border(offset));
        Writer {
            objects: self.clone(),
            name,
            layout,
            taken: offset,
            hash,
            filling: filling(),
            under_way: None,
        }
    }

    async fn put(&self, path: Path, payload: PutPayload) -> Result<(), ObjectsError> {
        let put = || self.store.put(&path, payload.clone());
        repeated("put", put).await?;
        metrics::counter!("sluice_objects_written_bytes_total")
            .increment(payload.content_length() as u64);
        Ok(())
    }
}

impl Writer {
    /// The end of what has come in, in bytes. Not all of it is durable.
    pub fn taken(&self) -> u64 {
        self.taken
    }

    /// The layout that the content has so far.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Takes the next bytes, and waits while there is no room for them. Says how far the content is
    /// durable when that has changed.
    ///
    /// # Errors
    /// When a part could not be written. Nothing can be written any more then.
    pub async fn write(&mut self, mut bytes: Bytes) -> Result<Option<Progress>, ObjectsError> {
        let mut progress = None;
        while !bytes.is_empty() {
            let part = self.part()?;
            let room = usize::try_from(part.range.end - self.taken).unwrap_or(usize::MAX);
            self.fill(bytes.split_to(room.min(bytes.len())));
            if self.taken == part.range.end {
                progress = self.begin_put(&part).await?.or(progress);
            }
        }
        Ok(progress)
    }

    /// Waits for the part that is being written. Says how far the content is durable when that has
    /// changed. Bytes that do not fill a part are not.
    ///
    /// # Errors
    /// As [`Writer::write`].
    pub async fn settle(&mut self) -> Result<Option<Progress>, ObjectsError> {
        let Some(UnderWay { put, then }) = self.under_way.take() else {
            return Ok(None);
        };
        put.await.map_err(object_store::Error::from)??;
        Ok(Some(then))
    }

    /// Writes what is left. All of the content is durable then.
    ///
    /// # Errors
    /// As [`Writer::write`].
    pub async fn finish(mut self) -> Result<Written, ObjectsError> {
        if !self.filling.is_empty() {
            let part = self.part()?;
            self.begin_put(&part).await?;
        }
        self.settle().await?;
        Ok(Written {
            content: Content {
                name: self.name,
                size: self.taken,
                layout: self.layout,
            },
            sha256: self.hash.digest(),
        })
    }

    /// The part that the next byte lies in; of a last part that is not full, the next one's begin is
    /// not known yet.
    fn part(&self) -> Result<Part, ObjectsError> {
        let at = self.taken - self.filling.content_length() as u64;
        self.layout.part(at).ok_or(ObjectsError::Missing)
    }

    fn fill(&mut self, bytes: Bytes) {
        self.hash.update(&bytes);
        self.taken += bytes.len() as u64;
        match bytes.len() < SHORT {
            true => self.filling.extend_from_slice(&bytes),
            false => self.filling.push(bytes),
        }
    }

    /// Begins to write the part that is full, once the one before it is there.
    async fn begin_put(&mut self, part: &Part) -> Result<Option<Progress>, ObjectsError> {
        let progress = self.settle().await?;
        let payload = std::mem::replace(&mut self.filling, filling()).freeze();
        let (objects, path) = (self.objects.clone(), self.name.part(part));
        self.under_way = Some(UnderWay {
            put: tokio::spawn(async move { objects.put(path, payload).await }),
            then: Progress {
                offset: self.taken,
                hash: self.hash.state(),
            },
        });
        Ok(progress)
    }
}

fn filling() -> PutPayloadMut {
    PutPayloadMut::new().with_block_size(BLOCK)
}
