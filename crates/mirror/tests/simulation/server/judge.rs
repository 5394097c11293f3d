//! What is to become of a change.

use super::*;

impl Server {
    pub(super) fn is_blocked(&self, w: &Writing<'_>, line: &[String]) -> bool {
        line.iter().any(|id| w.blocked.contains(id))
    }

    pub(super) fn is_moved(&self, w: &Writing<'_>, line: &[String]) -> bool {
        line[..line.len() - 1].iter().any(|id| {
            let held = &self.nodes[id];
            held.was_moved && self.placed_since(w, held).max(self.named_since(w, held)) > w.base
        })
    }

    pub(super) fn placed_since(&self, w: &Writing<'_>, held: &Held) -> u64 {
        held.placed.as_ref().unwrap_or(&held.made).other(w.device)
    }

    pub(super) fn named_since(&self, w: &Writing<'_>, held: &Held) -> u64 {
        held.named.as_ref().unwrap_or(&held.made).other(w.device)
    }

    pub(super) fn deletion(&self, w: &Writing<'_>, line: &[String]) -> u64 {
        let mut position = 0;
        let mut child: Option<&Held> = None;
        for id in line {
            let held = &self.nodes[id];
            if held.is_gone || child.is_some_and(|it| it.parent_generation != held.generation) {
                position = position.max(held.deleted.other(w.device));
            }
            child = Some(held);
        }
        position
    }

    pub(super) fn revivals(&self, w: &Writing<'_>, line: &[String]) -> Vec<(String, String)> {
        let mut list = Vec::new();
        let mut is_dead = false;
        for at in (0..line.len() - 1).rev() {
            let (held, parent) = (&self.nodes[&line[at]], &self.nodes[&line[at + 1]]);
            let was_dead = is_dead;
            is_dead |= held.is_gone || held.parent_generation != parent.generation;
            if is_dead {
                let mut name = held.name.clone();
                if !was_dead && self.holder(&line[at + 1], &name).is_some() {
                    name = self.copy_name(&line[at + 1], &name, w.device);
                }
                list.push((line[at].clone(), name));
            }
        }
        list
    }

    pub(super) fn place(
        &self,
        w: &Writing<'_>,
        plan: &mut Plan,
        folder: &str,
        name: &str,
    ) -> Option<Verdict> {
        let (line, is_live) = self.line(folder);
        if !self.nodes[folder].is_folder {
            return Some(rejected("NOT_FOUND", "the parent is not a folder"));
        }
        if self.is_blocked(w, &line) {
            return Some(Verdict::Refused(Outcome::Skip, "depends_on", "", "none"));
        }
        if plan.node.as_ref().is_some_and(|node| line.contains(node)) {
            return Some(rejected(
                "SYNC_INVALID_MOVE",
                "a folder cannot be moved into itself",
            ));
        }
        plan.parent = Some(folder.to_owned());
        plan.name = name.to_owned();
        if !is_live {
            if self.deletion(w, &line) <= w.base {
                return Some(rejected(
                    "NOT_FOUND",
                    "the parent is deleted, as the device knew",
                ));
            }
            plan.outcome = Some(Outcome::Revived);
            plan.revive = self.revivals(w, &line);
            return None;
        }
        if self.is_moved(w, &line) && plan.outcome.is_none() {
            plan.outcome = Some(Outcome::Merged);
        }
        None
    }

    pub(super) fn place_or_copy(
        &self,
        w: &Writing<'_>,
        plan: &mut Plan,
        folder: &str,
        name: &str,
    ) -> Option<Verdict> {
        let verdict = self.place(w, plan, folder, name);
        if verdict.is_some() || !plan.revive.is_empty() {
            return verdict;
        }
        let holder = self.holder(folder, name)?;
        if plan.node.as_ref() == Some(&holder) {
            return None;
        }
        plan.name = self.copy_name(folder, name, w.device);
        if plan.outcome != Some(Outcome::Revived) {
            plan.outcome = Some(Outcome::Suffixed);
        }
        None
    }

