//! Fires what is due, in every worker process.

use std::time::Duration;

use sluice_queue::{Idempotency, JobId, KeptSchedules, NewJob, QueueError, Queues};
use sluice_retry::Pauses;
use tokio::time::sleep;

use super::cron::Cron;
use super::{Missed, Schedule, declare, millis, read, time, with_jitter};

/// How often schedules are looked at, at least: so soon a new one is fired, and a paused one not.
const LOOK: Duration = Duration::from_secs(2);

/// A tick that was due for longer was missed.
const LATE_MS: u64 = 60_000;

/// The pause after a first failure, and the longest.
const PAUSES: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(10));

/// Declares the schedules of the configuration, then fires all there are, for as long as it is
/// polled. While Valkey is away it waits.
pub(crate) async fn run(queues: Queues, declared: Vec<(String, Schedule)>) {
    let mut pauses = Pauses::new(PAUSES.0, PAUSES.1);
    while let Err(error) = declare(&queues, &declared).await {
        warn(&error);
        sleep(pauses.next_pause()).await;
    }
    loop {
        let pause = match fire(&queues).await {
            Ok(next_in) => {
                pauses.reset();
                next_in.min(LOOK)
            }
            Err(error) => {
                warn(&error);
                pauses.next_pause()
            }
        };
        sleep(pause).await;
    }
}

fn warn(error: &QueueError) {
    if !error.is_outage() {
        tracing::warn!(%error, "schedules cannot be looked at");
    }
}

/// Fires what is due. Returns how long it is until the next tick.
async fn fire(queues: &Queues) -> Result<Duration, QueueError> {
    let KeptSchedules { now, all } = queues.schedules().await?;
    let mut next = now + u64::try_from(LOOK.as_millis()).unwrap_or_default();
    for kept in all {
        let Some(definition) = read(&kept).filter(|_| kept.paused_at.is_none()) else {
            continue;
        };
        let (name, schedule) = (&kept.name, &definition.schedule);
        let Ok(ticks) = schedule.ticks() else {
            tracing::warn!(name, "a schedule cannot be read");
            continue;
        };
        let Some(first) = ticks.after(time(kept.passed)).map(millis) else {
            continue;
        };
        if first > now {
            next = next.min(first);
            continue;
        }
        let outcome = match due(schedule, &ticks, first, now) {
            Some(tick) => enqueue(queues, name, schedule, tick).await?,
            None => Err("it was missed"),
        };
        let outcome = outcome.as_ref().map_err(|reason| *reason);
        queues
            .pass_schedule(name, now, Some(first), outcome)
            .await?;
        if let Some(tick) = ticks.after(time(now)) {
            next = next.min(millis(tick));
        }
    }
    Ok(Duration::from_millis(next.saturating_sub(now)))
}

/// The tick to fire of those that are due, of which there is a first; none when they were missed,
/// and are to be left out.
fn due(schedule: &Schedule, ticks: &Cron, first: u64, now: u64) -> Option<u64> {
    let is_late = |tick: u64| now - tick > LATE_MS;
    match schedule.missed {
        Missed::Once => Some(first),
        Missed::Skip if !is_late(first) => Some(first),
        Missed::Skip => {
            let recent = ticks.after(time(now - LATE_MS)).map(millis);
            recent.filter(|&tick| tick <= now)
        }
    }
}

