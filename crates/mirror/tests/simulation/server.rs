//! A plain model of what the server does with changes, with conflicts resolved as KEEP_BOTH, as
//! `lua/filesync/judge.lua` and `perform.lua` do it.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::json;
use sluice_client::types::{
    Applied, Change, ChangePage, ChangeType, Metadata, NewChange, Node, Outcome, Outcomes,
    ResourceType, Unapplied,
};
use sluice_mirror::name::fold;
use sluice_mirror::pull::Snapshot;

const ROOT: &str = "root";

/// The last writer of something, and the last one before who was another: positions and devices.
#[derive(Clone, Debug, Default)]
struct Mark(Option<(u64, String)>, Option<(u64, String)>);

impl Mark {
    fn by(&self, position: u64, device: &str) -> Self {
        let before = match &self.0 {
            Some((_, last)) if last != device => self.0.clone(),
            _ => self.1.clone(),
        };
        Self(Some((position, device.to_owned())), before)
    }

    fn other(&self, device: &str) -> u64 {
        let both = [&self.0, &self.1].into_iter().flatten();
        both.filter(|(_, by)| by != device)
            .map(|(position, _)| *position)
            .next()
            .unwrap_or(0)
    }
}

#[derive(Clone, Debug)]
struct Held {
    is_folder: bool,
    parent: String,
    name: String,
    parent_generation: u64,
    generation: u64,
    version: Option<String>,
    is_gone: bool,
    made: Mark,
    content: Option<Mark>,
    placed: Option<Mark>,
    named: Option<Mark>,
    deleted: Mark,
    inner: Mark,
    was_moved: bool,
    position: u64,
}

#[derive(Clone, Debug)]
struct Version {
    file: String,
    text: String,
    position: u64,
}

/// One share.
#[derive(Clone)]
pub struct Server {
    nodes: BTreeMap<String, Held>,
    names: BTreeMap<(String, u64), BTreeMap<String, String>>,
    ghosts: BTreeMap<(String, u64), BTreeMap<String, String>>,
    versions: BTreeMap<String, Version>,
    pub log: Vec<Change>,
    pub floor: u64,
    outcomes: BTreeMap<(String, String), (String, Result<Applied, Unapplied>)>,
    /// What ids end with; it never goes back.
    pub made: u64,
}

/// The answer that the cursor leads nowhere.
#[derive(Debug)]
pub struct Reset;

/// What is to happen.
enum Verdict {
    Noop(String),
    Refused(Outcome, &'static str, &'static str, &'static str),
    Do(Plan),
}

#[derive(Default)]
struct Plan {
    outcome: Option<Outcome>,
    node: Option<String>,
    id: String,
    is_folder: bool,
    parent: Option<String>,
    name: String,
    revive: Vec<(String, String)>,
    is_back: bool,
    is_delete: bool,
    is_place: bool,
    version: Option<String>,
}

fn dropped(reason: &'static str, next: &'static str) -> Verdict {
    Verdict::Refused(Outcome::Dropped, reason, "", next)
}

fn rejected(code: &'static str, detail: &'static str) -> Verdict {
    Verdict::Refused(Outcome::Rejected, detail, code, "none")
}

/// The text of a content is its own hash: none are the same but the same.
pub fn sha256(text: &str) -> String {
    text.to_owned()
}

impl Server {
    pub fn new() -> Self {
        let root = Held {
            is_folder: true,
            parent: String::new(),
            name: String::new(),
            parent_generation: 0,
            generation: 0,
            version: None,
            is_gone: false,
            made: Mark::default(),
            content: None,
            placed: None,
            named: None,
            deleted: Mark::default(),
            inner: Mark::default(),
            was_moved: false,
            position: 0,
        };
        Self {
            nodes: BTreeMap::from([(ROOT.to_owned(), root)]),
            names: BTreeMap::new(),
            ghosts: BTreeMap::new(),
            versions: BTreeMap::new(),
            log: Vec::new(),
            floor: 1,
            outcomes: BTreeMap::new(),
            made: 0,
        }
    }

    pub fn head(&self) -> u64 {
        self.log.last().map_or(0, |change| change.position)
    }

