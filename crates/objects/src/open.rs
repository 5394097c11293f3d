//! From an address to a store.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use object_store::aws::AmazonS3Builder;
use object_store::azure::MicrosoftAzureBuilder;
use object_store::gcp::GoogleCloudStorageBuilder;
use object_store::local::LocalFileSystem;
use object_store::memory::InMemory;
use object_store::prefix::PrefixStore;
use object_store::{ClientOptions, ObjectStore, ObjectStoreScheme, RetryConfig};
use url::Url;

use crate::{Objects, ObjectsError};

/// How long a connection may take to come about.
const CONNECT_LIMIT: Duration = Duration::from_secs(5);

/// What is set for a cloud, under the names that its own tools read from the environment.
type Options<'a> = &'a [(String, String)];

/// The client of a cloud's store. The prefix is that of its options.
macro_rules! client {
    ($builder:ty, $prefix:literal, $url:expr, $options:expr) => {{
        let builder = <$builder>::new()
            .with_url($url.as_str())
            .with_client_options(client_options())
            .with_retry(no_retries());
        let builder = $options.iter().fold(builder, |builder, (name, value)| {
            match name.to_ascii_lowercase().parse() {
                Ok(key) if name.starts_with($prefix) => builder.with_config(key, value),
                _ => builder,
            }
        });
        Arc::new(builder.build()?)
    }};
}

impl Objects {
    /// The store at an address:
    ///
    /// | address | where | options |
    /// |---|---|---|
    /// | `file:///folder` | a folder, which is made if it is not there; what is written is synced | |
    /// | `s3://bucket/prefix` | S3, or what speaks its protocol | `AWS_…` |
    /// | `gs://bucket/prefix` | Google Cloud Storage | `GOOGLE_…` |
    /// | `az://container/prefix` | Azure | `AZURE_…` |
    ///
    /// The options are the variables that the clouds' own tools know, such as
    /// `AWS_ACCESS_KEY_ID`, `AWS_REGION`, `AWS_ENDPOINT_URL`. A cloud is not asked yet.
    ///
    /// # Errors
    /// [`ObjectsError::Address`], [`ObjectsError::Folder`], [`ObjectsError::Store`].
    pub fn open(address: &Url, options: Options<'_>) -> Result<Self, ObjectsError> {
        let unusable = || {
            ObjectsError::Address(
                "must begin with file:///, s3://, gs:// or az:// and name a folder, a bucket or a \
                 container"
                    .to_owned(),
            )
        };
        let (scheme, prefix) = ObjectStoreScheme::parse(address).map_err(|_| unusable())?;
        let store: Arc<dyn ObjectStore> = match scheme {
            ObjectStoreScheme::Local => {
                let folder = address.to_file_path().map_err(|()| unusable())?;
                return Self::in_folder(&folder);
            }
            ObjectStoreScheme::AmazonS3 => client!(AmazonS3Builder, "AWS_", address, options),
            ObjectStoreScheme::GoogleCloudStorage => {
                client!(GoogleCloudStorageBuilder, "GOOGLE_", address, options)
            }
            ObjectStoreScheme::MicrosoftAzure => {
                client!(MicrosoftAzureBuilder, "AZURE_", address, options)
            }
            _ => return Err(unusable()),
        };
        Ok(Self {
            store: match prefix.is_root() {
                true => store,
                false => Arc::new(PrefixStore::new(store, prefix)),
            },
            folder: None,
        })
    }

    /// A folder of this machine, which is made if it is not there. What is written is synced to the
    /// disk, with the folders that it lies in.
    ///
    /// # Errors
    /// [`ObjectsError::Folder`], [`ObjectsError::Store`].
    pub fn in_folder(folder: &Path) -> Result<Self, ObjectsError> {
        std::fs::create_dir_all(folder)?;
        let store = LocalFileSystem::new_with_prefix(folder)?
            .with_fsync(true)
            .with_automatic_cleanup(true);
        Ok(Self {
            store: Arc::new(store),
            folder: Some(folder.into()),
        })
    }

    /// The memory of this process: for tests.
    pub fn in_memory() -> Self {
        Self {
            store: Arc::new(InMemory::new()),
            folder: None,
        }
    }
}

/// Time limits are those of [`crate::attempts`]: the usual one would end an answer that a slow reader
/// takes its time for.
fn client_options() -> ClientOptions {
    ClientOptions::new()
        .with_timeout_disabled()
        .with_connect_timeout(CONNECT_LIMIT)
}

/// Repetitions are those of [`crate::attempts`].
fn no_retries() -> RetryConfig {
    RetryConfig {
        max_retries: 0,
        ..RetryConfig::default()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn open(address: &str) -> Result<Objects, ObjectsError> {
        Objects::open(&Url::parse(address).unwrap(), &[])
    }

    #[test]
    fn an_address_that_is_none_of_a_store_is_refused() {
        for address in ["http://x.example/a", "ftp://x.example", "memory:///"] {
            let error = open(address).unwrap_err();
            assert!(
                matches!(error, ObjectsError::Address(_)),
                "{address}: {error}"
            );
        }
    }

    #[test]
    fn every_cloud_opens_by_its_address() {
        open("s3://bucket").unwrap();
        open("s3://bucket/a/prefix").unwrap();
        open("gs://bucket").unwrap();
        let account = ("AZURE_STORAGE_ACCOUNT_NAME".to_owned(), "a".to_owned());
        let address = Url::parse("az://container/prefix").unwrap();
        Objects::open(&address, &[account]).unwrap();
    }

    #[test]
    fn what_the_environment_has_for_others_is_no_option() {
        let others = ["BUCKET", "REGION", "ENDPOINT", "GOOGLE_BUCKET"];
        let options = others.map(|name| (name.to_owned(), "\u{0}".to_owned()));
        Objects::open(&Url::parse("s3://bucket").unwrap(), &options).unwrap();
    }
}
