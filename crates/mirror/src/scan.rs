//! What is found in the folder, taken into the tree of what is here: which file is which.
//!
//! A file is the one that it was when it has the same identity, wherever it is; else when it has the
//! same place; else, when it is new and another is missing, if it has the same content. Everything
//! else is new, and what is not found is gone.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::tree::{Content, Id, Identity, Kind, Local, Place, ROOT, Stamp};
use crate::trees::Trees;

/// A file or folder that was found.
#[derive(Clone, Debug)]
pub struct Found {
    /// Which of those found before is its folder; none for the top.
    pub parent: Option<usize>,
    /// Its name there.
    pub name: String,
    /// What it is.
    pub kind: Kind,
    /// Which it is.
    pub identity: Option<Identity>,
    /// Of a file: what it looks like.
    pub stamp: Option<Stamp>,
    /// Of a folder: that it could not be looked into, so that nothing in it is known to be gone.
    pub is_opaque: bool,
}

/// What was found, each with its id, before contents are read.
#[derive(Debug)]
pub struct Matched {
    found: Vec<(Id, Found, Place)>,
    /// By what was found: those whose content has to be read.
    pub unread: Vec<usize>,
    /// What was here before and was not found.
    pub missing: BTreeSet<Id>,
}

impl Matched {
    /// The path of what was found, from the top on.
    pub fn path(&self, at: usize) -> String {
        let mut names = Vec::new();
        let mut next = Some(at);
        while let Some(at) = next {
            let found = &self.found[at].1;
            names.push(found.name.as_str());
            next = found.parent;
        }
        names.reverse();
        names.join("/")
    }
}

/// The content of a file, and what it looked like then; or why there is none.
pub type Reading = Result<(Content, Option<Stamp>), String>;

impl Trees {
    /// Finds out which file is which.
    pub fn match_found(&mut self, found: Vec<Found>) -> Matched {
        let mut by_identity: HashMap<Identity, Id> = HashMap::new();
        for (id, local) in self.local.iter() {
            if let Some(identity) = local.identity {
                by_identity.insert(identity, id.clone());
            }
        }
        // Of several names of one file, the one that it had is the file; else the first.
        let mut bearers: HashMap<Identity, Vec<usize>> = HashMap::new();
        for (at, it) in found.iter().enumerate() {
            if let Some(identity) = it.identity {
                bearers.entry(identity).or_default().push(at);
            }
        }
        let mut ids: Vec<Id> = Vec::with_capacity(found.len());
        let mut taken = BTreeSet::new();
        let mut places = Vec::with_capacity(found.len());
        for (at, it) in found.iter().enumerate() {
            let parent = it
                .parent
                .map_or(ROOT.to_owned(), |parent| ids[parent].clone());
            let same_place = self.local.holder(&parent, &it.name).cloned();
            let same_place = same_place.filter(|id| {
                self.local
                    .get(id)
                    .is_some_and(|local| local.kind == it.kind)
            });
            let same_file = it.identity.and_then(|identity| {
                let id = by_identity.get(&identity)?;
                let local = self.local.get(id).filter(|local| local.kind == it.kind)?;
                let all = &bearers[&identity];
                let keeps = |&other: &usize| {
                    let other_parent = found[other].parent;
                    let parent = match other_parent {
                        None => ROOT,
                        // What comes later is not known yet, and so not preferred.
                        Some(parent) => ids.get(parent)?,
                    };
                    (local.place.parent == parent && local.place.name == found[other].name)
                        .then_some(())
                };
                let bearer = all
                    .iter()
                    .find(|other| keeps(other).is_some())
                    .or(all.first());
                (bearer == Some(&at)).then(|| id.clone())
            });
            // What had the place before is elsewhere by now.
            let is_elsewhere = |id: &Id| {
                let identity = self.local.get(id).and_then(|local| local.identity);
                identity.is_some_and(|identity| {
                    Some(identity) != it.identity && bearers.contains_key(&identity)
                })
            };
            let same_place = same_place.filter(|id| !is_elsewhere(id));
            let id = same_file.or(same_place).filter(|id| !taken.contains(id));
            let id = id.unwrap_or_else(|| self.fresh_id(it.kind));
            taken.insert(id.clone());
            places.push(Place {
                parent,
                name: it.name.clone(),
            });
            ids.push(id);
        }
        let unread = (0..found.len()).filter(|&at| self.is_unread(&ids[at], &found[at]));
        let unread = unread.collect();
        let opaque = found.iter().zip(&ids).filter(|(it, _)| it.is_opaque);
        let hidden: BTreeSet<Id> = opaque
            .flat_map(|(_, id)| self.local.descendants(id))
            .collect();
        let known = self.local.iter().map(|(id, _)| id);
        let missing = known
            .filter(|id| !taken.contains(*id) && !hidden.contains(*id))
            .cloned()
            .collect();
        let found = ids.into_iter().zip(found).zip(places);
        let found = found
            .map(|((id, found), place)| (id, found, place))
            .collect();
        Matched {
            found,
            unread,
            missing,
        }
    }

    /// An id for what is new here.
    pub(crate) fn fresh_id(&mut self, kind: Kind) -> Id {
        self.ids
            .next(if kind == Kind::File { "fil" } else { "fld" })
    }

    fn is_unread(&self, id: &str, found: &Found) -> bool {
        found.kind == Kind::File
            && self.local.get(id).is_none_or(|local| {
                local.content.is_none() || local.stamp.is_none() || local.stamp != found.stamp
            })
    }

    /// Takes in what was found, with the contents that were read, by what was found.
    pub fn take_found(&mut self, matched: Matched, mut readings: BTreeMap<usize, Reading>) {
        let Matched {
            mut found,
            mut missing,
            ..
        } = matched;
        self.find_by_content(&mut found, &readings, &mut missing);
        for id in &missing {
            self.set_local(id, None);
        }
        for (at, (id, found, place)) in found.into_iter().enumerate() {
            let before = self.local.get(&id);
            let (mut content, mut stamp) = match before {
                Some(local) => (local.content.clone(), local.stamp),
                None => (None, None),
            };
            let mut problem = None;
            match readings.remove(&at) {
                Some(Ok((read, seen))) => (content, stamp) = (Some(read), seen),
                Some(Err(text)) => {
                    (content, stamp) = (None, None);
                    problem = Some(text);
                }
                None => {}
            }
            let local = Local {
                kind: found.kind,
                place,
                content,
                identity: found.identity,
                stamp,
            };
            self.set_local(&id, Some(local));
            if let Some(text) = problem {
                self.note(&id, text);
            }
        }
    }

    /// What is new has the id of what is missing, if it has the same content.
    fn find_by_content(
        &mut self,
        found: &mut [(Id, Found, Place)],
        readings: &BTreeMap<usize, Reading>,
        missing: &mut BTreeSet<Id>,
    ) {
        let mut by_content: HashMap<Content, Id> = HashMap::new();
        for id in missing.iter() {
            let content = self.local.get(id).and_then(|local| local.content.clone());
            if let Some(content) = content.filter(|content| content.size > 0) {
                by_content.insert(content, id.clone());
            }
        }
        for (at, reading) in readings {
            let (id, ..) = &found[*at];
            if let Ok((content, _)) = reading
                && !self.local.has(id)
                && let Some(old) = by_content.remove(content)
            {
                missing.remove(&old);
                found[*at].0 = old;
            }
        }
    }
}
