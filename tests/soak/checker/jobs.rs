//! Every job ends, is there as long as its caller may ask for it, and is not given up while it has
//! attempts left.

use std::collections::BTreeMap;

use serde_json::Value;

use super::Op;
use crate::call::Call;
use crate::caller::is_final;
use crate::history::{Entry, Event};

pub(super) fn check(history: &[Entry], ops: &[Op]) -> Vec<String> {
    let mut last: BTreeMap<&str, &Value> = BTreeMap::new();
    for entry in history {
        match &entry.event {
            Event::Job { job, view } => {
                last.insert(job, view);
            }
            Event::Answered { answer, .. } => {
                let outcomes = answer.body["outcomes"].as_array();
                let bodies = outcomes.into_iter().flatten().chain([&answer.body]);
                for job in bodies.filter_map(|body| body["job"].as_str()) {
                    last.entry(job).or_insert(&Value::Null);
                }
            }
            _ => {}
        }
    }
    let lines = history.iter().filter_map(|entry| match &entry.event {
        Event::Lines { left } if !left.is_empty() => Some(format!("jobs without an end: {left:?}")),
        _ => None,
    });
    let mut found: Vec<String> = last.into_iter().filter_map(of_job).chain(lines).collect();
    found.extend(risen(ops));
    found.extend(streams(history));
    found
}

/// Jobs that go on after somebody saw their end.
fn risen(ops: &[Op]) -> Vec<String> {
    let looks: Vec<(&str, u64, u64, &Value)> = ops
        .iter()
        .filter_map(|op| match (op.call, op.answered) {
            (Call::Job { job }, Some((at, answer))) if answer.status == 200 => {
                Some((job.as_str(), op.sent, at, &answer.body))
            }
            _ => None,
        })
        .collect();
    let mut ended: BTreeMap<&str, u64> = BTreeMap::new();
    for (job, _, at, view) in &looks {
        if is_final(view) {
            let first = ended.entry(job).or_insert(*at);
            *first = (*first).min(*at);
        }
    }
    let is_risen = |(job, sent, _, view): &(&str, u64, u64, &Value)| {
        !is_final(view) && ended.get(job).is_some_and(|ended| ended < sent)
    };
    let tell = |(job, _, _, view): &(&str, u64, u64, &Value)| {
        format!("job {job}: had ended, but is {}", view["state"])
    };
    looks.iter().filter(|it| is_risen(it)).map(tell).collect()
}

/// What streams tell is of their job, and as much as one look tells.
fn streams(history: &[Entry]) -> Vec<String> {
    let is_wrong = |entry: &Entry| match &entry.event {
        Event::Followed { job, view } if view["id"] != **job || !view["state"].is_string() => {
            Some(format!("job {job}: its stream tells {view}"))
        }
        _ => None,
    };
    history.iter().filter_map(is_wrong).collect()
}

fn of_job((job, view): (&str, &Value)) -> Option<String> {
    if view.is_null() {
        return Some(format!("job {job}: is lost"));
    }
    if !is_final(view) {
        return Some(format!("job {job}: has no end: {view}"));
    }
    let attempts = view["attempts"].as_u64();
    let is_given_up = view["state"] == "dead" && attempts < view["max_attempts"].as_u64();
    is_given_up.then(|| format!("job {job}: dead with attempts left: {view}"))
}
