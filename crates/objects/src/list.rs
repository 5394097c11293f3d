//! Which contents there are.

use std::time::SystemTime;

use chrono::{DateTime, Utc};
use futures_util::stream::{Stream, StreamExt, TryStreamExt, try_unfold};
use object_store::{ObjectMeta, ObjectStore};

use crate::attempts::{failed, limited};
use crate::{ContentName, Objects, ObjectsError};

impl Objects {
    /// The contents of which all parts were written before this time. What is no part of a content
    /// is passed over.
    ///
    /// The stream ends with an error when the store fails; then it must be begun anew.
    pub fn contents(
        &self,
        before: SystemTime,
    ) -> impl Stream<Item = Result<ContentName, ObjectsError>> + Send + use<> {
        let before = DateTime::<Utc>::from(before);
        let objects = self.store.list(None).fuse();
        // Those of one content follow each other.
        let found = (objects, None::<Found>);
        try_unfold(found, move |(mut objects, mut last)| async move {
            loop {
                let next = limited(objects.try_next())
                    .await
                    .inspect_err(|_| failed("list"))?;
                let Some(object) = next else {
                    let last = last.take().filter(|last| last.is_old);
                    return Ok(last.map(|last| (last.name, (objects, None))));
                };
                let Some(found) = Found::of(&object, before) else {
                    continue;
                };
                match &mut last {
                    Some(last) if last.name == found.name => last.is_old &= found.is_old,
                    last => {
                        let former = last.replace(found).filter(|former| former.is_old);
                        if let Some(former) = former {
                            return Ok(Some((former.name, (objects, last.take()))));
                        }
                    }
                }
            }
        })
    }
}

/// A content, as far as its parts have been seen.
struct Found {
    name: ContentName,
    is_old: bool,
}

impl Found {
    fn of(object: &ObjectMeta, before: DateTime<Utc>) -> Option<Self> {
        Some(Self {
            name: ContentName::of(&object.location)?,
            is_old: object.last_modified < before,
        })
    }
}
