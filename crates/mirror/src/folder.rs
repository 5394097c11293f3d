//! The folder on this machine: how it is scanned, and how steps are done without loss.
//!
//! Contents are written beside the files, into the mirror's own folder, and renamed to their places.
//! Nothing is renamed over anything but the very file whose content is in step; and that is looked at
//! again after it has lost its name, since somebody may have written into it meanwhile.

use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, ErrorKind, Read as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ignore::gitignore::{Gitignore, GitignoreBuilder};
use rustix::fs::{CWD, OFlags, RenameFlags, renameat_with};
use rustix::io::Errno;
use sha2::{Digest as _, Sha256};
use sluice_client::hex;
use ulid::Ulid;

use crate::here::{Disk, StepError};
use crate::name::{IGNORE_FILE, OWN_FOLDER};
use crate::scan::{Found, Reading};
use crate::tree::{Content, Id, Identity, Kind, Node, ROOT, Stamp};
use crate::trees::Trees;

/// Within this time file systems may not tell two changes apart.
const GRAIN_NS: i64 = 30_000_000;
const READ_BYTES: usize = 256 * 1024;
/// What is left behind for so long is of no use any more.
const LEFT_SECS: u64 = 7 * 86_400;

/// A folder that is kept in step.
pub struct Folder {
    root: PathBuf,
    ignored: Gitignore,
}

/// What a scan has found.
#[derive(Debug, Default)]
pub struct Scan {
    /// Files and folders, folders before what is in them.
    pub found: Vec<Found>,
    /// What is left out, and why.
    pub skipped: Vec<(String, String)>,
}

impl Folder {
    /// The folder at a path.
    ///
    /// # Errors
    /// It is not there.
    pub fn open(path: &Path) -> io::Result<Self> {
        let root = path.canonicalize()?;
        if !root.is_dir() {
            return Err(ErrorKind::NotADirectory.into());
        }
        let ignored = Gitignore::empty();
        Ok(Self { root, ignored })
    }

    /// Where it is.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Where a path of the mirror is on this machine.
    pub fn at(&self, path: &str) -> PathBuf {
        self.root.join(path)
    }

    /// Where the content of a version is downloaded to.
    ///
    /// # Errors
    /// The mirror's own folder cannot be made.
    pub fn part(&self, version: &str) -> io::Result<PathBuf> {
        let name = hex(&Sha256::digest(version)[..16]);
        Ok(self.own("parts")?.join(name))
    }

    fn own(&self, name: &str) -> io::Result<PathBuf> {
        let path = self.root.join(OWN_FOLDER).join(name);
        fs::create_dir_all(&path)?;
        Ok(path)
    }

    /// Removes what a process that was killed has left behind long ago: downloads that nobody goes on
    /// with, and files that it was removing.
    pub fn tidy(&self) {
        let own = self.root.join(OWN_FOLDER);
        let folders = ["parts", "removed"].map(|name| fs::read_dir(own.join(name)));
        let entries = folders.into_iter().flatten().flatten().flatten();
        let is_old = |entry: &fs::DirEntry| {
            let changed = entry.metadata().map_or(0, |it| it.ctime());
            let now = SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .unwrap_or_default();
            now.as_secs()
                .saturating_sub(u64::try_from(changed).unwrap_or_default())
                > LEFT_SECS
        };
        for entry in entries.filter(is_old) {
            let _ = fs::remove_file(entry.path());
        }
    }

    /// Whether a path is left out by the ignore file.
    pub fn is_ignored(&self, path: &str, kind: Kind) -> bool {
        let is_folder = kind == Kind::Folder;
        self.ignored
            .matched_path_or_any_parents(path, is_folder)
            .is_ignore()
    }

    /// Finds all that is in the folder. What is known already is found also where it is ignored.
    ///
    /// # Errors
    /// The folder itself cannot be read.
    pub fn scan(&mut self, trees: &Trees) -> io::Result<Scan> {
        self.read_ignore_file();
        let mut scan = Scan::default();
        let entries = fs::read_dir(&self.root)?;
        self.scan_entries(entries, None, Some(&ROOT.to_owned()), "", trees, &mut scan);
        Ok(scan)
    }

    fn read_ignore_file(&mut self) {
        let mut builder = GitignoreBuilder::new("");
        if let Ok(text) = fs::read_to_string(self.root.join(IGNORE_FILE)) {
            for line in text.lines() {
                let _ = builder.add_line(None, line);
            }
        }
        self.ignored = builder.build().unwrap_or_else(|_| Gitignore::empty());
    }

