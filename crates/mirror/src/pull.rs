//! What the server says, taken into the tree of what it has.

use std::collections::{BTreeMap, BTreeSet};

use chrono::DateTime;
use sluice_client::types::{self, Change, ChangePage, ChangeType, Metadata, ResourceType};

use crate::tree::{Content, Id, Kind, Node, Place};
use crate::trees::Trees;

/// A snapshot of a share, with the log from its floor to its head.
#[derive(Debug, Default)]
pub struct Snapshot {
    /// The nodes of all pages.
    pub nodes: Vec<types::Node>,
    /// The cursor of the first page.
    pub cursor: u64,
    /// All changes that the log still has.
    pub log: Vec<Change>,
    /// The id of the last of them.
    pub last_change: Option<String>,
    /// Of the versions in doubt those that the server still has.
    pub kept: BTreeSet<String>,
}

impl Snapshot {
    /// What the log says was deleted and did not come back.
    fn deleted(&self) -> BTreeSet<&Id> {
        let mut deleted = BTreeSet::new();
        for change in &self.log {
            if change.change_type == ChangeType::Deleted {
                deleted.insert(&change.resource_id);
            } else {
                deleted.remove(&change.resource_id);
            }
        }
        deleted
    }
}

impl Trees {
    /// Takes in a page that begins at the cursor. `device` is this device.
    pub fn pull(&mut self, page: &ChangePage, device: &str) {
        for change in &page.changes {
            if change.position > self.cursor {
                self.pull_change(change, device);
                self.cursor = change.position;
            }
        }
        self.cursor = page.cursor;
        self.own = self.own.split_off(&(page.cursor + 1));
        if page.last_change_id.is_some() || !page.changes.is_empty() {
            self.last_change.clone_from(&page.last_change_id);
        }
    }

    /// Whether a page shows that the server has lost a change that it has answered: its log ends
    /// before it, or has another there. A snapshot is to be taken then; without one, what was sent
    /// would look as if it had been deleted.
    pub fn has_lost(&self, page: &ChangePage) -> bool {
        let is_other = |change: &Change| {
            self.own
                .get(&change.position)
                .is_some_and(|id| *id != change.resource_id)
        };
        let last = self
            .own
            .last_key_value()
            .map_or(0, |(position, _)| *position);
        page.changes.iter().any(is_other) || !page.has_more && page.cursor < last
    }

    fn pull_change(&mut self, change: &Change, device: &str) {
        let Some(kind) = kind(change.resource_type) else {
            return;
        };
        let id = &change.resource_id;
        let is_own = change.device_id.as_deref() == Some(device);
        let mut touched = vec![id.clone()];
        if change.change_type == ChangeType::Deleted {
            touched.extend(self.remote.descendants(id));
            for id in &touched {
                self.set_remote(id, None);
            }
        } else if let (Some(parent), Some(path)) = (&change.parent_id, &change.new_path) {
            let name = path.rsplit('/').next().unwrap_or_default().to_owned();
            let place = Place {
                parent: parent.clone(),
                name,
            };
            let node = node(kind, place, change.version_id.as_ref(), &change.metadata);
            self.set_remote(id, Some(node));
        }
        if !is_own {
            for id in touched {
                self.set_pending(&id, change.position);
            }
        }
    }

    /// Files of which a snapshot has another version than was in step, or none as they were deleted,
    /// with that version. Whether the server still has it tells whether they were edited or deleted
    /// since, or the server has lost an edit.
    pub fn in_doubt(&self, snapshot: &Snapshot) -> Vec<(Id, String)> {
        let versions: BTreeMap<&Id, Option<&String>> = snapshot
            .nodes
            .iter()
            .map(|node| (&node.id, node.version_id.as_ref()))
            .collect();
        let deleted = snapshot.deleted();
        let doubtful = self.synced.iter().filter_map(|(id, node)| {
            let version = node.version.as_ref()?;
            let is_doubtful = match versions.get(id) {
                Some(other) => *other != Some(version),
                None => self.is_among(&deleted, id),
            };
            is_doubtful.then(|| (id.clone(), version.clone()))
        });
        doubtful.collect()
    }

