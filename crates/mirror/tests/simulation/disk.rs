//! A folder in memory, with a clock that may be wrong and times that are coarse.

use std::collections::BTreeMap;

use sluice_mirror::here::{self, StepError};
use sluice_mirror::scan::{Found, Reading};
use sluice_mirror::tree::{Content, Identity, Kind, Node, Stamp};

use crate::server::sha256;

/// Times of files are multiples of this.
const GRAIN: i64 = 16;

#[derive(Clone, Debug)]
struct Entry {
    inode: u64,
    /// None for folders.
    text: Option<String>,
    modified: i64,
    changed: i64,
}

/// A folder in memory. Paths are from its top on.
#[derive(Clone, Debug, Default)]
pub struct Disk {
    entries: BTreeMap<String, Entry>,
    last_inode: u64,
    /// The time on the machine's clock.
    pub clock: i64,
    /// Contents that were downloaded, by version.
    pub downloads: BTreeMap<String, String>,
}

fn folder_of(path: &str) -> Option<&str> {
    path.rsplit_once('/').map(|(folder, _)| folder)
}

impl Disk {
    fn now(&self) -> i64 {
        self.clock / GRAIN * GRAIN
    }

    fn has_folder(&self, path: &str) -> bool {
        folder_of(path).is_none_or(|it| self.entries.get(it).is_some_and(|it| it.text.is_none()))
    }

    fn add(&mut self, path: &str, text: Option<String>, modified: i64) {
        self.last_inode += 1;
        let changed = self.now();
        let inode = self.last_inode;
        self.entries.insert(
            path.to_owned(),
            Entry {
                inode,
                text,
                modified,
                changed,
            },
        );
    }

    fn identity(&self, path: &str) -> Option<Identity> {
        let inode = self.entries.get(path)?.inode;
        Some(Identity {
            device: 1,
            inode,
            born: 0,
        })
    }

    fn stamp(&self, path: &str) -> Option<Stamp> {
        let entry = self.entries.get(path)?;
        Some(Stamp {
            size: entry.text.as_ref()?.len() as u64,
            modified: entry.modified,
            changed: entry.changed,
            inode: entry.inode,
        })
    }

    /// Paths with their contents, none for folders.
    pub fn tree(&self) -> BTreeMap<String, Option<String>> {
        self.entries
            .iter()
            .map(|(path, it)| (path.clone(), it.text.clone()))
            .collect()
    }

    pub fn paths(&self, is_wanted: impl Fn(bool) -> bool) -> Vec<String> {
        let wanted = self
            .entries
            .iter()
            .filter(|(_, it)| is_wanted(it.text.is_none()));
        wanted.map(|(path, _)| path.clone()).collect()
    }

    pub fn text(&self, path: &str) -> Option<String> {
        self.entries.get(path)?.text.clone()
    }

    pub fn is_there(&self, path: &str) -> bool {
        self.entries.contains_key(path)
    }

    /// What the user does.
    pub fn write(&mut self, path: &str, text: &str) {
        let now = self.now();
        match self.entries.get_mut(path) {
            Some(entry) => {
                entry.text = Some(text.to_owned());
                (entry.modified, entry.changed) = (now, now);
            }
            None => self.add(path, Some(text.to_owned()), now),
        }
    }

    /// As editors do that write another file and rename it.
    pub fn replace(&mut self, path: &str, text: &str) {
        let now = self.now();
        self.add(path, Some(text.to_owned()), now);
    }

    pub fn make(&mut self, path: &str) {
        self.add(path, None, 0);
    }

    /// Everything at a path, which goes.
    pub fn remove_all(&mut self, path: &str) -> Vec<String> {
        let inside = format!("{path}/");
        let is_in = |it: &String| it == path || it.starts_with(&inside);
        let gone: Vec<String> = self
            .entries
            .keys()
            .filter(|it| is_in(it))
            .cloned()
            .collect();
        let texts = gone.iter().filter_map(|it| self.entries.remove(it)?.text);
        texts.collect()
    }

