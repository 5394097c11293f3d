//! Every job ends, is there as long as its caller may ask for it, and is not given up while it has attempts left.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::caller::is_final;
use crate::history::{Entry, Event};

pub(super) fn check(history: &[Entry]) -> Vec<String> {
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
    last.into_iter().filter_map(of_job).chain(lines).collect()
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
