//! Files: imports last, the cache is what Convex holds, nudges come once and in order, and of those
//! who left nothing stays.

use std::collections::{BTreeMap, BTreeSet};

use super::Op;
use crate::call::Call;
use crate::history::{Entry, Event};

/// What may be the version of a file: more than one when an import is not known to have been made;
/// `None` for a deleted one.
type Versions<'a> = BTreeMap<&'a str, BTreeSet<Option<u64>>>;

pub(super) fn check(history: &[Entry], ops: &[Op]) -> Vec<String> {
    let mut found = nudges(history);
    for entry in history {
        match &entry.event {
            Event::Files {
                user,
                complete,
                cached,
                convex,
            } => {
                let wrong = imports(convex, &imported(ops, user));
                let wrong = wrong.into_iter().chain(cache(*complete, cached, convex));
                found.extend(wrong.map(|it| format!("{user}: {it}")));
            }
            Event::Left {
                user,
                kind,
                keys,
                documents,
            } => {
                if !keys.is_empty() {
                    found.push(format!("{user}: after {kind} there are still {keys:?}"));
                }
                if documents.is_some_and(|count| count > 0) {
                    found.push(format!("{user}: after {kind} Convex holds {documents:?}"));
                }
            }
            _ => {}
        }
    }
    found
}

/// The files of a user as imports, one after the other, left them.
fn imported<'a>(ops: &[Op<'a>], name: &str) -> Versions<'a> {
    let mut versions = Versions::new();
    for op in ops {
        let Call::Import { user, files } = op.call else {
            continue;
        };
        if user != name {
            continue;
        }
        let is_made = op.answered.is_some_and(|(_, answer)| answer.status == 200);
        for (id, version) in files {
            let possible = versions
                .entry(id.as_str())
                .or_insert_with(|| BTreeSet::from([None]));
            if is_made {
                possible.clear();
            }
            possible.insert(*version);
        }
    }
    versions
}

fn imports(convex: &BTreeMap<String, u64>, imported: &Versions) -> Vec<String> {
    let mut found = Vec::new();
    for (id, possible) in imported {
        let version = convex.get(*id).copied();
        if !possible.contains(&version) {
            found.push(format!(
                "Convex holds {id} as {version:?}, not as {possible:?}"
            ));
        }
    }
    let unknown = convex
        .keys()
        .filter(|id| !imported.contains_key(id.as_str()));
    found.extend(unknown.map(|id| format!("Convex holds {id}, which nobody imported")));
    found
}

fn cache(
    complete: bool,
    cached: &BTreeMap<String, u64>,
    convex: &BTreeMap<String, u64>,
) -> Vec<String> {
    let mut found = Vec::new();
    for (id, version) in cached {
        if convex.get(id) != Some(version) {
            let there = convex.get(id);
            found.push(format!(
                "{id} is cached as {version}, Convex holds {there:?}"
            ));
        }
    }
    let missing = convex
        .keys()
        .filter(|id| complete && !cached.contains_key(*id));
    found.extend(missing.map(|id| format!("{id} is missing in a set of all files")));
    found
}

/// Each change is told at most once, and those of a file in the order in which they happened.
fn nudges(history: &[Entry]) -> Vec<String> {
    let mut found = Vec::new();
    let mut told = BTreeSet::new();
    let mut last: BTreeMap<(&str, &str), u64> = BTreeMap::new();
    for entry in history {
        let Event::Nudged { doc, ts, user, id } = &entry.event else {
            continue;
        };
        if !told.insert((doc, ts)) {
            found.push(format!("the change of {doc} at {ts} was told twice"));
        }
        if let Some(before) = last.insert((user, id), *ts).filter(|before| before > ts) {
            found.push(format!(
                "{user}, {id}: the change at {ts} was told after that at {before}"
            ));
        }
    }
    found
}
