//! Chains and batches, as plainly as it can be said.

use std::collections::BTreeMap;

use super::{NewJob, Reference};

/// How the members of a batch ended, if they have; and what was done about it.
#[derive(Default)]
pub struct Batch {
    members: BTreeMap<String, Option<&'static str>>,
    closed: bool,
    ended: bool,
    succeeded: bool,
    on_end: String,
    on_success: String,
}

#[derive(Clone, Copy)]
pub enum Callback {
    End,
    Success,
}

impl Batch {
    fn count(&self, outcome: &str) -> usize {
        let ended = self.members.values().flatten();
        ended.filter(|it| **it == outcome).count()
    }

    /// As they are kept.
    pub fn counts(&self) -> Vec<usize> {
        let outcomes = ["completed", "refused", "dead", "cancelled"];
        let counts = outcomes.map(|outcome| self.count(outcome));
        [&[self.members.len()][..], &counts].concat()
    }
}

impl Reference {
    pub fn enqueue_chain(&mut self, ids: &[String], jobs: Vec<NewJob>) -> Vec<(String, String)> {
        let mut answers: Vec<(String, String)> = Vec::new();
        let length = jobs.len();
        for (at, new) in jobs.into_iter().enumerate() {
            let id = &ids[at];
            let answer = if at == 0 {
                self.enqueue_first(id, new, length)
            } else if !self.jobs.contains_key(&ids[at - 1]) {
                ("skipped".to_owned(), String::new())
            } else if let Some(batch) = &new.batch
                && !self.join(batch, id)
            {
                ("ended".to_owned(), batch.clone())
            } else {
                self.insert(id, new, "waiting");
                ("new".to_owned(), id.clone())
            };
            if let Some(job) = self.jobs.get_mut(id) {
                job.next = ids.get(at + 1).cloned();
            }
            answers.push(answer);
        }
        answers
    }

    /// Whether both callbacks of a batch may be added.
    pub fn takes_batch(&self, frees_memory: bool) -> bool {
        frees_memory || self.has_room(2)
    }

    pub fn open_batch(&mut self, batch: &str, callback: Callback, id: &str, new: NewJob) {
        self.insert(id, new, "waiting");
        let batch = self.batches.entry(batch.to_owned()).or_default();
        match callback {
            Callback::End => batch.on_end = id.to_owned(),
            Callback::Success => batch.on_success = id.to_owned(),
        }
    }

    pub fn open_batches(&self) -> Vec<String> {
        let open = self.batches.iter().filter(|(_, batch)| !batch.closed);
        open.map(|(id, _)| id.clone()).collect()
    }

    pub fn close_batch(&mut self, batch: &str) {
        self.batches.get_mut(batch).unwrap().closed = true;
        self.settle(batch);
    }

    /// Whether the batch takes a job more.
    pub(super) fn join(&mut self, batch: &str, id: &str) -> bool {
        let batch = self.batches.get_mut(batch).unwrap();
        if batch.ended {
            return false;
        }
        batch.members.insert(id.to_owned(), None);
        true
    }

    /// What follows from the end of a job.
    pub(super) fn follow_up(&mut self, id: &str) {
        let job = &self.jobs[id];
        let outcome = if job.refused { "refused" } else { job.state };
        let (next, batch) = (job.next.clone(), job.new.batch.clone());
        match next {
            Some(next) if outcome == "completed" => self.release(&next),
            Some(next) => self.stop(&next),
            None => {}
        }
        if let Some(batch) = batch {
            self.set_outcome(&batch, id, Some(outcome));
            self.settle(&batch);
        }
    }

    pub(super) fn is_open_again(&mut self, id: &str) {
        if let Some(batch) = self.jobs[id].new.batch.clone() {
            self.set_outcome(&batch, id, None);
        }
    }

    fn set_outcome(&mut self, batch: &str, id: &str, outcome: Option<&'static str>) {
        let members = &mut self.batches.get_mut(batch).unwrap().members;
        members.insert(id.to_owned(), outcome);
    }

    fn settle(&mut self, id: &str) {
        let batch = self.batches.get_mut(id).unwrap();
        if !batch.closed || batch.members.values().any(Option::is_none) {
            return;
        }
        let first_end = !std::mem::replace(&mut batch.ended, true);
        let success = batch.count("completed") == batch.members.len();
        let first_success = success && !std::mem::replace(&mut batch.succeeded, true);
        let (on_end, on_success) = (batch.on_end.clone(), batch.on_success.clone());
        if first_end {
            self.release(&on_end);
        }
        if first_success {
            self.release(&on_success);
        } else if !success {
            self.stop(&on_success);
        }
    }

    fn release(&mut self, id: &str) {
        let Some(job) = self.jobs.get(id) else { return };
        match job.state {
            "cancelled" if job.stopped => self.is_open_again(id),
            "waiting" => {}
            _ => return,
        }
        let job = self.job(id);
        job.stopped = false;
        job.state = "scheduled";
        if !job.new.delayed {
            self.line_up(id);
        }
    }

    fn stop(&mut self, id: &str) {
        if let Some(job) = self.jobs.get_mut(id)
            && job.state == "waiting"
        {
            job.stopped = true;
            self.leave(id, "cancelled");
        }
    }
}
