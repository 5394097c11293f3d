//! What a queue shall do, as plainly as it can be said: a list of jobs, searched from end to end.

use std::collections::{BTreeMap, BTreeSet};

use super::links::Batch;

/// How many jobs a user without a limit gets into the line again at a time.
pub(super) const CHUNK: usize = 100;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// In none of the lists of available jobs.
    Nowhere,
    /// In line, by priority and this seat.
    Line(u64),
    Held,
    Newer,
    /// As in line, but without a place among those of its user.
    Crowded(u64),
    /// As in line, but until the rate lets its user start another one.
    Throttled(u64),
}

#[derive(Debug, Clone)]
pub struct Job {
    pub state: &'static str,
    pub attempts: u32,
    pub token: Option<String>,
    pub new: NewJob,
    /// The one behind it in its chain.
    pub(super) next: Option<String>,
    pub(super) place: Place,
    seat: u64,
    has_user_place: bool,
    cancel: bool,
    pub(super) refused: bool,
    /// Was cancelled because of another, and comes back with it.
    pub(super) stopped: bool,
}

#[derive(Debug, Clone)]
pub struct NewJob {
    pub version: u32,
    pub user: Option<&'static str>,
    pub unique: Option<&'static str>,
    pub group: Option<&'static str>,
    pub batch: Option<String>,
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
    limit: Option<usize>,
    user_limit: Option<usize>,
    pub(super) rate: Option<&'static str>,
    pub(super) user_rate: Option<&'static str>,
    /// How many jobs each rate has counted, of a user or of all.
    pub(super) started: BTreeMap<(&'static str, Option<&'static str>), usize>,
    /// The users whom the rate holds back, and whether it is time to look at them again.
    pub(super) throttled_users: BTreeMap<&'static str, bool>,
    pub(super) seats: u64,
    pub(super) batches: BTreeMap<String, Batch>,
}

/// What can be seen of a queue.
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

fn is_final(state: &str) -> bool {
    matches!(state, "completed" | "cancelled" | "dead")
}

impl Reference {
    pub(super) fn job(&mut self, id: &str) -> &mut Job {
        self.jobs.get_mut(id).unwrap()
    }

    /// The id of the job with the least key among those that have one.
    pub(super) fn first<K: Ord>(&self, key: impl Fn(&Job) -> Option<K>) -> Option<String> {
        let keyed = self
            .jobs
            .iter()
            .filter_map(|(id, job)| Some((key(job)?, id)));
        Some(keyed.min()?.1.clone())
    }

    fn first_of_group(&self, group: &str) -> Option<String> {
        self.first(|job| {
            let in_line = matches!(job.state, "available" | "running" | "retrying");
            (in_line && job.new.group == Some(group)).then_some(job.seat)
        })
    }

    /// The job that counts as the one with a unique key, whose name says in which states besides the unfinished ones.
    fn holder(&self, unique: &str) -> Option<String> {
        let counts = |state| match unique.split_once('/') {
            Some((_, "any")) => true,
            Some((_, also)) => !is_final(state) || state == also,
            None => !is_final(state),
        };
        self.first(|job| (job.new.unique == Some(unique) && counts(job.state)).then_some(()))
    }

    fn running(&self) -> usize {
        self.jobs
            .values()
            .filter(|job| job.state == "running")
            .count()
    }

    fn take_place(&mut self, id: &str) -> bool {
        let job = &self.jobs[id];
        let (Some(limit), Some(user)) = (self.user_limit, job.new.user) else {
            return true;
        };
        if !job.has_user_place && self.places(user) >= limit {
            return false;
        }
        self.job(id).has_user_place = true;
        true
    }

    fn places(&self, user: &str) -> usize {
        let of_user = |job: &&Job| job.has_user_place && job.new.user == Some(user);
        self.jobs.values().filter(of_user).count()
    }

    fn give_up_place(&mut self, id: &str) {
        let job = self.job(id);
        let user = job.new.user;
        if !std::mem::take(&mut job.has_user_place) {
            return;
        }
        self.admit(user.unwrap());
    }

    fn admit(&mut self, user: &str) {
        while self.places(user) < self.user_limit.unwrap_or(CHUNK) {
            let next = self.first(|job| match job.place {
                Place::Crowded(seat) if job.new.user == Some(user) => {
                    Some((job.new.priority, seat))
                }
                _ => None,
            });
            let Some(next) = next else { return };
            self.seats += 1;
            let seat = self.seats;
            self.job(&next).has_user_place = true;
            self.offer(&next, seat);
        }
    }

