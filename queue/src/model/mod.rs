//! Random operations on a queue in a real Valkey and on a reference in memory, which must agree after each of them.
//!
//! The scripts are called directly, with tokens and ids that the test gives out, so that a seed always does the same. Time
//! passes by moving a job's due time or the end of its lease into the past.
#![allow(clippy::unwrap_used)]

mod adding;
mod links;
mod rates;
mod reference;
mod steering;

use std::collections::{BTreeSet, HashMap};

use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};
use redis::Connection;
use sluice_test_support::TestValkey;

use crate::keys::{Retention, root};
use crate::script::{Script, Scripts};
use reference::{Reference, Snapshot};

const SEEDS: [u64; 8] = [1, 2, 3, 5, 8, 13, 21, 34];
const STEPS: usize = 400;

/// Far enough away for nothing to happen by itself, in ms.
const LATER: u64 = 3_600_000;

/// As far away, by the clock: the year 2100, in ms since 1970.
const DISTANT: u64 = 4_102_444_800_000;

const LISTS: [&str; 12] = [
    "waiting",
    "held",
    "newer",
    "crowded",
    "throttled",
    "throttled_users",
    "scheduled",
    "running",
    "retrying",
    "completed",
    "cancelled",
    "dead",
];
const USERS: [&str; 2] = ["ann", "bob"];

/// Both queues.
struct Twins {
    rng: StdRng,
    scripts: Scripts,
    valkey: Connection,
    reference: Reference,
    /// Every run there was: job and token. Later ones make earlier ones stale.
    runs: Vec<(String, String)>,
    count: usize,
    /// Every batch there was.
    batches: Vec<String>,
}

#[test]
fn random_operations_do_what_the_reference_does() {
    let valkey = TestValkey::start();
    let random = rand::random();
    println!("the random seed is {random}");
    for seed in SEEDS.into_iter().chain([random]) {
        println!("seed {seed}");
        let mut connection = valkey.connection();
        redis::cmd("FLUSHALL").exec(&mut connection).unwrap();
        let scripts = Scripts::new(&Retention::default());
        let mut load = redis::cmd("FUNCTION");
        load.arg("LOAD").arg("REPLACE").arg(&*scripts.fetch.library);
        load.exec(&mut connection).unwrap();
        let mut twins = Twins {
            rng: StdRng::seed_from_u64(seed),
            scripts,
            valkey: connection,
            reference: Reference::default(),
            runs: Vec::new(),
            count: 0,
            batches: Vec::new(),
        };
        for step in 0..STEPS {
            let did = twins.step();
            twins.compare(&format!("seed {seed}, step {step}: {did}"));
        }
        twins.finish_everything();
    }
}

impl Twins {
    fn eval<T: redis::FromRedisValue>(
        &mut self,
        script: impl Fn(&Scripts) -> &Script,
        arguments: &[String],
    ) -> T {
        redis::cmd("FCALL")
            .arg(&script(&self.scripts).function)
            .arg(1)
            .arg(root("q"))
            .arg(arguments)
            .query(&mut self.valkey)
            .unwrap()
    }

    fn one_of<T: Copy>(&mut self, choices: &[T]) -> T {
        *choices.choose(&mut self.rng).unwrap()
    }

    /// Any job, if there is one that the condition holds for.
    fn any_job(&mut self, condition: impl Fn(&str) -> bool) -> Option<String> {
        let jobs = self.reference.jobs.iter();
        let fitting: Vec<_> = jobs.filter(|(_, job)| condition(job.state)).collect();
        fitting.choose(&mut self.rng).map(|(id, _)| (*id).clone())
    }

    fn any_run(&mut self) -> Option<(String, String)> {
        // Mostly one of the last, which probably still holds its lease.
        let from = match self.rng.random_range(0..4) {
            0 => 0,
            _ => self.runs.len().saturating_sub(6),
        };
        self.runs[from..].choose(&mut self.rng).cloned()
    }

    /// Does something to both and compares the answers. Returns what it was.
    fn step(&mut self) -> String {
        match self.rng.random_range(0..100) {
            0..22 => self.enqueue(),
            22..26 => self.enqueue_chain(),
            26 => self.open_batch(),
            27 => self.close_batch(),
            28..50 => {
                let want = self.rng.random_range(1..4);
                let version = self.one_of(&[1, 2, 2, 3]);
                self.fetch(want, version)
            }
            50..70 => {
                let outcomes = ["completed", "refused", "retry", "retry", "dead", "released"];
                let outcome = self.one_of(&outcomes);
                self.finish(outcome)
            }
            70..78 => self.time_passes(),
            78..80 => self.window_passes(),
            80..84 => self.heartbeat(),
            84..95 => {
                let operation = self.one_of(&["cancel", "cancel", "retry", "retry", "delete"]);
                self.operate(operation)
            }
            95..97 => {
                let paused = !self.reference.paused;
                self.set_paused(paused)
            }
            97 => {
                let (rate, user_rate) = (self.rate(), self.rate());
                self.set_rates(rate, user_rate)
            }
            _ => {
                let choices = [None, Some(1), Some(2), Some(3)];
                let (limit, user_limit) = (self.one_of(&choices), self.one_of(&choices));
                self.set_limits(limit, user_limit)
            }
        }
    }

