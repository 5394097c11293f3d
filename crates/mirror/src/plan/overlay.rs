//! A tree as it will be once the steps that are planned so far are done.

use std::collections::HashMap;

use crate::tree::{Id, Place, Placed, ROOT, Tree};

/// A tree with changes of places on top.
pub struct Overlay<'a, T> {
    tree: &'a Tree<T>,
    key: fn(&str) -> String,
    /// None when the node is gone.
    places: HashMap<Id, Option<Place>>,
    names: HashMap<(Id, String), Id>,
}

impl<'a, T: Placed> Overlay<'a, T> {
    pub fn new(tree: &'a Tree<T>, key: fn(&str) -> String) -> Self {
        Self {
            tree,
            key,
            places: HashMap::new(),
            names: HashMap::new(),
        }
    }

    pub fn place(&self, id: &str) -> Option<&Place> {
        match self.places.get(id) {
            Some(place) => place.as_ref(),
            None => self.tree.get(id).map(Placed::place),
        }
    }

    pub fn has(&self, id: &str) -> bool {
        id == ROOT || self.place(id).is_some()
    }

    pub fn set(&mut self, id: &str, place: Option<Place>) {
        if let Some(place) = &place {
            let key = (place.parent.clone(), (self.key)(&place.name));
            self.names.insert(key, id.to_owned());
        }
        self.places.insert(id.to_owned(), place);
    }

    /// The node that has a name in a folder.
    pub fn holder(&self, place: &Place) -> Option<Id> {
        let key = (self.key)(&place.name);
        let is_there = |id: &&Id| {
            self.place(id)
                .is_some_and(|it| it.parent == place.parent && (self.key)(&it.name) == key)
        };
        let planned = self.names.get(&(place.parent.clone(), key.clone()));
        let planned = planned.filter(is_there);
        let holder = planned.or_else(|| {
            self.tree
                .holder(&place.parent, &place.name)
                .filter(is_there)
        });
        holder.cloned()
    }

    /// Whether a folder is a node or in it.
    pub fn is_in(&self, folder: &str, id: &str) -> bool {
        let mut at = folder;
        for _ in 0..1000 {
            if at == id {
                return true;
            }
            match self.place(at) {
                Some(place) => at = &place.parent,
                None => return false,
            }
        }
        true
    }

    /// The path of a place, which begins with a slash; none when it is in no folder that there is.
    pub fn path(&self, place: &Place) -> Option<String> {
        let mut names = vec![place.name.as_str()];
        let mut at = place.parent.as_str();
        while at != ROOT {
            let above = self.place(at)?;
            names.push(&above.name);
            at = &above.parent;
            if names.len() > 1000 {
                return None;
            }
        }
        names.push("");
        names.reverse();
        Some(names.join("/"))
    }
}
