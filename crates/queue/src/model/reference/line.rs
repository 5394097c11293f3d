//! The line: which jobs may be taken, in which order, and which are set aside.

use super::{Job, Reference};

/// How many jobs a user without a limit gets into the line again at a time.
pub(super) const CHUNK: usize = 100;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// In none of the lists of available jobs.
    Nowhere,
    /// In line, by priority and this position.
    Line(u64),
    Held,
    Newer,
    /// As in line, but without a place among those of its user.
    Crowded(u64),
    /// As in line, but until the rate lets its user start another one.
    Throttled(u64),
}

impl Reference {
    /// The jobs in line, the next one first.
    pub(super) fn line(&self) -> Vec<String> {
        let mut line: Vec<_> = self.jobs.iter().collect();
        line.retain(|(_, job)| matches!(job.place, Place::Line(_)));
        line.sort_by_key(|(id, job)| match job.place {
            Place::Line(position) => (job.new.priority, position, id.as_str()),
            _ => (0, 0, ""),
        });
        line.into_iter().map(|(id, _)| id.clone()).collect()
    }

    pub(super) fn line_up(&mut self, id: &str) {
        self.positions += 1;
        let position = self.positions;
        let group = self.jobs[id].new.group;
        let is_behind = group.is_some_and(|group| self.first_of_group(group).is_some());
        let job = self.job(id);
        job.position = position;
        job.state = "available";
        job.place = Place::Held;
        if !is_behind {
            self.offer(id, position);
        }
    }

    pub(super) fn offer(&mut self, id: &str, position: u64) {
        let user = self.jobs[id].new.user;
        let place = if !self.take_place(id) {
            Place::Crowded(position)
        } else if user.is_some_and(|user| self.throttled_users.contains_key(user)) {
            Place::Throttled(position)
        } else {
            Place::Line(position)
        };
        if let Place::Crowded(_) = place {
            self.crowd(id, position);
            return;
        }
        let job = self.job(id);
        job.state = "available";
        job.place = place;
    }

    /// Sets a job aside that has no place; one of the other kind is of no use to it.
    pub(super) fn crowd(&mut self, id: &str, position: u64) {
        let job = self.job(id);
        job.state = "available";
        job.place = Place::Crowded(position);
        job.has_turn = false;
        job.has_user_place = false;
    }

    pub(super) fn take_place(&mut self, id: &str) -> bool {
        let job = &self.jobs[id];
        let Some(user) = job.new.user else {
            return true;
        };
        if self.user_limit.is_none() && job.new.priority != 5 {
            return true;
        }
        if !self.has_place(job) && self.free_places(user) == 0 {
            return false;
        }
        self.give_place(id);
        true
    }

    fn has_place(&self, job: &Job) -> bool {
        match self.user_limit {
            Some(_) => job.has_user_place,
            None => job.has_turn,
        }
    }

    fn give_place(&mut self, id: &str) {
        let is_limited = self.user_limit.is_some();
        let job = self.job(id);
        match is_limited {
            true => job.has_user_place = true,
            false => job.has_turn = true,
        }
    }

    /// Without a limit, a user has one place in line.
    fn free_places(&self, user: &str) -> usize {
        let of_user = |job: &&Job| self.has_place(job) && job.new.user == Some(user);
        let taken = self.jobs.values().filter(of_user).count();
        self.user_limit.unwrap_or(1).saturating_sub(taken)
    }

    /// What starts leaves the line, and the user's next one joins it.
    pub(super) fn give_up_turn(&mut self, id: &str) {
        let job = self.job(id);
        let user = job.new.user;
        if std::mem::take(&mut job.has_turn) {
            self.admit(user.unwrap());
        }
    }

    pub(super) fn give_up_place(&mut self, id: &str) {
        let job = self.job(id);
        let user = job.new.user;
        let turn = std::mem::take(&mut job.has_turn);
        if !std::mem::take(&mut job.has_user_place) && !turn {
            return;
        }
        self.admit(user.unwrap());
    }

    fn admit(&mut self, user: &str) {
        while self.free_places(user) > 0 {
            let next = self.first(|job| match job.place {
                Place::Crowded(position) if job.new.user == Some(user) => {
                    Some((job.new.priority, position))
                }
                _ => None,
            });
            let Some(next) = next else { return };
            self.positions += 1;
            let position = self.positions;
            self.give_place(&next);
            self.offer(&next, position);
        }
    }

    /// What an unfinished job holds goes to others, after its state has changed or before it is
    /// removed.
    pub(super) fn leave(&mut self, id: &str, state: &'static str) {
        let job = self.job(id);
        job.state = state;
        job.place = Place::Nowhere;
        let group = job.new.group;
        self.give_up_place(id);
        if let Some(head) = group.and_then(|group| self.first_of_group(group))
            && self.jobs[&head].place == Place::Held
        {
            let position = self.jobs[&head].position;
            self.offer(&head, position);
        }
        self.follow_up(id);
    }

    fn first_of_group(&self, group: &str) -> Option<String> {
        self.first(|job| {
            let in_line = matches!(job.state, "available" | "running" | "retrying");
            (in_line && job.new.group == Some(group)).then_some(job.position)
        })
    }

    pub fn set_limits(&mut self, limit: Option<usize>, user_limit: Option<usize>) {
        self.limit = limit;
        self.user_limit = user_limit;
        let mut crowded: Vec<_> = self.jobs.values().collect();
        crowded.retain(|job| matches!(job.place, Place::Crowded(_)));
        crowded.sort_by_key(|job| match job.place {
            Place::Crowded(position) => (job.new.priority, position),
            _ => (0, 0),
        });
        let users: Vec<_> = crowded.iter().filter_map(|job| job.new.user).collect();
        for user in users {
            self.admit(user);
        }
    }
}
