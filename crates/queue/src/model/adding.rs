//! Adding jobs: one, a chain, to a batch.

use rand::RngExt;

use super::reference::{Callback, NewJob};
use super::{DISTANT, LATER, Twins, USERS};
use crate::batch::CloseStatus;
use crate::enqueue::has;

impl Twins {
    fn next_id(&mut self) -> String {
        self.count += 1;
        format!("{:026}", self.count)
    }

    /// Any kind of job.
    fn new_job(&mut self) -> NewJob {
        NewJob {
            version: self.one_of(&[1, 1, 1, 2, 3]),
            user: self.one_of(&[None, Some(USERS[0]), Some(USERS[0]), Some(USERS[1])]),
            unique: self.one_of(&[
                None,
                None,
                None,
                Some("u1"),
                Some("u2/completed"),
                Some("u3/any"),
            ]),
            group: self.one_of(&[None, None, Some("g1"), Some("g2")]),
            batch: self.any_batch(),
            frees_memory: self.one_of(&[true, false, false, false, false, false, false, false]),
            priority: self.one_of(&[0, 5, 5, 9]),
            max_attempts: self.one_of(&[1, 2, 3, 8, u32::MAX]),
            delayed: self.one_of(&[false, false, false, false, true]),
            by_clock: self.one_of(&[false, false, true]),
        }
    }

    /// Mostly one of the last, which probably has not ended.
    fn any_batch(&mut self) -> Option<String> {
        let last = self.batches.len().checked_sub(1)?;
        let at = self.one_of(&[
            None,
            None,
            Some(last),
            Some(last.saturating_sub(1)),
            Some(0),
        ])?;
        self.batches.get(at).cloned()
    }

    /// As `lua/queue/enqueue.lua` takes it.
    fn arguments(&self, id: &str, new: &NewJob, links: &[(&str, Option<&str>)]) -> Vec<String> {
        let unique_in = new.unique.and_then(|unique| unique.split_once('/'));
        let number = |usual: u64, number: u64| (number != usual).then(|| number.to_string());
        let text = |value: Option<&str>| value.map(str::to_owned);
        let run_at = if new.delayed { DISTANT } else { 1 };
        let options = [
            ("version", number(1, new.version.into())),
            ("user", text(new.user)),
            ("unique", text(new.unique)),
            ("unique_in", text(unique_in.map(|(_, states)| states))),
            ("group", text(new.group)),
            ("batch", new.batch.clone()),
            ("frees_memory", text(new.frees_memory.then_some("1"))),
            ("priority", number(5, new.priority)),
            ("max_attempts", number(8, new.max_attempts.into())),
            (
                "delay",
                (new.delayed && !new.by_clock).then(|| LATER.to_string()),
            ),
            ("run_at", new.by_clock.then(|| run_at.to_string())),
        ];
        let links = links.iter().map(|&(name, value)| (name, text(value)));
        let options = options.into_iter().chain(links);
        let options = options.filter_map(|(name, value)| Some([name.to_owned(), value?]));
        let mut options: Vec<String> = options.flatten().collect();
        if !options.is_empty() {
            let has = has(options.iter().step_by(2).map(String::as_str));
            options.extend(["has".to_owned(), has]);
        }
        let mut arguments = vec![id.to_owned(), "{}".into(), options.len().to_string()];
        arguments.extend(options);
        arguments
    }

    /// Runs the script, if there is room for all of the jobs, now and then twice, as after a lost
    /// answer. The outcomes and ids that it answers with, those of new jobs spelt out.
    fn add(&mut self, ids: &[String], arguments: &[String]) -> Vec<(String, String)> {
        let limit = self.reference.backlog_limit.to_string();
        let mut arguments = [&[String::new(), limit, ids.len().to_string()], arguments].concat();
        let mut answers: redis::Value = self.eval(|it| &it.enqueue, &arguments);
        if self.rng.random_range(0..8) == 0 {
            "again".clone_into(&mut arguments[0]);
            answers = self.eval(|it| &it.enqueue, &arguments);
        }
        let answers = match answers {
            redis::Value::Int(1) => vec![redis::Value::Int(1); ids.len()],
            each => each.into_sequence().unwrap(),
        };
        let answers = answers.into_iter().zip(ids);
        let answers = answers.map(|(answer, id)| match answer {
            redis::Value::Int(1) => ("new".to_owned(), id.clone()),
            other => redis::from_redis_value(other).unwrap(),
        });
        answers.collect()
    }

    pub fn enqueue(&mut self) -> String {
        let (id, new) = (self.next_id(), self.new_job());
        let arguments = self.arguments(&id, &new, &[]);
        let did = format!("enqueue {id} {new:?}");
        let answers = self.add(std::slice::from_ref(&id), &arguments);
        assert_eq!(answers, [self.reference.enqueue(&id, new)], "{did}");
        did
    }

    pub fn enqueue_chain(&mut self) -> String {
        let length = self.one_of(&[1, 2, 3, 4]);
        let ids: Vec<_> = (0..length).map(|_| self.next_id()).collect();
        let batch = self.any_batch();
        let (mut jobs, mut arguments) = (Vec::new(), Vec::new());
        for (at, id) in ids.iter().enumerate() {
            let mut new = self.new_job();
            new.batch = batch.clone();
            if at > 0 {
                new.unique = None;
            }
            let previous = at.checked_sub(1).map(|before| ids[before].as_str());
            let next = ids.get(at + 1).map(String::as_str);
            let links = [("previous", previous), ("next", next)];
            arguments.extend(self.arguments(id, &new, &links));
            jobs.push(new);
        }
        let did = format!("enqueue chain {ids:?} {jobs:?}");
        let answers = self.add(&ids, &arguments);
        assert_eq!(answers, self.reference.enqueue_chain(&ids, jobs), "{did}");
        did
    }

    pub fn open_batch(&mut self) -> String {
        let batch = format!("b{}", self.batches.len());
        let frees_memory = self.one_of(&[true, false, false, false]);
        let is_taken = self.reference.takes_batch(frees_memory);
        let (mut ids, mut arguments) = (Vec::new(), Vec::new());
        for (callback, name) in [(Callback::End, "on_end"), (Callback::Success, "on_success")] {
            let id = self.next_id();
            let new = NewJob {
                unique: None,
                batch: None,
                frees_memory,
                ..self.new_job()
            };
            let links = [(name, Some("1")), ("callback_of", Some(batch.as_str()))];
            arguments.extend(self.arguments(&id, &new, &links));
            if is_taken {
                self.reference.open_batch(&batch, callback, &id, new);
            }
            ids.push(id);
        }
        let answers = self.add(&ids, &arguments);
        let expected = if is_taken { "new" } else { "full" };
        assert!(answers.iter().all(|(outcome, _)| outcome == expected));
        if !is_taken {
            return "no room for a batch".into();
        }
        self.batches.push(batch.clone());
        format!("open batch {batch}")
    }

    /// The oldest one that is open.
    pub fn close_batch(&mut self) -> String {
        let Some(batch) = self.reference.open_batches().first().cloned() else {
            return "no batch".into();
        };
        let closed: CloseStatus = self.eval(|it| &it.close, std::slice::from_ref(&batch));
        assert_eq!(closed, CloseStatus::Closed);
        self.reference.close_batch(&batch);
        format!("close batch {batch}")
    }
}
