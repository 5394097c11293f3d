//! What is done on this machine.

use std::collections::BTreeSet;

use super::overlay::Overlay;
use super::{Plan, Step, Terms, is_deleted_there, is_edited, is_moved, is_removable, obstacle};
use crate::name::passing;
use crate::tree::{Id, Kind, Local, Place, exact};
use crate::trees::Trees;

/// Plans the steps here.
pub fn plan(trees: &Trees, terms: &Terms<'_>, plan: &mut Plan) {
    let mut planner = Planner {
        trees,
        terms,
        overlay: Overlay::new(&trees.local, exact),
        done: BTreeSet::new(),
        plan,
    };
    planner.arrivals();
    planner.removals();
}

struct Planner<'a> {
    trees: &'a Trees,
    terms: &'a Terms<'a>,
    overlay: Overlay<'a, Local>,
    /// What has its place, or is removed.
    done: BTreeSet<Id>,
    plan: &'a mut Plan,
}

impl Planner<'_> {
    /// What comes, moves or gets another content, in the order of the server's tree.
    fn arrivals(&mut self) {
        let trees = self.trees;
        let of_server = trees.unsettled.iter().filter(|id| trees.remote.has(id));
        let mut ids: Vec<(usize, &Id)> = of_server
            .filter_map(|id| Some((trees.remote.depth(id)?, id)))
            .collect();
        ids.sort();
        for (_, id) in ids {
            if trees.is_held(id) {
                continue;
            }
            if trees.local.has(id) {
                self.arrange(id);
                self.refresh(id);
            } else if !trees.synced.has(id) {
                self.arrive(id);
            }
        }
    }

    /// What is new on the server.
    fn arrive(&mut self, id: &Id) {
        let Some(remote) = self.trees.remote.get(id) else {
            return;
        };
        if let Some(path) = self.trees.remote.path(id)
            && (self.terms.is_ignored)(&path, remote.kind)
        {
            return;
        }
        if let Some(why) = obstacle(self.trees, id) {
            self.plan.problems.push((id.clone(), why.to_owned()));
            return;
        }
        if !self.clear(id, &remote.place) {
            return;
        }
        self.overlay.set(id, Some(remote.place.clone()));
        self.plan.steps.push(match remote.kind {
            Kind::Folder => Step::MakeFolder(id.clone()),
            Kind::File => Step::Fetch(id.clone()),
        });
    }

    /// What the server has at another place.
    fn arrange(&mut self, id: &Id) {
        if let Some(place) = self.target(id)
            && self.clear(id, &place)
            && self.done.insert(id.clone())
        {
            self.relocate(id, place);
        }
    }

    /// Where a node is to be moved, if only the server has moved it.
    fn target(&self, id: &str) -> Option<Place> {
        let (remote, synced) = (self.trees.remote.get(id)?, self.trees.synced.get(id)?);
        let is_wanted = remote.place != synced.place
            && self.trees.local.has(id)
            && !is_moved(self.trees, id)
            && !self.done.contains(id)
            && !self.trees.is_held(id)
            && obstacle(self.trees, id).is_none();
        is_wanted.then(|| remote.place.clone())
    }

    fn relocate(&mut self, id: &Id, place: Place) {
        self.overlay.set(id, Some(place.clone()));
        self.plan.steps.push(Step::Move(id.clone(), place));
    }

    /// What has another content on the server, and not here.
    fn refresh(&mut self, id: &Id) {
        let (remote, synced) = (self.trees.remote.get(id), self.trees.synced.get(id));
        let (Some(remote), Some(synced)) = (remote, synced) else {
            return;
        };
        let local = self.trees.local.get(id).and_then(|it| it.content.as_ref());
        let is_wanted = remote.kind == Kind::File
            && remote.content.is_some()
            && remote.content != synced.content
            && local.is_some()
            && !is_edited(self.trees, id);
        if is_wanted {
            self.plan.steps.push(Step::Fetch(id.clone()));
        }
    }

    /// Whether a node can have a place, once what has it has been moved or removed.
    fn clear(&mut self, id: &Id, place: &Place) -> bool {
        if !self.overlay.has(&place.parent) || self.overlay.is_in(&place.parent, id) {
            return false;
        }
        let Some(other) = self.overlay.holder(place) else {
            return true;
        };
        if other == *id {
            return true;
        }
        let is_file = self
            .trees
            .local
            .get(&other)
            .is_some_and(|it| it.kind == Kind::File);
        if is_file && is_removable(self.trees, &other) {
            self.remove(&other);
            return true;
        }
        let Some(next) = self.target(&other) else {
            // It has to be sent first, or removed with all that is in it; but for this one.
            if is_deleted_there(self.trees, &other) && self.overlay.is_in(id, &other) {
                self.move_aside(id, &place.parent);
            }
            return false;
        };
        let is_free = self.overlay.has(&next.parent)
            && self.overlay.holder(&next).is_none()
            && !self.overlay.is_in(&next.parent, &other);
        if is_free {
            self.done.insert(other.clone());
            self.relocate(&other, next);
            return true;
        }
        self.move_aside(&other, &place.parent);
        true
    }

    /// Gives a node a passing name in a folder.
    fn move_aside(&mut self, id: &Id, folder: &Id) {
        let places = (1..).map(|number| Place {
            parent: folder.clone(),
            name: passing(id, number),
        });
        let mut free = places.filter(|it| self.overlay.holder(it).is_none());
        if let Some(place) = free.next() {
            self.relocate(id, place);
        }
    }

    fn remove(&mut self, id: &Id) {
        if self.done.insert(id.clone()) {
            self.overlay.set(id, None);
            self.plan.steps.push(Step::Remove(id.clone()));
        }
    }

    /// What the server has deleted: files, and folders of which nothing is left.
    fn removals(&mut self) {
        let trees = self.trees;
        let here = trees.unsettled.iter().filter(|id| trees.local.has(id));
        let mut ids: Vec<(usize, &Id)> = here
            .filter(|id| is_removable(trees, id))
            .filter_map(|id| Some((trees.local.depth(id)?, id)))
            .collect();
        ids.sort_by(|one, other| other.cmp(one));
        for (_, id) in ids {
            // What is deeper came before.
            let is_empty = trees
                .local
                .children(id)
                .all(|child| self.done.contains(child) && self.overlay.place(child).is_none());
            if is_empty {
                self.remove(id);
            }
        }
    }
}
