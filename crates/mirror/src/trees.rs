//! The three trees of a mirror: here, on the server, and as both were when they were last in step.
//!
//! A node is *settled* when the three agree on it. What is not is what the planner looks at.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use ulid::Ulid;

use crate::name::fold;
use crate::tree::{Content, Id, Kind, Local, Node, Place, Tree, exact};

/// Why a node is not kept in step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// In words.
    pub text: String,
    /// Whether it is left alone until something about it changes, or the time for another attempt
    /// has come.
    pub is_held: bool,
}

/// Where ids of new nodes and changes come from.
#[derive(Clone, Debug)]
pub enum Ids {
    /// Never the same twice, on any machine.
    Random,
    /// In order, for simulations: what they begin with, and the last number.
    Counted(String, u64),
}

impl Ids {
    /// A new id of a kind such as `fil`.
    pub fn next(&mut self, kind: &str) -> String {
        match self {
            Self::Random => format!("{kind}_{}", Ulid::generate().to_string().to_lowercase()),
            Self::Counted(name, last) => {
                *last += 1;
                format!("{kind}_{name}{last:05}")
            }
        }
    }
}

/// The three trees, and how far the server's log has been read.
#[derive(Clone, Debug)]
pub struct Trees {
    pub(crate) local: Tree<Local>,
    pub(crate) remote: Tree<Node>,
    pub(crate) synced: Tree<Node>,
    /// By node: the position of the first change by another device that is not in step yet.
    pub(crate) pending: BTreeMap<Id, u64>,
    pub(crate) problems: BTreeMap<Id, Problem>,
    /// The position up to which `remote` has the share's log.
    pub cursor: u64,
    /// The id of the change at `cursor`.
    pub last_change: Option<String>,
    /// Changes of ours that are answered, and did not come with the log yet: by position, what they
    /// are about.
    pub own: BTreeMap<u64, Id>,
    pub(crate) unsettled: BTreeSet<Id>,
    changed: BTreeSet<Id>,
    /// How often the server did not know what a change was about.
    pub(crate) attempts: BTreeMap<Id, u32>,
    pub(crate) ids: Ids,
}

/// A node as it is kept: by id what each tree has.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Row {
    /// Here.
    pub local: Option<Local>,
    /// On the server.
    pub remote: Option<Node>,
    /// When both were last in step.
    pub synced: Option<Node>,
    /// The position of the first change that is not in step yet.
    pub pending: Option<u64>,
    /// Why it is not kept in step.
    pub problem: Option<Problem>,
}

impl Row {
    /// Whether there is nothing to keep.
    pub fn is_empty(&self) -> bool {
        self.local.is_none()
            && self.remote.is_none()
            && self.synced.is_none()
            && self.pending.is_none()
            && self.problem.is_none()
    }
}

impl Trees {
    /// Trees of which nothing is known.
    pub fn new(ids: Ids) -> Self {
        Self {
            local: Tree::new(exact),
            remote: Tree::new(fold),
            synced: Tree::new(exact),
            pending: BTreeMap::new(),
            problems: BTreeMap::new(),
            cursor: 0,
            last_change: None,
            own: BTreeMap::new(),
            unsettled: BTreeSet::new(),
            changed: BTreeSet::new(),
            attempts: BTreeMap::new(),
            ids,
        }
    }

    /// What is here.
    pub fn local(&self) -> &Tree<Local> {
        &self.local
    }

    /// What the server has.
    pub fn remote(&self) -> &Tree<Node> {
        &self.remote
    }

    /// What was last in step.
    pub fn synced(&self) -> &Tree<Node> {
        &self.synced
    }

    /// How many nodes the trees do not agree on.
    pub fn unsettled(&self) -> usize {
        self.unsettled.len()
    }

    /// What is not kept in step, by id.
    pub fn problems(&self) -> impl Iterator<Item = (&Id, &Problem)> {
        self.problems.iter()
    }

    /// What the trees do not agree on, by id.
    pub fn open(&self) -> Vec<(Id, Row)> {
        self.unsettled
            .iter()
            .map(|id| (id.clone(), self.row(id)))
            .collect()
    }

