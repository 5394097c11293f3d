//! The processes that run workers: what they show of themselves, and the signals that they hear.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use redis::{Value, from_redis_value};
use serde::{Deserialize, Serialize};
use sluice_valkey::Repeat;
use tokio::time::{MissedTickBehavior, interval};

use crate::keys::COMMON;
use crate::operate::Operated;
use crate::worker::millis;
use crate::{JobId, QueueError, Queues};

/// How often a process shows itself, and hears what it is asked to do.
const BEAT: Duration = Duration::from_secs(1);

/// How many of its running jobs a process names.
const NAMED_JOBS: usize = 100;

/// A process that runs workers, as it shows itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    /// Its name, which no other process has.
    pub id: String,
    /// The machine it runs on.
    pub host: String,
    /// Its process id there.
    pub pid: u32,
    /// The version of what runs.
    pub version: String,
}

/// What is asked of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Signal {
    /// Fetch no more jobs; running ones go on.
    Quiet,
    /// Fetch again.
    Resume,
    /// End in good order.
    Stop,
}

impl Signal {
    /// The name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Quiet => "quiet",
            Self::Resume => "resume",
            Self::Stop => "stop",
        }
    }
}

/// The outcome of a signal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signalled {
    /// The process hears it within a second or two.
    Done,
    /// There is no such process (any more).
    NotFound,
    /// It was asked to end before.
    Ending,
}

/// A process that was seen lately.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ProcessView {
    /// What it says of itself.
    #[serde(flatten)]
    pub process: Process,
    /// When it began, in milliseconds since 1970.
    pub started_at: u64,
    /// When it was last seen, likewise.
    pub seen_at: u64,
    /// Whether it fetches no jobs.
    pub quiet: bool,
    /// What it was asked to do last, if it was not to go on.
    pub signal: Option<Signal>,
    /// The queues that it serves.
    pub queues: BTreeMap<String, Load>,
    /// How many jobs it runs.
    pub running: u64,
    /// At most 100 of them.
    pub jobs: Vec<JobId>,
}

/// How much a process does for one queue.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Load {
    /// How many jobs it runs at a time, at most.
    pub concurrency: u64,
    /// How many it runs.
    pub running: u64,
}

/// As a process is kept.
#[derive(Serialize, Deserialize)]
struct About {
    #[serde(flatten)]
    process: Process,
    started_at: u64,
    quiet: bool,
    queues: BTreeMap<String, Load>,
    running: u64,
    jobs: Vec<String>,
}

impl Queues {
    /// Shows this process to operators, and does as they ask: a quiet process fetches no jobs. It
    /// returns when the process is asked to end; that is up to the caller, and so is
    /// [`Queues::leave`] in the end. Costs one script a second.
    pub async fn show_process(&self, process: &Process) {
        let started_at = now_ms();
        let mut ticks = interval(BEAT);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let about = serde_json::to_string(&self.about(process, started_at));
            let Ok(about) = about else { continue };
            // While Valkey is away, nothing is asked.
            let signal = self.beat(&process.id, &about).await.unwrap_or_default();
            match signal.as_str() {
                "stop" => return,
                signal => {
                    let quiet = signal == "quiet";
                    let changed = self.shared.workers.quiet.send_if_modified(|is| {
                        let changed = *is != quiet;
                        *is = quiet;
                        changed
                    });
                    if changed {
                        tracing::info!(
                            quiet,
                            "an operator asked this process for quiet, or to go on"
                        );
                    }
                }
            }
        }
    }

    /// The process ends: it is not shown any more.
    pub async fn leave(&self, process: &Process) {
        if let Err(error) = self.beat(&process.id, "").await {
            tracing::debug!(%error, "this process is shown until it has not been seen for a while");
        }
    }

    /// The processes that were seen in the last 30 s, by name.
    ///
    /// # Errors
    /// When Valkey does not answer.
    pub async fn processes(&self) -> Result<Vec<ProcessView>, QueueError> {
        let shared = &self.shared;
        let answer: Vec<Value> = shared
            .reads
            .function(&shared.scripts.processes, COMMON, Repeat::Safe, |_| {})
            .await?;
        let mut processes = Vec::new();
        for seen in answer.into_iter().skip(1) {
            let (_, seen_at, about, signal): (String, u64, String, String) =
                from_redis_value(seen).map_err(redis::RedisError::from)?;
            // One of another version may say it differently.
            let Ok(about) = serde_json::from_str::<About>(&about) else {
                continue;
            };
            processes.push(ProcessView {
                process: about.process,
                started_at: about.started_at,
                seen_at,
                quiet: about.quiet,
                signal: match signal.as_str() {
                    "quiet" => Some(Signal::Quiet),
                    "stop" => Some(Signal::Stop),
                    _ => None,
                },
                queues: about.queues,
                running: about.running,
                jobs: about
                    .jobs
                    .iter()
                    .filter_map(|id| JobId::parse(id).ok())
                    .collect(),
            });
        }
        processes.sort_by(|one, other| one.process.id.cmp(&other.process.id));
        Ok(processes)
    }

    /// Asks a process to be quiet, to go on, or to end.
    ///
    /// # Errors
    /// When Valkey does not answer.
    pub async fn signal(&self, process: &str, signal: Signal) -> Result<Signalled, QueueError> {
        let shared = &self.shared;
        let word = match signal {
            Signal::Resume => "",
            other => other.as_str(),
        };
        let operated = shared
            .calls
            .function(&shared.scripts.signal, COMMON, Repeat::Safe, |command| {
                command.arg(process).arg(word);
            })
            .await?;
        Ok(match operated {
            Operated::Done => Signalled::Done,
            Operated::WrongState => Signalled::Ending,
            _ => Signalled::NotFound,
        })
    }

    fn about(&self, process: &Process, started_at: u64) -> About {
        let workers = &self.shared.workers;
        let leases = workers.leases.all();
        let mut queues = workers.served();
        for lease in &leases {
            queues
                .entry(lease.id.queue().to_owned())
                .or_default()
                .running += 1;
        }
        let named = leases.iter().take(NAMED_JOBS);
        About {
            process: process.clone(),
            started_at,
            quiet: *workers.quiet.borrow(),
            queues,
            running: leases.len() as u64,
            jobs: named.map(|lease| lease.id.to_string()).collect(),
        }
    }

    async fn beat(&self, process: &str, about: &str) -> Result<String, QueueError> {
        let shared = &self.shared;
        let signal = shared
            .calls
            .function(&shared.scripts.beat, COMMON, Repeat::Soon, |command| {
                command.arg(process).arg(about);
            })
            .await?;
        Ok(signal)
    }
}

fn now_ms() -> u64 {
    millis(
        SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default(),
    )
}
