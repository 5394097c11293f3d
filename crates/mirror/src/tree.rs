//! A tree of files and folders by id, and what is known of each on the server and on this machine.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde::{Deserialize, Serialize};

/// The id of a node, the same in all trees.
pub type Id = String;

/// The id of the folder at the top.
pub const ROOT: &str = "root";

/// What a node is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Kind {
    /// A file.
    File,
    /// A folder.
    Folder,
}

/// Where a node is.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Place {
    /// The folder that it is in.
    pub parent: Id,
    /// Its name there.
    pub name: String,
}

/// The bytes of a file.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Content {
    /// SHA-256, in hexadecimal digits.
    pub sha256: String,
    /// How many there are.
    pub size: u64,
}

/// A node as the server has it, or as both sides had it when they were last in step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Node {
    /// What it is.
    pub kind: Kind,
    /// Where it is.
    pub place: Place,
    /// The version of its content.
    pub version: Option<String>,
    /// Its content; none for folders, and while it is not known.
    pub content: Option<Content>,
    /// When it was modified, in ms since 1970.
    pub modified: Option<i64>,
}

/// What tells one file of this machine from all others, whatever it is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Identity {
    /// The file system.
    pub device: u64,
    /// The number that it has there.
    pub inode: u64,
    /// When it was made, in ns since 1970, as numbers are used again; 0 where that is not known.
    pub born: i64,
}

/// What changes whenever a file's content does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stamp {
    /// Bytes.
    pub size: u64,
    /// When the content was modified, in ns since 1970.
    pub modified: i64,
    /// When anything of the file was changed, in ns since 1970.
    pub changed: i64,
    /// The number of the file on its file system.
    pub inode: u64,
}

/// A node as it is on this machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Local {
    /// What it is.
    pub kind: Kind,
    /// Where it is.
    pub place: Place,
    /// Its content; none for folders, and of files that cannot be read, or change all the time.
    pub content: Option<Content>,
    /// Which file it is.
    pub identity: Option<Identity>,
    /// What it looked like when its content was read; none when that may be another by now.
    pub stamp: Option<Stamp>,
}

/// Whatever is somewhere.
pub trait Placed {
    /// Where it is.
    fn place(&self) -> &Place;
}

impl Placed for Node {
    fn place(&self) -> &Place {
        &self.place
    }
}

impl Placed for Local {
    fn place(&self) -> &Place {
        &self.place
    }
}

/// Nodes by id, and by place.
#[derive(Clone, Debug)]
pub struct Tree<T> {
    nodes: BTreeMap<Id, T>,
    /// By folder: by what names are compared by.
    names: HashMap<Id, BTreeMap<String, Id>>,
    children: HashMap<Id, BTreeSet<Id>>,
    key: fn(&str) -> String,
}

impl<T: Placed> Tree<T> {
    /// An empty tree, in which names that have the same `key` are the same.
    pub fn new(key: fn(&str) -> String) -> Self {
        Self {
            nodes: BTreeMap::new(),
            names: HashMap::new(),
            children: HashMap::new(),
            key,
        }
    }

    /// A node.
    pub fn get(&self, id: &str) -> Option<&T> {
        self.nodes.get(id)
    }

    /// Whether there is such a folder or file; the root always is.
    pub fn has(&self, id: &str) -> bool {
        id == ROOT || self.nodes.contains_key(id)
    }

    /// All nodes by id.
    pub fn iter(&self) -> impl Iterator<Item = (&Id, &T)> {
        self.nodes.iter()
    }

    /// How many nodes there are.
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// Puts a node in, or takes it out. Returns what was there.
    pub fn set(&mut self, id: &str, node: Option<T>) -> Option<T> {
        let old = self.nodes.remove(id);
        if let Some(old) = &old {
            let Place { parent, name } = old.place();
            if let Some(names) = self.names.get_mut(parent) {
                let key = (self.key)(name);
                if names.get(&key).is_some_and(|it| it == id) {
                    names.remove(&key);
                }
            }
            if let Some(children) = self.children.get_mut(parent) {
                children.remove(id);
            }
        }
        if let Some(node) = node {
            let Place { parent, name } = node.place().clone();
            let names = self.names.entry(parent.clone()).or_default();
            names.insert((self.key)(&name), id.to_owned());
            self.children
                .entry(parent)
                .or_default()
                .insert(id.to_owned());
            self.nodes.insert(id.to_owned(), node);
        }
        old
    }

    /// The node that has a name in a folder.
    pub fn holder(&self, parent: &str, name: &str) -> Option<&Id> {
        self.names.get(parent)?.get(&(self.key)(name))
    }

    /// What is in a folder.
    pub fn children(&self, id: &str) -> impl Iterator<Item = &Id> {
        self.children.get(id).into_iter().flatten()
    }

    /// Everything in a folder at any depth, folders before what is in them. Ends also where folders
    /// are in each other, as they may be in a tree that two sides have a part in.
    pub fn descendants(&self, id: &str) -> Vec<Id> {
        let mut all: Vec<&Id> = Vec::new();
        let mut seen = BTreeSet::from([id]);
        let mut folder = id;
        for at in 0.. {
            all.extend(self.children(folder).filter(|child| seen.insert(child)));
            match all.get(at) {
                Some(next) => folder = next,
                None => break,
            }
        }
        all.into_iter().cloned().collect()
    }

    /// The folders that hold a node, from its own up to the root; none when one is missing, or a
    /// folder is in itself.
    pub fn above(&self, id: &str) -> Option<Vec<&Id>> {
        let mut above = Vec::new();
        let mut at = self.nodes.get(id)?;
        while at.place().parent != ROOT {
            above.push(&at.place().parent);
            if above.len() > 1000 {
                return None;
            }
            at = self.nodes.get(&at.place().parent)?;
        }
        Some(above)
    }

    /// How deep a node is; none when it is in no folder that there is.
    pub fn depth(&self, id: &str) -> Option<usize> {
        self.above(id).map(|above| above.len())
    }

    /// The path of a node from the root on, without a slash at its beginning; none when it is in no
    /// folder that there is.
    pub fn path(&self, id: &str) -> Option<String> {
        let above = self.above(id)?;
        let names = above
            .iter()
            .rev()
            .map(|id| self.nodes[*id].place().name.as_str());
        let own = self.nodes[id].place().name.as_str();
        Some(names.chain([own]).collect::<Vec<_>>().join("/"))
    }

    /// The path of what has, or would have, a place.
    pub fn path_at(&self, place: &Place) -> Option<String> {
        if place.parent == ROOT {
            return Some(place.name.clone());
        }
        Some(format!("{}/{}", self.path(&place.parent)?, place.name))
    }
}

/// Names are the same when they are written the same.
pub fn exact(name: &str) -> String {
    name.to_owned()
}
