//! What the server answers to changes, taken into the trees.
//!
//! What was sent counts as in step from then on, also where the server did otherwise: what it did
//! comes with its log, and is then the only change, which this side follows. So a file that became a
//! copy is renamed, and a move that was dropped is undone, by the same plan as any change of another
//! device.

use std::collections::BTreeMap;

use chrono::{DateTime, SecondsFormat};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sluice_client::types::{Applied, NewChange, Outcome, Outcomes, Unapplied};

use crate::plan::{Act, Intent};
use crate::tree::{Content, Id, Kind, Node, Place};
use crate::trees::Trees;

/// How often a change is sent anew whose node or folder was not there.
const ATTEMPTS: u32 = 5;

/// A change as it was sent.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Sent {
    /// As the server got it.
    pub change: NewChange,
    /// What it is for.
    pub intent: Intent,
}

impl Sent {
    /// The change of an intent, by an id of its own, with the version that was uploaded for it.
    pub fn new(id: String, intent: Intent, version: Option<String>, modified: Option<i64>) -> Self {
        let base = match &intent.act {
            Act::Update(_, version) => version.clone(),
            _ => None,
        };
        let change = NewChange {
            id,
            resource_type: intent.resource_type(),
            resource_id: intent.id.clone(),
            change_type: intent.change_type(),
            base_version_id: base,
            version_id: version,
            parent_id: intent.parent.clone(),
            old_path: intent.old_path.clone(),
            new_path: intent.new_path.clone(),
            metadata: metadata(&intent, modified),
        };
        Self { change, intent }
    }
}

fn metadata(intent: &Intent, modified: Option<i64>) -> BTreeMap<String, Value> {
    let mut metadata = BTreeMap::new();
    match &intent.act {
        Act::Delete(descendants) if intent.kind == Kind::Folder => {
            metadata.insert("descendants".to_owned(), json!(descendants));
        }
        Act::Create(..) | Act::Update(..) if intent.kind == Kind::File => {
            if let Some(time) = modified.and_then(rfc3339) {
                metadata.insert("modified_at".to_owned(), json!(time));
            }
        }
        _ => {}
    }
    metadata
}

/// A time in ms since 1970, in UTC with milliseconds.
pub fn rfc3339(ms: i64) -> Option<String> {
    let time = DateTime::from_timestamp_millis(ms)?;
    Some(time.to_rfc3339_opts(SecondsFormat::Millis, true))
}

impl Trees {
    /// Takes in what happened to changes that were sent together. Whether all of them happened as
    /// they were meant; if not, what was planned behind them is out of date.
    pub fn answered(&mut self, sent: &[Sent], outcomes: &Outcomes) -> bool {
        let applied = outcomes.applied.iter().map(|it| (it.id.as_deref(), Ok(it)));
        let refused = outcomes
            .conflicts
            .iter()
            .map(|it| (it.id.as_deref(), Err(it)));
        let mut answers: BTreeMap<&str, Result<&Applied, &Unapplied>> = applied
            .chain(refused)
            .filter_map(|(id, answer)| Some((id?, answer)))
            .collect();
        for it in &outcomes.applied {
            if let (Some(position), Some(id)) = (it.position, &it.resource_id) {
                self.expect(position, id);
            }
        }
        let mut aliases = BTreeMap::new();
        let mut is_plain = true;
        for it in sent {
            let intent = aliased(&it.intent, &aliases);
            match answers.remove(it.change.id.as_str()) {
                Some(Ok(answer)) => {
                    is_plain &= matches!(answer.outcome, Outcome::Applied | Outcome::Merged);
                    self.attempts.remove(&intent.id);
                    self.applied(&intent, answer, &mut aliases);
                }
                Some(Err(answer)) => {
                    is_plain = false;
                    self.refused(&intent, &it.change, answer);
                }
                None => is_plain = false,
            }
        }
        is_plain
    }

    /// A change of ours is at a position of the log. When another was said to be there, or behind it,
    /// the server has lost that one: one that never comes is expected then.
    fn expect(&mut self, position: u64, id: &str) {
        let is_known = self.own.get(&position).is_some_and(|known| known == id);
        let last = self.own.last_key_value().map(|(last, _)| *last);
        if !is_known && last.is_some_and(|last| last >= position) {
            self.own.insert(u64::MAX, id.to_owned());
        }
        self.own.insert(position, id.to_owned());
    }

