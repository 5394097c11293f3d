//! What is sent to the server.

use std::collections::BTreeSet;

use super::overlay::Overlay;
use super::{Act, Intent, Plan, Step, Terms, is_deleted_there, is_edited, is_moved};
use crate::name::{beside, fold, is_passing, passing};
use crate::tree::{Id, Kind, Local, Node, Place, ROOT};
use crate::trees::Trees;

/// Plans what is sent.
pub fn plan(trees: &Trees, terms: &Terms<'_>, plan: &mut Plan) {
    let mut planner = Planner {
        trees,
        overlay: Overlay::new(&trees.remote, fold),
        sent: BTreeSet::new(),
        plan,
    };
    if terms.is_read_only {
        planner.refuse();
        return;
    }
    planner.arrivals();
    planner.deletions();
}

/// Whether a place can be had.
#[derive(PartialEq, Eq)]
enum Room {
    /// Nobody has it, or the server judges who is to have it.
    Free,
    /// Not before what has it is deleted.
    Later,
    /// What has it is deleted once the node is out of it.
    Aside,
}

struct Planner<'a> {
    trees: &'a Trees,
    overlay: Overlay<'a, Node>,
    /// What has been moved or deleted.
    sent: BTreeSet<Id>,
    plan: &'a mut Plan,
}

