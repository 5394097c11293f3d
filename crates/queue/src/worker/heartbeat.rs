//! Extends the leases of a process from a thread of its own, with a connection of its own: whatever
//! the handlers do to the threads they run on, the process stays alive in the eyes of the others.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use sluice_valkey::{Repeat, Valkey};
use tokio::sync::watch;
use tokio::time::sleep;

use super::lease::{Lease, Leases, Stop};
use crate::QueueError;
use crate::calls::Calls;
use crate::keys::{HEARTBEAT_TIMEOUT, root};
use crate::script::Scripts;

/// The longest time between two heartbeats.
const SLOWEST: Duration = Duration::from_secs(2);

/// How many leases one script extends.
const BATCH: usize = 500;

/// Starts the thread. It beats at the interval that the returned sender holds, and ends when that
/// is dropped.
pub(super) fn start(
    valkey: &Valkey,
    scripts: Arc<Scripts>,
    leases: Arc<Leases>,
) -> std::io::Result<watch::Sender<Duration>> {
    let (sender, interval) = watch::channel(SLOWEST);
    let calls = Calls::new(&valkey.apart(HEARTBEAT_TIMEOUT));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    std::thread::Builder::new()
        .name("queue-heartbeat".into())
        .spawn(move || {
            runtime.block_on(beat(interval, &calls, &scripts, &leases));
        })?;
    Ok(sender)
}

async fn beat(
    mut interval: watch::Receiver<Duration>,
    calls: &Calls,
    scripts: &Scripts,
    leases: &Leases,
) {
    loop {
        let pause = *interval.borrow_and_update();
        tokio::select! {
            changed = interval.changed() => match changed {
                Ok(()) => continue,
                Err(_) => return,
            },
            () = sleep(pause) => {}
        }
        let mut groups: HashMap<(String, Duration), Vec<Arc<Lease>>> = HashMap::new();
        for lease in leases.all() {
            let group = (lease.id.queue().to_owned(), lease.length);
            groups.entry(group).or_default().push(lease);
        }
        for ((queue, length), leases) in groups {
            for batch in leases.chunks(BATCH) {
                if let Err(error) = extend(calls, scripts, &queue, length, batch).await {
                    metrics::counter!("sluice_queue_heartbeats_failed_total").increment(1);
                    if !error.is_outage() {
                        tracing::warn!(%error, queue, jobs = batch.len(), "cannot extend leases");
                    }
                }
            }
        }
    }
}

async fn extend(
    calls: &Calls,
    scripts: &Scripts,
    queue: &str,
    length: Duration,
    batch: &[Arc<Lease>],
) -> Result<(), QueueError> {
    // The next beat comes soon: a long pause between attempts could outlast the lease.
    let (lost, cancelled): (Vec<usize>, Vec<usize>) = calls
        .function(&scripts.heartbeat, &root(queue), Repeat::Soon, |command| {
            command.arg(millis(length));
            for lease in batch {
                command.arg(lease.id.job()).arg(&*lease.run);
            }
        })
        .await?;
    for (positions, reason) in [(lost, Stop::Lost), (cancelled, Stop::Cancelled)] {
        for lease in positions.iter().filter_map(|&position| batch.get(position)) {
            lease.stop(reason);
        }
    }
    Ok(())
}

/// A duration as scripts take it.
pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
