//! What a queue shall do, as plainly as it can be said: a list of jobs, searched from end to end.

mod line;
mod links;
mod rates;
mod runs;
mod snapshot;

use std::collections::BTreeMap;

pub use links::Callback;
pub use snapshot::Snapshot;

/// How many leases in a row a job may lose.
pub const LOSSES: u32 = 3;

use crate::operate::Operated;
use line::Place;
use links::Batch;

#[derive(Debug, Clone)]
pub struct Job {
    pub state: &'static str,
    pub attempts: u32,
    pub token: Option<String>,
    pub new: NewJob,
    /// The one behind it in its chain.
    next: Option<String>,
    place: Place,
    position: u64,
    has_user_place: bool,
    /// Its user's place in line, while there is no limit per user.
    has_turn: bool,
    /// Leases lost in a row.
    losses: u32,
    cancel: bool,
    refused: bool,
    /// Was cancelled because of another, and comes back with it.
    stopped: bool,
}

#[derive(Debug, Clone)]
pub struct NewJob {
    pub version: u32,
    pub user: Option<&'static str>,
    pub unique: Option<&'static str>,
    pub group: Option<&'static str>,
    pub batch: Option<String>,
    pub frees_memory: bool,
    pub priority: u64,
    pub max_attempts: u32,
    pub delayed: bool,
    /// Whether it says when by the clock, rather than by a delay or not at all.
    pub by_clock: bool,
}

#[derive(Default)]
pub struct Reference {
    pub jobs: BTreeMap<String, Job>,
    pub paused: bool,
    /// How many jobs there may be that have not ended.
    pub backlog_limit: usize,
    limit: Option<usize>,
    user_limit: Option<usize>,
    rate: Option<&'static str>,
    user_rate: Option<&'static str>,
    /// How many jobs each rate has counted, of a user or of all.
    started: BTreeMap<(&'static str, Option<&'static str>), usize>,
    /// The users whom the rate holds back, and whether it is time to look at them again.
    throttled_users: BTreeMap<&'static str, bool>,
    positions: u64,
    batches: BTreeMap<String, Batch>,
}

fn is_final(state: &str) -> bool {
    matches!(state, "completed" | "cancelled" | "dead")
}

impl Reference {
    pub fn new(backlog_limit: usize) -> Self {
        Self {
            backlog_limit,
            ..Self::default()
        }
    }

    /// The outcome and the id that the script answers with.
    pub fn enqueue(&mut self, id: &str, new: NewJob) -> (String, String) {
        self.enqueue_first(id, new, 1)
    }

    /// Whether so many jobs more may be added.
    fn has_room(&self, jobs: usize) -> bool {
        let open = self.jobs.values().filter(|job| !is_final(job.state));
        open.count() + jobs <= self.backlog_limit
    }

    /// As [`Reference::enqueue`], of the first one of as many jobs.
    fn enqueue_first(&mut self, id: &str, new: NewJob, jobs: usize) -> (String, String) {
        if let Some(holder) = new.unique.and_then(|unique| self.holder(unique)) {
            return ("existing".to_owned(), holder);
        }
        if !self.has_room(jobs) && !new.frees_memory {
            return ("full".to_owned(), String::new());
        }
        if let Some(batch) = &new.batch
            && !self.join(batch, id)
        {
            return ("ended".to_owned(), batch.clone());
        }
        let delayed = new.delayed;
        self.insert(id, new, "scheduled");
        if !delayed {
            self.line_up(id);
        }
        ("new".to_owned(), id.to_owned())
    }

    fn insert(&mut self, id: &str, new: NewJob, state: &'static str) {
        let job = Job {
            state,
            attempts: 0,
            token: None,
            new,
            next: None,
            place: Place::Nowhere,
            position: 0,
            has_user_place: false,
            has_turn: false,
            losses: 0,
            cancel: false,
            refused: false,
            stopped: false,
        };
        self.jobs.insert(id.to_owned(), job);
    }

    pub fn operate(&mut self, operation: &str, id: &str) -> Operated {
        let Some(job) = self.jobs.get_mut(id) else {
            return Operated::NotFound;
        };
        match operation {
            "cancel" if is_final(job.state) => Operated::WrongState,
            "cancel" if job.state == "running" => {
                job.cancel = true;
                Operated::Done
            }
            "cancel" => {
                self.leave(id, "cancelled");
                Operated::Done
            }
            "retry" => {
                let again = is_final(job.state) && (job.state != "completed" || job.refused);
                let (unique, stopped) = (job.new.unique, job.stopped);
                let holder = unique.and_then(|unique| self.holder(unique));
                if !again {
                    return Operated::WrongState;
                }
                if stopped {
                    return Operated::Follows;
                }
                if holder.is_some_and(|holder| holder != id) {
                    return Operated::KeyTaken;
                }
                self.is_open_again(id);
                let job = self.job(id);
                job.attempts = 0;
                job.losses = 0;
                job.token = None;
                job.cancel = false;
                job.refused = false;
                self.line_up(id);
                Operated::Done
            }
            "delete" if job.state == "running" => Operated::WrongState,
            "delete" => {
                if !is_final(job.state) {
                    self.leave(id, "cancelled");
                }
                self.jobs.remove(id);
                Operated::Done
            }
            other => panic!("no operation {other}"),
        }
    }

    fn job(&mut self, id: &str) -> &mut Job {
        self.jobs.get_mut(id).unwrap()
    }

    /// The id of the job with the least key among those that have one.
    fn first<K: Ord>(&self, key: impl Fn(&Job) -> Option<K>) -> Option<String> {
        let keyed = self
            .jobs
            .iter()
            .filter_map(|(id, job)| Some((key(job)?, id)));
        Some(keyed.min()?.1.clone())
    }

    /// The job that counts as the one with a unique key, whose name says in which states besides
    /// the unfinished ones.
    fn holder(&self, unique: &str) -> Option<String> {
        let counts = |state| match unique.split_once('/') {
            Some((_, "any")) => true,
            Some((_, also)) => !is_final(state) || state == also,
            None => !is_final(state),
        };
        self.first(|job| (job.new.unique == Some(unique) && counts(job.state)).then_some(()))
    }
}
