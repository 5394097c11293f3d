//! `filesync-sweep`: ends what has not been finished or named in time, and removes the bytes of what
//! nothing needs any more.

use std::pin::pin;

use futures_util::TryStreamExt;
use serde::{Deserialize, Serialize};
use sluice_queue::Running;

use super::garbage;
use super::transfer::name;
use crate::context::Context;
use crate::failure::Failure;
use crate::job::{Job, stop_if_cancelled};
use crate::refusal::NoRefusal;

/// How many contents are dealt with at a time.
const PAGE: usize = 100;

/// Removes uploads without progress, versions that no change has named, and garbage.
#[derive(Default, Serialize, Deserialize)]
pub(crate) struct SweepContents {}

/// How far a sweep has come, and what it has done in the end.
#[derive(Debug, Default, Clone, Serialize, Deserialize)]
pub(crate) struct Swept {
    /// Tenants that were gone through.
    tenants: u64,
    /// Uploads and versions whose time was over.
    due: u64,
    /// Contents whose bytes were removed.
    removed: u64,
}

impl Job for SweepContents {
    const QUEUE: &'static str = "filesync-sweep";
    const MAX_ATTEMPTS: u32 = 3;
    const VIEWERS: &'static str = "admin";
    const FREES_MEMORY: bool = true;
    type Answer = Swept;
    type Refusal = NoRefusal;

    async fn run(self, context: &Context, running: &Running) -> Result<Swept, Failure> {
        let mut swept = Swept::default();
        let mut tenants = pin!(context.filesync.tenants());
        while let Some(tenant) = tenants.try_next().await? {
            expire(context, &tenant, running, &mut swept).await?;
            remove(context, &tenant, running, &mut swept).await?;
            swept.tenants += 1;
            running.progress(&swept).await?;
        }
        Ok(swept)
    }
}

async fn expire(
    context: &Context,
    tenant: &str,
    running: &Running,
    swept: &mut Swept,
) -> Result<(), Failure> {
    loop {
        stop_if_cancelled(running)?;
        let due = context.filesync.expire_contents(tenant, PAGE).await?;
        swept.due += due as u64;
        if due < PAGE {
            return Ok(());
        }
    }
}

async fn remove(
    context: &Context,
    tenant: &str,
    running: &Running,
    swept: &mut Swept,
) -> Result<(), Failure> {
    let Some(objects) = &context.objects else {
        return Ok(());
    };
    loop {
        let garbage = context.filesync.garbage(tenant, PAGE).await?;
        if garbage.is_empty() {
            return Ok(());
        }
        for content in garbage {
            stop_if_cancelled(running)?;
            let name = name(tenant, &content.share, &content.version);
            garbage::remove(&context.filesync, objects, &name).await?;
            metrics::counter!("sluice_filesync_contents_removed_total", "why" => "garbage")
                .increment(1);
            swept.removed += 1;
        }
    }
}
