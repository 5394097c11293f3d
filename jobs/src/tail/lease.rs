//! Holding the lease on the tail.

use std::sync::Arc;
use std::time::Duration;

use sluice_store::tail::{LEASE, Lead};
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::{CancellationToken, DropGuard};

/// How often the lease is extended: twice may fail before it is lost.
const EXTEND_EVERY: Duration = Duration::from_secs(2);
/// How long giving the lease back may take; it runs out by itself.
const RELEASE_LIMIT: Duration = Duration::from_secs(1);

/// A lease that is extended from a task of its own, however long a step of the tail takes, until this is dropped.
pub(super) struct Held {
    pub lead: Arc<Lead>,
    lost: CancellationToken,
    _stop: DropGuard,
}

impl Held {
    pub fn new(lead: Lead) -> Held {
        let lead = Arc::new(lead);
        let (lost, stop) = (CancellationToken::new(), CancellationToken::new());
        tokio::spawn({
            let (lead, lost, stop) = (lead.clone(), lost.clone(), stop.clone());
            async move {
                tokio::select! {
                    () = stop.cancelled() => {}
                    () = keep(&lead) => lost.cancel(),
                }
            }
        });
        Held {
            lead,
            lost,
            _stop: stop.drop_guard(),
        }
    }

    /// Returns when the lease is lost.
    pub async fn lost(&self) {
        self.lost.cancelled().await;
    }

    /// Lets another worker have it at once.
    pub async fn release(self) {
        if let Ok(Err(error)) = timeout(RELEASE_LIMIT, self.lead.release()).await {
            tracing::debug!(%error, "the tail's lease could not be given back and runs out by itself");
        }
    }
}

/// Extends the lease for as long as that works.
async fn keep(lead: &Lead) {
    let mut good_until = Instant::now() + LEASE;
    while Instant::now() < good_until {
        sleep(EXTEND_EVERY).await;
        let asked = Instant::now();
        match timeout(EXTEND_EVERY, lead.extend()).await {
            Ok(Ok(true)) => good_until = asked + LEASE,
            Ok(Ok(false)) => return,
            Ok(Err(_)) | Err(_) => {
                metrics::counter!("sluice_tail_extensions_failed_total").increment(1);
            }
        }
    }
}
