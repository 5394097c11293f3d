//! Watchers saw every revision once and in order, up to the last one, and never took one life of a
//! document for another.

use std::collections::{BTreeMap, BTreeSet};

use crate::call::Call;
use crate::history::{Entry, Event};

/// A revision of a document, with the life that it is of when it has several.
type Seen<'a> = (Option<&'a str>, u64);

pub(super) fn check(history: &[Entry]) -> Vec<String> {
    let mut found = Vec::new();
    let mut last: BTreeMap<(&str, &str), Seen> = BTreeMap::new();
    let mut mortal = BTreeSet::new();
    for entry in history {
        match &entry.event {
            Event::Sent {
                call: Call::Live { document, .. },
                ..
            } => {
                mortal.insert(document);
            }
            Event::Seen {
                watcher,
                document,
                kind,
                revision,
                body,
            } => {
                let life = body["data"]["life"].as_str();
                let seen = (life, *revision);
                let before = match kind.as_str() {
                    "gone" => last.remove(&(watcher, document)),
                    _ => last.insert((watcher, document), seen),
                };
                let is_right = match (kind.as_str(), before) {
                    ("present", None) => true,
                    ("gone", _) => mortal.contains(document),
                    ("change", Some(before)) => before.0 == life && before.1 + 1 == *revision,
                    ("reset", Some(before)) => before.0 != life || *revision > before.1,
                    _ => false,
                };
                if !is_right {
                    found.push(format!(
                        "{watcher}: {kind} {seen:?} of {document} after {before:?}"
                    ));
                }
            }
            Event::Document { document, body } => {
                let revision = body["revision"].as_u64().unwrap_or_default();
                for ((watcher, _), seen) in last.iter().filter(|((_, it), _)| it == document) {
                    if seen.1 != revision {
                        found.push(format!(
                            "{watcher}: saw {document} up to {seen:?}, it is at {revision}"
                        ));
                    }
                }
            }
            _ => {}
        }
    }
    found
}