    pub(super) fn offer(&mut self, id: &str, seat: u64) {
        let user = self.jobs[id].new.user;
        let place = if !self.take_place(id) {
            Place::Crowded(seat)
        } else if user.is_some_and(|user| self.throttled_users.contains_key(user)) {
            Place::Throttled(seat)
        } else {
            Place::Line(seat)
        };
        let job = self.job(id);
        job.state = "available";
        job.place = place;
    }

    pub(super) fn line_up(&mut self, id: &str) {
        self.seats += 1;
        let seat = self.seats;
        let group = self.jobs[id].new.group;
        let is_behind = group.is_some_and(|group| self.first_of_group(group).is_some());
        let job = self.job(id);
        job.seat = seat;
        job.state = "available";
        job.place = Place::Held;
        if !is_behind {
            self.offer(id, seat);
        }
    }

    /// What an unfinished job holds goes to others, after its state has changed or before it is removed.
    pub(super) fn let_go(&mut self, id: &str, state: &'static str) {
        let job = self.job(id);
        job.state = state;
        job.place = Place::Nowhere;
        let group = job.new.group;
        self.give_up_place(id);
        if let Some(head) = group.and_then(|group| self.first_of_group(group))
            && self.jobs[&head].place == Place::Held
        {
            let seat = self.jobs[&head].seat;
            self.offer(&head, seat);
        }
        self.follow_up(id);
    }

    pub fn set_limits(&mut self, limit: Option<usize>, user_limit: Option<usize>) {
        self.limit = limit;
        self.user_limit = user_limit;
        let mut crowded: Vec<_> = self.jobs.values().collect();
        crowded.retain(|job| matches!(job.place, Place::Crowded(_)));
        crowded.sort_by_key(|job| match job.place {
            Place::Crowded(seat) => (job.new.priority, seat),
            _ => (0, 0),
        });
        let users: Vec<_> = crowded.iter().filter_map(|job| job.new.user).collect();
        for user in users {
            self.admit(user);
        }
    }

