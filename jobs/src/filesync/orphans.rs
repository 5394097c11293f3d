//! `filesync-orphans`: removes bytes that nothing knows of.
//!
//! A content is known before its first byte is written, and until after its last one is removed. So
//! there are orphans only where a write came in after its content was removed, or where Valkey has lost
//! what it knew. They go when they are older than any upload may be without progress.

use std::time::{Duration, SystemTime};

use futures_util::TryStreamExt;
use serde::{Deserialize, Serialize};
use sluice_objects::{ContentName, Objects};
use sluice_queue::Running;

use crate::context::Context;
use crate::failure::Failure;
use crate::job::{Job, stop_if_cancelled};
use crate::refusal::NoRefusal;

/// Longer than an upload lives without progress.
const AGE: Duration = Duration::from_secs(26 * 60 * 60);
/// How many contents are looked up at a time.
const PAGE: usize = 500;

/// Goes through all bytes that there are, and removes those that nothing knows of.
#[derive(Default, Serialize, Deserialize)]
pub(crate) struct SweepOrphans {}

/// How far a sweep has come, and what it has done in the end.
#[derive(Debug, Default, Clone, Serialize, Deserialize)]
pub(crate) struct Swept {
    /// Contents that were looked at.
    contents: u64,
    /// Contents that nothing knew of, and whose bytes were removed.
    removed: u64,
    /// What writes that were killed have left in a folder.
    leftovers: u64,
}

impl Job for SweepOrphans {
    const QUEUE: &'static str = "filesync-orphans";
    const MAX_ATTEMPTS: u32 = 3;
    const VIEWERS: &'static str = "admin";
    type Answer = Swept;
    type Refusal = NoRefusal;

    async fn run(self, context: &Context, running: &Running) -> Result<Swept, Failure> {
        let mut swept = Swept::default();
        let Some(objects) = &context.objects else {
            return Ok(swept);
        };
        let before = SystemTime::now() - AGE;
        let mut contents = Box::pin(objects.contents(before));
        let mut page: Vec<ContentName> = Vec::new();
        loop {
            let content = contents.try_next().await?;
            let of_page = |one: &ContentName| {
                let first = page.first();
                first.is_none_or(|it| (&it.tenant, &it.share) == (&one.tenant, &one.share))
            };
            if !content.as_ref().is_some_and(of_page) || page.len() == PAGE {
                sweep(context, objects, std::mem::take(&mut page), &mut swept).await?;
                running.progress(&swept).await?;
                stop_if_cancelled(running)?;
            }
            match content {
                Some(content) => page.push(content),
                None => break,
            }
        }
        swept.leftovers = objects.delete_leftovers(before).await?;
        Ok(swept)
    }
}

/// Removes those of the contents, all of one share, that nothing knows of.
async fn sweep(
    context: &Context,
    objects: &Objects,
    page: Vec<ContentName>,
    swept: &mut Swept,
) -> Result<(), Failure> {
    let Some(ContentName { tenant, share, .. }) = page.first() else {
        return Ok(());
    };
    let versions: Vec<String> = page.iter().map(|content| content.version.clone()).collect();
    let unknown = context
        .filesync
        .unknown_contents(tenant, share, &versions)
        .await?;
    for version in unknown {
        let name = ContentName {
            tenant: tenant.clone(),
            share: share.clone(),
            version,
        };
        objects.delete(&name).await?;
        tracing::warn!(?name, "removed bytes that nothing knew of");
        metrics::counter!("sluice_filesync_contents_removed_total", "why" => "orphan").increment(1);
        swept.removed += 1;
    }
    swept.contents += page.len() as u64;
    Ok(())
}
