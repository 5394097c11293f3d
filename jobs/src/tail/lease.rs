//! Holding the lease on the tail.

use std::sync::Arc;
use std::time::Duration;

use sluice_store::StoreError;
use sluice_store::tail::{LEASE, Lead};
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::{CancellationToken, DropGuard};

/// How often the lease is extended: twice may fail before it is lost.
const EXTEND_EVERY: Duration = Duration::from_secs(2);
/// How long giving the lease back may take; it runs out by itself.
const RELEASE_LIMIT: Duration = Duration::from_secs(1);

/// A lease that is extended from a task of its own, however long a step of the tail takes, until
/// this is dropped.
pub(super) struct Held {
    pub lead: Arc<Lead>,
    _stop: DropGuard,
}

impl Held {
    /// Holds the lease. What comes with it says why it was lost, once it is.
    pub fn new(lead: Lead) -> (Held, oneshot::Receiver<StoreError>) {
        let (lead, stop) = (Arc::new(lead), CancellationToken::new());
        let (lost, on_loss) = oneshot::channel();
        tokio::spawn({
            let (lead, stop) = (lead.clone(), stop.clone());
            async move {
                tokio::select! {
                    () = stop.cancelled() => {}
                    // Who held it may have ended meanwhile.
                    error = keep(&lead) => drop(lost.send(error)),
                }
            }
        });
        let held = Held {
            lead,
            _stop: stop.drop_guard(),
        };
        (held, on_loss)
    }

    /// Lets another worker have it at once.
    pub async fn release(self) {
        if let Ok(Err(error)) = timeout(RELEASE_LIMIT, self.lead.release()).await {
            tracing::debug!(%error, "the tail's lease could not be given back and runs out by itself");
        }
    }
}

/// Extends the lease for as long as that works. Returns why it does no longer.
async fn keep(lead: &Lead) -> StoreError {
    let mut good_until = Instant::now() + LEASE;
    while Instant::now() < good_until {
        sleep(EXTEND_EVERY).await;
        let asked = Instant::now();
        match timeout(EXTEND_EVERY, lead.extend()).await {
            Ok(Ok(true)) => good_until = asked + LEASE,
            Ok(Ok(false)) => break,
            Ok(Err(StoreError::DataLost)) => return StoreError::DataLost,
            Ok(Err(_)) | Err(_) => {
                metrics::counter!("sluice_tail_extensions_failed_total").increment(1);
            }
        }
    }
    StoreError::Superseded
}