    pub(super) fn version<'a>(
        &'a self,
        w: &Writing<'_>,
        file: Option<&str>,
    ) -> Result<&'a Version, Verdict> {
        let missing = || rejected("NOT_FOUND", "there is no such version of this file");
        let id = w.change.version_id.as_ref().ok_or_else(missing)?;
        let version = self.versions.get(id).ok_or_else(missing)?;
        if file.is_some_and(|file| version.file != file) {
            return Err(missing());
        }
        Ok(version)
    }

    pub(super) fn restored(
        &self,
        w: &Writing<'_>,
        plan: &mut Plan,
        folder: &str,
        name: &str,
    ) -> Option<Verdict> {
        let (line, is_live) = self.line(folder);
        if is_live {
            return self.place_or_copy(w, plan, folder, name);
        }
        if plan.node.as_ref().is_some_and(|node| line.contains(node)) {
            return Some(rejected(
                "SYNC_INVALID_MOVE",
                "a folder cannot be moved into itself",
            ));
        }
        plan.parent = Some(folder.to_owned());
        plan.name = name.to_owned();
        plan.revive = self.revivals(w, &line);
        None
    }

    pub(super) fn is_edited(&self, w: &Writing<'_>, held: &Held) -> bool {
        if w.change.base_version_id == held.version {
            return false;
        }
        let position = held.content.as_ref().unwrap_or(&held.made).other(w.device);
        let since = match &w.change.base_version_id {
            Some(version) => self.versions.get(version).map_or(0, |it| it.position),
            None => w.base,
        };
        position > since
    }

    pub(super) fn created(&self, w: &Writing<'_>) -> Verdict {
        let change = w.change;
        let name = change
            .new_path
            .as_ref()
            .unwrap()
            .rsplit('/')
            .next()
            .unwrap();
        let folder = match &change.parent_id {
            Some(parent) => Some(parent.clone()).filter(|it| self.nodes.contains_key(it)),
            None => self.walk(change.new_path.as_ref().unwrap()),
        };
        let Some(folder) = folder else {
            return rejected("NOT_FOUND", "there is no such parent");
        };
        let is_folder = change.resource_type == ResourceType::Folder;
        let id = change.resource_id.clone();
        let text = match is_folder {
            true => None,
            false => match self.version(w, Some(&id)) {
                Ok(version) => Some(version.text.clone()),
                Err(verdict) => return verdict,
            },
        };
        let text_of = |held: &Held| {
            held.version
                .as_ref()
                .map(|it| self.versions[it].text.clone())
        };
        if let Some(held) = self.nodes.get(&id) {
            let (line, is_live) = self.line(&id);
            if is_live {
                let is_same = held.is_folder == is_folder
                    && held.parent == folder
                    && fold(&held.name) == fold(name)
                    && (is_folder || text_of(held) == text);
                return match is_same {
                    true => Verdict::Noop(id),
                    false => rejected("SYNC_ID_REUSED", "the resource_id is that of another node"),
                };
            }
            if held.is_folder != is_folder {
                return rejected("SYNC_ID_REUSED", "the resource_id is that of another node");
            }
            let _ = line;
            let mut plan = Plan {
                node: Some(id),
                is_back: true,
                version: change.version_id.clone(),
                outcome: Some(Outcome::Revived),
                ..Plan::default()
            };
            return self
                .place_or_copy(w, &mut plan, &folder, name)
                .unwrap_or(Verdict::Do(plan));
        }
        let mut plan = Plan {
            id,
            is_folder,
            version: change.version_id.clone(),
            ..Plan::default()
        };
        if let Some(verdict) = self.place(w, &mut plan, &folder, name) {
            return verdict;
        }
        if !plan.revive.is_empty() {
            return Verdict::Do(plan);
        }
        let Some(holder) = self.holder(&folder, name) else {
            return Verdict::Do(plan);
        };
        let held = &self.nodes[&holder];
        if !held.is_folder && !is_folder && text_of(held) == text {
            return Verdict::Noop(holder);
        }
        let row = if held.is_folder != is_folder {
            20
        } else if held.was_moved {
            15
        } else {
            19
        };
        if row == 19 && is_folder {
            return Verdict::Noop(holder);
        }
        plan.name = self.copy_name(&folder, name, w.device);
        plan.outcome = Some(if row == 19 {
            Outcome::Copied
        } else {
            Outcome::Suffixed
        });
        Verdict::Do(plan)
    }

    pub(super) fn updated(&self, w: &Writing<'_>) -> Verdict {
        let id = w.change.resource_id.clone();
        let Some(held) = self.nodes.get(&id).filter(|_| id != ROOT) else {
            return rejected("NOT_FOUND", "there is no such node");
        };
        let (line, is_live) = self.line(&id);
        if self.is_blocked(w, &line) {
            return Verdict::Refused(Outcome::Skip, "depends_on", "", "none");
        }
        let text = match self.version(w, Some(&id)) {
            Ok(version) => version.text.clone(),
            Err(verdict) => return verdict,
        };
        let mut plan = Plan {
            node: Some(id.clone()),
            version: w.change.version_id.clone(),
            ..Plan::default()
        };
        if !is_live {
            plan.is_back = true;
            plan.outcome = Some(Outcome::Revived);
            return self
                .restored(w, &mut plan, &line[1].clone(), &held.name.clone())
                .unwrap_or(Verdict::Do(plan));
        }
        if held.version.as_ref().map(|it| &self.versions[it].text) == Some(&text) {
            return Verdict::Noop(id);
        }
        if self.is_edited(w, held) {
            let copy = Plan {
                id: String::new(),
                parent: Some(held.parent.clone()),
                name: self.copy_name(&held.parent, &held.name, w.device),
                version: w.change.version_id.clone(),
                outcome: Some(Outcome::Copied),
                ..Plan::default()
            };
            return Verdict::Do(copy);
        }
        if self.is_moved(w, &line) {
            plan.outcome = Some(Outcome::Merged);
        }
        Verdict::Do(plan)
    }

    pub(super) fn deleted(&self, w: &Writing<'_>) -> Verdict {
        let id = w.change.resource_id.clone();
        let Some(held) = self.nodes.get(&id) else {
            return Verdict::Noop(String::new());
        };
        let (line, is_live) = self.line(&id);
        if self.is_blocked(w, &line) {
            return Verdict::Refused(Outcome::Skip, "depends_on", "", "none");
        }
        if !is_live {
            return Verdict::Noop(id);
        }
        if held.is_folder {
            let known = w
                .change
                .metadata
                .get("descendants")
                .and_then(|it| it.as_u64());
            let is_known = known.is_none_or(|known| known >= self.count(&id));
            if held.inner.other(w.device) > w.base || !is_known {
                return dropped("inner_changed", "pull");
            }
        } else if self.is_edited(w, held) {
            return dropped("edited", "download");
        }
        let moved = self.placed_since(w, held).max(self.named_since(w, held));
        if held.was_moved && moved > w.base {
            return dropped("moved", "pull");
        }
        Verdict::Do(Plan {
            node: Some(id),
            is_delete: true,
            ..Plan::default()
        })
    }

    pub(super) fn moved(&self, w: &Writing<'_>) -> Verdict {
        let change = w.change;
        let id = change.resource_id.clone();
        let Some(held) = self.nodes.get(&id).filter(|_| id != ROOT) else {
            return rejected("NOT_FOUND", "there is no such node");
        };
        let (line, is_live) = self.line(&id);
        if self.is_blocked(w, &line) {
            return Verdict::Refused(Outcome::Skip, "depends_on", "", "none");
        }
        // What is wanted: the folder and the name, each only if it is to change.
        let path = change.new_path.clone().unwrap();
        let folder = match &change.parent_id {
            Some(parent) => self.nodes.contains_key(parent).then(|| parent.clone()),
            None => self.walk(&path),
        };
        let Some(folder) = folder else {
            return rejected("NOT_FOUND", "there is no such parent");
        };
        let split = |path: &str| {
            let (folder, name) = path.rsplit_once('/').unwrap();
            (fold(folder), name.to_owned())
        };
        let (new_folder, name) = split(&path);
        let old = change.old_path.as_deref().map(split);
        let mut wanted_folder = Some(folder);
        match &old {
            Some((old_folder, _)) if *old_folder == new_folder && change.parent_id.is_none() => {
                wanted_folder = None;
            }
            _ => {}
        }
        let mut wanted_name = Some(name);
        if old.is_some_and(|(_, old)| Some(&old) == wanted_name.as_ref()) {
            wanted_name = None;
        }
        let wanted_folder = wanted_folder.filter(|it| *it != held.parent);
        let wanted_name = wanted_name.filter(|it| *it != held.name);
        let name = wanted_name.clone().unwrap_or_else(|| held.name.clone());
        let folder = wanted_folder.clone().unwrap_or_else(|| line[1].clone());
        let mut plan = Plan {
            node: Some(id.clone()),
            is_place: true,
            ..Plan::default()
        };
        if !is_live {
            plan.outcome = Some(Outcome::Revived);
            plan.is_back = true;
            plan.is_place = false;
            return self
                .restored(w, &mut plan, &folder, &name)
                .unwrap_or(Verdict::Do(plan));
        }
        if wanted_folder.is_none() && wanted_name.is_none() {
            return Verdict::Noop(id);
        }
        let (placed, named) = (self.placed_since(w, held), self.named_since(w, held));
        let is_elsewhere = wanted_folder.is_some() && held.was_moved && placed > w.base;
        let is_renamed = wanted_name.is_some() && held.was_moved && named > w.base;
        if is_elsewhere || is_renamed {
            return dropped("moved", "pull");
        }
        if held.was_moved && placed.max(named) > w.base {
            plan.outcome = Some(Outcome::Merged);
        }
        if let Some(folder) = wanted_folder.as_ref().filter(|_| held.is_folder) {
            let (line, _) = self.line(folder);
            let mut last = 0;
            for it in &line {
                if *it == id {
                    return match last > w.base {
                        true => dropped("cycle", "pull"),
                        false => {
                            rejected("SYNC_INVALID_MOVE", "a folder cannot be moved into itself")
                        }
                    };
                }
                let other = &self.nodes[it];
                if other.was_moved {
                    last = last.max(self.placed_since(w, other));
                }
            }
        }
        self.place_or_copy(w, &mut plan, &folder, &name)
            .unwrap_or(Verdict::Do(plan))
    }

    // What happens.
}