impl Planner<'_> {
    /// What was changed here in a share that may only be read.
    fn refuse(&mut self) {
        let trees = self.trees;
        for id in &trees.unsettled {
            let is_new = trees.local.has(id) && !trees.remote.has(id) && !trees.synced.has(id);
            let is_gone = !trees.local.has(id) && trees.remote.has(id) && trees.synced.has(id);
            if is_new || is_gone || is_edited(trees, id) || is_moved(trees, id) {
                let why = "changed here, and the share may only be read".to_owned();
                self.plan.problems.push((id.clone(), why));
            }
        }
    }

    /// What is new, moved or edited, in the order of the tree here.
    fn arrivals(&mut self) {
        let trees = self.trees;
        let here = trees.unsettled.iter().filter(|id| trees.local.has(id));
        let mut ids: Vec<(usize, &Id)> = here
            .filter(|id| !trees.is_held(id))
            .filter_map(|id| Some((trees.local.depth(id)?, id)))
            .collect();
        ids.sort();
        for (_, id) in ids {
            if trees.remote.has(id) || trees.synced.has(id) {
                self.relocate(id);
                self.update(id);
            } else {
                self.create(id);
            }
        }
    }

    fn create(&mut self, id: &Id) {
        let Some(local) = self.trees.local.get(id) else {
            return;
        };
        if local.kind == Kind::File && local.content.is_none() || !self.has_parent(&local.place) {
            return;
        }
        if self.clear(id, &local.place) != Room::Free {
            return;
        }
        if let Some(place) = self.beside_its_like(id, &local.place) {
            self.plan.steps.push(Step::Move(id.clone(), place));
            return;
        }
        let Some(new_path) = self.path(&local.place) else {
            return;
        };
        let base = self.base(&[&local.place.parent]);
        self.overlay.set(id, Some(local.place.clone()));
        self.plan.intents.push(Intent {
            id: id.clone(),
            kind: local.kind,
            act: Act::Create(local.place.clone(), local.content.clone()),
            base,
            parent: Some(local.place.parent.clone()),
            old_path: None,
            new_path: Some(new_path),
        });
    }

    /// Another name for what is new, when its name is here beside one that is the same to the server.
    fn beside_its_like(&self, id: &Id, place: &Place) -> Option<Place> {
        let trees = self.trees;
        let other = self.overlay.holder(place).filter(|other| other != id)?;
        let is_beside = |it: &Local| it.place.parent == place.parent && it.place != *place;
        trees.local.get(&other).filter(|it| is_beside(it))?;
        let places = (1..).map(|number| Place {
            parent: place.parent.clone(),
            name: beside(&place.name, number),
        });
        let mut free = places.filter(|it| {
            self.overlay.holder(it).is_none() && trees.local.holder(&it.parent, &it.name).is_none()
        });
        free.next()
    }

    /// Where a node is to be moved on the server, as it was moved here.
    fn target(&self, id: &str) -> Option<Place> {
        let local = self.trees.local.get(id)?;
        let is_wanted = is_moved(self.trees, id)
            && !self.sent.contains(id)
            && !self.trees.is_held(id)
            && self.has_parent(&local.place)
            && self
                .trees
                .remote
                .get(id)
                .is_none_or(|it| it.place != local.place);
        is_wanted.then(|| local.place.clone())
    }

    fn relocate(&mut self, id: &Id) {
        let Some(place) = self.target(id) else { return };
        match self.clear(id, &place) {
            // It may have been moved just now, as another needed its name.
            Room::Free if self.sent.insert(id.clone()) => self.send_to(id, place),
            Room::Aside => {
                self.send_aside(id, place.parent);
            }
            Room::Free | Room::Later => {}
        }
    }

    /// Gives a node a passing name in a folder.
    fn send_aside(&mut self, id: &Id, parent: Id) {
        let places = (1..).map(|number| Place {
            parent: parent.clone(),
            name: passing(id, number),
        });
        let mut free = places.filter(|it| self.overlay.holder(it).is_none());
        if let Some(place) = free.next() {
            self.send_to(id, place);
        }
    }

    /// Sends a node to a place.
    fn send_to(&mut self, id: &Id, place: Place) {
        let synced = self.trees.synced.get(id);
        let before = self
            .overlay
            .place(id)
            .or(synced.map(|it| &it.place))
            .cloned();
        let (Some(new_path), Some(synced)) = (self.path(&place), synced) else {
            return;
        };
        // The change is what was done here: from where it was in step.
        let from = Place {
            parent: synced.place.parent.clone(),
            name: match &before {
                Some(before) if is_passing(&before.name, id) => before.name.clone(),
                _ => synced.place.name.clone(),
            },
        };
        let old_path = self.path(&from).or_else(|| Some(format!("/{}", from.name)));
        let base = self.base(&[id, &place.parent]);
        let kind = synced.kind;
        // By its path, a folder is where it was when another device has moved the node meanwhile.
        let is_named = place.parent != from.parent || !self.trees.remote.has(id);
        let parent = is_named.then(|| place.parent.clone());
        self.overlay.set(id, Some(place.clone()));
        self.plan.intents.push(Intent {
            id: id.clone(),
            kind,
            act: Act::Move(place),
            base,
            parent,
            old_path,
            new_path: Some(new_path),
        });
    }

    fn update(&mut self, id: &Id) {
        let trees = self.trees;
        let (Some(local), Some(synced)) = (trees.local.get(id), trees.synced.get(id)) else {
            return;
        };
        let Some(content) = local.content.clone().filter(|_| is_edited(trees, id)) else {
            return;
        };
        if trees
            .remote
            .get(id)
            .is_some_and(|it| it.content.as_ref() == Some(&content))
        {
            return;
        }
        let base = self.base(&[id]);
        self.plan.intents.push(Intent {
            id: id.clone(),
            kind: Kind::File,
            act: Act::Update(content, synced.version.clone()),
            base,
            parent: None,
            old_path: None,
            new_path: None,
        });
    }

    /// What was deleted here, but for what is in a folder that was.
    fn deletions(&mut self) {
        let trees = self.trees;
        let is_gone =
            |id: &str| !trees.local.has(id) && trees.remote.has(id) && trees.synced.has(id);
        for id in &trees.unsettled {
            let parent = trees.remote.get(id).map(|it| it.place.parent.as_str());
            let is_top = parent.is_some_and(|parent| parent == ROOT || !is_gone(parent));
            if is_gone(id) && is_top && !trees.is_held(id) {
                self.delete(id);
            }
        }
    }

    /// Deletes a node if nothing of it is here. Whether it is deleted then.
    fn delete(&mut self, id: &Id) -> bool {
        let trees = self.trees;
        let inner = trees.remote.descendants(id);
        // What was moved out of it has to be out of it on the server first.
        if inner.iter().any(|id| trees.local.has(id)) || !self.sent.insert(id.clone()) {
            return false;
        }
        let Some(remote) = trees.remote.get(id) else {
            return false;
        };
        let in_step = |id: &&Id| {
            let (remote, synced) = (trees.remote.get(id), trees.synced.get(id));
            remote.map(|it| (&it.place, &it.version)) == synced.map(|it| (&it.place, &it.version))
        };
        let known = inner.iter().filter(in_step).count() as u64;
        let mut concerned: Vec<&Id> = inner.iter().collect();
        concerned.push(id);
        let base = self.base(&concerned);
        self.overlay.set(id, None);
        self.plan.intents.push(Intent {
            id: id.clone(),
            kind: remote.kind,
            act: Act::Delete(known),
            base,
            parent: None,
            old_path: trees.remote.path(id).map(|path| format!("/{path}")),
            new_path: None,
        });
        true
    }

    /// Makes room for a node at a place, as far as that is possible.
    fn clear(&mut self, id: &Id, place: &Place) -> Room {
        let Some(other) = self.overlay.holder(place).filter(|other| other != id) else {
            return Room::Free;
        };
        let trees = self.trees;
        if trees.is_held(&other) {
            return Room::Free;
        }
        if !trees.local.has(&other) && trees.synced.has(&other) {
            // It was deleted here, and is deleted there as soon as nothing of it is here.
            return match self.delete(&other) {
                true => Room::Free,
                false if !self.overlay.is_in(id, &other) => Room::Later,
                false if self.is_as_in_step(id) => Room::Aside,
                false => Room::Free,
            };
        }
        let Some(next) = self.target(&other) else {
            // The server judges it.
            return Room::Free;
        };
        let is_free = self
            .overlay
            .holder(&next)
            .is_none_or(|holder| holder == other)
            && !self.overlay.is_in(&next.parent, &other);
        if is_free {
            self.sent.insert(other.clone());
            self.send_to(&other, next);
        } else if self.is_as_in_step(&other) {
            self.send_aside(&other, place.parent.clone());
        }
        Room::Free
    }

    /// Whether the server has a node where it was in step.
    fn is_as_in_step(&self, id: &str) -> bool {
        let (remote, synced) = (self.trees.remote.get(id), self.trees.synced.get(id));
        remote.is_some() && remote.map(|it| &it.place) == synced.map(|it| &it.place)
    }

    /// Whether the server knows a folder, if only as one that was deleted.
    fn has_parent(&self, place: &Place) -> bool {
        let parent = &place.parent;
        self.overlay.has(parent) || is_deleted_there(self.trees, parent)
    }

    /// A path by the folders that the server has, or had.
    fn path(&self, place: &Place) -> Option<String> {
        let mut names = String::new();
        let mut at = place;
        for _ in 0..1000 {
            if let Some(path) = self.overlay.path(at) {
                return Some(path + &names);
            }
            names = format!("/{}{names}", at.name);
            at = &self.trees.synced.get(&at.parent)?.place;
        }
        None
    }

    /// The position up to which all that concerns some nodes was applied here.
    fn base(&self, ids: &[&Id]) -> u64 {
        let trees = self.trees;
        let above = |id: &Id| {
            let synced = trees.synced.above(id).unwrap_or_default();
            let remote = trees.remote.above(id).unwrap_or_default();
            synced
                .into_iter()
                .chain(remote)
                .cloned()
                .collect::<Vec<_>>()
        };
        let all = ids.iter().flat_map(|id| {
            let mut all = above(id);
            all.push((*id).clone());
            all
        });
        let first = all.filter_map(|id| trees.pending.get(&id).copied()).min();
        first
            .map_or(trees.cursor, |first| first.saturating_sub(1))
            .min(trees.cursor)
    }
}
