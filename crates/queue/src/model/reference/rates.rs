//! How fast jobs start, as plainly as it can be said.

use super::line::{CHUNK, Place};
use super::{Job, Reference};

impl Reference {
    pub fn set_rates(&mut self, rate: Option<&'static str>, user_rate: Option<&'static str>) {
        (self.rate, self.user_rate) = (rate, user_rate);
        self.throttled_users
            .values_mut()
            .for_each(|due| *due = true);
    }

    pub fn rate_of(&self, user: Option<&str>) -> Option<&'static str> {
        user.map_or(self.rate, |_| self.user_rate)
    }

    pub fn window_passes(&mut self, user: Option<&'static str>) {
        if let Some(rate) = self.rate_of(user) {
            self.started.remove(&(rate, user));
        }
        if let Some(due) = user.and_then(|user| self.throttled_users.get_mut(user)) {
            *due = true;
        }
    }

    /// How many more jobs the rate lets start, of a user or of all.
    pub(super) fn allowance(&self, user: Option<&'static str>) -> Option<usize> {
        let rate = self.rate_of(user)?;
        let numbers: Vec<usize> = rate.split('/').filter_map(|it| it.parse().ok()).collect();
        let most = if rate.starts_with("bucket") {
            numbers[2]
        } else {
            numbers[0]
        };
        let started = self.started.get(&(rate, user)).copied();
        Some(most - started.unwrap_or_default())
    }

    pub(super) fn count_start(&mut self, user: Option<&'static str>) {
        if let Some(rate) = self.rate_of(user) {
            *self.started.entry((rate, user)).or_default() += 1;
        }
    }

    pub(super) fn look_at_throttled_users(&mut self) {
        let due = self.throttled_users.iter().filter(|&(_, &due)| due);
        for user in due.map(|(&user, _)| user).collect::<Vec<_>>() {
            self.throttled_users.remove(user);
            let throttled = |job: &Job| match job.place {
                Place::Throttled(position) if job.new.user == Some(user) => {
                    Some((job.new.priority, position))
                }
                _ => None,
            };
            for _ in 0..self.allowance(Some(user)).unwrap_or(CHUNK) {
                let Some(next) = self.first(throttled) else {
                    break;
                };
                self.positions += 1;
                self.offer(&next, self.positions);
            }
            if self.first(throttled).is_some() {
                self.throttled_users.insert(user, false);
            }
        }
    }
}