/// Enqueues the job of a tick, once over all workers; not while its queue is full.
async fn enqueue(
    queues: &Queues,
    name: &str,
    schedule: &Schedule,
    tick: u64,
) -> Result<Result<JobId, &'static str>, QueueError> {
    let Ok(job) = schedule.job(name) else {
        return Ok(Err("its payload is no job of its queue"));
    };
    let job = NewJob {
        idempotency: Some(Idempotency {
            key: format!("tick:{name}:{tick}"),
            fingerprint: String::new(),
        }),
        run_at: Some(with_jitter(name, tick, schedule.jitter_secs)),
        ..job
    };
    match queues.enqueue(job).await {
        Err(QueueError::Full(queue)) => {
            tracing::warn!(queue, name, "the queue is full: this tick is left out");
            Ok(Err("the queue was full"))
        }
        enqueued => Ok(Ok(enqueued?.id)),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::time::Instant;

    use sluice_queue::{QueueConfig, State};
    use sluice_test_support::TestValkey;

    use super::super::{Origin, all, definition, put, remove, run_now};
    use super::*;
    use crate::job::Job as _;
    use crate::meta::Sweep;

    const LONG: Duration = Duration::from_secs(30);

    async fn queues(valkey: &TestValkey) -> Queues {
        Queues::connect(&valkey.url(), QueueConfig::default())
            .await
            .unwrap()
    }

    /// Has the ticks of a schedule be looked at from some time ago.
    async fn since(valkey: &TestValkey, name: &str, passed: u64) {
        let mut set = redis::cmd("HSET");
        set.arg(format!("sq1:{{*}}:schedule:{name}"))
            .arg("passed")
            .arg(passed);
        set.exec(&mut valkey.connection()).unwrap();
    }

    async fn jobs(queues: &Queues) -> u64 {
        let all = queues.queues().await.unwrap();
        all.iter()
            .map(|queue| State::ALL.map(|it| queue.depth(it)).iter().sum::<u64>())
            .sum()
    }

    #[tokio::test]
    async fn of_many_workers_one_enqueues_a_tick() {
        let valkey = TestValkey::start();
        let queues = queues(&valkey).await;
        // Once a year, and a moment ago.
        let now = queues.schedules().await.unwrap().now;
        let tick = time(now - 1500);
        let cron = tick.format("%S %M %H %d %m *").to_string();
        put(&queues, "yearly", Schedule::new(cron, "purge"))
            .await
            .unwrap();
        since(&valkey, "yearly", now - 5000).await;
        let workers = (0..8).map(|_| fire(&queues));
        for fired in futures_util::future::join_all(workers).await {
            fired.unwrap();
        }
        assert_eq!(jobs(&queues).await, 1);
        let view = all(&queues).await.unwrap().remove(0);
        assert_eq!(view.last, Some(millis(tick) / 1000 * 1000));
        assert!(view.last_job.is_some() && view.next.unwrap() > now);
    }

    #[tokio::test]
    async fn ticks_while_no_worker_ran_are_made_up_once_or_left_out() {
        let valkey = TestValkey::start();
        let queues = queues(&valkey).await;
        let now = queues.schedules().await.unwrap().now;
        // On the half hour that is furthest from now.
        let half_hours = format!("0 {} * * * *", (now / 60_000 + 30) % 60);
        for (name, queue, missed) in [
            ("made-up", "purge", Missed::Once),
            ("left-out", "sweep", Missed::Skip),
        ] {
            let schedule = Schedule {
                missed,
                ..Schedule::new(&*half_hours, queue)
            };
            put(&queues, name, schedule).await.unwrap();
            since(&valkey, name, now - 10 * 3_600_000).await;
        }
        fire(&queues).await.unwrap();
        fire(&queues).await.unwrap();
        let depth = async |name: &str| {
            let all = queues.queues().await.unwrap();
            all.iter()
                .find(|it| it.name == name)
                .map_or(0, |it| it.available)
        };
        assert_eq!((depth("purge").await, depth("sweep").await), (1, 0));
        let views = all(&queues).await.unwrap();
        assert_eq!(views[0].left_out.as_deref(), Some("it was missed"));
        assert_eq!(views[1].left_out, None);
    }

    #[tokio::test]
    async fn a_paused_schedule_is_not_fired_nor_made_up_afterwards() {
        let valkey = TestValkey::start();
        let queues = queues(&valkey).await;
        put(&queues, "s", Schedule::new("* * * * * *", "purge"))
            .await
            .unwrap();
        queues.pause_schedule("s", true).await.unwrap();
        since(&valkey, "s", 1).await;
        fire(&queues).await.unwrap();
        assert_eq!(jobs(&queues).await, 0);
        queues.pause_schedule("s", false).await.unwrap();
        let kept = queues.schedules().await.unwrap();
        assert!(kept.now - kept.all[0].passed < 10_000);
    }

    #[tokio::test]
    async fn a_tick_is_left_out_while_its_queue_is_full_and_a_later_one_is_not() {
        let valkey = TestValkey::start();
        let config = QueueConfig {
            backlog_limit: 1,
            ..QueueConfig::default()
        };
        let queues = Queues::connect(&valkey.url(), config).await.unwrap();
        let other = Sweep::default().enqueue(&queues).await.unwrap().id;
        put(&queues, "s", Schedule::new("* * * * * *", Sweep::QUEUE))
            .await
            .unwrap();
        since(&valkey, "s", 1).await;
        fire(&queues).await.unwrap();
        let view = all(&queues).await.unwrap().remove(0);
        assert_eq!(view.left_out.as_deref(), Some("the queue was full"));
        queues.cancel(&other).await.unwrap();
        let begun = Instant::now();
        while queues.queues().await.unwrap()[0].available == 0 {
            assert!(begun.elapsed() < LONG);
            fire(&queues).await.unwrap();
            sleep(Duration::from_millis(50)).await;
        }
    }

    #[tokio::test]
    async fn a_job_that_has_not_ended_is_not_doubled() {
        let valkey = TestValkey::start();
        let queues = queues(&valkey).await;
        let yearly = Schedule::new("0 0 0 1 1 *", "purge");
        put(&queues, "s", yearly).await.unwrap();
        let first = run_now(&queues, "s").await.unwrap().unwrap();
        since(&valkey, "s", 1).await;
        fire(&queues).await.unwrap();
        let view = all(&queues).await.unwrap().remove(0);
        assert_eq!(view.last_job, Some(first.clone()));
        assert_eq!(run_now(&queues, "s").await.unwrap(), Some(first));
        assert_eq!(run_now(&queues, "none").await.unwrap(), None);
        assert_eq!(jobs(&queues).await, 1);
    }

    #[tokio::test]
    async fn what_the_configuration_has_no_more_is_gone_and_what_operators_added_stays() {
        let valkey = TestValkey::start();
        let queues = queues(&valkey).await;
        let schedule = Schedule::new("0 0 3 * * *", "purge");
        put(&queues, "mine", schedule.clone()).await.unwrap();
        let of = |names: &[&str]| -> Vec<_> {
            names
                .iter()
                .map(|name| ((*name).to_owned(), schedule.clone()))
                .collect()
        };
        let names = async || -> Vec<String> {
            all(&queues)
                .await
                .unwrap()
                .into_iter()
                .map(|it| it.name)
                .collect()
        };
        declare(&queues, &of(&["a", "b"])).await.unwrap();
        assert_eq!(names().await, ["a", "b", "mine"]);
        declare(&queues, &of(&["b"])).await.unwrap();
        assert_eq!(names().await, ["b", "mine"]);
        assert!(put(&queues, "b", schedule.clone()).await.is_err());
        assert!(remove(&queues, "b").await.is_err());
        assert!(remove(&queues, "mine").await.unwrap());
        let kept = definition(Origin::Config, schedule).unwrap();
        assert!(kept.get().contains("\"origin\":\"config\""));
    }
}