    /// Every content that there is a version of.
    pub fn contents(&self) -> BTreeSet<String> {
        self.versions
            .values()
            .map(|version| version.text.clone())
            .collect()
    }

    pub fn upload(&mut self, file: &str, text: &str) -> String {
        self.made += 1;
        let id = format!("ver_{}", self.made);
        let version = Version {
            file: file.to_owned(),
            text: text.to_owned(),
            position: 0,
        };
        self.versions.insert(id.clone(), version);
        id
    }

    pub fn download(&self, version: &str) -> Option<String> {
        self.versions.get(version).map(|it| it.text.clone())
    }

    /// The live tree: path to content, none for folders.
    pub fn tree(&self) -> BTreeMap<String, Option<String>> {
        let live = self
            .nodes
            .keys()
            .filter(|id| *id != ROOT && self.is_live(id));
        live.map(|id| {
            let version = self.nodes[id].version.as_ref();
            let text = version.map(|it| self.versions[it].text.clone());
            (self.path(id)[1..].to_owned(), text)
        })
        .collect()
    }

    pub fn changes(
        &self,
        cursor: u64,
        since: Option<&str>,
        limit: usize,
    ) -> Result<ChangePage, Reset> {
        let head = self.head();
        if cursor > head || cursor + 1 < self.floor {
            return Err(Reset);
        }
        let at = self.log.iter().find(|change| change.position == cursor);
        if let Some(since) = since
            && at.is_none_or(|at| at.id != since)
        {
            return Err(Reset);
        }
        let changes: Vec<Change> = self
            .log
            .iter()
            .filter(|it| it.position > cursor)
            .take(limit)
            .cloned()
            .collect();
        let last = changes.last().or(at);
        let next = changes.last().map_or(cursor, |it| it.position);
        Ok(ChangePage {
            cursor: next,
            has_more: next < head,
            floor: self.floor,
            last_change_id: last.map(|it| it.id.clone()),
            changes,
        })
    }

    pub fn snapshot(&self) -> Snapshot {
        let live = self
            .nodes
            .iter()
            .filter(|(id, _)| *id != ROOT && self.is_live(id));
        let nodes = live.map(|(id, held)| Node {
            id: id.clone(),
            resource_type: resource(held.is_folder),
            parent_id: Some(held.parent.clone()),
            name: held.name.clone(),
            path: self.path(id),
            version_id: held.version.clone(),
            position: held.position,
            metadata: self.metadata(held),
            deleted: false,
        });
        let kept = self.log.iter().filter(|it| it.position >= self.floor);
        Snapshot {
            nodes: nodes.collect(),
            cursor: self.head(),
            log: kept.cloned().collect(),
            last_change: self.log.last().map(|it| it.id.clone()),
            ..Snapshot::default()
        }
    }

    fn metadata(&self, held: &Held) -> Metadata {
        let version = held.version.as_ref().map(|it| &self.versions[it]);
        Metadata {
            size: version.map(|it| it.text.len() as u64),
            sha256: version.map(|it| sha256(&it.text)),
            ..Metadata::default()
        }
    }