    /// A new id of a kind such as `chg`.
    pub fn new_id(&mut self, kind: &str) -> String {
        self.ids.next(kind)
    }

    /// Where ids come from.
    pub fn ids(&self) -> Ids {
        self.ids.clone()
    }

    /// Has ids come from elsewhere.
    pub fn set_ids(&mut self, ids: Ids) {
        self.ids = ids;
    }

    /// A node of which a row was kept.
    pub fn restore(&mut self, id: &str, row: Row) {
        self.local.set(id, row.local);
        self.remote.set(id, row.remote);
        self.synced.set(id, row.synced);
        if let Some(position) = row.pending {
            self.pending.insert(id.to_owned(), position);
        }
        if let Some(problem) = row.problem {
            self.problems.insert(id.to_owned(), problem);
        }
        if !self.is_settled(id) {
            self.unsettled.insert(id.to_owned());
        }
    }

    /// The rows that have changed since they were taken last.
    pub fn take_changed(&mut self) -> Vec<(Id, Row)> {
        let changed = std::mem::take(&mut self.changed);
        changed
            .into_iter()
            .map(|id| (id.clone(), self.row(&id)))
            .collect()
    }

    fn row(&self, id: &str) -> Row {
        Row {
            local: self.local.get(id).cloned(),
            remote: self.remote.get(id).cloned(),
            synced: self.synced.get(id).cloned(),
            pending: self.pending.get(id).copied(),
            problem: self.problems.get(id).cloned(),
        }
    }

    pub(crate) fn set_local(&mut self, id: &str, node: Option<Local>) {
        if self.local.get(id) != node.as_ref() {
            self.local.set(id, node);
            self.touched(id);
        }
    }

    pub(crate) fn set_remote(&mut self, id: &str, node: Option<Node>) {
        if self.remote.get(id) != node.as_ref() {
            self.remote.set(id, node);
            self.touched(id);
        }
    }

    pub(crate) fn set_synced(&mut self, id: &str, node: Option<Node>) {
        if self.synced.get(id) != node.as_ref() {
            self.synced.set(id, node);
            self.touched(id);
        }
    }

    /// Another device has changed a node at a position.
    pub(crate) fn set_pending(&mut self, id: &str, position: u64) {
        let first = self.pending.entry(id.to_owned()).or_insert(position);
        *first = position.min(*first);
        self.settle(id);
    }

    /// Notes why a node is not kept in step.
    pub(crate) fn note(&mut self, id: &str, text: impl Into<String>) {
        let problem = Problem {
            text: text.into(),
            is_held: true,
        };
        self.problems.insert(id.to_owned(), problem);
        self.changed.insert(id.to_owned());
    }

    /// It is time for another attempt at what went wrong.
    pub fn retry_problems(&mut self) {
        self.attempts.clear();
        for problem in self.problems.values_mut() {
            problem.is_held = false;
        }
    }

    pub(crate) fn is_held(&self, id: &str) -> bool {
        self.problems.get(id).is_some_and(|it| it.is_held)
    }

    fn touched(&mut self, id: &str) {
        self.problems.remove(id);
        self.settle(id);
    }

    fn settle(&mut self, id: &str) {
        self.changed.insert(id.to_owned());
        let (remote, synced) = (self.remote.get(id), self.synced.get(id));
        if remote.map(essence) == synced.map(essence) {
            self.pending.remove(id);
        }
        if self.is_settled(id) {
            self.unsettled.remove(id);
        } else {
            self.unsettled.insert(id.to_owned());
        }
    }

    fn is_settled(&self, id: &str) -> bool {
        match (self.local.get(id), self.remote.get(id), self.synced.get(id)) {
            (None, None, None) => true,
            (Some(local), Some(remote), Some(synced)) => {
                essence(remote) == essence(synced)
                    && local.place == remote.place
                    && (local.kind == Kind::Folder
                        || local.content.is_some() && local.content == remote.content)
            }
            _ => false,
        }
    }