    /// Moves with all that is inside; not over anything.
    pub fn move_all(&mut self, from: &str, to: &str) -> bool {
        let inside = format!("{from}/");
        if self.is_there(to) || !self.has_folder(to) || format!("{to}/").starts_with(&inside) {
            return false;
        }
        let is_in = |it: &String| *it == from || it.starts_with(&inside);
        let moved: Vec<String> = self
            .entries
            .keys()
            .filter(|it| is_in(it))
            .cloned()
            .collect();
        let now = self.now();
        for path in moved {
            let mut entry = self.entries.remove(&path).unwrap();
            if path == from {
                entry.changed = now;
            }
            self.entries
                .insert(format!("{to}{}", &path[from.len()..]), entry);
        }
        true
    }

    pub fn scan(&self) -> Vec<Found> {
        let mut at: BTreeMap<&str, usize> = BTreeMap::new();
        let mut found = Vec::new();
        // By names, not by paths: a folder comes before what is in it.
        let mut paths: Vec<&String> = self.entries.keys().collect();
        paths.sort_by_key(|it| (it.matches('/').count(), *it));
        for path in paths {
            let entry = &self.entries[path];
            at.insert(path, found.len());
            found.push(Found {
                parent: folder_of(path).map(|folder| at[folder]),
                name: path.rsplit('/').next().unwrap().to_owned(),
                kind: if entry.text.is_none() {
                    Kind::Folder
                } else {
                    Kind::File
                },
                identity: self.identity(path),
                stamp: self.stamp(path),
                is_opaque: false,
            });
        }
        found
    }

    pub fn read(&self, path: &str) -> Reading {
        let text = self.text(path).ok_or("gone")?;
        let content = Content {
            sha256: sha256(&text),
            size: text.len() as u64,
        };
        // What was changed just now may be changed again without looking otherwise.
        let stamp = self.stamp(path).filter(|it| it.changed != self.now());
        Ok((content, stamp))
    }
}

impl here::Disk for Disk {
    fn make_folder(&mut self, path: &str) -> Result<Option<Identity>, StepError> {
        if self.is_there(path) {
            return Err(StepError::Taken);
        }
        if !self.has_folder(path) {
            return Err(StepError::Changed);
        }
        self.make(path);
        Ok(self.identity(path))
    }

    fn rename(
        &mut self,
        from: &str,
        to: &str,
        identity: Option<Identity>,
    ) -> Result<Option<Stamp>, StepError> {
        if !self.is_there(from) || self.identity(from) != identity || !self.has_folder(to) {
            return Err(StepError::Changed);
        }
        if !self.move_all(from, to) {
            return Err(StepError::Taken);
        }
        Ok(self.stamp(to))
    }

    fn put(
        &mut self,
        node: &Node,
        path: &str,
        over: Option<(Stamp, Option<Identity>)>,
    ) -> Result<(Option<Identity>, Option<Stamp>), StepError> {
        let version = node.version.clone().unwrap();
        let text = self.downloads.remove(&version);
        let text = text.ok_or_else(|| StepError::Fetch("not downloaded".to_owned()))?;
        match over {
            None if self.is_there(path) => return Err(StepError::Taken),
            None if !self.has_folder(path) => return Err(StepError::Changed),
            None => {}
            Some((stamp, _)) if self.stamp(path) == Some(stamp) => {}
            Some(_) => return Err(StepError::Changed),
        }
        self.add(path, Some(text), 0);
        Ok((self.identity(path), self.stamp(path)))
    }

    fn remove_file(&mut self, path: &str, known: Stamp) -> Result<(), StepError> {
        if self.stamp(path) != Some(known) {
            return Err(StepError::Changed);
        }
        self.entries.remove(path);
        Ok(())
    }

    fn remove_folder(&mut self, path: &str) -> Result<(), StepError> {
        if self.text(path).is_some() {
            return Err(StepError::Changed);
        }
        let inside = format!("{path}/");
        if self.entries.keys().any(|it| it.starts_with(&inside)) {
            return Err(StepError::NotEmpty);
        }
        self.entries.remove(path);
        Ok(())
    }
}
