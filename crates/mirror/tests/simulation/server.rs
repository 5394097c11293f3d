//! A plain model of what the server does with changes, with conflicts resolved as KEEP_BOTH, as
//! `lua/filesync/judge.lua` and `perform.lua` do it.

mod judge;
mod perform;
mod tree;

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
