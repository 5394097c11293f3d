//! `purge`: removes what expired documents have left behind.

use serde::{Deserialize, Serialize};
use sluice_queue::Running;
use sluice_store::documents::PurgePlace;

use crate::context::Context;
use crate::failure::Failure;
use crate::job::{Job, stop_if_cancelled};
use crate::refusal::NoRefusal;

/// Keeps the indexes of documents free of those that are gone.
#[derive(Default, Serialize, Deserialize)]
pub(crate) struct Purge {}

/// How far a purge has come, and what it has done in the end.
#[derive(Debug, Default, Clone, Serialize, Deserialize)]
pub(crate) struct PurgeResult {
    /// Indexes that were gone through.
    services: u64,
    /// Ids that led nowhere and are forgotten.
    forgotten: u64,
}

impl Job for Purge {
    const QUEUE: &'static str = "purge";
    const MAX_ATTEMPTS: u32 = 3;
    const VIEWERS: &'static str = "meta:read meta:write";
    type Answer = PurgeResult;
    type Refusal = NoRefusal;

    async fn run(self, context: &Context, running: &Running) -> Result<PurgeResult, Failure> {
        let mut done = PurgeResult::default();
        let mut cursor = Some(0);
        while let Some(at) = cursor {
            stop_if_cancelled(running)?;
            let (services, next) = context.documents.services(at).await?;
            for service in services {
                done.forgotten += purge(context, &service, running).await?;
                done.services += 1;
                running.progress(&done).await?;
            }
            cursor = next;
        }
        metrics::counter!("sluice_documents_purged_total").increment(done.forgotten);
        Ok(done)
    }
}

async fn purge(context: &Context, service: &str, running: &Running) -> Result<u64, Failure> {
    let mut forgotten = 0;
    let mut place = Some(PurgePlace::default());
    while let Some(at) = place {
        stop_if_cancelled(running)?;
        let purged = context.documents.purge(service, at).await?;
        forgotten += purged.forgotten;
        place = purged.next;
    }
    Ok(forgotten)
}