    fn scan_entries(
        &self,
        entries: fs::ReadDir,
        parent: Option<usize>,
        parent_id: Option<&Id>,
        path: &str,
        trees: &Trees,
        scan: &mut Scan,
    ) {
        let mut entries: Vec<fs::DirEntry> = entries.flatten().collect();
        entries.sort_by_key(fs::DirEntry::file_name);
        for entry in entries {
            let name = entry.file_name();
            let Some(name) = name.to_str().map(str::to_owned) else {
                let shown = format!("{path}{}", name.to_string_lossy());
                scan.skipped
                    .push((shown, "its name is not UTF-8".to_owned()));
                continue;
            };
            if parent.is_none() && name == OWN_FOLDER {
                continue;
            }
            let path = format!("{path}{name}");
            let metadata = match entry.metadata() {
                Ok(metadata) => metadata,
                // It went away meanwhile.
                Err(error) if error.kind() == ErrorKind::NotFound => continue,
                Err(error) => {
                    scan.skipped.push((path, error.to_string()));
                    continue;
                }
            };
            let kind = match metadata.file_type() {
                it if it.is_dir() => Kind::Folder,
                it if it.is_file() => Kind::File,
                it if it.is_symlink() => {
                    scan.skipped
                        .push((path, "it is a symbolic link".to_owned()));
                    continue;
                }
                _ => {
                    scan.skipped
                        .push((path, "it is neither a file nor a folder".to_owned()));
                    continue;
                }
            };
            let known = parent_id
                .and_then(|parent| trees.local().holder(parent, &name))
                .cloned();
            if known.is_none() && self.is_ignored(&path, kind) {
                continue;
            }
            let at = scan.found.len();
            scan.found.push(Found {
                parent,
                name,
                kind,
                identity: Some(identity(&metadata)),
                stamp: (kind == Kind::File).then(|| stamp(&metadata)),
                is_opaque: false,
            });
            if kind == Kind::Folder {
                match fs::read_dir(entry.path()) {
                    Ok(entries) => {
                        let path = format!("{path}/");
                        self.scan_entries(entries, Some(at), known.as_ref(), &path, trees, scan);
                    }
                    Err(error) => {
                        scan.found[at].is_opaque = true;
                        scan.skipped.push((path, error.to_string()));
                    }
                }
            }
        }
    }

    /// Reads the content of a file.
    pub fn read(&self, path: &str) -> Reading {
        self.read_file(path)
            .map_err(|error| format!("it cannot be read: {error}"))?
    }

    fn read_file(&self, path: &str) -> io::Result<Reading> {
        let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
        let flags = i32::try_from(flags.bits()).unwrap_or_default();
        let mut file = OpenOptions::new()
            .read(true)
            .custom_flags(flags)
            .open(self.at(path))?;
        let before = file.metadata()?;
        if !before.is_file() {
            return Ok(Err("it is no file any more".to_owned()));
        }
        let mut hash = Sha256::new();
        let mut buffer = vec![0; READ_BYTES];
        let mut size = 0;
        loop {
            let read = file.read(&mut buffer)?;
            if read == 0 {
                break;
            }
            hash.update(&buffer[..read]);
            size += read as u64;
        }
        let after = stamp(&file.metadata()?);
        if after != stamp(&before) || after.size != size {
            return Ok(Err("it changed while it was read".to_owned()));
        }
        let content = Content {
            sha256: hex(&hash.finalize()),
            size,
        };
        Ok(Ok((content, lasting(after))))
    }

    /// Whether all folders above a path are folders, and no links that lead elsewhere.
    fn check_above(&self, path: &str) -> Result<(), StepError> {
        let mut at = self.root.clone();
        let mut names = path.split('/').peekable();
        while let Some(name) = names.next() {
            if matches!(name, "" | "." | "..") {
                return Err(StepError::Io(ErrorKind::InvalidFilename.into()));
            }
            at.push(name);
            if names.peek().is_some() && !fs::symlink_metadata(&at).is_ok_and(|it| it.is_dir()) {
                return Err(StepError::Changed);
            }
        }
        Ok(())
    }

    /// Looks whether a file is as it is known to be.
    fn check(&self, path: &Path, known: Stamp) -> Result<Metadata, StepError> {
        match fs::symlink_metadata(path) {
            Ok(metadata) if metadata.is_file() && stamp(&metadata) == known => Ok(metadata),
            Ok(_) => Err(StepError::Changed),
            Err(error) if error.kind() == ErrorKind::NotFound => Err(StepError::Changed),
            Err(error) => Err(error.into()),
        }
    }

    /// Puts a file in the place of another.
    fn replace(&self, part: &Path, target: &Path, known: Stamp) -> Result<(), StepError> {
        let before = self.check(target, known)?;
        let _ = fs::set_permissions(part, before.permissions());
        let kept = self.own("removed")?.join(Ulid::generate().to_string());
        let is_kept = fs::hard_link(target, &kept).is_ok();
        fs::rename(part, target)?;
        if is_kept {
            self.discard(&kept, target, known)?;
        }
        Ok(())
    }

    /// Removes a file that has lost its name; unless it was written to before it had.
    fn discard(&self, kept: &Path, target: &Path, known: Stamp) -> Result<(), StepError> {
        let now = fs::symlink_metadata(kept)?;
        let is_same =
            (now.len(), modified(&now), now.ino()) == (known.size, known.modified, known.inode);
        if is_same {
            return Ok(fs::remove_file(kept)?);
        }
        let name = target
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        let names = std::iter::once(name.clone())
            .chain((1..).map(|number| format!("{name} (edited meanwhile {number})")));
        for name in names {
            match rename_free(kept, &target.with_file_name(name)) {
                Err(StepError::Taken) => {}
                other => return other.and(Err(StepError::Changed)),
            }
        }
        Err(StepError::Changed)
    }
}

