//! Documents that all write. Each write leaves one mark, so the list of marks is the order in which
//! writes were made: the mark at place `n`, from 0, made revision `n + 2`.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde_json::Value;

use super::Op;
use crate::call::Call;
use crate::history::{Entry, Event};

/// One mark, and what its writer knows of it.
#[derive(Default)]
struct Write {
    /// When it was sent first.
    sent: u64,
    /// When it was acknowledged, made or accepted, first.
    acknowledged: Option<u64>,
    /// The revision that it must be made on.
    expected: Option<u64>,
    /// That it will not be made was an answer.
    is_refused: bool,
    /// Revisions that were answered.
    revisions: BTreeSet<u64>,
    /// Jobs that make it.
    jobs: BTreeSet<String>,
}

type Writes<'a> = HashMap<&'a str, Write>;

pub(super) fn check(history: &[Entry], ops: &[Op]) -> Vec<String> {
    let mut of_documents: BTreeMap<String, Writes> = BTreeMap::new();
    for op in ops {
        match op.call {
            Call::Mark {
                document,
                mark,
                expected,
                ..
            } => {
                let writes = of_documents.entry(document.clone()).or_default();
                let answer = op.answered.map(|(at, it)| (at, it.status, &it.body));
                note(writes, mark, op, answer).expected = *expected;
            }
            Call::Batch { service, marks, .. } => {
                for (place, (id, mark)) in marks.iter().enumerate() {
                    let writes = of_documents.entry(format!("{service}/{id}")).or_default();
                    note(writes, mark, op, outcome(op, place));
                }
            }
            _ => {}
        }
    }
    let views = last_views(history);
    let mut found = Vec::new();
    for (document, mut writes) in of_documents {
        settle_jobs(&mut writes, &views);
        let Some(body) = final_body(history, &document) else {
            continue;
        };
        let Some(marks) = body["data"]["marks"].as_array() else {
            found.push(format!("{document}: is lost: {body}"));
            continue;
        };
        let marks: Vec<&str> = marks.iter().filter_map(Value::as_str).collect();
        let mut wrong = of_document(body, &marks, &writes);
        wrong.extend(observations(history, ops, &document, &marks));
        wrong.extend(stale_reads(ops, &document));
        found.extend(wrong.into_iter().map(|it| format!("{document}: {it}")));
    }
    found
}

/// The answer to one write of a batch: when, its status, its body.
fn outcome<'a>(op: &Op<'a>, place: usize) -> Option<(u64, u16, &'a Value)> {
    let (at, answer) = op.answered?;
    let Some(outcome) = answer.body["outcomes"].get(place) else {
        return Some((at, answer.status, &answer.body));
    };
    Some((at, outcome["status"].as_u64()? as u16, outcome))
}

fn note<'a, 'w>(
    writes: &'w mut Writes<'a>,
    mark: &'a str,
    op: &Op,
    answer: Option<(u64, u16, &Value)>,
) -> &'w mut Write {
    let is_new = !writes.contains_key(mark);
    let write = writes.entry(mark).or_default();
    if is_new {
        write.sent = op.sent;
    }
    let Some((at, status, body)) = answer else {
        return write;
    };
    write.is_refused |= (400..500).contains(&status);
    if status < 400 {
        write.acknowledged.get_or_insert(at);
    }
    write.jobs.extend(body["job"].as_str().map(str::to_owned));
    let revision = body["revision"].as_u64();
    let revision = revision.or_else(|| body["document"]["revision"].as_u64());
    write.revisions.extend(revision);
    write
}

fn last_views(history: &[Entry]) -> HashMap<&str, &Value> {
    history
        .iter()
        .filter_map(|entry| match &entry.event {
            Event::Job { job, view } => Some((job.as_str(), view)),
            _ => None,
        })
        .collect()
}

/// What the jobs say in the end: the revision that they made, or that they refused.
fn settle_jobs(writes: &mut Writes, views: &HashMap<&str, &Value>) {
    for write in writes.values_mut() {
        for view in write.jobs.iter().filter_map(|job| views.get(job.as_str())) {
            write.revisions.extend(view["result"]["revision"].as_u64());
            let is_refusal = !view["error"].is_null();
            write.is_refused |= is_refusal;
            if is_refusal || view["state"] != "completed" {
                write.acknowledged = None;
            }
        }
    }
}

fn final_body<'a>(history: &'a [Entry], name: &str) -> Option<&'a Value> {
    history.iter().rev().find_map(|entry| match &entry.event {
        Event::Document { document, body } if document == name => Some(body),
        _ => None,
    })
}

