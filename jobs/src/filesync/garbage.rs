//! Garbage: bytes of contents that nothing refers to any more, and nothing ever will.

use sluice_objects::{ContentName, Objects};
use sluice_store::filesync::{Filesync, Garbage};

use crate::failure::Failure;

/// Removes the bytes of a content, and then the note that they are to go: who is killed in between
/// leaves the note.
pub(super) async fn remove(
    filesync: &Filesync,
    objects: &Objects,
    name: &ContentName,
) -> Result<(), Failure> {
    objects.delete(name).await?;
    let garbage = Garbage {
        share: name.share.clone(),
        version: name.version.clone(),
    };
    Ok(filesync.forget_garbage(&name.tenant, &garbage).await?)
}