    /// Applies a batch of a device.
    pub fn apply(
        &mut self,
        device: &str,
        base: u64,
        changes: &[NewChange],
    ) -> Result<Outcomes, Reset> {
        if base > self.head() {
            return Err(Reset);
        }
        let mut outcomes = Outcomes::default();
        let mut blocked = BTreeSet::new();
        let mut blocked_paths: Vec<String> = Vec::new();
        let mut aliases: BTreeMap<String, String> = BTreeMap::new();
        for change in changes {
            let mut change = change.clone();
            let sent = serde_json::to_string(&change).unwrap();
            let resource = change.resource_id.clone();
            for id in [Some(&mut change.resource_id), change.parent_id.as_mut()]
                .into_iter()
                .flatten()
            {
                if let Some(alias) = aliases.get(id) {
                    *id = alias.clone();
                }
            }
            let paths =
                [&change.new_path, &change.old_path].map(|it| it.clone().unwrap_or_default());
            let is_below = paths.iter().any(|path| {
                let mut rests = blocked_paths
                    .iter()
                    .filter_map(|it| path.strip_prefix(it.as_str()));
                rests.any(|rest| rest.starts_with('/'))
            });
            let is_blocked = is_below
                || blocked.contains(&change.resource_id)
                || change
                    .parent_id
                    .as_ref()
                    .is_some_and(|it| blocked.contains(it));
            let key = (device.to_owned(), change.id.clone());
            let answer = if is_blocked {
                Err(unapplied(&change, Outcome::Skip, "depends_on", "", "none"))
            } else if let Some((known, answer)) = self.outcomes.get(&key) {
                assert_eq!(*known, sent, "an id names one change");
                answer.clone()
            } else {
                let answer = self.one(device, base, &change, &resource, &blocked);
                let outcome = answer
                    .as_ref()
                    .map_or_else(|it| it.outcome, |it| it.outcome);
                if !matches!(outcome, Outcome::Skip | Outcome::Rejected) {
                    self.outcomes.insert(key, (sent, answer.clone()));
                }
                answer
            };
            match answer {
                Ok(applied) => {
                    if change.change_type == ChangeType::Created
                        && applied.outcome != Outcome::Copied
                        && let Some(id) = applied.resource_id.clone().filter(|id| *id != resource)
                    {
                        aliases.insert(resource, id);
                    }
                    outcomes.applied.push(applied);
                }
                Err(refused) => {
                    blocked.insert(resource);
                    blocked_paths.extend(paths.into_iter().filter(|it| !it.is_empty()));
                    outcomes.conflicts.push(refused);
                }
            }
        }
        Ok(outcomes)
    }

    fn one(
        &mut self,
        device: &str,
        base: u64,
        change: &NewChange,
        sent_id: &str,
        blocked: &BTreeSet<String>,
    ) -> Result<Applied, Unapplied> {
        let w = Writing {
            device,
            base,
            change,
            blocked,
        };
        let verdict = match change.change_type {
            ChangeType::Created => self.created(&w),
            ChangeType::Updated => self.updated(&w),
            ChangeType::Deleted => self.deleted(&w),
            _ => self.moved(&w),
        };
        let (outcome, id) = match verdict {
            Verdict::Refused(outcome, reason, code, next) => {
                return Err(unapplied(change, outcome, reason, code, next));
            }
            Verdict::Noop(id) => (Outcome::Noop, Some(id).filter(|it| !it.is_empty())),
            Verdict::Do(plan) => {
                let outcome = plan.outcome.unwrap_or(Outcome::Applied);
                (outcome, Some(self.perform(&w, plan)))
            }
        };
        let held = id.as_ref().and_then(|id| self.nodes.get(id));
        let _ = sent_id;
        Ok(Applied {
            id: Some(change.id.clone()),
            outcome,
            resource_id: id.clone(),
            version_id: held.and_then(|it| it.version.clone()),
            path: id.as_ref().map(|id| self.path(id)),
            position: (outcome != Outcome::Noop).then(|| self.head()),
            conflict_id: None,
        })
    }

    // The tree.

