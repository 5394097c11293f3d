//! What is to be done so that the three trees agree: a pure function of them.
//!
//! Steps here come first, folders before what is in them in the order of the server's tree, and
//! removals last; then what is sent, in the order of the tree here, and deletions last. So each step
//! finds the folder that it needs. A step whose name another node has waits for that node, or has it
//! step aside under a passing name when both wait for each other. What cannot be done yet is left
//! out: another plan is made after this one.

mod here;
mod overlay;
mod there;

use serde::{Deserialize, Serialize};
use sluice_client::types::{ChangeType, ResourceType};

use crate::name::unusable;
use crate::tree::{Content, Id, Kind, Place, ROOT};
use crate::trees::Trees;

/// What is done on this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Makes the folder that the server has.
    MakeFolder(Id),
    /// Downloads what the server has, in place of what is here, if anything is.
    Fetch(Id),
    /// Moves or renames.
    Move(Id, Place),
    /// Removes a file, or a folder that is empty by then.
    Remove(Id),
}

/// A change that is sent to the server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Intent {
    /// The node.
    pub id: Id,
    /// What it is.
    pub kind: Kind,
    /// What happens.
    pub act: Act,
    /// The position up to which this device had applied what concerns the node.
    pub base: u64,
    /// The folder that it is to be in, when that has to be said.
    pub parent: Option<Id>,
    /// Where the server has it, as a path.
    pub old_path: Option<String>,
    /// Where it is to be, as a path.
    pub new_path: Option<String>,
}

/// What happens to a node by a change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Act {
    /// It is new, at this place, with this content if it is a file.
    Create(Place, Option<Content>),
    /// It has another content than in this version.
    Update(Content, Option<String>),
    /// It is at another place.
    Move(Place),
    /// It is gone, with so many nodes in it.
    Delete(u64),
}

impl Intent {
    /// How the change is called.
    pub fn change_type(&self) -> ChangeType {
        match self.act {
            Act::Create(..) => ChangeType::Created,
            Act::Update(..) => ChangeType::Updated,
            Act::Move(..) => ChangeType::Moved,
            Act::Delete(_) => ChangeType::Deleted,
        }
    }

    /// What it is about.
    pub fn resource_type(&self) -> ResourceType {
        match self.kind {
            Kind::File => ResourceType::File,
            Kind::Folder => ResourceType::Folder,
        }
    }
}

/// What the planner is told beside the trees.
pub struct Terms<'a> {
    /// Whether the share may only be read.
    pub is_read_only: bool,
    /// Whether what the server has at a path is left out here.
    pub is_ignored: &'a dyn Fn(&str, Kind) -> bool,
}

/// What is to be done, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// Here.
    pub steps: Vec<Step>,
    /// On the server.
    pub intents: Vec<Intent>,
    /// What cannot be kept in step, and why.
    pub problems: Vec<(Id, String)>,
}

impl Plan {
    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty() && self.intents.is_empty()
    }

    /// How many nodes would be deleted on the server.
    pub fn deletions(&self) -> u64 {
        let deleted = self.intents.iter().map(|intent| match intent.act {
            Act::Delete(descendants) => 1 + descendants,
            _ => 0,
        });
        deleted.sum()
    }
}

/// The plan for trees that [`Trees::reconcile`] has gone over.
pub fn plan(trees: &Trees, terms: &Terms<'_>) -> Plan {
    let mut plan = Plan::default();
    here::plan(trees, terms, &mut plan);
    there::plan(trees, terms, &mut plan);
    plan
}

/// Whether a file was edited here since it was in step.
fn is_edited(trees: &Trees, id: &str) -> bool {
    let local = trees.local.get(id).filter(|local| local.kind == Kind::File);
    let content = local.and_then(|local| local.content.as_ref());
    let synced = trees
        .synced
        .get(id)
        .and_then(|synced| synced.content.as_ref());
    content.is_some() && content != synced
}

/// Whether a node was moved or renamed here since it was in step.
fn is_moved(trees: &Trees, id: &str) -> bool {
    match (trees.local.get(id), trees.synced.get(id)) {
        (Some(local), Some(synced)) => local.place != synced.place,
        _ => false,
    }
}

/// Whether the server has deleted a node that is here as it was in step.
fn is_deleted_there(trees: &Trees, id: &str) -> bool {
    !trees.remote.has(id) && trees.synced.has(id)
}

/// Whether a file that the server has deleted can be removed here, as nothing of it is unsent.
fn is_removable(trees: &Trees, id: &str) -> bool {
    let is_known = trees
        .local
        .get(id)
        .is_some_and(|local| local.kind == Kind::Folder || local.content.is_some());
    is_known
        && is_deleted_there(trees, id)
        && !is_edited(trees, id)
        && !is_moved(trees, id)
        && !trees.is_held(id)
}

/// Why a node of the server cannot be here.
fn obstacle(trees: &Trees, id: &str) -> Option<&'static str> {
    let remote = trees.remote.get(id)?;
    let name = unusable(&remote.place.name, remote.place.parent == ROOT);
    let is_empty = remote.kind == Kind::File && remote.content.is_none();
    name.or(is_empty.then_some("the server has no content of it"))
}