    /// Gives what is here by one id another. Whatever has that one here gets a new one.
    pub(crate) fn rekey(&mut self, from: &str, to: &str) {
        if from == to {
            return;
        }
        if let Some(other) = self.local.get(to) {
            let fresh = self.fresh_id(other.kind);
            self.rekey(to, &fresh);
        }
        let Some(node) = self.local.get(from).cloned() else {
            return;
        };
        self.set_local(from, None);
        self.set_local(to, Some(node));
        let children: Vec<Id> = self.local.children(from).cloned().collect();
        for child in children {
            if let Some(mut node) = self.local.get(&child).cloned() {
                node.place.parent = to.to_owned();
                self.set_local(&child, Some(node));
            }
        }
    }

    /// Takes for in step what is the same on both sides.
    pub fn reconcile(&mut self) {
        self.adopt();
        self.keep_folders();
        let ids: Vec<Id> = self.unsettled.iter().cloned().collect();
        for id in ids {
            let (local, remote) = (self.local.get(&id), self.remote.get(&id));
            match (local, remote, self.synced.get(&id)) {
                (None, None, Some(_)) => self.set_synced(&id, None),
                (Some(local), Some(remote), synced) => {
                    let synced = agreed(local, remote, synced);
                    self.set_synced(&id, Some(synced));
                }
                _ => {}
            }
        }
    }

    /// A folder that was deleted here comes back when the server has moved something into it that is
    /// here.
    fn keep_folders(&mut self) {
        let is_arriving = |id: &&Id| match (self.local.get(id), self.remote.get(id)) {
            (Some(local), Some(remote)) => {
                local.place != remote.place
                    && self
                        .synced
                        .get(id)
                        .is_some_and(|synced| synced.place == local.place)
            }
            _ => false,
        };
        let arriving = self.unsettled.iter().filter(is_arriving);
        let folders = arriving.flat_map(|id| self.remote.above(id).unwrap_or_default());
        let gone = folders.filter(|id| !self.local.has(id));
        let gone: Vec<Id> = gone.cloned().collect();
        for id in gone {
            self.set_synced(&id, None);
        }
    }

    /// What is new here is what the server has at the same place, if that is the same.
    fn adopt(&mut self) {
        let is_new = |id: &&Id| self.local.has(id) && !self.remote.has(id) && !self.synced.has(id);
        let new = self.unsettled.iter().filter(is_new);
        let mut new: Vec<(usize, Id)> = new
            .filter_map(|id| Some((self.local.depth(id)?, id.clone())))
            .collect();
        new.sort();
        for (_, id) in new {
            let Some(local) = self.local.get(&id) else {
                continue;
            };
            let Some(other) = self.remote.holder(&local.place.parent, &local.place.name) else {
                continue;
            };
            let Some(remote) = self.remote.get(other) else {
                continue;
            };
            let is_same = remote.place == local.place
                && remote.kind == local.kind
                && (local.kind == Kind::Folder
                    || local.content.is_some() && remote.content == local.content);
            if is_same && !self.local.has(other) {
                let (other, remote) = (other.clone(), remote.clone());
                self.rekey(&id, &other);
                self.set_synced(&other, Some(remote));
            }
        }
    }
}

/// What of a node has to be in step.
fn essence(node: &Node) -> (Kind, &Place, &Option<String>, &Option<Content>) {
    (node.kind, &node.place, &node.version, &node.content)
}

/// What is in step of a node that both sides have.
fn agreed(local: &Local, remote: &Node, synced: Option<&Node>) -> Node {
    let is_same =
        local.kind == Kind::Folder || local.content.is_some() && local.content == remote.content;
    let mut agreed = match synced {
        Some(synced) => synced.clone(),
        // Nobody knows what it was like, so the server's place is the one that stays.
        None => Node {
            place: local.place.clone(),
            version: None,
            content: None,
            ..remote.clone()
        },
    };
    if local.place == remote.place {
        agreed.place = remote.place.clone();
    }
    if is_same {
        agreed.version.clone_from(&remote.version);
        agreed.content.clone_from(&remote.content);
        agreed.modified = remote.modified;
    }
    agreed
}
