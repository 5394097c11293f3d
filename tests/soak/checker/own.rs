//! Documents that have one writer: each write leaves the revision that it should, and the end is
//! what the last write left.

use std::collections::BTreeMap;

use serde_json::Value;

use super::Op;
use crate::call::{Call, Step};
use crate::history::{Entry, Event};

/// What a document is after a write.
#[derive(Clone, Copy, Debug, PartialEq)]
struct State {
    revision: u64,
    /// The revision that wrote the data.
    data: u64,
    deleted: bool,
}

pub(super) fn check(history: &[Entry], ops: &[Op]) -> Vec<String> {
    let mut steps: BTreeMap<&str, BTreeMap<u64, (Step, bool)>> = BTreeMap::new();
    let mut found = Vec::new();
    for op in ops {
        let Call::Step {
            document,
            revision,
            step,
            ..
        } = op.call
        else {
            continue;
        };
        let steps = steps.entry(document).or_default();
        let entry = steps.entry(*revision).or_insert((*step, false));
        let Some((_, answer)) = op.answered else {
            continue;
        };
        if answer.status < 300 && answer.status != 202 {
            entry.1 = true;
            if answer.body["revision"].as_u64() != Some(*revision) {
                let told = &answer.body["revision"];
                found.push(format!(
                    "{document}: {step:?} to {revision} was answered with {told}"
                ));
            }
        }
    }
    for entry in history {
        if let Event::Document { document, body } = &entry.event
            && let Some(steps) = steps.get(document.as_str())
        {
            let possible = possible(steps);
            if !possible.iter().any(|state| fits(state, body)) {
                found.push(format!("{document}: is {body}, but could be {possible:?}"));
            }
        }
    }
    found
}

/// The states that a document may be in: after all that was acknowledged, and after the last write
/// if that is not known.
fn possible(steps: &BTreeMap<u64, (Step, bool)>) -> Vec<Option<State>> {
    let mut state = None;
    let mut states = vec![None];
    for (&revision, &(step, is_acknowledged)) in steps {
        let data = match step {
            Step::Delete | Step::Restore => state.map_or(0, |it: State| it.data),
            _ => revision,
        };
        state = Some(State {
            revision,
            data,
            deleted: step == Step::Delete,
        });
        if is_acknowledged {
            states.clear();
        }
        states.push(state);
    }
    states
}

fn fits(state: &Option<State>, body: &Value) -> bool {
    match state {
        Some(state) if !state.deleted => {
            body["revision"].as_u64() == Some(state.revision)
                && body["data"]["revision"].as_u64() == Some(state.data)
        }
        _ => body.is_null(),
    }
}
