//! Reads a history and says what in it breaks a promise. Pure: the same history gives the same
//! findings.

mod answers;
mod documents;
mod files;
mod filesync;
mod jobs;
mod own;
#[cfg(test)]
mod tests;
mod watchers;

use std::collections::BTreeMap;

use crate::call::Call;
use crate::history::{Answer, Entry, Event};

/// What is wrong, in words; empty when all promises hold.
pub fn check(history: &[Entry]) -> Vec<String> {
    let ops = ops(history);
    let mut found = Vec::new();
    found.extend(answers::check(&ops));
    found.extend(documents::check(history, &ops));
    found.extend(own::check(history, &ops));
    found.extend(watchers::check(history));
    found.extend(jobs::check(history, &ops));
    found.extend(files::check(history, &ops));
    found.extend(filesync::check(history, &ops));
    found
}

/// A call and its answer, `None` when that is not known.
struct Op<'a> {
    number: u64,
    call: &'a Call,
    sent: u64,
    answered: Option<(u64, &'a Answer)>,
}

fn ops(history: &[Entry]) -> Vec<Op<'_>> {
    let mut ops = BTreeMap::new();
    for Entry { at, event } in history {
        match event {
            Event::Sent { op, call } => {
                let op_of = Op {
                    number: *op,
                    call,
                    sent: *at,
                    answered: None,
                };
                ops.insert(*op, op_of);
            }
            Event::Answered { op, answer } => {
                if let Some(op) = ops.get_mut(op) {
                    op.answered = Some((*at, answer));
                }
            }
            _ => {}
        }
    }
    ops.into_values().collect()
}
