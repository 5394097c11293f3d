//! What workers do, and the time that passes meanwhile.

use rand::RngExt;

use super::reference::LOSSES;
use super::{LATER, Twins};
use crate::keys::root;

impl Twins {
    pub fn fetch(&mut self, want: usize, version: u32) -> String {
        // Every other time with a step of the reconciler, which must find nothing.
        if self.rng.random() {
            self.forget("reconciled_at");
        }
        self.count += 1;
        let token = format!("t{}", self.count);
        let arguments = [
            want.to_string(),
            "w".into(),
            "w@1".into(),
            LATER.to_string(),
            token,
            "0".into(),
            version.to_string(),
            "0".into(),
            LOSSES.to_string(),
        ];
        type Answer = (i64, u64, u64, u64, u64, u64, String, Vec<String>);
        let (_, _, _, _, mended, damaged, run, rows): Answer =
            self.eval(|it| &it.fetch, &arguments);
        let (mut rows, mut leased) = (&rows[..], Vec::new());
        while let [head, _payload, rest @ ..] = rows {
            let mut words = head.split(' ');
            leased.push(words.next().unwrap().to_owned());
            let more = words.nth(1).map_or(0, |it| it.parse().unwrap());
            rows = &rest[more..];
        }
        let did = format!("fetch {want} of version {version}");
        let expected = self.reference.fetch(want, version, &run);
        assert_eq!(leased, expected, "{did}");
        assert_eq!((mended, damaged), (0, 0), "{did}");
        let runs = leased.into_iter().map(|id| (id, run.clone()));
        self.runs.extend(runs);
        did
    }

    pub fn finish(&mut self, outcome: &str) -> String {
        let Some((id, token)) = self.any_run() else {
            return "nothing ran".into();
        };
        self.finish_run(&id, &token, outcome)
    }

    pub fn finish_run(&mut self, id: &str, token: &str, outcome: &str) -> String {
        let later = LATER.to_string();
        let details = ["{}", &later, ""];
        let mut arguments = vec![token, "1", id];
        if outcome == "completed" && self.rng.random() {
            arguments.push("done");
        } else {
            arguments.push(outcome);
            arguments.extend(details);
        }
        let arguments: Vec<_> = arguments.into_iter().map(str::to_owned).collect();
        let state = match self.eval(|it| &it.finish, &arguments) {
            redis::Value::Int(1) => "completed".to_owned(),
            each => redis::from_redis_value::<[String; 1]>(each).unwrap()[0].clone(),
        };
        let did = format!("finish {id} of {token} as {outcome}");
        let expected = self.reference.finish(id, token, outcome);
        assert_eq!(state, expected, "{did}");
        did
    }

    /// For one job: the next fetch finds it due, or its lease run out because its worker was
    /// killed.
    pub fn time_passes(&mut self) -> String {
        let waits = |state: &str| matches!(state, "scheduled" | "retrying" | "running");
        let Some(id) = self.any_job(waits) else {
            return "nothing waits".into();
        };
        let state = self.reference.jobs[&id].state;
        redis::cmd("ZADD")
            .arg(root("q") + state)
            .arg("XX")
            .arg(1)
            .arg(&id)
            .exec(&mut self.valkey)
            .unwrap();
        // The next fetch shall look at what changed behind the functions' back.
        self.forget("next_at");
        self.reference.time_passes_for(&id);
        format!("{state} job {id}: {}", self.fetch(0, 1))
    }

    pub fn forget(&mut self, mark: &str) {
        let mut forget = redis::cmd("HDEL");
        forget.arg(root("q") + "meta").arg(mark);
        forget.exec(&mut self.valkey).unwrap();
    }

    pub fn heartbeat(&mut self) -> String {
        let Some((id, token)) = self.any_run() else {
            return "nothing ran".into();
        };
        let arguments = [LATER.to_string(), id.clone(), token.clone()];
        let (lost, cancelled): (Vec<usize>, Vec<usize>) = self.eval(|it| &it.heartbeat, &arguments);
        let did = format!("heartbeat of {id} of {token}");
        let answer = (!lost.is_empty(), !cancelled.is_empty());
        assert_eq!(answer, self.reference.heartbeat(&id, &token), "{did}");
        did
    }
}
