//! Fetches jobs for one worker, never more than it has free places for.

use std::sync::Arc;
use std::time::Duration;

use sluice_retry::Pauses;
use sluice_valkey::Repeat;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_util::sync::CancellationToken;
use ulid::Ulid;

use super::WorkerConfig;
use super::fetched::{Batch, Leased};
use super::finish::{Ending, bury, finish};
use super::heartbeat::millis;
use super::lease::Lease;
use super::run::Running;
use crate::job::began_at;
use crate::keys::{FETCH_LIMIT, root, time_of};
use crate::{JobId, QueueError, Queues};

/// The pause after a first failed fetch, and the longest.
const PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

/// How often a worker shows that it is alive; much less than after which it counts as gone.
const SHOW: Duration = Duration::from_secs(1);

/// While there is more to fetch, a fetch waits at most this long for that part of the places to be
/// free.
const GATHERING: Duration = Duration::from_millis(1);
const GATHERED_SHARE: usize = 8;

/// Whether the worker takes jobs now: it is neither paused nor about to end.
pub(crate) type Accepts = Box<dyn Fn() -> bool + Send + Sync>;

/// Feeds one source.
pub(super) struct Fetcher {
    pub queues: Queues,
    pub queue: String,
    pub config: WorkerConfig,
    pub accepts: Accepts,
    pub slots: Arc<Semaphore>,
    pub jobs: mpsc::UnboundedSender<Running>,
    pub stop: CancellationToken,
}

/// The token of the runs that a fetch begins. It stays the same until an answer arrives, so that
/// the script finds what a lost one leased.
struct Token {
    text: String,
    lost: bool,
}

impl Token {
    fn new() -> Self {
        Self {
            text: Ulid::generate().to_string(),
            lost: false,
        }
    }
}

impl Fetcher {
    /// Runs until the source is closed or the process drains. Between fetches it waits for an
    /// event, for the time when the next job is due, or for the slow poll, whichever is first.
    pub async fn run(self) {
        let shared = self.queues.shared.clone();
        let mut events = shared.hub.queue(&self.queue);
        let draining = shared.workers.draining.clone();
        let stopped = async || {
            tokio::select! {
                () = self.stop.cancelled() => {}
                () = draining.cancelled() => {}
            }
        };
        shared.workers.serve(&self.queue, self.config.concurrency);
        let instance = format!("{}@{}", self.config.name, Ulid::generate());
        let mut token = Token::new();
        let mut pauses = Pauses::new(PAUSES.0, PAUSES.1);
        let mut fetched_at = None;
        let mut shown_at: Option<Instant> = None;
        let mut wakes_others = false;
        loop {
            let free = self.free_slots();
            // Without a free place there is only the housekeeping to do, and that at the pace of
            // the slow poll.
            if let (None, Some(fetched_at)) = (&free, fetched_at) {
                tokio::select! {
                    () = stopped() => break,
                    () = self.slot_freed() => continue,
                    () = sleep_until(fetched_at + self.config.poll) => {}
                }
            }
            events.borrow_and_update();
            wakes_others |= shared.workers.idle.take_deferred_wake(&self.queue);
            let may_wait = free.is_some();
            let show = shown_at.is_none_or(|at| at.elapsed() >= SHOW);
            let shown = if show { instance.as_str() } else { "" };
            let pause = match self.fetch(free, shown, &token, wakes_others).await {
                Ok(pause) => {
                    if show {
                        shown_at = Some(Instant::now());
                    }
                    pauses.reset();
                    token = Token::new();
                    wakes_others = false;
                    pause
                }
                Err(error) => {
                    token.lost = true;
                    if !error.is_outage() {
                        tracing::warn!(%error, queue = self.queue, "cannot fetch jobs");
                    }
                    pauses.next_pause()
                }
            };
            fetched_at = Some(Instant::now());
            if pause.is_zero() {
                self.gather().await;
            }
            let waits = may_wait && !token.lost && !pause.is_zero();
            if waits {
                shared.workers.idle.enter(&self.queue);
            }
            let stop = tokio::select! {
                biased;
                () = stopped() => true,
                _ = events.changed(), if !pause.is_zero() => false,
                () = sleep(pause) => false,
            };
            if waits {
                shared.workers.idle.leave(&self.queue);
            }
            if stop {
                break;
            }
        }
        shared.workers.leave(&self.queue, self.config.concurrency);
        if wakes_others || shared.workers.idle.take_deferred_wake(&self.queue) {
            self.wake_others().await;
        }
    }

    /// Jobs that were left to this worker are for others now.
    async fn wake_others(&self) {
        let mut wake = redis::cmd("SPUBLISH");
        wake.arg(root(&self.queue) + "events").arg("wake");
        let woken: Result<i64, _> = self.queues.shared.calls.command("wake", &wake).await;
        if let Err(error) = woken {
            tracing::debug!(%error, queue = self.queue, "others find the last jobs by themselves");
        }
    }

