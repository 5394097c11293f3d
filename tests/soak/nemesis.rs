//! Breaks one part after the other and mends it again, as a seed has it.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use tokio::time::{Instant, sleep};

use crate::cluster::Cluster;
use crate::history::{Event, History};

#[derive(Clone, Copy, Debug)]
enum Fault {
    KillApi,
    KillWorker,
    KillAllWorkers,
    KillConvex,
    KillValkey,
    RestartValkey,
    StopApi,
    StopWorker,
    StopConvex,
    StopValkey,
    FillValkey,
}

const ALL: [Fault; 11] = [
    Fault::KillApi,
    Fault::KillWorker,
    Fault::KillAllWorkers,
    Fault::KillConvex,
    Fault::KillValkey,
    Fault::RestartValkey,
    Fault::StopApi,
    Fault::StopWorker,
    Fault::StopConvex,
    Fault::StopValkey,
    Fault::FillValkey,
];

/// Longer than a job's lease: its worker is taken for dead and wakes up again.
const BEYOND_LEASE: Duration = Duration::from_secs(7);

/// Breaks parts until `end`; each is whole again when this returns. Every kind comes before one comes again.
pub async fn rage(cluster: &mut Cluster, history: &History, seed: u64, end: Instant) {
    let mut random = StdRng::seed_from_u64(seed);
    let mut deck = Vec::new();
    while Instant::now() < end {
        if deck.is_empty() {
            deck = ALL.to_vec();
            deck.shuffle(&mut random);
        }
        let Some(fault) = deck.pop() else { return };
        let hold = Duration::from_millis(random.random_range(200..2000));
        let which = random.random_range(0..6_usize);
        let pause = Duration::from_millis(random.random_range(300..1200));
        let note = |what: String| history.record(Event::Fault { what });
        note(format!("{fault:?} {which} for {hold:?}"));
        strike(cluster, fault, which, hold).await;
        note(format!("{fault:?} is over"));
        sleep(pause).await;
    }
}

async fn strike(cluster: &mut Cluster, fault: Fault, which: usize, hold: Duration) {
    let api = which % cluster.apis.len();
    let worker = which % cluster.workers.len();
    match fault {
        Fault::KillApi => {
            cluster.apis[api].kill();
            sleep(hold).await;
            cluster.restart_api(api);
        }
        Fault::KillWorker => {
            cluster.workers[worker].kill();
            sleep(hold).await;
            cluster.restart_worker(worker);
        }
        Fault::KillAllWorkers => {
            cluster.workers.iter_mut().for_each(|it| it.kill());
            sleep(hold).await;
            (0..cluster.workers.len()).for_each(|it| cluster.restart_worker(it));
        }
        Fault::KillConvex => {
            cluster.convex.kill();
            sleep(hold).await;
            cluster.restart_convex();
        }
        Fault::KillValkey => {
            cluster.valkey.kill();
            sleep(hold).await;
            cluster.valkey.restart();
        }
        Fault::RestartValkey => cluster.valkey.restart(),
        Fault::StopApi => {
            cluster.apis[api].signal("STOP");
            sleep(hold).await;
            cluster.apis[api].signal("CONT");
        }
        Fault::StopWorker => {
            let hold = if which < 3 { BEYOND_LEASE } else { hold };
            cluster.workers[worker].signal("STOP");
            sleep(hold).await;
            cluster.workers[worker].signal("CONT");
        }
        Fault::StopConvex => {
            cluster.convex.signal("STOP");
            sleep(hold).await;
            cluster.convex.signal("CONT");
        }
        Fault::StopValkey => {
            signal(cluster.valkey.pid(), "STOP");
            sleep(hold).await;
            signal(cluster.valkey.pid(), "CONT");
        }
        Fault::FillValkey => {
            cluster.limit_memory(1);
            sleep(hold).await;
            cluster.limit_memory(0);
        }
    }
}

fn signal(pid: u32, signal: &str) {
    let arguments = [format!("-{signal}"), pid.to_string()];
    let status = std::process::Command::new("kill").args(arguments).status();
    assert!(status.unwrap().success());
}
