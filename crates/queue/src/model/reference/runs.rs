//! Runs: how they begin, go on and end.

use super::line::Place;
use super::{LOSSES, Reference};

impl Reference {
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
            let position = self.jobs[&id].position;
            self.offer(&id, position);
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
                } else if self.user_limit.is_some() && !self.take_place(&id) {
                    let Place::Line(position) = place else {
                        panic!("{place:?}")
                    };
                    self.crowd(&id, position);
                } else if let Some(user) = self.jobs[&id].new.user
                    && self.allowance(Some(user)) == Some(0)
                {
                    let Place::Line(position) = place else {
                        panic!("{place:?}")
                    };
                    self.job(&id).place = Place::Throttled(position);
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
                    if self.user_limit.is_none() {
                        self.give_up_turn(&id);
                    }
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
            "completed" => self.leave(id, "completed"),
            "refused" => {
                job.refused = true;
                self.leave(id, "completed");
            }
            "dead" => self.leave(id, "dead"),
            "retry" if job.cancel => self.leave(id, "cancelled"),
            "retry" if used_up => self.leave(id, "dead"),
            "retry" => {
                job.losses = 0;
                job.state = "retrying";
                self.give_up_place(id);
            }
            "released" | "yielded" => {
                job.attempts -= 1;
                if job.cancel {
                    self.leave(id, "cancelled");
                } else if outcome == "released" {
                    let position = job.position;
                    self.offer(id, position);
                } else {
                    job.losses = 0;
                    self.positions += 1;
                    let position = self.positions;
                    self.offer(id, position);
                }
            }
            _ => self.leave(id, "cancelled"),
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

    /// A scheduled or retrying job becomes due, or the lease of a running one runs out.
    pub fn time_passes_for(&mut self, id: &str) {
        let job = self.job(id);
        match job.state {
            "scheduled" => self.line_up(id),
            "retrying" => {
                let position = job.position;
                self.offer(id, position);
            }
            "running" => {
                job.token = None;
                job.losses += 1;
                if job.cancel {
                    self.leave(id, "cancelled");
                } else if job.losses >= LOSSES || job.attempts >= job.new.max_attempts {
                    self.leave(id, "dead");
                } else {
                    let position = job.position;
                    self.offer(id, position);
                }
            }
            other => panic!("time does nothing to a job that is {other}"),
        }
    }

    fn running(&self) -> usize {
        self.jobs
            .values()
            .filter(|job| job.state == "running")
            .count()
    }
}
