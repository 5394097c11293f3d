//! Watchers saw every revision once and in order, up to the last one.

use std::collections::BTreeMap;

use crate::history::{Entry, Event};

pub(super) fn check(history: &[Entry]) -> Vec<String> {
    let mut found = Vec::new();
    let mut last: BTreeMap<(&str, &str), u64> = BTreeMap::new();
    for entry in history {
        match &entry.event {
            Event::Seen {
                watcher,
                document,
                kind,
                revision,
                ..
            } => {
                let before = last.insert((watcher, document), *revision);
                let is_right = match (kind.as_str(), before) {
                    ("present", None) => true,
                    ("change", Some(before)) => *revision == before + 1,
                    ("reset", Some(before)) => *revision > before,
                    _ => false,
                };
                if !is_right {
                    found.push(format!(
                        "{watcher}: {kind} {revision} of {document} after {before:?}"
                    ));
                }
            }
            Event::Document { document, body } => {
                let revision = body["revision"].as_u64().unwrap_or_default();
                for ((watcher, _), seen) in last.iter().filter(|((_, it), _)| it == document) {
                    if *seen != revision {
                        found.push(format!(
                            "{watcher}: saw {document} up to {seen}, it is at {revision}"
                        ));
                    }
                }
            }
            _ => {}
        }
    }
    found
}