    /// Whether a node, or a folder that it was in, is one of these.
    fn is_among(&self, ids: &BTreeSet<&Id>, id: &Id) -> bool {
        let above = self.synced.above(id).unwrap_or_default();
        ids.contains(id) || above.into_iter().any(|folder| ids.contains(folder))
    }

    /// Takes in a snapshot after the log did not lead on from the cursor. What is not in it was
    /// deleted if the log says so; else the server has lost it, and it is here alone.
    pub fn reset(&mut self, snapshot: &Snapshot) {
        let known: Vec<Id> = self.remote.iter().map(|(id, _)| id.clone()).collect();
        let nodes: BTreeMap<&Id, &types::Node> =
            snapshot.nodes.iter().map(|node| (&node.id, node)).collect();
        for id in known.iter().filter(|id| !nodes.contains_key(id)) {
            self.set_remote(id, None);
        }
        for node in &snapshot.nodes {
            if let (Some(kind), Some(parent)) = (kind(node.resource_type), &node.parent_id) {
                let place = Place {
                    parent: parent.clone(),
                    name: node.name.clone(),
                };
                let taken = self::node(kind, place, node.version_id.as_ref(), &node.metadata);
                self.set_remote(&node.id, Some(taken));
            }
        }
        // What happened while the pages were read.
        for change in &snapshot.log {
            let known = nodes
                .get(&change.resource_id)
                .map_or(0, |node| node.position);
            if change.position > snapshot.cursor.max(known) {
                self.pull_change(change, "");
            }
        }
        let last = snapshot.log.last().map_or(0, |change| change.position);
        self.cursor = snapshot.cursor.max(last);
        self.last_change.clone_from(&snapshot.last_change);
        self.own.clear();

        let doubtful = self.in_doubt(snapshot);
        let deleted = snapshot.deleted();
        let is_lost = |id: &Id| !self.is_among(&deleted, id);
        let gone = self.synced.iter().map(|(id, _)| id);
        let lost: Vec<Id> = gone
            .filter(|id| !self.remote.has(id) && is_lost(id))
            .cloned()
            .collect();
        for id in lost {
            self.set_synced(&id, None);
        }
        for (id, version) in doubtful {
            if snapshot.kept.contains(&version) {
                continue;
            }
            // What is here was never in step, as far as the server knows: it is sent again.
            let node = self.synced.get(&id).filter(|_| self.remote.has(&id));
            let node = node.map(|node| Node {
                version: None,
                content: None,
                ..node.clone()
            });
            self.set_synced(&id, node);
        }
        // Positions mean something else now: all that is not in step may be news.
        self.pending.clear();
        let unsettled: Vec<Id> = self.unsettled.iter().cloned().collect();
        for id in unsettled {
            self.set_pending(&id, 1);
        }
    }
}

fn kind(resource: ResourceType) -> Option<Kind> {
    match resource {
        ResourceType::File => Some(Kind::File),
        ResourceType::Folder => Some(Kind::Folder),
        ResourceType::Share | ResourceType::Unknown => None,
    }
}

fn node(kind: Kind, place: Place, version: Option<&String>, metadata: &Metadata) -> Node {
    let content = metadata.sha256.clone().zip(metadata.size);
    let is_file = kind == Kind::File;
    Node {
        kind,
        place,
        version: version.filter(|_| is_file).cloned(),
        content: content
            .filter(|_| is_file)
            .map(|(sha256, size)| Content { sha256, size }),
        modified: metadata
            .modified_at
            .as_ref()
            .and_then(|it| time(it.as_str()?)),
    }
}

fn time(text: &str) -> Option<i64> {
    DateTime::parse_from_rfc3339(text)
        .ok()
        .map(|it| it.timestamp_millis())
}
