//! File sync: positions are dense, what was acknowledged is at its position and there once, nothing is
//! there that nobody has told, and every reader and socket saw the same log.

use std::collections::BTreeMap;

use serde_json::Value;

use super::Op;
use crate::call::Call;
use crate::history::{Entry, Event};

pub(super) fn check(history: &[Entry], ops: &[Op]) -> Vec<String> {
    let mut found = Vec::new();
    for entry in history {
        if let Event::Log { share, changes } = &entry.event {
            let log = Log { share, changes };
            found.extend(log.itself());
            found.extend(log.edits(ops));
            found.extend(log.pages(ops));
            found.extend(log.frames(history));
        }
    }
    found.extend(contents(history, ops));
    found
}

struct Log<'a> {
    share: &'a str,
    changes: &'a [Value],
}

impl Log<'_> {
    fn at(&self, position: u64) -> &Value {
        let index = usize::try_from(position)
            .ok()
            .and_then(|it| it.checked_sub(1));
        index
            .and_then(|it| self.changes.get(it))
            .unwrap_or(&Value::Null)
    }

    /// What a log is by itself.
    fn itself(&self) -> Vec<String> {
        let mut found = Vec::new();
        let mut seen = BTreeMap::new();
        for (at, change) in self.changes.iter().enumerate() {
            if change["position"] != at as u64 + 1 {
                found.push(format!("{}: {change} is entry {}", self.share, at + 1));
            }
            // Each resource is created, renamed and deleted once at most.
            let what = (
                change["resource_id"].as_str(),
                change["change_type"].as_str(),
            );
            if let Some(first) = seen.insert(what, at + 1) {
                found.push(format!(
                    "{}: {change} is there twice, also at {first}",
                    self.share
                ));
            }
        }
        found
    }

    /// What devices have told.
    fn edits(&self, ops: &[Op]) -> Vec<String> {
        let mut found = Vec::new();
        let mut told = BTreeMap::new();
        let mut answers: BTreeMap<&str, &Value> = BTreeMap::new();
        for op in ops {
            let Call::Edit { share, change, .. } = op.call else {
                continue;
            };
            if share != self.share {
                continue;
            }
            let what = (
                change["resource_id"].as_str(),
                change["change_type"].as_str(),
            );
            told.insert(what, ());
            let Some((_, answer)) = op.answered.filter(|it| it.1.status == 200) else {
                continue;
            };
            let item = &answer.body["applied"][0];
            if item["outcome"] != "applied" {
                found.push(format!(
                    "{}: {change} was answered {}",
                    self.share, answer.body
                ));
                continue;
            }
            let entry = self.at(item["position"].as_u64().unwrap_or_default());
            if (entry["resource_id"].as_str(), entry["change_type"].as_str()) != what {
                found.push(format!(
                    "{}: {change} was acknowledged as {item}, there is {entry}",
                    self.share
                ));
            }
            let id = change["id"].as_str().unwrap_or_default();
            let first = answers.entry(id).or_insert(item);
            if *first != item {
                found.push(format!(
                    "{}: {change} was answered {first}, then {item}",
                    self.share
                ));
            }
        }
        for entry in self.changes.iter().skip(1) {
            let what = (entry["resource_id"].as_str(), entry["change_type"].as_str());
            if !told.contains_key(&what) {
                found.push(format!("{}: nobody has told {entry}", self.share));
            }
        }
        found
    }

    /// What readers were given.
    fn pages(&self, ops: &[Op]) -> Vec<String> {
        let mut found = Vec::new();
        for op in ops {
            let (Call::Changes { share, after, .. }, Some((_, answer))) = (op.call, op.answered)
            else {
                continue;
            };
            if share != self.share || answer.status != 200 {
                continue;
            }
            let mut last = *after;
            for change in answer.body["changes"].as_array().into_iter().flatten() {
                last += 1;
                if change["position"] != last || change != self.at(last) {
                    found.push(format!(
                        "{share}: a page has {change}, there is {}",
                        self.at(last)
                    ));
                }
            }
            if answer.body["cursor"] != last {
                found.push(format!(
                    "{share}: a page to {last} has the cursor {}",
                    answer.body["cursor"]
                ));
            }
        }
        found
    }

    /// What sockets were told.
    fn frames(&self, history: &[Entry]) -> Vec<String> {
        let frames = history.iter().filter_map(|entry| match &entry.event {
            Event::Frame {
                share,
                position,
                id,
            } if share == self.share => Some((*position, id)),
            _ => None,
        });
        let wrong = frames.filter(|(position, id)| self.at(*position)["id"] != id.as_str());
        wrong
            .map(|(position, id)| format!("{}: a frame told {id} at {position}", self.share))
            .collect()
    }
}

/// Files whose creation was acknowledged have the content that was uploaded.
fn contents(history: &[Entry], ops: &[Op]) -> Vec<String> {
    let uploads = ops.iter().filter_map(|op| match op.call {
        Call::Upload { file, text, .. } => Some((file.as_str(), text.as_str())),
        _ => None,
    });
    let uploads: BTreeMap<&str, &str> = uploads.collect();
    let of_file = |entry: &Entry| match &entry.event {
        Event::Content { file, status, text } => {
            let is_right = *status == 200 && uploads.get(file.as_str()) == Some(&text.as_str());
            (!is_right).then(|| format!("{file}: its download is {status}, {text:?}"))
        }
        _ => None,
    };
    history.iter().filter_map(of_file).collect()
}
