//! What can be seen of a queue.

use std::collections::{BTreeMap, BTreeSet};

use super::Reference;
use super::line::Place;

/// A queue at one moment, as both of them show it.
#[derive(Default)]
pub struct Snapshot {
    /// State and attempts of each job.
    pub jobs: BTreeMap<String, (String, u32)>,
    /// The jobs in line, the next one first.
    pub line: Vec<String>,
    /// The members of the other lists and of the users' places.
    pub lists: BTreeMap<String, BTreeSet<String>>,
    /// The counts of each batch: jobs, completed, refused, dead, cancelled.
    pub batches: BTreeMap<String, Vec<usize>>,
}

impl Snapshot {
    /// Empty lists are not there.
    pub fn note(&mut self, list: String, members: Vec<String>) {
        if !members.is_empty() {
            self.lists.insert(list, members.into_iter().collect());
        }
    }
}

impl Reference {
    pub fn snapshot(&self) -> Snapshot {
        let mut snapshot = Snapshot {
            line: self.line(),
            ..Snapshot::default()
        };
        let throttled = self.throttled_users.keys().map(|&user| user.to_owned());
        for (id, batch) in &self.batches {
            snapshot.batches.insert(id.clone(), batch.counts());
        }
        snapshot.note("throttled_users".to_owned(), throttled.collect());
        for (id, job) in &self.jobs {
            snapshot
                .jobs
                .insert(id.clone(), (job.state.to_owned(), job.attempts));
            let list = match (job.state, job.place) {
                ("available", Place::Line(_)) => None,
                ("available", Place::Held) => Some("held".to_owned()),
                ("available", Place::Newer) => Some("newer".to_owned()),
                ("available", Place::Crowded(_)) => Some("crowded".to_owned()),
                ("available", Place::Throttled(_)) => Some("throttled".to_owned()),
                (state, _) => Some(state.to_owned()),
            };
            let user = job.new.user.filter(|_| job.has_user_place);
            let places = user.map(|user| format!("places:{user}"));
            let user = job.new.user.filter(|_| job.has_turn);
            let turns = user.map(|user| format!("turns:{user}"));
            for list in list.into_iter().chain(places).chain(turns) {
                snapshot.lists.entry(list).or_default().insert(id.clone());
            }
        }
        snapshot
    }
}
