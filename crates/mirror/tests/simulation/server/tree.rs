//! The tree: places, names and paths.

use super::*;

impl Server {
    /// The node and the folders above it, and whether all are live.
    pub(super) fn line(&self, id: &str) -> (Vec<String>, bool) {
        let mut line = vec![id.to_owned()];
        let mut is_live = !self.nodes[id].is_gone;
        let mut at = id.to_owned();
        while at != ROOT {
            let held = &self.nodes[&at];
            let parent = &self.nodes[&held.parent];
            is_live &= !parent.is_gone && held.parent_generation == parent.generation;
            at = held.parent.clone();
            line.push(at.clone());
            assert!(line.len() < 1000, "a folder is in itself");
        }
        (line, is_live)
    }

    pub(super) fn is_live(&self, id: &str) -> bool {
        self.line(id).1
    }

    pub(super) fn path(&self, id: &str) -> String {
        let (line, _) = self.line(id);
        let names = line
            .iter()
            .rev()
            .skip(1)
            .map(|id| self.nodes[id].name.as_str());
        format!("/{}", names.collect::<Vec<_>>().join("/"))
    }

    pub(super) fn names_of(&self, folder: &str) -> (String, u64) {
        (folder.to_owned(), self.nodes[folder].generation)
    }

    pub(super) fn holder(&self, folder: &str, name: &str) -> Option<String> {
        self.names
            .get(&self.names_of(folder))?
            .get(&fold(name))
            .cloned()
    }

    pub(super) fn walk(&self, path: &str) -> Option<String> {
        let folder = path.rsplit_once('/').map_or("", |it| it.0);
        let mut at = ROOT.to_owned();
        for name in folder.split('/').filter(|it| !it.is_empty()) {
            let key = self.names_of(&at);
            let name = fold(name);
            let found = self.names.get(&key).and_then(|it| it.get(&name));
            let found = found.or_else(|| self.ghosts.get(&key).and_then(|it| it.get(&name)));
            at = found?.clone();
        }
        Some(at)
    }

    pub(super) fn count(&self, folder: &str) -> u64 {
        let inside = |id: &String| {
            let (line, is_live) = self.line(id);
            is_live && line[1..].iter().any(|it| it == folder)
        };
        self.nodes
            .keys()
            .filter(|id| *id != ROOT && inside(id))
            .count() as u64
    }

    pub(super) fn copy_name(&self, folder: &str, name: &str, device: &str) -> String {
        let (stem, extension) = match name.rfind('.') {
            Some(at) if at > 0 => name.split_at(at),
            _ => (name, ""),
        };
        let stem = stem.split(" (copy ").next().unwrap_or_default();
        let names = (1..).map(|number| format!("{stem} (copy {device} {number}){extension}"));
        let mut free = names.filter(|it| self.holder(folder, it).is_none());
        free.next().unwrap_or_default()
    }

    // What is to happen.

    pub(super) fn attach(&mut self, id: &str, folder: &str, name: &str) {
        let key = self.names_of(folder);
        self.names
            .entry(key.clone())
            .or_default()
            .insert(fold(name), id.to_owned());
        if let Some(ghosts) = self.ghosts.get_mut(&key) {
            ghosts.remove(&fold(name));
        }
        let node = self.nodes.get_mut(id).unwrap();
        node.parent = folder.to_owned();
        node.parent_generation = key.1;
        node.name = name.to_owned();
    }

    pub(super) fn detach(&mut self, id: &str) {
        let held = &self.nodes[id];
        let (key, name) = (self.names_of(&held.parent), fold(&held.name));
        if let Some(names) = self.names.get_mut(&key)
            && names.get(&name).is_some_and(|it| it == id)
        {
            names.remove(&name);
        }
    }
}
