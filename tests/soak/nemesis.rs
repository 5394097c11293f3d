//! Breaks one part after the other, sometimes two at once, and mends them again, as a seed has it.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use tokio::time::{Instant, sleep};

use crate::cluster::Cluster;
use crate::history::{Event, History};

#[derive(Clone, Copy, Debug, PartialEq)]
enum Part {
    Api,
    Worker,
    Convex,
    Valkey,
}

#[derive(Clone, Copy, Debug)]
enum Fault {
    /// SIGKILL, and a new start.
    Kill,
    /// SIGKILL for all workers.
    KillAll,
    /// An orderly end, and a new start.
    Restart,
    /// SIGSTOP, and SIGCONT.
    Stop,
    /// As [`Fault::Stop`], for longer than a lease: the worker is taken for dead and wakes up
    /// again.
    StopLong,
    /// No memory for any write, and enough again.
    Fill,
    /// No write without a replica, of which there is none.
    NoReplica,
}

const ALL: [(Part, Fault); 13] = [
    (Part::Api, Fault::Kill),
    (Part::Api, Fault::Stop),
    (Part::Worker, Fault::Kill),
    (Part::Worker, Fault::KillAll),
    (Part::Worker, Fault::Stop),
    (Part::Worker, Fault::StopLong),
    (Part::Convex, Fault::Kill),
    (Part::Convex, Fault::Stop),
    (Part::Valkey, Fault::Kill),
    (Part::Valkey, Fault::Restart),
    (Part::Valkey, Fault::Stop),
    (Part::Valkey, Fault::Fill),
    (Part::Valkey, Fault::NoReplica),
];

/// Longer than a job's lease.
const BEYOND_LEASE: Duration = Duration::from_secs(7);

/// Breaks parts until `end`; each is whole again when this returns. Every kind comes before one
/// comes again.
pub async fn rage(cluster: &mut Cluster, history: &History, seed: u64, end: Instant) {
    let mut random = StdRng::seed_from_u64(seed);
    let mut deck = Vec::new();
    while Instant::now() < end {
        if deck.is_empty() {
            deck = ALL.to_vec();
            deck.shuffle(&mut random);
        }
        let mut broken: Vec<(Part, Fault)> = deck.pop().into_iter().collect();
        // Of two faults of one part the second would meet what the first has left.
        if random.random_bool(0.4)
            && let Some(other) = deck.pop_if(|(part, _)| *part != broken[0].0)
        {
            broken.push(other);
        }
        let mut hold = Duration::from_millis(random.random_range(200..2000));
        if broken.iter().any(|it| matches!(it.1, Fault::StopLong)) {
            hold = BEYOND_LEASE;
        }
        let which = random.random_range(0..6);
        let pause = Duration::from_millis(random.random_range(300..1200));
        let note = |what: String| history.record(Event::Fault { what });
        note(format!("{broken:?}, number {which}, for {hold:?}"));
        for (part, fault) in &broken {
            hurt(cluster, *part, *fault, which);
        }
        sleep(hold).await;
        for (part, fault) in &broken {
            mend(cluster, *part, *fault, which);
        }
        note("all is whole".to_owned());
        sleep(pause).await;
    }
}

/// `which` names one of several of a kind.
fn hurt(cluster: &mut Cluster, part: Part, fault: Fault, which: usize) {
    let (api, worker) = (which % cluster.apis.len(), which % cluster.workers.len());
    match (fault, part) {
        (Fault::Kill, Part::Api) => cluster.apis[api].kill(),
        (Fault::Kill, Part::Worker) => cluster.workers[worker].kill(),
        (Fault::Kill, Part::Convex) => cluster.convex.kill(),
        (Fault::Kill, Part::Valkey) => cluster.valkey.kill(),
        (Fault::KillAll, _) => cluster.workers.iter_mut().for_each(|it| it.kill()),
        (Fault::Restart, _) => cluster.valkey.restart(),
        (Fault::Stop | Fault::StopLong, part) => signal(cluster, part, which, "STOP"),
        (Fault::Fill, _) => cluster.configure_valkey("maxmemory", "1"),
        (Fault::NoReplica, _) => cluster.configure_valkey("min-replicas-to-write", "1"),
    }
}

fn mend(cluster: &mut Cluster, part: Part, fault: Fault, which: usize) {
    let (api, worker) = (which % cluster.apis.len(), which % cluster.workers.len());
    match (fault, part) {
        (Fault::Kill, Part::Api) => cluster.restart_api(api),
        (Fault::Kill, Part::Worker) => cluster.restart_worker(worker),
        (Fault::Kill, Part::Convex) => cluster.restart_convex(),
        (Fault::Kill, Part::Valkey) => cluster.valkey.restart(),
        (Fault::KillAll, _) => (0..cluster.workers.len()).for_each(|it| cluster.restart_worker(it)),
        (Fault::Restart, _) => {}
        (Fault::Stop | Fault::StopLong, part) => signal(cluster, part, which, "CONT"),
        (Fault::Fill, _) => cluster.configure_valkey("maxmemory", "0"),
        (Fault::NoReplica, _) => cluster.configure_valkey("min-replicas-to-write", "0"),
    }
}

fn signal(cluster: &Cluster, part: Part, which: usize, signal: &str) {
    let pid = match part {
        Part::Api => cluster.apis[which % cluster.apis.len()].pid(),
        Part::Worker => cluster.workers[which % cluster.workers.len()].pid(),
        Part::Convex => cluster.convex.pid(),
        Part::Valkey => cluster.valkey.pid(),
    };
    let arguments = [format!("-{signal}"), pid.to_string()];
    let status = std::process::Command::new("kill").args(arguments).status();
    assert!(status.unwrap().success());
}
