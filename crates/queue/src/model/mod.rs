//! Random operations on a queue in a real Valkey and on a reference in memory, which must agree
//! after each of them.
//!
//! The scripts are called directly, with tokens and ids that the test gives out, so that a seed
//! always does the same. Time passes by moving a job's due time or the end of its lease into the
//! past.
#![allow(clippy::unwrap_used)]

mod adding;
mod observing;
mod reference;
mod steering;
mod working;

use std::collections::{BTreeSet, HashMap};

use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};
use redis::Connection;
use sluice_test_support::TestValkey;
use sluice_valkey::Function;

use crate::keys::{Retention, root};
use crate::operate::Operated;
use crate::script::Scripts;
use reference::Reference;

const SEEDS: [u64; 8] = [1, 2, 3, 5, 8, 13, 21, 34];
const STEPS: usize = 400;

/// How many jobs there may be that have not ended, by turns of the seeds.
const BACKLOG_LIMITS: [usize; 2] = [1_000, 8];

/// Far enough away for nothing to happen by itself, in ms.
const LATER: u64 = 3_600_000;

/// As far away, by the clock: the year 2100, in ms since 1970.
const DISTANT: u64 = 4_102_444_800_000;

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
    let limits = BACKLOG_LIMITS.into_iter().cycle();
    for (seed, backlog_limit) in SEEDS.into_iter().chain([random, random]).zip(limits) {
        println!("seed {seed}");
        let mut connection = valkey.connection();
        redis::cmd("FLUSHALL").exec(&mut connection).unwrap();
        redis::cmd("FUNCTION")
            .arg("FLUSH")
            .exec(&mut connection)
            .unwrap();
        let scripts = Scripts::new(&Retention::default());
        scripts
            .fetch
            .library()
            .load_command()
            .exec(&mut connection)
            .unwrap();
        let mut twins = Twins {
            rng: StdRng::seed_from_u64(seed),
            scripts,
            valkey: connection,
            reference: Reference::new(backlog_limit),
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
        script: impl Fn(&Scripts) -> &Function,
        arguments: &[String],
    ) -> T {
        script(&self.scripts)
            .command(&[&root("q")])
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
                let outcomes = [
                    "completed",
                    "refused",
                    "retry",
                    "retry",
                    "dead",
                    "released",
                    "yielded",
                ];
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

    /// Whatever happened before: workers that know everything complete all that is left, and no
    /// trace of it stays.
    fn finish_everything(&mut self) {
        self.set_paused(false);
        self.set_limits(None, None);
        self.set_rates(None, None);
        while self.close_batch() != "no batch" {}
        let is_open = |state: &str| !matches!(state, "completed" | "cancelled" | "dead");
        let mut rounds = 0;
        while self.any_job(is_open).is_some() {
            rounds += 1;
            assert!(
                rounds < 1_000,
                "jobs are stuck: {:?}",
                self.observed().lists
            );
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
            let deleted: Operated = self.eval(
                |it| &it.operate,
                &["delete".into(), id.clone(), String::new()],
            );
            assert_eq!(deleted, self.reference.operate("delete", &id));
        }
        let keys: Vec<String> = redis::cmd("KEYS").arg("*").query(&mut self.valkey).unwrap();
        let left: BTreeSet<_> = keys
            .iter()
            .filter_map(|key| key.strip_prefix(&root("q")))
            .collect();
        let kept = |key: &&str| {
            ["meta", "workers"].contains(key)
                || ["started:", "batch:", "minute:"]
                    .iter()
                    .any(|kept| key.starts_with(kept))
        };
        assert!(left.iter().all(kept), "{left:?}");
    }
}