    fn applied(&mut self, intent: &Intent, answer: &Applied, aliases: &mut BTreeMap<Id, Id>) {
        let id = &intent.id;
        let resource = answer.resource_id.as_ref().unwrap_or(id);
        match &intent.act {
            Act::Create(place, content) => {
                if resource != id {
                    self.rekey(id, resource);
                    aliases.insert(id.clone(), resource.clone());
                }
                let node = Node {
                    kind: intent.kind,
                    place: place.clone(),
                    version: answer.version_id.clone(),
                    content: content.clone(),
                    modified: None,
                };
                self.set_synced(resource, Some(node));
            }
            Act::Update(content, _) if answer.outcome == Outcome::Copied && resource != id => {
                if let Some(local) = self.local.get(id) {
                    let place = local.place.clone();
                    self.rekey(id, resource);
                    self.set_synced(id, None);
                    let version = answer.version_id.clone();
                    self.set_content(resource, content, version, place);
                }
            }
            Act::Update(content, _) => self.sent_content(id, content, answer.version_id.clone()),
            Act::Move(place) => self.sent_place(id, place),
            Act::Delete(_) => self.forget(id),
        }
    }

    fn refused(&mut self, intent: &Intent, change: &NewChange, answer: &Unapplied) {
        let id = &intent.id;
        let detail = || {
            let detail = answer.detail.as_deref().unwrap_or(&answer.reason);
            format!("the server refuses it: {detail}")
        };
        match (answer.outcome, answer.code.as_deref()) {
            (Outcome::Skip, _) => {}
            (Outcome::Dropped, _) => match &intent.act {
                Act::Update(content, _) if answer.next == "download" => {
                    self.sent_content(id, content, change.version_id.clone());
                }
                Act::Update(..) | Act::Create(..) => self.set_apart(id, intent.kind),
                Act::Move(place) => self.sent_place(id, place),
                Act::Delete(_) => self.forget(id),
            },
            (Outcome::Rejected, Some("SYNC_ID_REUSED")) => self.set_apart(id, intent.kind),
            (Outcome::Rejected, Some("SYNC_INVALID_MOVE")) => match &intent.act {
                Act::Move(place) => self.sent_place(id, place),
                _ => self.note(id, detail()),
            },
            // What it was about has changed meanwhile: the next plan knows.
            (Outcome::Rejected, Some("NOT_FOUND")) => {
                let attempts = self.attempts.entry(id.clone()).or_default();
                *attempts += 1;
                if *attempts > ATTEMPTS {
                    self.note(id, detail());
                }
                self.unknown(intent);
            }
            _ => self.note(id, detail()),
        }
    }

    /// The server may never have known, or no more, what it is said to have deleted: that is here
    /// alone.
    fn unknown(&mut self, intent: &Intent) {
        let id = match &intent.act {
            Act::Create(place, _) => &place.parent,
            Act::Update(..) | Act::Delete(_) => &intent.id,
            Act::Move(place) if self.remote.has(&intent.id) => &place.parent,
            Act::Move(_) => &intent.id,
        };
        if !self.remote.has(id) {
            self.set_synced(id, None);
        }
    }

    /// What is here becomes a new node, beside what the server has.
    fn set_apart(&mut self, id: &str, kind: Kind) {
        let fresh = self.fresh_id(kind);
        self.rekey(id, &fresh);
        self.set_synced(id, None);
    }

    fn sent_content(&mut self, id: &str, content: &Content, version: Option<String>) {
        let synced = self.synced.get(id).map(|it| it.place.clone());
        let place = synced.or_else(|| self.local.get(id).map(|it| it.place.clone()));
        if let Some(place) = place {
            self.set_content(id, content, version, place);
        }
    }

    fn set_content(&mut self, id: &str, content: &Content, version: Option<String>, place: Place) {
        let node = Node {
            kind: Kind::File,
            place,
            version,
            content: Some(content.clone()),
            modified: None,
        };
        self.set_synced(id, Some(node));
    }

    fn sent_place(&mut self, id: &str, place: &Place) {
        if let Some(synced) = self.synced.get(id) {
            let mut node = synced.clone();
            node.place = place.clone();
            self.set_synced(id, Some(node));
        }
    }

    /// What is not here was never in step: gone when the server has deleted it, else it comes back.
    fn forget(&mut self, id: &str) {
        let mut ids = self.synced.descendants(id);
        ids.push(id.to_owned());
        for id in ids {
            if !self.local.has(&id) {
                self.set_synced(&id, None);
            }
        }
    }
}

/// An intent by the ids that the server has instead of ours.
fn aliased(intent: &Intent, aliases: &BTreeMap<Id, Id>) -> Intent {
    let mut intent = intent.clone();
    let of = |id: &mut Id| {
        if let Some(alias) = aliases.get(id) {
            alias.clone_into(id);
        }
    };
    of(&mut intent.id);
    match &mut intent.act {
        Act::Create(place, _) | Act::Move(place) => of(&mut place.parent),
        Act::Update(..) | Act::Delete(_) => {}
    }
    intent
}
