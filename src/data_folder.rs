//! The folder in which `sluice dev` keeps its state, and what other commands find there.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sluice_convex::Secret;

use crate::failure::{Context, Failure};

/// Only the owner may look inside: keys and data are there.
const PRIVATE_FOLDER: u32 = 0o700;
const PRIVATE_FILE: u32 = 0o600;

/// A folder with state; see the methods for what is in it.
#[derive(Clone, Debug)]
pub struct DataFolder(PathBuf);

/// Held as long as a process uses the folder; the system releases it however the process ends.
pub struct FolderLock(#[expect(dead_code, reason = "held, not used")] File);

/// Where the parts of a running `sluice dev` are: addresses, with Convex's deploy key and, in
/// Valkey's, its password.
#[derive(Deserialize, Serialize)]
pub struct Addresses {
    pub api: String,
    pub convex: String,
    pub convex_key: String,
    pub valkey: String,
}

impl DataFolder {
    /// The folder at `path`, whether it is there or not.
    pub fn at(path: &Path) -> Self {
        Self(path.to_owned())
    }

    /// Makes the folder if it is not there yet.
    pub fn create(path: &Path) -> Result<Self, Failure> {
        private_folder(path)?;
        let path = path
            .canonicalize()
            .context(format!("cannot use {}", path.display()))?;
        Ok(Self(path))
    }

    /// Makes sure that no other process works in the folder.
    pub fn lock(&self) -> Result<FolderLock, Failure> {
        let path = self.lock_file();
        let doing = || format!("cannot lock {}", path.display());
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(PRIVATE_FILE)
            .open(&path)
            .context(doing())?;
        match file.try_lock() {
            Ok(()) => {
                file.set_len(0)
                    .and_then(|()| write!(file, "{}", std::process::id()))
                    .context(doing())?;
                Ok(FolderLock(file))
            }
            Err(TryLockError::WouldBlock) => {
                let mut holder = String::new();
                let _ = file.read_to_string(&mut holder);
                Err(Failure::new(format!(
                    "another sluice (process {}) is using {}",
                    holder.trim(),
                    self.0.display()
                ))
                .hint("stop it first, or choose another folder with --data"))
            }
            Err(TryLockError::Error(error)) => Err(error).context(doing()),
        }
    }

    /// The private Valkey's folder.
    pub fn valkey(&self) -> PathBuf {
        self.0.join("valkey")
    }

    /// The folder of the contents of files.
    pub fn objects(&self) -> PathBuf {
        self.0.join("objects")
    }

    /// The embedded Convex's folder.
    pub fn convex(&self) -> PathBuf {
        self.0.join("convex")
    }

    /// The embedded Convex's deploy key, made up on first use.
    pub fn convex_key(&self) -> Result<Secret, Failure> {
        self.secret("convex-key")
    }

    /// The secret of development tokens, made up on first use.
    pub fn dev_secret(&self) -> Result<Secret, Failure> {
        self.secret("dev-secret")
    }

    /// The secret of development tokens, if this folder has one.
    pub fn existing_dev_secret(&self) -> Option<Secret> {
        read_secret(&self.0.join("dev-secret")).ok()
    }

    fn secret(&self, name: &str) -> Result<Secret, Failure> {
        let path = self.0.join(name);
        match read_secret(&path) {
            Ok(secret) => Ok(secret),
            Err(error) if error.kind() == ErrorKind::NotFound => {
                let secret = random_secret();
                write_private(&path, secret.as_bytes())?;
                Ok(Secret::from(secret))
            }
            Err(error) => Err(error).context(format!("cannot read {}", path.display())),
        }
    }

    /// Where the parts of the `sluice dev` that uses this folder are, if one is ready.
    pub fn addresses(&self) -> Option<Addresses> {
        let text = fs::read(self.addresses_file()).ok()?;
        // One that was killed leaves the file behind, but not its lock.
        let lock = fs::File::open(self.lock_file()).ok()?;
        if lock.try_lock_shared().is_ok() {
            return None;
        }
        serde_json::from_slice(&text).ok()
    }

    /// Tells others that this process is ready.
    pub fn write_addresses(&self, addresses: &Addresses) -> Result<(), Failure> {
        let text = serde_json::to_vec_pretty(addresses).context("cannot write the addresses")?;
        write_private(&self.addresses_file(), &text)
    }

    /// Takes the addresses back; it does not matter whether there were any.
    pub fn remove_addresses(&self) {
        let _ = fs::remove_file(self.addresses_file());
    }

    fn lock_file(&self) -> PathBuf {
        self.0.join("lock")
    }

    fn addresses_file(&self) -> PathBuf {
        self.0.join("addresses.json")
    }
}

fn read_secret(path: &Path) -> std::io::Result<Secret> {
    let text = fs::read_to_string(path)?;
    match text.trim() {
        "" => Err(std::io::Error::new(
            ErrorKind::InvalidData,
            "the file is empty",
        )),
        text => Ok(Secret::from(text.to_owned())),
    }
}

/// 32 random bytes in hexadecimal.
pub fn random_secret() -> String {
    use std::fmt::Write;
    rand::random::<[u8; 32]>()
        .iter()
        .fold(String::with_capacity(64), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        })
}

/// Makes a folder that only its owner may look into, with those above it.
pub fn private_folder(path: &Path) -> Result<(), Failure> {
    DirBuilder::new()
        .recursive(true)
        .mode(PRIVATE_FOLDER)
        .create(path)
        .context(format!("cannot make the folder {}", path.display()))
}

/// Writes a file that only its owner may read. Readers see the old content or the new, never a
/// part.
pub fn write_private(path: &Path, content: &[u8]) -> Result<(), Failure> {
    let part = path.with_extension("part");
    let write = || {
        // A leftover of an earlier run may have other permissions.
        match fs::remove_file(&part) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(PRIVATE_FILE)
            .open(&part)?;
        file.write_all(content)?;
        file.sync_all()?;
        fs::rename(&part, path)
    };
    write().context(format!("cannot write {}", path.display()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_second_lock_is_refused_with_the_folder_and_the_holder() {
        let temporary = tempfile::tempdir().unwrap();
        let folder = DataFolder::create(temporary.path()).unwrap();
        let held = folder.lock().unwrap();
        let refusal = folder.lock().err().unwrap().to_string();
        assert!(
            refusal.contains(&std::process::id().to_string()),
            "{refusal}"
        );
        assert!(
            refusal.contains(&folder.0.display().to_string()),
            "{refusal}"
        );
        drop(held);
        folder.lock().unwrap();
    }

    #[test]
    fn a_secret_is_made_once_and_private() {
        let temporary = tempfile::tempdir().unwrap();
        let folder = DataFolder::create(temporary.path()).unwrap();
        assert!(folder.existing_dev_secret().is_none());
        folder.dev_secret().unwrap();
        let path = temporary.path().join("dev-secret");
        let first = fs::read(&path).unwrap();
        folder.dev_secret().unwrap();
        assert_eq!(fs::read(&path).unwrap(), first);
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            PRIVATE_FILE
        );
        assert!(folder.existing_dev_secret().is_some());
    }
}
