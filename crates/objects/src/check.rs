//! Whether a store does what it must.

use std::time::SystemTime;

use object_store::path::Path;
use object_store::{ObjectStoreExt, PutPayload};

use crate::attempts::limited;
use crate::{Objects, ObjectsError};

/// What is written.
const TEXT: &[u8] = b"sluice";

impl Objects {
    /// Writes a few bytes, reads them, and deletes them: each once, so that what works only sometimes
    /// shows.
    ///
    /// # Errors
    /// When the store fails; the bytes may be left then. [`ObjectsError::Missing`] when it does not
    /// give what was written.
    pub async fn check(&self) -> Result<(), ObjectsError> {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let number = now.unwrap_or_default().as_nanos();
        let path = Path::from(format!("check-{}-{number}", std::process::id()));
        limited(self.store.put(&path, PutPayload::from_static(TEXT))).await?;
        let read = limited(async { self.store.get(&path).await?.bytes().await }).await;
        limited(self.store.delete(&path)).await?;
        match read? {
            read if read == TEXT => Ok(()),
            _ => Err(ObjectsError::Missing),
        }
    }
}
