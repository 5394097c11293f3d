//! Wrong histories, each with one thing that breaks a promise.

mod documents;
mod filesync;
mod lives;
mod others;
mod own;

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::check;
use crate::call::Call;
use crate::history::{Answer, Entry, Event, abridged};

const SHARED: &str = "inline/a";
const KEEPER: &str = "keeper";

/// A history that is written line by line.
#[derive(Default)]
struct Story {
    entries: Vec<Entry>,
    ops: u64,
}

impl Story {
    fn add(&mut self, event: Event) {
        let at = self.entries.len() as u64;
        self.entries.push(Entry { at, event });
    }

    fn send(&mut self, call: Call) -> u64 {
        let op = self.ops;
        self.ops += 1;
        self.add(Event::Sent { op, call });
        op
    }

    fn answer(&mut self, op: u64, status: u16, body: Value) {
        let answer = Answer {
            status,
            retry_after: (status == 503).then(|| "2".to_owned()),
            body: abridged(body),
            text: None,
        };
        self.add(Event::Answered { op, answer });
    }

    fn call(&mut self, call: Call, status: u16, body: Value) {
        let op = self.send(call);
        self.answer(op, status, body);
    }

    fn lose(&mut self, call: Call) {
        let op = self.send(call);
        let why = "closed".to_owned();
        self.add(Event::Lost { op, why });
    }

    fn see(&mut self, kind: &str, body: Value) {
        self.add(Event::Seen {
            watcher: "w".to_owned(),
            document: SHARED.to_owned(),
            kind: kind.to_owned(),
            revision: body["revision"].as_u64().unwrap_or_default(),
            body: abridged(body),
        });
    }

    fn end(&mut self, document: &str, body: Value) {
        let document = document.to_owned();
        self.add(Event::Document { document, body });
    }

    fn nudge(&mut self, ts: u64) {
        self.add(Event::Nudged {
            doc: "d1".to_owned(),
            ts,
            user: KEEPER.to_owned(),
            id: "f".to_owned(),
        });
    }

    fn job(&mut self, job: &str, view: Value) {
        let job = job.to_owned();
        self.add(Event::Job { job, view });
    }

    fn import(&mut self, version: Option<u64>, status: u16) {
        let files = BTreeMap::from([("f".to_owned(), version)]);
        let user = KEEPER.to_owned();
        let body = match status {
            200 => Value::Null,
            _ => json!({"code": "Overloaded", "message": "…"}),
        };
        self.call(Call::Import { user, files }, status, body);
    }

    fn files(&mut self, complete: bool, cached: &[(&str, u64)], convex: &[(&str, u64)]) {
        let map = |files: &[(&str, u64)]| {
            files
                .iter()
                .map(|(id, it)| ((*id).to_owned(), *it))
                .collect()
        };
        self.add(Event::Files {
            user: KEEPER.to_owned(),
            complete,
            cached: map(cached),
            convex: map(convex),
        });
    }

    /// Nothing is found.
    #[track_caller]
    fn is_right(&self) {
        assert_eq!(check(&self.entries), Vec::<String>::new());
    }

    /// Everything that is found says this, and something is found.
    #[track_caller]
    fn is_wrong(&self, what: &str) {
        let found = check(&self.entries);
        assert!(!found.is_empty(), "nothing was found");
        assert!(found.iter().all(|it| it.contains(what)), "{found:#?}");
    }
}

fn unavailable() -> Value {
    json!({"error": "unavailable", "message": "Valkey does not answer"})
}
