//! `filesync-trim`: trims the logs of shares, and removes what was deleted before they begin.

use std::pin::pin;

use futures_util::TryStreamExt;
use serde::{Deserialize, Serialize};
use sluice_queue::Running;

use crate::context::Context;
use crate::failure::Failure;
use crate::job::{Job, stop_if_cancelled};
use crate::refusal::NoRefusal;

/// Goes through all shares, also those that were deleted.
#[derive(Default, Serialize, Deserialize)]
pub(crate) struct TrimShares {}

/// How far it has come, and what it has done in the end.
#[derive(Debug, Default, Clone, Serialize, Deserialize)]
pub(crate) struct Trimmed {
    /// Shares that were gone through.
    shares: u64,
    /// Entries, outcomes, nodes and versions that went.
    removed: u64,
}

impl Job for TrimShares {
    const QUEUE: &'static str = "filesync-trim";
    const MAX_ATTEMPTS: u32 = 3;
    const VIEWERS: &'static str = "admin";
    const FREES_MEMORY: bool = true;
    type Answer = Trimmed;
    type Refusal = NoRefusal;

    async fn run(self, context: &Context, running: &Running) -> Result<Trimmed, Failure> {
        let mut trimmed = Trimmed::default();
        let mut tenants = pin!(context.filesync.tenants());
        while let Some(tenant) = tenants.try_next().await? {
            trim_tenant(context, &tenant, running, &mut trimmed).await?;
        }
        metrics::counter!("sluice_filesync_trimmed_total").increment(trimmed.removed);
        Ok(trimmed)
    }
}

async fn trim_tenant(
    context: &Context,
    tenant: &str,
    running: &Running,
    trimmed: &mut Trimmed,
) -> Result<(), Failure> {
    let filesync = &context.filesync;
    let mut shares = pin!(filesync.tenant_shares(tenant));
    while let Some(share) = shares.try_next().await? {
        stop_if_cancelled(running)?;
        trimmed.removed += filesync.trim(tenant, &share, &context.retention).await?;
        trimmed.shares += 1;
        running.progress(&*trimmed).await?;
    }
    trimmed.removed += filesync.trim_feed(tenant, &context.retention).await?;
    for share in filesync.removed_shares(tenant).await? {
        stop_if_cancelled(running)?;
        trimmed.removed += filesync.remove_share(tenant, &share).await?;
        trimmed.shares += 1;
        running.progress(&*trimmed).await?;
    }
    Ok(())
}