    fn fetch(&mut self, want: usize, version: u32) -> String {
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
        ];
        type Answer = (i64, u64, u64, u64, u64, String, Vec<Vec<redis::Value>>);
        let (_, _, _, _, mended, run, rows): Answer = self.eval(|it| &it.fetch, &arguments);
        let leased: Vec<String> = rows
            .into_iter()
            .map(|mut row| redis::from_redis_value(row.swap_remove(9)).unwrap())
            .collect();
        let did = format!("fetch {want} of version {version}");
        let expected = self.reference.fetch(want, version, &run);
        assert_eq!(leased, expected, "{did}");
        assert_eq!(mended, 0, "{did}");
        let runs = leased.into_iter().map(|id| (id, run.clone()));
        self.runs.extend(runs);
        did
    }

    fn finish(&mut self, outcome: &str) -> String {
        let Some((id, token)) = self.any_run() else {
            return "nothing ran".into();
        };
        self.finish_run(&id, &token, outcome)
    }

    fn finish_run(&mut self, id: &str, token: &str, outcome: &str) -> String {
        let later = LATER.to_string();
        let arguments = [id, token, outcome, "{}", &later, ""].map(str::to_owned);
        let [state]: [String; 1] = self.eval(|it| &it.finish, &arguments);
        let did = format!("finish {id} of {token} as {outcome}");
        let expected = self.reference.finish(id, token, outcome);
        assert_eq!(state, expected, "{did}");
        did
    }

    /// For one job: the next fetch finds it due, or its lease run out because its worker was killed.
    fn time_passes(&mut self) -> String {
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

    fn forget(&mut self, mark: &str) {
        let mut forget = redis::cmd("HDEL");
        forget.arg(root("q") + "meta").arg(mark);
        forget.exec(&mut self.valkey).unwrap();
    }

    fn heartbeat(&mut self) -> String {
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

    fn compare(&mut self, after: &str) {
        let (observed, expected) = (self.observed(), self.reference.snapshot());
        assert_eq!(observed.line, expected.line, "{after}");
        assert_eq!(observed.lists, expected.lists, "{after}");
        assert_eq!(observed.jobs, expected.jobs, "{after}");
        assert_eq!(observed.batches, expected.batches, "{after}");
    }

    fn observed(&mut self) -> Snapshot {
        let root = root("q");
        let mut snapshot = Snapshot {
            line: self.members("ZRANGE", "available"),
            ..Snapshot::default()
        };
        for list in LISTS {
            let members = self.members("ZRANGE", list);
            snapshot.note(list.to_owned(), members);
        }
        for user in USERS {
            let list = format!("places:{user}");
            let members = self.members("SMEMBERS", &list);
            snapshot.note(list, members);
        }
        let keys: Vec<String> = redis::cmd("KEYS")
            .arg(format!("{root}job:*"))
            .query(&mut self.valkey)
            .unwrap();
        for key in keys {
            let (state, attempts): (String, Option<u32>) = redis::cmd("HMGET")
                .arg(&key)
                .arg(&["state", "attempts"])
                .query(&mut self.valkey)
                .unwrap();
            let id = key.strip_prefix(&format!("{root}job:")).unwrap();
            snapshot
                .jobs
                .insert(id.to_owned(), (state, attempts.unwrap_or(0)));
        }
        for batch in &self.batches {
            let counts: Vec<Option<usize>> = redis::cmd("HMGET")
                .arg(format!("{root}batch:{batch}"))
                .arg(&["jobs", "completed", "refused", "dead", "cancelled"])
                .query(&mut self.valkey)
                .unwrap();
            let counts = counts.into_iter().map(Option::unwrap_or_default);
            snapshot.batches.insert(batch.clone(), counts.collect());
        }
        snapshot
    }

    fn members(&mut self, command: &str, list: &str) -> Vec<String> {
        let mut command = redis::cmd(command);
        command.arg(root("q") + list);
        if list.starts_with("places") {
            return command.query(&mut self.valkey).unwrap();
        }
        command.arg(0).arg(-1).query(&mut self.valkey).unwrap()
    }

    /// Whatever happened before: workers that know everything complete all that is left, and no trace of it stays.
    fn finish_everything(&mut self) {
        self.set_paused(false);
        self.set_limits(None, None);
        self.set_rates(None, None);
        while self.close_batch() != "no batch" {}
        let is_open = |state: &str| !matches!(state, "completed" | "cancelled" | "dead");
        while self.any_job(is_open).is_some() {
            self.time_passes();
            self.fetch(10, 3);
            let running: HashMap<_, _> = self.runs.drain(..).collect();
            for (id, token) in running {
                self.finish_run(&id, &token, "completed");
            }
            self.compare("at the end");
        }
        // What is unique beyond its end is so until it is deleted.
        while let Some(id) = self.any_job(|_| true) {
            let deleted: i64 = self.eval(|it| &it.operate, &["delete".into(), id.clone()]);
            assert_eq!(deleted, self.reference.operate("delete", &id));
        }
        let keys: Vec<String> = redis::cmd("KEYS").arg("*").query(&mut self.valkey).unwrap();
        let left: BTreeSet<_> = keys
            .iter()
            .filter_map(|key| key.strip_prefix(&root("q")))
            .collect();
        let kept = |key: &&str| {
            ["meta", "workers"].contains(key)
                || ["started:", "batch:"]
                    .iter()
                    .any(|kept| key.starts_with(kept))
        };
        assert!(left.iter().all(kept), "{left:?}");
    }
}

impl Snapshot {
    fn note(&mut self, list: String, members: Vec<String>) {
        if !members.is_empty() {
            self.lists.insert(list, members.into_iter().collect());
        }
    }
}