    /// All places that are free now, up to what one fetch leases; none while the process is quiet.
    fn free_slots(&self) -> Option<OwnedSemaphorePermit> {
        let free = self.slots.available_permits().min(FETCH_LIMIT);
        let is_quiet = *self.queues.shared.workers.quiet.borrow();
        if free == 0 || is_quiet || !(self.accepts)() {
            return None;
        }
        let free = u32::try_from(free).unwrap_or(u32::MAX);
        self.slots.clone().try_acquire_many_owned(free).ok()
    }

    /// While there is more to fetch: waits a moment for more free places, so that jobs which end
    /// together are replaced together.
    async fn gather(&self) {
        let share = self.config.concurrency.div_ceil(GATHERED_SHARE);
        let share = u32::try_from(share).unwrap_or(u32::MAX);
        // The permits go back at once; only this task takes permits.
        let _ = timeout(GATHERING, self.slots.acquire_many(share)).await;
    }

    /// Returns when there is a free place and the worker wants to use it.
    async fn slot_freed(&self) {
        if !(self.accepts)() {
            std::future::pending::<()>().await;
        }
        let mut quiet = self.queues.shared.workers.quiet.subscribe();
        // The sender lives as long as the process works.
        let _ = quiet.wait_for(|is_quiet| !is_quiet).await;
        // The permit goes back at once; only this task takes permits.
        let _ = self.slots.acquire().await;
    }

    /// Fetches once. Returns how long to wait before the next time.
    async fn fetch(
        &self,
        mut free: Option<OwnedSemaphorePermit>,
        instance: &str,
        token: &Token,
        wakes_others: bool,
    ) -> Result<Duration, QueueError> {
        let shared = &self.queues.shared;
        self.queues.register(&self.queue).await?;
        shared.keep_alive(self.config.lease)?;

        let wanted = free.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
        type Answer = (i64, u64, u64, u64, u64, u64, String, Batch);
        let (next_in, rescued, buried, aside, mended, damaged, run, Batch(jobs)): Answer = shared
            .calls
            .function(
                &shared.scripts.fetch,
                &root(&self.queue),
                Repeat::Never,
                |command| {
                    command
                        .arg(wanted)
                        .arg(&self.config.name)
                        .arg(instance)
                        .arg(millis(self.config.lease))
                        .arg(&token.text)
                        .arg(u8::from(token.lost))
                        .arg(self.config.version)
                        .arg(u8::from(wakes_others))
                        .arg(self.config.losses.max(1));
                },
            )
            .await?;

        for (outcome, count) in [("rescued", rescued), ("buried", buried)] {
            if count > 0 {
                tracing::warn!(queue = self.queue, count, "jobs of lost workers {outcome}");
                metrics::counter!(
                    "sluice_queue_rescued_total",
                    "queue" => self.queue.clone(), "outcome" => outcome
                )
                .increment(count);
            }
        }
        if aside > 0 {
            tracing::info!(
                queue = self.queue,
                aside,
                "set jobs aside for a newer worker"
            );
            metrics::counter!("sluice_queue_set_aside_total", "queue" => self.queue.clone())
                .increment(aside);
        }
        if mended > 0 {
            tracing::warn!(
                queue = self.queue,
                mended,
                "found jobs whose keys were damaged"
            );
            metrics::counter!("sluice_queue_mended_total", "queue" => self.queue.clone())
                .increment(mended);
        }
        if damaged > 0 {
            tracing::error!(
                queue = self.queue,
                damaged,
                "jobs cannot be run as they are kept; they are listed among the dead ones"
            );
            metrics::counter!("sluice_queue_damaged_total", "queue" => self.queue.clone())
                .increment(damaged);
        }
        let full = jobs.len() == wanted;
        let run = Arc::from(run);
        for leased in jobs {
            if let Some(permit) = free.as_mut().and_then(|free| free.split(1)) {
                self.pass_on(leased, &run, permit).await;
            }
        }
        Ok(match u64::try_from(next_in) {
            _ if full && wanted > 0 => Duration::ZERO,
            Ok(next_in) => self.config.poll.min(Duration::from_millis(next_in)),
            Err(_) => self.config.poll,
        })
    }

    async fn pass_on(&self, leased: Leased, run: &Arc<str>, permit: OwnedSemaphorePermit) {
        let began_at = began_at(run).unwrap_or_default();
        let id = JobId::from_parts(&self.queue, &leased.id);
        let lease = Arc::new(Lease::new(id, run.clone(), self.config.lease));
        let slot = self
            .queues
            .shared
            .workers
            .leases
            .hold(lease.clone(), permit);
        let job = match leased.job {
            Ok(job) => job,
            Err(damage) => return bury(&self.queues, &lease, Some(slot), damage.to_string()),
        };
        let since = job.attributes.run_at;
        let since = since.unwrap_or_else(|| time_of(leased.position));
        metrics::histogram!("sluice_queue_wait_seconds", "queue" => self.queue.clone())
            .record(Duration::from_millis(began_at.saturating_sub(since)));
        let running = Running::new(self.queues.clone(), lease, slot, job);
        if let Err(mpsc::error::SendError(running)) = self.jobs.send(running) {
            // What cannot be recorded is logged there, and its lease runs out.
            let _ = finish(&self.queues, running.lease(), Ending::Released, None).await;
        }
    }
}