impl Disk for Folder {
    fn make_folder(&mut self, path: &str) -> Result<Option<Identity>, StepError> {
        self.check_above(path)?;
        let target = self.at(path);
        match fs::create_dir(&target) {
            Ok(()) => Ok(Some(identity(&fs::symlink_metadata(target)?))),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => Err(StepError::Taken),
            Err(error) => Err(error.into()),
        }
    }

    fn rename(
        &mut self,
        from: &str,
        to: &str,
        known: Option<Identity>,
    ) -> Result<Option<Stamp>, StepError> {
        self.check_above(from)?;
        self.check_above(to)?;
        let (from, to) = (self.at(from), self.at(to));
        match fs::symlink_metadata(&from) {
            Ok(it) if known.is_none_or(|known| known == identity(&it)) => {}
            _ => return Err(StepError::Changed),
        }
        rename_free(&from, &to)?;
        let metadata = fs::symlink_metadata(&to)?;
        Ok(metadata.is_file().then(|| stamp(&metadata)))
    }

    fn put(
        &mut self,
        node: &Node,
        path: &str,
        over: Option<(Stamp, Option<Identity>)>,
    ) -> Result<(Option<Identity>, Option<Stamp>), StepError> {
        self.check_above(path)?;
        let version = node.version.as_deref().unwrap_or_default();
        let (part, target) = (self.part(version)?, self.at(path));
        if let Some(ms) = node.modified.and_then(|ms| u64::try_from(ms).ok()) {
            let file = File::options().write(true).open(&part)?;
            // A time that the file system does not know is no reason to do without the file.
            let _ = file.set_modified(UNIX_EPOCH + Duration::from_millis(ms));
        }
        match over {
            None => rename_free(&part, &target)?,
            Some((known, _)) => self.replace(&part, &target, known)?,
        }
        let metadata = fs::symlink_metadata(&target)?;
        Ok((Some(identity(&metadata)), Some(stamp(&metadata))))
    }

    fn remove_file(&mut self, path: &str, known: Stamp) -> Result<(), StepError> {
        self.check_above(path)?;
        let target = self.at(path);
        self.check(&target, known)?;
        let kept = self.own("removed")?.join(Ulid::generate().to_string());
        rename_free(&target, &kept)?;
        self.discard(&kept, &target, known)
    }

    fn remove_folder(&mut self, path: &str) -> Result<(), StepError> {
        self.check_above(path)?;
        match fs::remove_dir(self.at(path)) {
            Ok(()) => Ok(()),
            Err(error) if error.kind() == ErrorKind::DirectoryNotEmpty => Err(StepError::NotEmpty),
            Err(error)
                if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) =>
            {
                Err(StepError::Changed)
            }
            Err(error) => Err(error.into()),
        }
    }
}

/// Renames, and never over anything.
fn rename_free(from: &Path, to: &Path) -> Result<(), StepError> {
    match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        Ok(()) => Ok(()),
        Err(Errno::EXIST | Errno::NOTEMPTY) => Err(StepError::Taken),
        Err(Errno::NOENT | Errno::NOTDIR) => Err(StepError::Changed),
        // The file system cannot do both at once.
        Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) if !to.starts_with(from) => {
            if fs::symlink_metadata(to).is_ok() {
                return Err(StepError::Taken);
            }
            Ok(fs::rename(from, to)?)
        }
        Err(error) => Err(io::Error::from(error).into()),
    }
}

fn identity(metadata: &Metadata) -> Identity {
    let born = metadata.created().ok();
    let born = born.and_then(|it| it.duration_since(UNIX_EPOCH).ok());
    Identity {
        device: metadata.dev(),
        inode: metadata.ino(),
        born: born.map_or(0, |it| i64::try_from(it.as_nanos()).unwrap_or_default()),
    }
}

fn modified(metadata: &Metadata) -> i64 {
    ns(metadata.mtime(), metadata.mtime_nsec())
}

fn stamp(metadata: &Metadata) -> Stamp {
    Stamp {
        size: metadata.len(),
        modified: modified(metadata),
        changed: ns(metadata.ctime(), metadata.ctime_nsec()),
        inode: metadata.ino(),
    }
}

/// A stamp, if any later change of the file will give it another.
fn lasting(stamp: Stamp) -> Option<Stamp> {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    let now = i64::try_from(now.as_nanos()).unwrap_or_default();
    let is_fresh = (now - GRAIN_NS..=now).contains(&stamp.changed);
    (!is_fresh).then_some(stamp)
}

fn ns(seconds: i64, ns: i64) -> i64 {
    seconds.saturating_mul(1_000_000_000).saturating_add(ns)
}