    /// The node and the folders above it, and whether all are live.
    fn line(&self, id: &str) -> (Vec<String>, bool) {
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

    fn is_live(&self, id: &str) -> bool {
        self.line(id).1
    }

    fn path(&self, id: &str) -> String {
        let (line, _) = self.line(id);
        let names = line
            .iter()
            .rev()
            .skip(1)
            .map(|id| self.nodes[id].name.as_str());
        format!("/{}", names.collect::<Vec<_>>().join("/"))
    }

    fn names_of(&self, folder: &str) -> (String, u64) {
        (folder.to_owned(), self.nodes[folder].generation)
    }

    fn holder(&self, folder: &str, name: &str) -> Option<String> {
        self.names
            .get(&self.names_of(folder))?
            .get(&fold(name))
            .cloned()
    }

    fn walk(&self, path: &str) -> Option<String> {
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

    fn count(&self, folder: &str) -> u64 {
        let inside = |id: &String| {
            let (line, is_live) = self.line(id);
            is_live && line[1..].iter().any(|it| it == folder)
        };
        self.nodes
            .keys()
            .filter(|id| *id != ROOT && inside(id))
            .count() as u64
    }

    fn copy_name(&self, folder: &str, name: &str, device: &str) -> String {
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

    fn is_blocked(&self, w: &Writing<'_>, line: &[String]) -> bool {
        line.iter().any(|id| w.blocked.contains(id))
    }

    fn is_moved(&self, w: &Writing<'_>, line: &[String]) -> bool {
        line[..line.len() - 1].iter().any(|id| {
            let held = &self.nodes[id];
            held.was_moved && self.placed_since(w, held).max(self.named_since(w, held)) > w.base
        })
    }

    fn placed_since(&self, w: &Writing<'_>, held: &Held) -> u64 {
        held.placed.as_ref().unwrap_or(&held.made).other(w.device)
    }

    fn named_since(&self, w: &Writing<'_>, held: &Held) -> u64 {
        held.named.as_ref().unwrap_or(&held.made).other(w.device)
    }

    fn deletion(&self, w: &Writing<'_>, line: &[String]) -> u64 {
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

    fn revivals(&self, w: &Writing<'_>, line: &[String]) -> Vec<(String, String)> {
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

    fn place(&self, w: &Writing<'_>, plan: &mut Plan, folder: &str, name: &str) -> Option<Verdict> {
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

    fn place_or_copy(
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

    fn version<'a>(&'a self, w: &Writing<'_>, file: Option<&str>) -> Result<&'a Version, Verdict> {
        let missing = || rejected("NOT_FOUND", "there is no such version of this file");
        let id = w.change.version_id.as_ref().ok_or_else(missing)?;
        let version = self.versions.get(id).ok_or_else(missing)?;
        if file.is_some_and(|file| version.file != file) {
            return Err(missing());
        }
        Ok(version)
    }

    fn restored(
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

    fn is_edited(&self, w: &Writing<'_>, held: &Held) -> bool {
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

    fn created(&self, w: &Writing<'_>) -> Verdict {
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

    fn updated(&self, w: &Writing<'_>) -> Verdict {
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

    fn deleted(&self, w: &Writing<'_>) -> Verdict {
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

    fn moved(&self, w: &Writing<'_>) -> Verdict {
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

    fn perform(&mut self, w: &Writing<'_>, plan: Plan) -> String {
        for (id, name) in &plan.revive {
            let parent = self.nodes[id].parent.clone();
            self.revive(w, id, &parent, name);
            self.entry(w, id, ChangeType::Created, None);
        }
        let Some(id) = plan.node.clone() else {
            let id = match plan.id.as_str() {
                "" => {
                    self.made += 1;
                    format!("fil_s{}", self.made)
                }
                id => id.to_owned(),
            };
            let parent = plan.parent.clone().unwrap();
            let held = Held {
                is_folder: plan.is_folder,
                parent: parent.clone(),
                name: plan.name.clone(),
                parent_generation: 0,
                generation: 0,
                version: None,
                is_gone: false,
                made: Mark::default().by(self.head() + 1, w.device),
                content: None,
                placed: None,
                named: None,
                deleted: Mark::default(),
                inner: Mark::default(),
                was_moved: false,
                position: 0,
            };
            self.nodes.insert(id.clone(), held);
            self.attach(&id, &parent, &plan.name);
            self.touch_inner(w, &parent);
            self.fill(w, &id, plan.version.as_deref());
            self.entry(w, &id, ChangeType::Created, None);
            return id;
        };
        let old_path = self.path(&id);
        if plan.is_delete {
            self.detach(&id);
            let held = self.nodes[&id].clone();
            if held.is_folder {
                let key = self.names_of(&held.parent);
                self.ghosts
                    .entry(key)
                    .or_default()
                    .insert(fold(&held.name), id.clone());
            }
            let mark = held.deleted.by(self.head() + 1, w.device);
            let node = self.nodes.get_mut(&id).unwrap();
            node.is_gone = true;
            node.deleted = mark;
            self.entry(w, &id, ChangeType::Deleted, Some(old_path));
        } else if plan.is_place {
            let parent = plan.parent.clone().unwrap();
            let before = self.nodes[&id].clone();
            let is_moved = before.parent != parent;
            self.detach(&id);
            self.attach(&id, &parent, &plan.name);
            let position = self.head() + 1;
            let node = self.nodes.get_mut(&id).unwrap();
            if is_moved {
                node.placed = Some(
                    before
                        .placed
                        .as_ref()
                        .unwrap_or(&before.made)
                        .by(position, w.device),
                );
            }
            if before.name != plan.name {
                node.named = Some(
                    before
                        .named
                        .as_ref()
                        .unwrap_or(&before.made)
                        .by(position, w.device),
                );
            }
            node.was_moved = true;
            if is_moved {
                self.touch_inner(w, &parent);
            }
            let kind = if is_moved {
                ChangeType::Moved
            } else {
                ChangeType::Renamed
            };
            self.entry(w, &id, kind, Some(old_path));
        } else if plan.is_back {
            let parent = plan.parent.clone().unwrap();
            self.revive(w, &id, &parent, &plan.name);
            self.fill(w, &id, plan.version.as_deref());
            self.entry(w, &id, ChangeType::Created, None);
        } else {
            self.fill(w, &id, plan.version.as_deref());
            let parent = self.nodes[&id].parent.clone();
            self.touch_inner(w, &parent);
            self.entry(w, &id, ChangeType::Updated, None);
        }
        id
    }

    fn touch_inner(&mut self, w: &Writing<'_>, folder: &str) {
        let position = self.head() + 1;
        for id in self.line(folder).0 {
            let node = self.nodes.get_mut(&id).unwrap();
            node.inner = node.inner.by(position, w.device);
        }
    }

    fn attach(&mut self, id: &str, folder: &str, name: &str) {
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

    fn detach(&mut self, id: &str) {
        let held = &self.nodes[id];
        let (key, name) = (self.names_of(&held.parent), fold(&held.name));
        if let Some(names) = self.names.get_mut(&key)
            && names.get(&name).is_some_and(|it| it == id)
        {
            names.remove(&name);
        }
    }

    fn revive(&mut self, w: &Writing<'_>, id: &str, folder: &str, name: &str) {
        self.detach(id);
        let position = self.head() + 1;
        let node = self.nodes.get_mut(id).unwrap();
        if node.is_folder {
            node.generation += 1;
        }
        node.is_gone = false;
        node.deleted = node.deleted.by(position, w.device);
        self.attach(id, folder, name);
        self.touch_inner(w, folder);
    }

    fn fill(&mut self, w: &Writing<'_>, id: &str, version: Option<&str>) {
        let Some(version) = version else { return };
        let position = self.head() + 1;
        let node = self.nodes.get_mut(id).unwrap();
        node.version = Some(version.to_owned());
        node.content = Some(
            node.content
                .as_ref()
                .unwrap_or(&node.made)
                .by(position, w.device),
        );
        let version = self.versions.get_mut(version).unwrap();
        version.file = id.to_owned();
        version.position = position;
    }

    fn entry(&mut self, w: &Writing<'_>, id: &str, kind: ChangeType, old_path: Option<String>) {
        self.made += 1;
        let position = self.head() + 1;
        let held = self.nodes.get_mut(id).unwrap();
        held.position = position;
        let held = held.clone();
        let path = self.path(id);
        self.log.push(Change {
            id: format!("chg_{}", self.made),
            position,
            share_id: "shr".to_owned(),
            resource_type: resource(held.is_folder),
            resource_id: id.to_owned(),
            parent_id: Some(held.parent.clone()),
            change_type: kind,
            changed_by: None,
            device_id: Some(w.device.to_owned()),
            changed_at: String::new(),
            new_path: (kind != ChangeType::Deleted).then_some(path),
            old_path,
            version_id: held.version.clone(),
            metadata: self.metadata(&held),
        });
    }
}

struct Writing<'a> {
    device: &'a str,
    base: u64,
    change: &'a NewChange,
    blocked: &'a BTreeSet<String>,
}

fn resource(is_folder: bool) -> ResourceType {
    if is_folder {
        ResourceType::Folder
    } else {
        ResourceType::File
    }
}

fn unapplied(
    change: &NewChange,
    outcome: Outcome,
    reason: &str,
    code: &str,
    next: &str,
) -> Unapplied {
    let text = json!(reason);
    Unapplied {
        id: Some(change.id.clone()),
        outcome,
        reason: reason.to_owned(),
        code: (!code.is_empty()).then(|| code.to_owned()),
        detail: text.as_str().map(str::to_owned),
        next: next.to_owned(),
    }
}