fn of_document(body: &Value, marks: &[&str], writes: &Writes) -> Vec<String> {
    let mut found = Vec::new();
    if body["data"]["count"].as_u64() != Some(marks.len() as u64) {
        found.push(format!(
            "{} marks, but count {}",
            marks.len(),
            body["data"]["count"]
        ));
    }
    if body["revision"].as_u64() != Some(marks.len() as u64 + 1) {
        found.push(format!(
            "{} marks, but revision {}",
            marks.len(),
            body["revision"]
        ));
    }
    let mut made = HashMap::new();
    for (place, mark) in marks.iter().enumerate() {
        if !writes.contains_key(mark) {
            found.push(format!("mark {mark} was never sent"));
        }
        if let Some(before) = made.insert(*mark, place) {
            found.push(format!(
                "mark {mark} was made twice, at {before} and {place}"
            ));
        }
    }
    for (mark, write) in writes {
        let made_at = made.get(mark).map(|place| *place as u64 + 2);
        if write.acknowledged.is_some() && made_at.is_none() {
            found.push(format!("mark {mark} was acknowledged, but is lost"));
        }
        // A repetition is answered as the first was, and what was refused is on no later revision
        // the expected one.
        if write.is_refused && made_at.is_some() {
            found.push(format!("mark {mark} was refused, but made"));
        }
        if let (Some(expected), Some(made_at)) = (write.expected, made_at)
            && made_at != expected + 1
        {
            found.push(format!(
                "mark {mark} was to be made on {expected}, but made {made_at}"
            ));
        }
        for revision in &write.revisions {
            if made_at != Some(*revision) {
                found.push(format!(
                    "mark {mark} was answered with revision {revision}, but made {made_at:?}"
                ));
            }
        }
    }
    found.extend(out_of_order(marks, writes));
    found
}

/// A write that was sent after another one was acknowledged comes after it.
fn out_of_order(marks: &[&str], writes: &Writes) -> Vec<String> {
    let mut found = Vec::new();
    let mut latest: Option<(&str, u64)> = None;
    for mark in marks {
        let Some(write) = writes.get(mark) else {
            continue;
        };
        if let (Some((before, sent)), Some(acknowledged)) = (latest, write.acknowledged)
            && acknowledged < sent
        {
            found.push(format!(
                "mark {mark} was acknowledged before {before} was sent, but comes after it"
            ));
        }
        if latest.is_none_or(|(_, sent)| sent < write.sent) {
            latest = Some((mark, write.sent));
        }
    }
    found
}

/// Whoever saw a revision saw what the writes up to it had left.
fn observations(history: &[Entry], ops: &[Op], name: &str, marks: &[&str]) -> Vec<String> {
    let answers = ops.iter().filter_map(|op| {
        let of_name = match op.call {
            Call::Mark { document, .. } | Call::Read { document } => document == name,
            _ => false,
        };
        let (_, answer) = op.answered.filter(|_| of_name)?;
        Some((format!("op {}", op.number), &answer.body))
    });
    let seen = history.iter().filter_map(|entry| match &entry.event {
        Event::Seen {
            watcher,
            document,
            body,
            ..
        } if document == name => Some((watcher.clone(), body)),
        _ => None,
    });
    let is_wrong = |body: &Value| {
        let revision = body["revision"].as_u64()? as usize;
        let made = revision.saturating_sub(1);
        let last = made
            .checked_sub(1)
            .and_then(|place| marks.get(place).copied());
        let data = &body["data"];
        let is_right = data["made"].as_u64() == Some(made as u64)
            && data["count"].as_u64() == Some(made as u64)
            && data["last"].as_str() == last;
        (!is_right).then(|| format!("revision {revision} is {data}, its mark was {last:?}"))
    };
    answers
        .chain(seen)
        .filter_map(|(who, body)| Some(format!("{who} saw that {}", is_wrong(body)?)))
        .collect()
}

/// A read that was sent after a write was answered shows it.
fn stale_reads(ops: &[Op], name: &str) -> Vec<String> {
    let mut answered: Vec<(u64, u64)> = ops
        .iter()
        .filter_map(|op| match (op.call, op.answered) {
            (Call::Mark { document, .. }, Some((at, answer))) if document == name => {
                Some((at, answer.body["revision"].as_u64()?))
            }
            _ => None,
        })
        .collect();
    answered.sort_unstable();
    let mut greatest = 0;
    for (_, revision) in &mut answered {
        greatest = greatest.max(*revision);
        *revision = greatest;
    }
    let known_at = |sent: u64| {
        let before = answered.partition_point(|(at, _)| *at < sent);
        before.checked_sub(1).map_or(0, |place| answered[place].1)
    };
    ops.iter()
        .filter_map(|op| {
            let Call::Read { document } = op.call else {
                return None;
            };
            let (_, answer) = op.answered.filter(|_| document == name)?;
            let (read, known) = (answer.body["revision"].as_u64()?, known_at(op.sent));
            (read < known)
                .then(|| format!("op {} read {read} after {known} was answered", op.number))
        })
        .collect()
}
