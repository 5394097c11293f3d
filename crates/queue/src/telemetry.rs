//! What operators watch: every metric with its help, and the gauges of queues.

use std::time::Duration;

use metrics::{
    Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram,
};
use tokio::time::{MissedTickBehavior, interval};

use crate::enqueue::Added;
use crate::worker::OUTCOMES;
use crate::{QueueStats, Queues, State};

/// How often the gauges are read. Shorter than the intervals at which metrics are usually
/// collected.
const EVERY: Duration = Duration::from_secs(5);

/// Describes this crate's metrics, and begins those of `queues` at 0, so that the first error is an
/// increase. Call it once a recorder is installed.
pub fn describe_metrics(queues: &[&str]) {
    describe_gauge!(
        "sluice_queue_depth",
        "Jobs that a queue has, by state; the same in every process, NaN while it cannot be read"
    );
    describe_gauge!(
        "sluice_queue_oldest_waiting_seconds",
        Unit::Seconds,
        "How long the job that is next in line has waited; 0 when there is none"
    );
    describe_gauge!("sluice_queue_paused", "1 while a queue is paused");
    describe_gauge!(
        "sluice_queue_workers",
        "Workers of a queue that were seen in the last 10 s"
    );
    describe_counter!(
        "sluice_queue_enqueued_total",
        "Jobs that were to be added, by what came of it"
    );
    describe_counter!("sluice_queue_jobs_total", "Runs that ended, by outcome");
    describe_counter!(
        "sluice_queue_rescued_total",
        "Runs of lost workers: rescued, or buried for good"
    );
    describe_counter!(
        "sluice_queue_set_aside_total",
        "Jobs of a newer version than the worker knows"
    );
    describe_counter!("sluice_queue_mended_total", "Jobs whose keys were damaged");
    describe_counter!(
        "sluice_queue_damaged_total",
        "Jobs that cannot be run as they are kept, and were put among the dead ones"
    );
    describe_histogram!(
        "sluice_queue_wait_seconds",
        Unit::Seconds,
        "Time from when a job could run until it did"
    );
    describe_histogram!(
        "sluice_queue_run_seconds",
        Unit::Seconds,
        "Time that a run took"
    );
    describe_histogram!(
        "sluice_queue_command_seconds",
        Unit::Seconds,
        "Time that a command to Valkey took, with what was repeated"
    );
    describe_counter!(
        "sluice_queue_command_retries_total",
        "Commands to Valkey that were sent again"
    );
    describe_counter!(
        "sluice_queue_heartbeats_failed_total",
        "Extensions of leases that failed"
    );
    counter!("sluice_queue_heartbeats_failed_total").increment(0);
    for queue in queues {
        begin(queue);
    }
}

fn begin(queue: &str) {
    let of = |name: &'static str| counter!(name, "queue" => queue.to_owned()).increment(0);
    of("sluice_queue_set_aside_total");
    of("sluice_queue_mended_total");
    of("sluice_queue_damaged_total");
    for (name, outcomes) in [
        ("sluice_queue_enqueued_total", Added::OUTCOMES.as_slice()),
        ("sluice_queue_jobs_total", OUTCOMES.as_slice()),
        ("sluice_queue_rescued_total", &["rescued", "buried"]),
    ] {
        for outcome in outcomes {
            counter!(name, "queue" => queue.to_owned(), "outcome" => *outcome).increment(0);
        }
    }
    for name in ["sluice_queue_wait_seconds", "sluice_queue_run_seconds"] {
        let _ = histogram!(name, "queue" => queue.to_owned());
    }
    show(&QueueStats {
        name: queue.to_owned(),
        ..QueueStats::default()
    });
}

impl Queues {
    /// Keeps the gauges of all queues up to date, for as long as it is polled. Costs one script for
    /// each queue every 5 s.
    pub async fn keep_gauges(&self) {
        let mut ticks = interval(EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut shown: Vec<String> = Vec::new();
        loop {
            ticks.tick().await;
            match self.queues().await {
                Ok(all) => {
                    all.iter().for_each(show);
                    shown = all.into_iter().map(|stats| stats.name).collect();
                }
                // An old number would look like a fresh one.
                Err(_) => shown.iter().for_each(|queue| set(queue, |_| f64::NAN)),
            }
        }
    }
}

fn show(stats: &QueueStats) {
    set(&stats.name, |gauge| match gauge {
        _ if stats.damage.is_some() => f64::NAN,
        Gauge::Depth(state) => stats.depth(state) as f64,
        Gauge::OldestWaiting => stats.oldest_waiting_ms.unwrap_or(0) as f64 / 1e3,
        Gauge::Paused => f64::from(u8::from(stats.paused_at.is_some())),
        Gauge::Workers => stats.workers as f64,
    });
}

#[derive(Clone, Copy)]
enum Gauge {
    Depth(State),
    OldestWaiting,
    Paused,
    Workers,
}

fn set(queue: &str, value: impl Fn(Gauge) -> f64) {
    let queue = || queue.to_owned();
    for state in State::ALL {
        gauge!("sluice_queue_depth", "queue" => queue(), "state" => state.as_str())
            .set(value(Gauge::Depth(state)));
    }
    gauge!("sluice_queue_oldest_waiting_seconds", "queue" => queue())
        .set(value(Gauge::OldestWaiting));
    gauge!("sluice_queue_paused", "queue" => queue()).set(value(Gauge::Paused));
    gauge!("sluice_queue_workers", "queue" => queue()).set(value(Gauge::Workers));
}