    /// The outcome and the id that the script answers with.
    pub fn enqueue(&mut self, id: &str, new: NewJob) -> (String, String) {
        if let Some(holder) = new.unique.and_then(|unique| self.holder(unique)) {
            return ("existing".to_owned(), holder);
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

    pub(super) fn insert(&mut self, id: &str, new: NewJob, state: &'static str) {
        let job = Job {
            state,
            attempts: 0,
            token: None,
            new,
            next: None,
            place: Place::Nowhere,
            seat: 0,
            has_user_place: false,
            cancel: false,
            refused: false,
            stopped: false,
        };
        self.jobs.insert(id.to_owned(), job);
    }

    /// A scheduled or retrying job becomes due, or the lease of a running one runs out.
    pub fn time_passes_for(&mut self, id: &str) {
        let job = self.job(id);
        match job.state {
            "scheduled" => self.line_up(id),
            "retrying" => {
                let seat = job.seat;
                self.offer(id, seat);
            }
            "running" => {
                job.token = None;
                if job.cancel {
                    self.let_go(id, "cancelled");
                } else if job.attempts >= job.new.max_attempts {
                    self.let_go(id, "dead");
                } else {
                    let seat = job.seat;
                    self.offer(id, seat);
                }
            }
            other => panic!("time does nothing to a job that is {other}"),
        }
    }

    /// The jobs that are leased, in order.
    pub fn fetch(&mut self, want: usize, version: u32, token: &str) -> Vec<String> {
        let free = self
            .limit
            .map_or(want, |limit| limit.saturating_sub(self.running()));
        self.look_at_throttled_users();
        let want = if self.paused { 0 } else { want.min(free) };
        let want = want.min(self.allowance(None).unwrap_or(want));
        for _ in 0..want {
            let known = self
                .jobs
                .iter()
                .filter(|(_, job)| job.place == Place::Newer && job.new.version <= version);
            let next = known.map(|(id, job)| (job.new.version, id.clone())).min();
            let Some((_, id)) = next else { break };
            let seat = self.jobs[&id].seat;
            self.offer(&id, seat);
        }
        let mut leased = Vec::new();
        loop {
            let mut batch = self.line();
            batch.truncate(want - leased.len());
            if batch.is_empty() {
                return leased;
            }
            let from: Vec<_> = batch.iter().map(|id| self.jobs[id].place).collect();
            for id in &batch {
                self.job(id).place = Place::Nowhere;
            }
            for (id, place) in batch.into_iter().zip(from) {
                if self.jobs[&id].new.version > version {
                    self.job(&id).place = Place::Newer;
                    self.give_up_place(&id);
                } else if !self.take_place(&id) {
                    let Place::Line(seat) = place else {
                        panic!("{place:?}")
                    };
                    self.job(&id).place = Place::Crowded(seat);
                } else if let Some(user) = self.jobs[&id].new.user
                    && self.allowance(Some(user)) == Some(0)
                {
                    let Place::Line(seat) = place else {
                        panic!("{place:?}")
                    };
                    self.job(&id).place = Place::Throttled(seat);
                    self.throttled_users.entry(user).or_default();
                } else {
                    self.count_start(None);
                    if let user @ Some(_) = self.jobs[&id].new.user {
                        self.count_start(user);
                    }
                    let job = self.job(&id);
                    job.state = "running";
                    job.attempts += 1;
                    job.token = Some(token.to_owned());
                    leased.push(id);
                }
            }
        }
    }

    pub fn finish(&mut self, id: &str, token: &str, outcome: &str) -> &'static str {
        let Some(job) = self.jobs.get_mut(id) else {
            return "lost";
        };
        if job.token.as_deref() != Some(token) {
            return "lost";
        }
        if job.state != "running" {
            return job.state;
        }
        let used_up = job.attempts >= job.new.max_attempts;
        match outcome {
            "completed" => self.let_go(id, "completed"),
            "refused" => {
                job.refused = true;
                self.let_go(id, "completed");
            }
            "dead" => self.let_go(id, "dead"),
            "retry" if job.cancel => self.let_go(id, "cancelled"),
            "retry" if used_up => self.let_go(id, "dead"),
            "retry" => {
                job.state = "retrying";
                self.give_up_place(id);
            }
            "released" => {
                job.attempts -= 1;
                if job.cancel {
                    self.let_go(id, "cancelled");
                } else {
                    let seat = job.seat;
                    self.offer(id, seat);
                }
            }
            _ => self.let_go(id, "cancelled"),
        }
        self.jobs[id].state
    }

    /// Whether the run with this token goes on, and whether it shall end.
    pub fn heartbeat(&self, id: &str, token: &str) -> (bool, bool) {
        let job = self.jobs.get(id);
        match job.filter(|job| job.token.as_deref() == Some(token)) {
            None => (true, false),
            Some(job) => (false, job.state == "running" && job.cancel),
        }
    }

    pub fn operate(&mut self, operation: &str, id: &str) -> i64 {
        let Some(job) = self.jobs.get_mut(id) else {
            return -1;
        };
        match operation {
            "cancel" if is_final(job.state) => 0,
            "cancel" if job.state == "running" => {
                job.cancel = true;
                1
            }
            "cancel" => {
                self.let_go(id, "cancelled");
                1
            }
            "retry" => {
                let again = is_final(job.state)
                    && (job.state != "completed" || job.refused)
                    && !job.stopped;
                let unique = job.new.unique;
                let holder = unique.and_then(|unique| self.holder(unique));
                if !again || holder.is_some_and(|holder| holder != id) {
                    return 0;
                }
                self.is_open_again(id);
                let job = self.job(id);
                job.attempts = 0;
                job.token = None;
                job.cancel = false;
                job.refused = false;
                self.line_up(id);
                1
            }
            "delete" if job.state == "running" => 0,
            "delete" => {
                if !is_final(job.state) {
                    self.let_go(id, "cancelled");
                }
                self.jobs.remove(id);
                1
            }
            other => panic!("no operation {other}"),
        }
    }

    fn line(&self) -> Vec<String> {
        let mut line: Vec<_> = self.jobs.iter().collect();
        line.retain(|(_, job)| matches!(job.place, Place::Line(_)));
        line.sort_by_key(|(id, job)| match job.place {
            Place::Line(seat) => (job.new.priority, seat, id.as_str()),
            _ => (0, 0, ""),
        });
        line.into_iter().map(|(id, _)| id.clone()).collect()
    }

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
            for list in list.into_iter().chain(places) {
                snapshot.lists.entry(list).or_default().insert(id.clone());
            }
        }
        snapshot
    }
}
